"""The twin put to work: runs of it, comparisons, sweeps, faults, its calibration and validation."""
