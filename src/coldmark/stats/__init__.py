"""Early stopping, intervals, queues: pure functions, no I/O."""
