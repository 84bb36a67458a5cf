"""What happens when the cooling breaks: seconds until throttle, slow-down and shut-down, per component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

import numpy as np

from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.core.nouns import Provenance
from coldmark.core.twin import NOT_MEASURED, FaultLine, FaultResult
from coldmark.runs.twin.score import score_at_rest
from coldmark.runs.twin.setup import Setup, TwinSpec, set_up
from coldmark.thermal.assembly import Assembly, Operation, assemble
from coldmark.thermal.rest import rest, rest_degc
from coldmark.thermal.transient import Trajectory, simulate

EVERY_S = 0.1


class Fault(StrEnum):
    """What breaks."""

    PUMP = "pump"
    FAN = "fan"
    FLOW = "flow"
    FOUL = "foul"


COAST_DOWN = ((0.0, 0.6), (0.5, 0.35), (1.0, 0.2), (2.0, 0.08), (3.0, 0.02), (4.0, 0.001))
"""Time [s] and share of the flow after a pump stops. [M]; the last is what natural circulation may leave."""

HYPOTHESES: Mapping[Fault, str] = {
    Fault.PUMP: "flow falls to nothing within 4 s; a standing plate keeps the resistance of its lowest "
    "tabulated flow, so the times are heat capacity over power, optimistic in the film",
    Fault.FAN: "one fan stands; back-flow through it is not modelled, the others keep their duty",
    Fault.FLOW: "the flow halves at once and stays; below its table a plate keeps the lowest value",
    Fault.FOUL: "one plate or sink loses this factor of its film resistance at once",
}


def find_fault(name: str) -> Fault:
    """A fault by name. Raises ConfigError."""
    try:
        return Fault(name.lower())
    except ValueError:
        names = [f.value for f in Fault]
        raise ConfigError(f"no fault {name!r}", where="--fault", hint=did_you_mean(name, names)) from None


def break_it(spec: TwinSpec, fault: Fault, *, accelerator: int = 0, factor: float = 4.0) -> FaultResult:
    """Break something at time 0, from rest under load. Raises ConfigError where there is nothing to break."""
    setup = set_up(spec)
    _check(setup, fault, accelerator, factor)
    eng = score_at_rest(setup).engine
    path = simulate(
        setup.asm,
        eng.power,
        spec.duration_s,
        every_s=EVERY_S,
        start_degc=rest_degc(setup.asm, rest(setup.asm, eng.power)),
        changes=_changes(setup, fault, accelerator, factor),
        stop=lambda events: sum(e.what == "shut-down" for e in events) == len(setup.asm.die),
    )
    rates = eng.total(path.mhz)
    return FaultResult(
        provenance=Provenance.SIMULATED,
        note=NOT_MEASURED,
        server=setup.asm.server.id,
        cooling=setup.cooling,
        workload=spec.workload,
        fault=fault.value,
        assumption=HYPOTHESES[fault],
        lasted_s=float(path.steps) * 0.01,
        lines=tuple(_lines(setup.asm, path)),
        rate_before=float(eng.total(rest(setup.asm, eng.power).mhz)[0]),
        rate_after=float(rates[-1]),
        balance_residual=path.balance_residual,
    )


def _check(setup: Setup, fault: Fault, accelerator: int, factor: float) -> None:
    wet = setup.asm.flow_l_per_min > 0
    if fault in (Fault.PUMP, Fault.FLOW) and not wet:
        raise ConfigError(
            f"{setup.asm.server.id} has no coolant in this cooling",
            where="--fault",
            hint="permitted: fan, foul",
        )
    if not 0 <= accelerator < len(setup.asm.die):
        raise ConfigError(
            f"no accelerator {accelerator}",
            where="--accelerator",
            hint=f"permitted: 0 to {len(setup.asm.die) - 1}",
        )
    if not 1 <= factor <= 1000:
        raise ConfigError(f"{factor:g}", where="--factor", hint="permitted: 1 to 1000")


def _changes(setup: Setup, fault: Fault, accelerator: int, factor: float) -> dict[float, Assembly]:
    def with_(**changes: object) -> Assembly:
        at: Operation = replace(setup.at, limit_w=setup.asm.limit_w, **changes)  # type: ignore[arg-type]
        return assemble(setup.asm.server, setup.cooling, at, setup.asm.part)

    if fault is Fault.PUMP:
        return {t: with_(flow_factor=share) for t, share in COAST_DOWN}
    if fault is Fault.FLOW:
        return {0.0: with_(flow_factor=0.5)}
    if fault is Fault.FAN:
        return {0.0: with_(fans_running=1.0 - 1.0 / setup.asm.server.air.fans)}
    return {0.0: with_(foul={accelerator: factor})}


def _lines(asm: Assembly, path: Trajectory) -> list[FaultLine]:
    """One line a component: accelerators from the governor's events, the others by their limits."""
    found = []
    first: dict[tuple[str, str], float] = {}
    for e in path.events:
        first.setdefault((e.component, e.what.partition(":")[0]), e.at_s)
    for i in range(len(asm.die)):
        name = f"gpu{i}"
        found.append(
            FaultLine(
                component=name,
                limit_degc=asm.part.max_operating_degc.value,
                throttle_s=first.get((name, "throttle")),
                slow_down_s=first.get((name, "hardware slow-down")),
                shut_down_s=first.get((name, "shut-down")),
                highest_degc=float(path.die_degc[:, i].max()),
            )
        )
    for j, name in enumerate(asm.other):
        if name == "fans":
            continue
        noun = asm.server.cpu if name.startswith("cpu") else asm.server.components[name]
        limit = noun.max_operating_degc.value
        over = np.flatnonzero(path.other_degc[:, j] > limit)
        found.append(
            FaultLine(
                component=name,
                limit_degc=limit,
                throttle_s=float(path.time_s[over[0]]) if len(over) else None,
                slow_down_s=None,
                shut_down_s=None,
                highest_degc=float(path.other_degc[:, j].max()),
            )
        )
    return found
