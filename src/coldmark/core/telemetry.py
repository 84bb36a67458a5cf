"""What telemetry says of a run: the part `telemetry` of its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from coldmark.core.nouns import Measurement
from coldmark.core.trace import Channel


class Why(StrEnum):
    """Why a sensor is not there."""

    NOT_INSTALLED = "not installed"
    NO_PERMISSION = "no permission"
    NO_DEVICE = "no device"
    NOT_CONFIGURED = "not configured"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A sensor, or a channel of one, that this machine does not give, and what would help."""

    family: str
    what: str
    why: Why
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A channel and what it says now; NaN where it says nothing."""

    channel: Channel
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerCost:
    """What sampling itself took."""

    cpu_s: float
    wall_s: float
    core_share: float  # of one core
    channels: int
    reads: int
    late: int  # readings that were skipped because the one before took too long


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonShare:
    """How much of the timed window a clock-event reason was active."""

    reason: str  # power limit, heat, power brake, ...
    share: Measurement  # of the window, mean over components
    basis: str  # the channels it rests on


@dataclass(frozen=True, slots=True, kw_only=True)
class LossShare:
    """Throughput lost to one reason, share of the rate at the best sustained clock."""

    reason: str
    value: float | None  # None: only bounds are known
    low: float | None  # 95 %, or a bound
    high: float | None
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A mean over the window against what bounds it; `limit` None: not known."""

    name: str  # clock, temperature, memory temperature, power
    component: str
    mean: float
    highest: float
    limit: float | None
    unit: str
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A step or drift of throughput, and what moved with it."""

    kind: str  # step, drift
    at_s: float  # from the begin of the window; a drift's is where it was steady
    share: float  # of the rate before; drift: over the rest of the window
    cause: str  # clock, clock (heat), temperature, other load, steal, neither, unknown: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Rate over the timed window."""

    mean_per_s: float
    noise_share: float  # scatter of the bins around the steady mean
    bin_s: float
    steady_after_s: float | None  # None: it never was
    changes: tuple[Change, ...]
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Energy of the timed window, with what the meter covers."""

    covers: str  # gpu, package, memory, wall
    energy_j: float
    mean_w: float
    j_per_sample: float | None
    samples_per_j: float | None
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What the sensors of a run say, and what they cannot."""

    sampled: bool
    why_not: str = ""  # sampling was turned off, or gave nothing
    line: str = ""  # the whole in one line
    device: str = ""  # gpu or cpu: what did the work, and how that is known
    window_s: float | None = None
    window_basis: str = ""
    reasons: tuple[ReasonShare, ...] = ()
    losses: tuple[LossShare, ...] = ()
    levels: tuple[Level, ...] = ()
    throughput: Throughput | None = None
    energy: tuple[Energy, ...] = ()
    steal_share: float | None = None  # of wanted processor time
    other_load_share: float | None = None  # busy time that is neither the run's nor the sampler's
    unknown: tuple[str, ...] = ()  # statements that cannot be made, each with the channel it lacks
    missing: tuple[Missing, ...] = ()
    options: dict[str, str] = field(default_factory=dict)  # what sampling was asked to do
    insecure: tuple[str, ...] = ()  # peers whose certificate was not checked
    cost: SamplerCost | None = None
    method: str = ""  # where the method is written down
