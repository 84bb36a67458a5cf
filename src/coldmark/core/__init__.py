"""The nouns every room shares: no device, no file layout, no rule."""
