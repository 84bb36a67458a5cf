"""What a twin answers: nouns that the composing room makes and the report room prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from coldmark.core.nouns import Measurement, Provenance, Scenario, Suite
from coldmark.core.record import Metric

NOT_MEASURED = "simulated, not measured; not an MLPerf result"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorState:
    """One accelerator at the end of a run."""

    name: str
    mhz: float
    power_w: float
    die_degc: float
    memory_degc: float
    reason: str  # why its clock is not higher


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerState:
    """Electrical power of the server at the end of a run, and where its heat goes."""

    wall_w: float  # at the plug; fans and power-supply losses inside, the coolant pump outside
    accelerators_w: float
    fans_w: float
    pump_w: float
    coolant_share: float  # of all heat


@dataclass(frozen=True, slots=True, kw_only=True)
class FacilityState:
    """What the coolant loop asks of the building, through its CDU, at rest under load."""

    given: bool  # the water was given and the supply follows; else the other way round
    water_degc: float  # facility water: as given, or the warmest that still gives the supply
    return_degc: float  # facility water behind the CDU
    l_per_min: float
    water_class: str  # the ASHRAE class that has it, or the warmest that is cool enough
    heat_w: float  # through the CDU
    effectiveness: float
    approach_k: float  # supply over facility water
    cdu_power_w: float  # pumps and control of the CDU, by their share of the heat


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What the virtual-time driver played through."""

    queries: int
    over_latency: int | None  # None: the scenario has no bound
    percentile_ns: float  # of the latencies, the scenario's own


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinEvent:
    at_s: float
    component: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinRun:
    """One simulated benchmark on one server."""

    provenance: Provenance = Provenance.SIMULATED
    note: str = NOT_MEASURED
    server: str
    server_name: str
    cooling: str
    workload: str
    scenario: Scenario
    suite: Suite
    round: str
    metric: Metric
    interval: Measurement  # of the metric, 90 %
    limit_w: float
    supply_degc: float | None
    flow_l_per_min: float | None
    inlet_degc: float
    duration_s: float
    accelerators: tuple[AcceleratorState, ...]
    others_degc: dict[str, float]
    reasons: dict[str, float]  # reason -> share of accelerator-seconds
    power: PowerState
    facility: FacilityState | None  # None: air only
    energy_j: float
    samples_per_j: float | None
    balance_residual: float
    dew_margin_k: float | None
    host_limited: bool
    events: tuple[TwinEvent, ...]
    played: Played | None = None  # None: Offline, which has no latency
    published: Measurement | None = None
    assumptions: tuple[str, ...] = ()
    trace: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One factor of a ratio of two scores."""

    name: str
    factor: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualLimit:
    """Both servers at one power limit: what cooling alone is worth there."""

    limit_w: float
    ratio: float  # per accelerator
    low: float | None
    high: float | None
    a_degc: float
    b_degc: float
    a_throttled: bool
    b_throttled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinCompare:
    """Two servers, or one in two cooling designs: the ratio of scores and what it is made of."""

    provenance: Provenance = Provenance.SIMULATED
    note: str = NOT_MEASURED
    a: TwinRun
    b: TwinRun
    ratio: Measurement
    per_accelerator: float
    shares: tuple[Share, ...]  # their product is the ratio
    order: str
    equal_limit: tuple[EqualLimit, ...]
    equal_limit_note: str
    published_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the validation table."""

    id: str
    what: str
    kind: str  # "closed form", "not fitted", "fitted", "reported"
    measured: str
    predicted: str
    error: str
    tolerance: str
    passed: bool | None  # None: reported without a verdict
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """One operating point at rest."""

    supply_degc: float | None
    flow_l_per_min: float | None
    inlet_degc: float
    limit_w: float
    rate_per_s: float
    wall_w: float
    pump_w: float
    die_degc: float  # the hottest
    memory_degc: float
    j_per_sample: float  # wall and pump
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """A map, and how far the cooling can be relaxed at the server's own limit."""

    provenance: Provenance
    note: str
    server: str
    cooling: str
    workload: str
    unit: str
    points: tuple[SweepPoint, ...]
    warmest_supply_degc: float | None
    warmest_facility_degc: float | None  # the facility water that gives it, through the CDU
    least_flow_l_per_min: float | None
    least_pump_w: float | None
    nothing_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultLine:
    """What became of one component; None: it did not come to that."""

    component: str
    limit_degc: float
    throttle_s: float | None
    slow_down_s: float | None
    shut_down_s: float | None
    highest_degc: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultResult:
    """One fault, from rest under load."""

    provenance: Provenance
    note: str
    server: str
    cooling: str
    workload: str
    fault: str
    assumption: str
    lasted_s: float
    lines: tuple[FaultLine, ...]
    rate_before: float
    rate_after: float
    balance_residual: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedParameter:
    """One unknown of a calibration."""

    name: str
    value: float
    low: float  # 90 %
    high: float
    unit: str
    spread_of_prior: float  # posterior over prior deviation; near 1: the data does not tell
    determined: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """What is left of a recorded quantity when a model's is taken off."""

    name: str
    unit: str
    rms: float
    largest: float
    mean: float
    n: int
    over: str  # which part of the data


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """A twin driven by recorded power, beside the recorded temperatures."""

    provenance: Provenance
    note: str
    server: str
    cooling: str
    seconds: float
    accelerators: int
    mean_power_w: float  # of all accelerators
    highest_degc: float  # simulated die
    residuals: tuple[Residual, ...]  # recorded less simulated; empty where no temperature was recorded
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationResult:
    """What a calibration found, and what the data does not determine."""

    provenance: Provenance
    note: str
    points: int
    residual_share: float
    parameters: tuple[FittedParameter, ...]
    batch_overhead_s: dict[str, float]
    source: str
    residuals: tuple[Residual, ...] = ()  # of a fit to a run: on the fitted and on the held-out part
