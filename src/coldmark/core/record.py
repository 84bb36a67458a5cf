"""A run's nouns: what was asked for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from coldmark.core.calibration import Quantisation
from coldmark.core.nouns import (
    Finding,
    Length,
    Mode,
    Precision,
    Provenance,
    Scenario,
    State,
    Suite,
)
from coldmark.core.telemetry import Telemetry
from coldmark.core.tuned import TunedUse

SCHEMA = 1
"""Version of the run record's JSON form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What the user asked for, resolved names and all; written before anything starts."""

    workload: str
    scenario: Scenario
    suite: Suite
    model: str = "mini"  # mini, full, official, or a path to an ONNX file
    backend: str = "openvino"
    precision: Precision = Precision.FP32
    modes: tuple[Mode, ...] = (Mode.PERFORMANCE, Mode.ACCURACY)
    length: Length = Length.SHORT
    round: str = "v2.1"
    target_qps: float | None = None  # None: found by measuring
    options: dict[str, str] = field(default_factory=dict)  # dotted keys, as given by --set
    tuned: TunedUse | None = None  # what of the above `coldmark tune` found


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The scenario's headline number."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """The task's metric over a complete accuracy run, against its gate."""

    metric: str
    value: float | None
    unit: str
    reference: float | None
    target: float | None
    passed: bool | None  # None: refused or not run, see reason
    samples: int = 0
    low: float | None = None  # 95 % interval of the value over sets of this size
    high: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """What the harness itself costs: the rate through LoadGen over the rate without it."""

    share: float | None  # rate / bare_rate; Server: the share of capacity that was offered
    rate: float | None  # samples/s through LoadGen
    bare_rate: float | None  # samples/s, mean of before and after
    bare_before: float | None
    bare_after: float | None
    overhead_ns_per_query: float | None
    method: str
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """Everything a run says about itself; `record.json` is this."""

    schema: int = SCHEMA
    run_id: str
    state: State
    spec: RunSpec
    provenance: Provenance = Provenance.MEASURED
    verdict: str = "INCOMPLETE"  # VALID, INVALID or INCOMPLETE
    reasons: tuple[str, ...] = ()
    submittable: bool = False  # only an official-length VALID run of the official files can be
    metric: Metric | None = None
    accuracy: Accuracy | None = None
    harness: Harness | None = None
    quantised: Quantisation | None = None  # with INT8: the calibration that was run
    telemetry: Telemetry | None = None  # None: not sampled by the version that wrote it, or simulated
    findings: tuple[Finding, ...] = ()
    results: dict[str, Any] = field(default_factory=dict)  # LoadGen's own result_* values
    software: dict[str, str] = field(default_factory=dict)
    started: str = ""  # ISO 8601, UTC
    finished: str = ""
    reason: str = ""  # why a run that is not complete is not
