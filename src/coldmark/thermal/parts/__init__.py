"""Accelerators, one TOML file each: limits, clocks and heat paths that several servers share."""
