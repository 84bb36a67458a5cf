"""`--set telemetry.KEY=VALUE`: how a run is sampled."""

from __future__ import annotations

from dataclasses import dataclass

from coldmark.core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """Whether and how sensors are sampled during a run."""

    sampling: bool = True  # false: no sensor is read, and the record says so
    sample_hz: float = 10.0  # readings a second of each family, where the device allows it
    baseline_s: float = 1.0  # idle seconds that are recorded before the first test
    cooldown_s: float = 1.0  # seconds that are recorded after the last one
    flush_s: float = 5.0  # how often the trace goes to disk: a killed run loses no more

    def __post_init__(self) -> None:
        for name, low, high in (
            ("sample_hz", 0.1, 1000.0),
            ("baseline_s", 0.0, 3600.0),
            ("cooldown_s", 0.0, 3600.0),
            ("flush_s", 0.2, 3600.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"{getattr(self, name)} is not in {low:g} to {high:g}", where=f"--set telemetry.{name}"
                )
