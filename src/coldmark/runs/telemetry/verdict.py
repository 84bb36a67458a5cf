"""From a trace to what it says of a result. A statement names its channels; without them it is not made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from coldmark.core.errors import ColdmarkError, DataError
from coldmark.core.nouns import Mode, Scenario
from coldmark.core.record import RunRecord
from coldmark.core.telemetry import Level, LossShare, Missing, Telemetry, Why
from coldmark.core.trace import Array, Series, Trace
from coldmark.runs.resolve import Plan
from coldmark.runs.telemetry.energy import energies
from coldmark.runs.telemetry.levels import levels
from coldmark.runs.telemetry.line import line
from coldmark.runs.telemetry.rate import Covariates, throughput
from coldmark.runs.telemetry.reasons import Activity, cpu_activity, gpu_activity, gpus, growth_rate
from coldmark.runs.telemetry.sample import Sampling
from coldmark.runs.telemetry.window import Window, run_trace, with_meter
from coldmark.runs.verdict import TestRun
from coldmark.stats.loss import losses
from coldmark.stats.throughput import binned_mean, binned_rate, edges
from coldmark.store.trace import FOLDER

METHOD = "docs/explanation/telemetry.md"
PRESCRIBED = "the rate is prescribed in Server"
LEAST_BINS = 8


def with_telemetry(
    record: RunRecord, plan: Plan, tests: Mapping[Mode, TestRun], run_dir: Path, sampling: Sampling | None
) -> RunRecord:
    """The record with what its sensors say, and findings of sensors that died."""
    if sampling is None:
        return replace(record, telemetry=Telemetry(sampled=False, why_not="turned off", line="not sampled"))
    test = tests.get(Mode.PERFORMANCE)
    missing, why = list(sampling.found.missing), "no performance test was run"
    said = Telemetry(sampled=True)
    if test is not None:
        try:
            said, why = _said(run_dir, plan, test, missing), "its trace does not cover the timed window"
        except (ColdmarkError, ValueError, ArithmeticError) as error:
            # What was measured is kept, whatever became of its telemetry.
            why = f"the trace cannot be judged: {error}"
    judged = said.window_s is not None
    if not judged:
        said = replace(said, why_not=why, line=f"no verdict: {why}")
    said = replace(
        said,
        missing=tuple(missing),
        insecure=sampling.found.insecure,
        options={k: v for k, v in plan.spec.options.items() if _is_ours(k)},
        cost=sampling.cost,
        method=METHOD,
    )
    said = replace(said, line=line(said)) if judged else said
    return replace(record, telemetry=said, findings=(*record.findings, *sampling.findings()))


def _said(run_dir: Path, plan: Plan, test: TestRun, missing: list[Missing]) -> Telemetry:
    """The verdict of the trace in which a test ran; an empty one where none has it. Raises DataError."""
    found = run_trace(run_dir.glob(f"{FOLDER}*"), test)
    if found is None:
        return Telemetry(sampled=True)
    trace, window = found
    try:
        trace = with_meter(trace, plan.sensors.get("ptd"))
    except DataError as error:
        missing.append(Missing(family="ptd", what="wall power", why=Why.FAILED, detail=str(error)))
    return assess(trace, window, prescribed=plan.spec.scenario is Scenario.SERVER)


def _is_ours(key: str) -> bool:
    from coldmark.telemetry import SENSORS

    return key.partition(".")[0] in {"telemetry", *SENSORS}


def assess(trace: Trace, window: Window, *, prescribed: bool = False) -> Telemetry:
    """The verdict over a window of a trace. Pure: no file, no clock."""
    begin, end, unknown = window.begin_s, window.end_s, list[str]()
    counter = _first(trace, "completed", family="run")
    samples = _growth(counter, begin, end) if counter else None
    at = edges(begin, end, count=samples)
    family, device = gpus(trace, begin, end)
    activity = gpu_activity(trace, family, at) if family else cpu_activity(trace, at)
    clock, best = clock_of(trace, family, at, activity)
    around = Covariates(
        clock=clock,
        temperature=_binned(trace, "temperature_degc", family or "hwmon", at),
        steal=_steal(trace, at),
        other=_other(trace, at),
        active=activity.active,
    )
    rate = binned_rate(counter.t_s, counter.value, at) if counter and len(at) > LEAST_BINS else None
    shown = throughput(rate, at, around) if rate is not None and rate.sum() > 0 else None
    if shown is None:
        unknown.append("throughput over time: unknown: the window is too short or has no counter")
    lost = _losses(rate, shown is not None, activity, clock, best, prescribed, unknown)
    found = levels(trace, family, begin, end, best)
    unknown += _gaps(found, activity, around)
    energy = energies(trace, begin, end, samples)
    if not energy:
        unknown.append("energy: unknown: no power or energy channel covers the window")
    return Telemetry(
        sampled=True,
        device=device,
        window_s=end - begin,
        window_basis=window.basis,
        reasons=activity.shares,
        losses=lost,
        levels=found,
        throughput=shown,
        energy=energy,
        steal_share=None if around.steal is None else float(np.mean(around.steal)),
        other_load_share=None if around.other is None else float(np.mean(around.other)),
        unknown=tuple(unknown),
    )


def clock_of(
    trace: Trace, family: str, at: Array, activity: Activity
) -> tuple[Array | None, tuple[float, str] | None]:
    """Mean clock [m] of the bins, and the best sustained one: of the free bins, else what the device says."""
    clock = _binned(trace, "clock_mhz", family or "cpu", at)
    if clock is None:
        return None, None
    taken = sum(activity.active.values()) if activity.active else None
    free = clock if taken is None else clock[np.asarray(taken) < 0.05]
    if taken is not None and len(free) >= 5:
        return clock, (float(np.median(free)), "median while no reason was active")
    tops = [
        top
        for s in trace.of("clock_mhz", family=family or "cpu")
        if (top := trace.constant(s.channel, "clock_max_mhz")) is not None
    ]
    if tops:
        return clock, (float(np.mean(tops)), "the device's maximum")
    if taken is None:
        return clock, (float(np.percentile(clock, 95)), "95th percentile of the run")
    return clock, None


def _losses(
    rate: Array | None,
    usable: bool,
    activity: Activity,
    clock: Array | None,
    best: tuple[float, str] | None,
    prescribed: bool,
    unknown: list[str],
) -> tuple[LossShare, ...]:
    if not activity.basis:
        unknown.append("loss to heat or power: unknown: no channel of clock-event reasons or throttling")
        return ()
    if prescribed:
        unknown.append(f"loss to heat or power: unknown: {PRESCRIBED}, it cannot show a loss")
        return ()
    if rate is None or not usable:
        unknown.append("loss to heat or power: unknown: no throughput over time")
        return ()
    active = activity.active
    found = losses(rate, active, clock, best[0] if best else None)
    said = {f.reason for f in found}
    for name, a in active.items():
        if name not in said and a.sum() > 0:
            unknown.append(
                f"loss to {name}: unknown: it was active all the time and no clock channel bounds it"
            )
    return tuple(
        LossShare(reason=f.reason, value=f.value, low=f.low, high=f.high, method=f.method) for f in found
    )


def _gaps(found: tuple[Level, ...], activity: Activity, around: Covariates) -> list[str]:
    have = {level.name for level in found}
    gaps = [f"{name}: unknown: no {name} channel" for name in ("clock", "temperature") if name not in have]
    gaps += [
        f"{level.component} {level.name}: unknown how far below its limit: no limit is told"
        for level in found
        if level.limit is None and level.name == "temperature"
    ]
    if around.steal is None:
        gaps.append("steal: unknown: no channel of stolen processor time")
    return gaps


def _first(trace: Trace, quantity: str, *, family: str) -> Series | None:
    return next((s for s in trace.of(quantity, family=family) if len(s.t_s) > 1), None)


def _growth(s: Series, begin: float, end: float) -> float:
    lower, upper = np.interp([begin, end], s.t_s, s.value)
    return float(upper - lower)


def _binned(trace: Trace, quantity: str, family: str, at: Array) -> Array | None:
    """Mean over components of a gauge in bins; None where no component covers the window."""
    parts = [
        binned_mean(s.t_s, s.value, at)
        for s in trace.of(quantity, family=family)
        if len(s.t_s) > 1 and s.t_s[0] <= at[1] and s.t_s[-1] >= at[-2]
    ]
    found: Array | None = np.mean(parts, axis=0) if parts else None
    return found


def _steal(trace: Trace, at: Array) -> Array | None:
    """Stolen over wanted processor time, in bins."""
    stolen, busy = _first(trace, "steal_s", family="cpu"), _first(trace, "busy_s", family="cpu")
    if stolen is None or busy is None:
        return None
    s, b = growth_rate(stolen, at), growth_rate(busy, at)
    return np.where(s + b > 0, s / np.maximum(s + b, 1e-12), 0.0)


def _other(trace: Trace, at: Array) -> Array | None:
    """Share of all processors that was busy with neither the test nor this harness's idle watching."""
    busy, own = _first(trace, "busy_s", family="cpu"), _first(trace, "busy_s", family="run")
    if busy is None or own is None:
        return None
    processors = trace.constant(busy.channel, "processors")
    if not processors:
        return None
    return np.clip((growth_rate(busy, at) - growth_rate(own, at)) / processors, 0, 1)
