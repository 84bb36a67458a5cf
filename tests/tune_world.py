"""A made-up machine for searches: a known surface, noise, a clock that only measuring moves, and load."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from coldmark.backends.space import Axis
from coldmark.core.errors import BackendError, ColdmarkError
from coldmark.core.nouns import Precision
from coldmark.core.tuned import Configuration
from coldmark.runs.tuning.search import Effort, Found, Infeasible, Reading, Search, World
from coldmark.runs.tuning.space import Branch, Space

AXES = (
    Axis(name="batch", values=(1, 2, 4, 8, 16, 32, 64), usual=8),
    Axis(name="streams", values=(1, 2, 4), usual=1),
    Axis(name="threads", values=(1, 2, 4), usual=4, at_least="streams"),
    Axis(name="pin", values=(False, True), usual=False),
)

OPEN_S = 1.0
"""What opening a configuration takes."""


def space(*precisions: Precision) -> Space:
    branches = tuple(
        Branch(backend="openvino", precision=p, axes=AXES) for p in precisions or (Precision.FP32,)
    )
    return Space(
        branches=branches, default=Configuration(backend="openvino", precision=branches[0].precision)
    )


def values(found: Configuration) -> dict[str, str]:
    """A configuration's settings, absent ones as usual."""
    usual = {a.name: str(a.usual).lower() for a in AXES}
    return usual | {k.partition(".")[2]: v for k, v in found.options.items()}


def surface(found: Configuration) -> float:
    """A rate with one best place: batch 32, 2 streams, 4 threads, pinned; twice that in INT8."""
    v = values(found)
    rate = 100 * math.exp(-0.15 * (math.log2(int(v["batch"])) - 5) ** 2)
    rate *= {"1": 0.85, "2": 1.0, "4": 0.9}[v["streams"]] * {"1": 0.4, "2": 0.7, "4": 1.0}[v["threads"]]
    rate *= 1.05 if v["pin"] == "true" else 1.0
    return rate * (2.0 if found.precision is Precision.INT8 else 1.0)


def flat(found: Configuration) -> float:
    """A rate that nothing changes."""
    return 100.0


@dataclass
class Machine:
    """Opens configurations of a surface; `load(t)` divides every speed."""

    rate: Callable[[Configuration], float] = surface
    noise: float = 0.01
    load: Callable[[float], float] = lambda t: 1.0
    fails: Callable[[Configuration], ColdmarkError | None] = lambda c: None
    open_s: Callable[[Configuration], float] = lambda c: OPEN_S
    seed: int = 1
    now: float = 0.0
    open_now: int = 0
    most_open: int = 0
    opened: list[Configuration] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def world(self) -> World:
        return World(
            open=self.open, clock=lambda: self.now, pause=self._pass, load=lambda: (self.load(self.now), 0, 0)
        )

    def _pass(self, seconds: float) -> None:
        self.now += seconds

    def open(self, found: Configuration, limit_s: float) -> Warm:
        self.now += self.open_s(found)
        if error := self.fails(found):
            raise error
        self.opened.append(found)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        return Warm(self, found)

    def speed(self) -> float:
        return float(np.exp(self._rng.normal(0, self.noise))) / self.load(self.now)


@dataclass
class Warm:
    """An open configuration."""

    machine: Machine
    found: Configuration
    peak_rss_bytes: int = 1 << 20
    units_per_sample: float = 1.0

    def score(self, seconds: float, limit_s: float) -> Reading:
        self.machine.now += seconds
        rate = self.machine.rate(self.found)
        if rate <= 0:
            raise Infeasible("no rate meets 15 ms")
        value = rate * self.machine.speed()
        return Reading(value=value, score=value)

    def pulse(self, seconds: float, limit_s: float) -> float:
        self.machine.now += seconds
        return 50 * self.machine.speed()

    def close(self) -> None:
        self.machine.open_now -= 1


def search(
    machine: Machine, over: Space | None = None, *, budget_s: float = 180.0, seed: int = 0, **effort: Any
) -> Found:
    """A search of that machine; everything it opened is closed again."""
    found = Search(
        space=over or space(),
        world=machine.world(),
        effort=Effort(budget_s=budget_s, seed=seed, **effort),
        unit="samples/s",
    ).run()
    assert machine.open_now == 0
    return found


def broken(message: str) -> ColdmarkError:
    return BackendError(message)
