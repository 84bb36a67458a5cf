"""A twin run: thermal model, virtual-time driver and rule book put together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from coldmark.core.nouns import Measurement, Provenance, Scenario
from coldmark.core.record import Metric
from coldmark.core.twin import AcceleratorState, FacilityState, PowerState, TwinEvent, TwinRun
from coldmark.runs.twin.interval import relative_interval
from coldmark.runs.twin.score import Score, offline_score, score_at_rest
from coldmark.runs.twin.setup import Setup, TwinSpec, set_up
from coldmark.thermal.assembly import Assembly, Operation
from coldmark.thermal.cdu import cool_enough_class, water_class
from coldmark.thermal.exchanger import exchanger
from coldmark.thermal.facility import coolant_heat_w, water_for
from coldmark.thermal.rest import ThermalRunaway
from coldmark.thermal.score import Engine
from coldmark.thermal.transient import REASONS, Trajectory, simulate
from coldmark.thermal.workloads import fitted_name, published


def run_twin(spec: TwinSpec, *, trace: bool = False) -> TwinRun:
    """Simulate one benchmark. Raises ConfigError, or ThermalRunaway with component and time."""
    setup = set_up(spec)
    try:
        setup, score = _scored(setup)
    except ThermalRunaway:
        # It says which component; the simulation also says when.
        simulate(setup.asm, setup.engine.power, spec.duration_s, runaway=True)
        raise
    path = simulate(setup.asm, score.engine.power, spec.duration_s, every_s=min(1.0, spec.duration_s / 100))
    if spec.scenario is Scenario.OFFLINE:
        score = offline_score(score.engine, path.mhz)
    low, high, n = relative_interval(setup, score) if spec.draws else (None, None, None)
    return _answer(setup, score, path, (low, high, n), trace=trace)


def _scored(setup: Setup) -> tuple[Setup, Score]:
    """The score at rest. A server that is not busy all the time heats its supply less: so once more."""
    score = score_at_rest(setup)
    if setup.spec.at.facility_degc is None or score.engine.utilisation == 1.0:
        return setup, score
    score = score_at_rest(setup.resupplied(score.engine))
    setup = setup.resupplied(score.engine)
    return setup, replace(score, engine=setup.engine.busy(score.engine.utilisation))


def _answer(
    setup: Setup,
    score: Score,
    path: Trajectory,
    interval: tuple[float | None, float | None, int | None],
    *,
    trace: bool,
) -> TwinRun:
    spec, asm, book = setup.spec, setup.asm, setup.rule.book
    low, high, n = interval
    energy = float(np.mean(path.wall_w)) * spec.duration_s
    rate = score.value if not book.lower_is_better else None
    wet = asm.flow_l_per_min > 0
    return TwinRun(
        server=asm.server.id,
        server_name=asm.server.name,
        cooling=setup.cooling,
        workload=spec.workload,
        scenario=spec.scenario,
        suite=setup.rule.suite,
        round=spec.round,
        metric=Metric(name=book.metric, value=score.value, unit=book.unit),
        interval=Measurement(
            value=score.value,
            unit=book.unit,
            low=None if low is None else score.value * low,
            high=None if high is None else score.value * high,
            n=n,
            method="90 % of draws over fitted and file parameters and the fit's own scatter",
            provenance=Provenance.SIMULATED,
        ),
        limit_w=asm.limit_w,
        supply_degc=float(asm.boundary_degc[0]) if wet else None,
        flow_l_per_min=asm.flow_l_per_min if wet else None,
        inlet_degc=float(asm.boundary_degc[1]),
        duration_s=spec.duration_s,
        accelerators=tuple(_accelerator(path, i) for i in range(len(asm.die))),
        others_degc={name: float(path.other_degc[-1, j]) for j, name in enumerate(asm.other)},
        reasons=_reasons(path),
        power=PowerState(
            wall_w=float(path.wall_w[-1]),
            accelerators_w=float(path.gpu_w[-1].sum()),
            fans_w=asm.fan_w,
            pump_w=asm.pump_w,
            coolant_share=float(path.coolant_w[-1] / path.wall_w[-1]),
        ),
        facility=_facility(setup, score),
        energy_j=energy,
        samples_per_j=None if rate is None else rate * spec.duration_s / energy,
        balance_residual=path.balance_residual,
        dew_margin_k=asm.dew_margin_k,
        host_limited=score.host_limited,
        events=tuple(TwinEvent(at_s=e.at_s, component=e.component, what=e.what) for e in path.events),
        played=score.played,
        published=published_score(spec, asm),
        assumptions=tuple(asm.server.notes),
        trace=_trace(score.engine, path) if trace else {},
    )


def _facility(setup: Setup, score: Score) -> FacilityState | None:
    """Facility water and the CDU at rest under load: the water that was given, or that the supply needs."""
    asm, loop, flow = setup.asm, setup.asm.server.loop, setup.facility_l_per_min
    if loop is None or not flow:
        return None
    heat, given = coolant_heat_w(asm, score.engine.power), setup.spec.at.facility_degc
    supply = float(asm.boundary_degc[0])
    if given is None:
        water, cdu = water_for(loop, asm, flow, heat)
    else:
        water, cdu = given, exchanger(loop, asm.flow_l_per_min, supply, given, flow)
    return FacilityState(
        given=given is not None,
        water_degc=water,
        return_degc=water + heat / cdu.facility_w_per_k,
        l_per_min=flow,
        water_class=cool_enough_class(water) if given is None else water_class(water),
        heat_w=heat,
        effectiveness=cdu.effectiveness,
        approach_k=supply - water,
        cdu_power_w=heat * loop.facility_pump_share.value,
    )


def _accelerator(path: Trajectory, i: int) -> AcceleratorState:
    return AcceleratorState(
        name=f"gpu{i}",
        mhz=float(path.mhz[-1, i]),
        power_w=float(path.gpu_w[-1, i]),
        die_degc=float(path.die_degc[-1, i]),
        memory_degc=float(path.memory_degc[-1, i]),
        reason=REASONS[int(path.reason[-1, i])].value,
    )


def _reasons(path: Trajectory) -> dict[str, float]:
    shares = {r.value: float(np.mean(path.reason == i)) for i, r in enumerate(REASONS)}
    return {name: share for name, share in shares.items() if share > 0}


def published_score(spec: TwinSpec, asm: Assembly) -> Measurement | None:
    """The server's own published score at this limit, where there is one and nothing else was turned."""
    turned = replace(spec.at, limit_w=None) != Operation() or spec.cooling not in (None, asm.server.design)
    point = published().find(asm.server.id, fitted_name(spec.workload), spec.scenario, asm.limit_w)
    if turned or point is None or point.accelerators != asm.server.gpu.count:
        return None
    unit = {Scenario.OFFLINE: "samples/s", Scenario.SERVER: "queries/s"}.get(spec.scenario, "ms")
    word = {"fit": "takes part in the fit", "held-out": "held out of the fit"}.get(point.role, "not fitted")
    return Measurement(
        value=point.score,
        unit=unit,
        method=f"{point.published}, MLPerf Inference v2.1 closed; {word}",
        provenance=Provenance.PUBLISHED,
    )


def _trace(eng: Engine, path: Trajectory) -> dict[str, list[Any]]:
    """Columns over time, for plots and tables."""
    columns: dict[str, list[Any]] = {"time_s": path.time_s.round(3).tolist()}
    for i in range(path.mhz.shape[1]):
        columns[f"gpu{i}.die_degc"] = path.die_degc[:, i].round(3).tolist()
        columns[f"gpu{i}.memory_degc"] = path.memory_degc[:, i].round(3).tolist()
        columns[f"gpu{i}.mhz"] = path.mhz[:, i].round(2).tolist()
        columns[f"gpu{i}.power_w"] = path.gpu_w[:, i].round(2).tolist()
        columns[f"gpu{i}.reason"] = [REASONS[int(r)].value for r in path.reason[:, i]]
    for j, name in enumerate(eng.asm.other):
        columns[f"{name}.degc"] = path.other_degc[:, j].round(3).tolist()
    columns["wall_w"] = path.wall_w.round(2).tolist()
    columns["rate_per_s"] = eng.total(path.mhz).round(4).tolist()
    return columns
