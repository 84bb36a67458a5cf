"""Run directories: written as the run goes, readable whatever happens."""
