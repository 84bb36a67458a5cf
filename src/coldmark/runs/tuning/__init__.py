"""Tuning: the search for the fastest configuration, and for the highest Server rate."""
