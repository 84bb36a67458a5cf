"""argv, colour, progress, exit codes: no arithmetic."""
