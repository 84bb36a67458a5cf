"""Percentiles, early stopping, intervals: pure functions, no I/O."""
