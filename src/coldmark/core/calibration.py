"""A calibration's nouns: what was tried, what was chosen, and what a run in INT8 then computes with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields

from coldmark.core.nouns import Precision

SCHEMA = 2
"""Version of a calibration's JSON form, and part of its id."""

WHOLE = "model"
"""What the network of a model is called that has only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationOptions:
    """`--set calibration.KEY=VALUE`, with `--precision int8`."""

    id: str = ""  # which calibration to run; empty: the one of this workload, model and backend
    content: str = ""  # what its networks must be, as a run notes it; empty: whatever lies there


CHOICE = frozenset(f"calibration.{f.name}" for f in fields(CalibrationOptions))
"""Options that choose among calibrations there are: no part of how one is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """The quantised networks of a calibration and how they were made; a run's record carries it."""

    id: str
    method: str
    floating: Precision  # the arithmetic of what is not quantised
    excluded: dict[str, tuple[str, ...]]  # by network: nodes the search left in floating point
    networks: dict[str, str]  # network -> sha256 of its quantised file
    set_name: str  # of the calibration samples
    set_sha256: str
    samples: int
    made_with: dict[str, str]  # versions
    overlap: str = ""  # the clause by which calibration samples may be scored on too
    kept: tuple[str, ...] = ()  # regular expressions: nodes that the workload leaves in floating point
    skipped: tuple[str, ...] = ()  # networks that it leaves so as a whole
    official: bool = True  # of an official data set: whether its list is MLPerf's, as far as that is known

    @property
    def content(self) -> str:
        """What the networks are and compute with; another one under the same id was made anew."""
        said = json.dumps([self.networks, self.floating.value], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @property
    def dynamic(self) -> bool:
        """Whether activations get their scale as they come: no range is from a sample."""
        return self.method.endswith("-dynamic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One point between accuracy and speed."""

    precision: Precision
    method: str = ""
    floating: Precision = Precision.FP32
    excluded: dict[str, tuple[str, ...]] = field(default_factory=dict)
    accuracy: float | None = None  # None: not judged, see note
    passed: bool | None = None
    speed: float | None = None  # rate over that of FP32, median of interleaved pairs
    speed_low: float | None = None  # least and greatest of the pairs
    speed_high: float | None = None
    note: str = ""

    @property
    def left_out(self) -> int:
        """Nodes the search left in floating point."""
        return sum(len(nodes) for nodes in self.excluded.values())

    @property
    def name(self) -> str:
        """`nncf-mixed + bf16 - 2 layers`."""
        if self.precision is not Precision.INT8:
            return self.precision.value
        rest = "" if self.floating is Precision.FP32 else f" + {self.floating.value}"
        out = f" - {self.left_out} layer{'s' * (self.left_out > 1)}" if self.left_out else ""
        return f"{self.method}{rest}{out}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """The accuracy to hold."""

    metric: str
    unit: str
    reference: float
    target: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a calibration found; `manifest.json` is this."""

    schema: int = SCHEMA
    id: str
    workload: str
    model: str
    backend: str
    models: dict[str, str]  # network -> sha256 of the file it was made from
    ratio: float  # share of the FP32 reference that is demanded
    aim: Aim | None  # None: the answers of this model cannot be judged
    front: tuple[Candidate, ...]
    chosen: Candidate | None  # the fastest of all that hold the gate; None: FP32 itself
    quantisation: Quantisation | None  # the fastest of those in INT8; None: none holds the gate
    reason: str
    made: str  # ISO 8601, UTC
    seconds: float

    @property
    def int8(self) -> Candidate | None:
        """The candidate that `quantisation` was kept of."""
        kept = self.quantisation
        if kept is None:
            return None
        of = (kept.method, kept.floating, kept.excluded)
        made = (c for c in self.front if c.precision is Precision.INT8)
        return next((c for c in made if (c.method, c.floating, c.excluded) == of), None)

    @property
    def held(self) -> bool:
        """Whether anything but FP32 holds the gate, or runs where nothing can be judged."""
        made = (c for c in self.front if c.precision is not Precision.FP32)
        return any(c.speed is not None and c.passed is not False for c in made)
