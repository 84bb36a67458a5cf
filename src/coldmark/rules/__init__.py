"""Rule books as data, and the checks that read them. No threshold stands in code."""
