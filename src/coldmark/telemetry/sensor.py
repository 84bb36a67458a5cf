"""What a sensor family is, and what is found on a machine.

A new family is a file with an `Options` dataclass and a `find` that answers with sensors and with what is
missing, and a line in the catalogue (`telemetry/__init__.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from coldmark.core.telemetry import Missing
from coldmark.core.trace import Array, Channel

MAX_CHANNELS = 512
"""A peer may claim any number of sensors; beyond so many of one family the rest is not sampled."""


class Sensor(Protocol):
    """Channels that are read together."""

    @property
    def family(self) -> str: ...

    @property
    def channels(self) -> tuple[Channel, ...]: ...

    @property
    def constants(self) -> Mapping[str, float]:
        """What does not change while sampling: "gpu0.slowdown_degc" -> 89.0."""
        ...

    @property
    def rate_hz(self) -> float:
        """How often reading it makes sense."""
        ...

    @property
    def blocking(self) -> bool:
        """A read may take long: it gets a thread of its own."""
        ...

    def read(self, out: Array) -> None:
        """Fill out [len(channels)] with the values of now, NaN where one is missing.

        Raises TelemetryError when nothing can be read.
        """
        ...

    def close(self) -> None:
        """Let the device go. May be called twice."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Sensors that answered, and what is missing."""

    sensors: tuple[Sensor, ...] = ()
    missing: tuple[Missing, ...] = ()
    insecure: tuple[str, ...] = ()  # peers whose certificate was not checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of sensor: its options and how its devices are found.

    `find` raises TelemetryError or ConfigError where what the user named does not answer.
    """

    options: type[Any]
    find: Callable[[Any], Found]


@dataclass(slots=True)
class Recorded:
    """A sensor that plays recorded rows, one a read, and then dies: for tests and replays."""

    family: str
    channels: tuple[Channel, ...]
    rows: Sequence[Sequence[float]]
    constants: Mapping[str, float] = field(default_factory=dict)
    rate_hz: float = 10.0
    blocking: bool = False
    at: int = 0

    def read(self, out: Array) -> None:
        from coldmark.core.errors import TelemetryError

        if self.at >= len(self.rows):
            raise TelemetryError("the recording has ended", where=self.family)
        out[:] = self.rows[self.at]
        self.at += 1

    def close(self) -> None:
        """Nothing is held."""
