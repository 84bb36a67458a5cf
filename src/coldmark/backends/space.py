"""What of a backend may be searched, as data: one axis a setting, never a combination that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from coldmark.core.nouns import Scenario

Value: TypeAlias = bool | int | float

BATCH_STEPS = range(-4, 5)
"""Powers of two about the usual batch."""

SERVER_DELAYS_US = (0, 100, 300, 1000, 3000, 10000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One setting of a backend's options and the values worth trying, ascending."""

    name: str
    values: tuple[Value, ...]
    usual: Value  # what an absent value comes to
    at_least: str = ""  # an earlier axis whose value this one's is never below

    def allowed(self, chosen: Mapping[str, Value]) -> tuple[Value, ...]:
        """The values that go with what was chosen before."""
        floor = chosen.get(self.at_least)
        if floor is None:
            return self.values
        return tuple(v for v in self.values if v >= floor) or (floor,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceRequest:
    """What a space is made for."""

    scenario: Scenario
    processors: int
    batch: int  # the batch where none is asked for
    samples_per_query: int = 1
    limit_s: float | None = None  # Server: the latency bound
    rows: bool = True  # samples are rows of one network


def inline(scenario: Scenario) -> bool:
    """Whether the thread that issues also computes, so that there is one request at a time."""
    return scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM)


def batches(request: SpaceRequest) -> tuple[int, ...]:
    """Batches worth trying: powers of two about the usual one; what a query holds is the most of a stream."""
    if request.scenario is Scenario.SINGLE_STREAM and request.rows:
        return (request.batch,)
    found = {max(1, int(request.batch * 2.0**step)) for step in BATCH_STEPS}
    if request.scenario is Scenario.MULTI_STREAM and request.rows:
        found = {b for b in found if b <= request.samples_per_query}
    if request.scenario is Scenario.SERVER:
        found = {b for b in found if b <= 4 * request.batch}  # each power of two below is compiled as well
    return tuple(sorted(found | {request.batch}))


def shares(processors: int) -> tuple[int, ...]:
    """All processors, a half of them, a quarter, ... down to one."""
    return tuple(sorted({max(1, processors >> step) for step in range(processors.bit_length())}))


def delays(request: SpaceRequest) -> tuple[int, ...]:
    """Batching delays [us] that leave most of the latency bound to computing."""
    return tuple(d for d in SERVER_DELAYS_US if d * 1e-6 <= 0.4 * (request.limit_s or 0))
