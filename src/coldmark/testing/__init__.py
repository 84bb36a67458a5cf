"""Contract tests that ship with coldmark, for backends and sensors of this house and of others."""

from coldmark.testing.backend import BackendConformance
from coldmark.testing.sensor import SensorConformance

__all__ = ["BackendConformance", "SensorConformance"]
