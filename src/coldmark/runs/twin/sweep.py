"""Many operating points at once: the map of score and energy, and how far cooling can be relaxed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Provenance, Scenario
from coldmark.core.twin import NOT_MEASURED, SweepPoint, SweepResult
from coldmark.runs.twin.setup import Setup, TwinSpec, set_up
from coldmark.thermal.assembly import Assembly, Operation, assemble
from coldmark.thermal.facility import coolant_heat_w, water_for
from coldmark.thermal.network import Array
from coldmark.thermal.rest import Rest, rest
from coldmark.thermal.score import Engine

NOTHING = 1e-3
"""A loss below this share of the score counts as none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Values to sweep over; an empty one is the server's own."""

    supply_degc: tuple[float, ...] = ()
    flow_l_per_min: tuple[float, ...] = ()
    limit_w: tuple[float, ...] = ()
    inlet_degc: tuple[float, ...] = ()

    @property
    def points(self) -> int:
        return int(
            np.prod([max(1, len(v)) for v in (self.supply_degc, self.flow_l_per_min, self.limit_w)])
        ) * max(1, len(self.inlet_degc))


MOST_POINTS = 200_000


def sweep(spec: TwinSpec, grid: Grid) -> SweepResult:
    """The map at rest, Offline. One factorisation for each pair of supply and flow, all limits together."""
    if spec.scenario is not Scenario.OFFLINE:
        raise ConfigError(f"a sweep of {spec.scenario}", where="--scenario", hint="permitted: Offline")
    if spec.at.facility_degc is not None:
        raise ConfigError("a sweep turns the supply", where="--facility-degc", hint="leave it out")
    if grid.points > MOST_POINTS:
        raise ConfigError(
            f"{grid.points} points", where="--supply-degc", hint=f"permitted: up to {MOST_POINTS}"
        )
    setup = set_up(spec)
    base = setup.engine
    limits = np.array(grid.limit_w or (setup.asm.limit_w,))
    found: list[SweepPoint] = []
    for supply, flow, inlet in product(
        grid.supply_degc or (None,), grid.flow_l_per_min or (None,), grid.inlet_degc or (None,)
    ):
        at = _turn(spec.at, supply, flow, inlet)
        asm = None
        for limit in limits:  # each limit must be one that the module takes
            asm = assemble(setup.asm.server, setup.cooling, replace(at, limit_w=float(limit)), setup.asm.part)
        assert asm is not None
        state = rest(asm, base.power, limit_w=limits)
        found += _points(asm, base, state, limits)
    return SweepResult(
        provenance=Provenance.SIMULATED,
        note=NOT_MEASURED,
        server=setup.asm.server.id,
        cooling=setup.cooling,
        workload=spec.workload,
        unit=setup.rule.book.unit,
        points=tuple(found),
        warmest_supply_degc=(warmest := _warmest_supply(setup.asm, spec, base)),
        warmest_facility_degc=_facility_of(setup, warmest),
        least_flow_l_per_min=(least := _least_flow(setup.asm, spec, base))[0],
        least_pump_w=least[1],
        nothing_share=NOTHING,
    )


def _turn(at: Operation, supply: float | None, flow: float | None, inlet: float | None) -> Operation:
    return replace(
        at,
        supply_degc=at.supply_degc if supply is None else supply,
        flow_l_per_min=at.flow_l_per_min if flow is None else flow,
        inlet_degc=at.inlet_degc if inlet is None else inlet,
    )


def _points(asm: Assembly, eng: Engine, state: Rest, limits: Array) -> list[SweepPoint]:
    rates = eng.total(state.mhz)
    wet = asm.flow_l_per_min > 0
    found = []
    for i, limit in enumerate(limits):
        power = float(state.wall_w[i]) + asm.pump_w
        worst = int(np.argmin(state.mhz[i]))
        found.append(
            SweepPoint(
                supply_degc=float(asm.boundary_degc[0]) if wet else None,
                flow_l_per_min=asm.flow_l_per_min if wet else None,
                inlet_degc=float(asm.boundary_degc[1]),
                limit_w=float(limit),
                rate_per_s=float(rates[i]),
                wall_w=float(state.wall_w[i]),
                pump_w=asm.pump_w,
                die_degc=float(state.die_degc[i].max()),
                memory_degc=float(state.memory_degc[i].max()),
                j_per_sample=power / float(rates[i]),
                reason=state.reason(i, worst, asm.part.boost_mhz.value).value,
            )
        )
    return found


def _rate(asm: Assembly, spec: TwinSpec, eng: Engine, at: Operation) -> tuple[float, Assembly]:
    turned = assemble(asm.server, spec.cooling, replace(at, limit_w=asm.limit_w), asm.part)
    return float(eng.total(rest(turned, eng.power).mhz)[0]), turned


def _warmest_supply(asm: Assembly, spec: TwinSpec, eng: Engine) -> float | None:
    """The warmest coolant that loses nothing against the coolest permitted one; None without coolant."""
    loop = asm.server.loop
    if loop is None or asm.flow_l_per_min <= 0:
        return None
    coolest = float(asm.boundary_degc[0]) - (asm.dew_margin_k or 0.0) + loop.dew_margin_k.value + 1e-6
    best = _rate(asm, spec, eng, replace(spec.at, supply_degc=coolest))[0]

    def holds(supply: float) -> bool:
        return _rate(asm, spec, eng, replace(spec.at, supply_degc=supply))[0] >= best * (1 - NOTHING)

    return _last_true(holds, coolest, 90.0, 0.05)


def _facility_of(setup: Setup, supply: float | None) -> float | None:
    """The facility water that gives a supply, at the heat the server gives there."""
    loop, flow = setup.asm.server.loop, setup.facility_l_per_min
    if loop is None or supply is None or not flow:
        return None
    at = replace(setup.at, supply_degc=supply, limit_w=setup.asm.limit_w)
    asm = assemble(setup.asm.server, setup.cooling, at, setup.asm.part)
    return water_for(loop, asm, flow, coolant_heat_w(asm, setup.engine.power))[0]


def _least_flow(asm: Assembly, spec: TwinSpec, eng: Engine) -> tuple[float | None, float | None]:
    """The least flow within the plates' tables that loses nothing against the most, and its pump power."""
    if asm.flow_l_per_min <= 0:
        return None, None
    branches = asm.flow_l_per_min / max(asm.plate_l_per_min, 1e-9)
    own = asm.flow_l_per_min
    best = _rate(asm, spec, eng, spec.at)[0]

    def holds(flow: float) -> bool:
        try:
            return _rate(asm, spec, eng, replace(spec.at, flow_l_per_min=flow))[0] >= best * (1 - NOTHING)
        except ConfigError:
            return False

    least = -_last_true(lambda f: holds(-f), -own, -0.4 * branches, 0.01)
    return least, _rate(asm, spec, eng, replace(spec.at, flow_l_per_min=least))[1].pump_w


def _last_true(holds: Callable[[float], bool], low: float, high: float, tolerance: float) -> float:
    """The largest value for which a test that turns from true to false still holds."""
    if holds(high):
        return high
    while high - low > tolerance:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def spread(text: str, *, where: str) -> tuple[float, ...]:
    """`20:50:7` as seven values from 20 to 50, `20,30` as listed. Raises ConfigError."""
    try:
        if ":" in text:
            low, high, count = text.split(":")
            n = int(count)
            if not 1 <= n <= MOST_POINTS:
                raise ValueError
            return tuple(float(v) for v in np.linspace(float(low), float(high), n))
        values = tuple(float(v) for v in text.split(","))
    except ValueError:
        raise ConfigError(
            f"{text!r} is neither LOW:HIGH:COUNT nor a list of numbers",
            where=where,
            hint="for example 20:50:7",
        ) from None
    if not np.all(np.isfinite(values)):
        raise ConfigError(f"{text!r} holds no finite numbers", where=where)
    return values
