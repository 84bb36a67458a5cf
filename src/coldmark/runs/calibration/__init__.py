"""Making INT8 models: what is captured, how it is quantised, and what holds its gate."""
