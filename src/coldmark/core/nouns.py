"""The field's own words as types: scenario, suite, division, length, finding, measurement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from coldmark.core.errors import ConfigError, did_you_mean


class _Named(StrEnum):
    """An enumeration whose members are found by any spelling of their name."""

    @classmethod
    def parse(cls, text: str, *, where: str | None = None) -> _Named:
        """The member called `text`, letter case and separators aside.

        Raises ConfigError naming the nearest right one.
        """
        folded = text.lower().replace("-", "").replace("_", "").replace(" ", "")
        for member in cls:
            if member.value.lower() == folded:
                return member
        kind = cls.__name__.lower()
        names = [m.value for m in cls]
        raise ConfigError(f"no {kind} {text!r}", where=where, hint=did_you_mean(text, names))


class Scenario(_Named):
    """How queries arrive; the spelling is LoadGen's."""

    SINGLE_STREAM = "SingleStream"
    MULTI_STREAM = "MultiStream"
    SERVER = "Server"
    OFFLINE = "Offline"
    INTERACTIVE = "Interactive"  # from v5.1 on: Server held to tighter token latencies

    @property
    def slug(self) -> str:
        """Lower-case form for file names and flags."""
        return self.value.lower()


DRIVEN = (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM, Scenario.SERVER, Scenario.OFFLINE)
"""The scenarios that can be run here; LoadGen itself knows no other."""


class Suite(_Named):
    """The two suites of a round."""

    DATACENTER = "datacenter"
    EDGE = "edge"


class Division(_Named):
    """What a submission may change."""

    CLOSED = "closed"
    OPEN = "open"
    NETWORK = "network"


class Mode(_Named):
    """What LoadGen does with the answers."""

    PERFORMANCE = "performance"
    ACCURACY = "accuracy"


class Length(_Named):
    """How long a run is. Only `official` follows the round's durations and counts."""

    SMOKE = "smoke"
    SHORT = "short"
    OFFICIAL = "official"


class Precision(_Named):
    """The arithmetic a backend is asked for."""

    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"  # a calibrated model: what stays in floating point is the calibration's choice


class Provenance(_Named):
    """Where a number comes from; the three are never mixed unlabelled."""

    MEASURED = "measured"
    SIMULATED = "simulated"
    PUBLISHED = "published"


class Severity(_Named):
    """An error breaks a verdict; a warning is doubt; a note is said and changes nothing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class State(_Named):
    """Where a run stands. Only `complete` has a verdict of its own."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    INCOMPLETE = "incomplete"
    STOPPED = "stopped"  # by us: it could no longer become VALID


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found, with the clause it follows."""

    rule: str  # dotted name, e.g. "duration.min"
    severity: Severity
    subject: str  # what was looked at: a file, a key, a test
    expected: str
    found: str
    clause: str = ""  # where the rule stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A number with its interval, and how and where it was obtained."""

    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    n: int | None = None
    method: str = ""
    provenance: Provenance = Provenance.MEASURED
