"""One TOML file a round; adding a round is adding a file."""
