"""MLPerf's own tree: what it must hold, how it is checked, how it is built and packed."""
