"""Server models, one TOML file each."""
