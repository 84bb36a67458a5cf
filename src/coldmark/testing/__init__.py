"""Contract tests that ship with coldmark, for backends of this house and of others."""

from coldmark.testing.backend import BackendConformance

__all__ = ["BackendConformance"]
