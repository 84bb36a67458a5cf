"""Tune one workload in one scenario: what may be chosen, the search, and what is kept of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from coldmark.core.errors import ColdmarkError, ConfigError, Interrupted
from coldmark.core.nouns import Finding, Measurement, Precision, Provenance, Scenario, Severity
from coldmark.core.record import RunSpec
from coldmark.core.server_rate import ServerTrial
from coldmark.core.tuned import Trial, TunedKey, TunedRecord
from coldmark.runs.execute import software_versions
from coldmark.runs.resolve import Plan, open_task, option_groups, resolve
from coldmark.runs.tuned import kept_for, model_sha256, this_machine
from coldmark.runs.tuning.bench import Opener, Room
from coldmark.runs.tuning.gate import Gates
from coldmark.runs.tuning.search import Effort, Found, NothingHolds, OnTrial, Search, World
from coldmark.runs.tuning.server_rate import find_server_rate
from coldmark.runs.tuning.space import Space, build_space
from coldmark.store.tuned import ready, tuned_id, write_tuned
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.task import Task

RATE_SHARE = 0.5
"""Share of a Server budget that searches the rate, once the configuration is found."""

MEMORY_SHARE = 0.6
"""Share of the machine's memory that one configuration may take: the reference stays open beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSpec:
    """What the user asked to have tuned. What is None is searched."""

    run: RunSpec  # with the options that are fixed; its backend and precision hold where they are fixed
    backend: str | None = None
    precision: Precision | None = None
    budget_s: float = 180.0
    memory_gib: float | None = None
    seed: int = 0
    drift: float = 0.10
    slice_s: float = 0.4
    most_trials: int | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--budget", self.budget_s, 1, 864000),
            ("--memory", self.memory_gib, 0.05, 65536),
            ("--drift", self.drift, 0.001, 100),
            ("--slice", self.slice_s, 0.01, 600),
            ("--trials", self.most_trials, 1, 1_000_000),
        ):
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{value:g} is not in {low:g} to {high:g}", where=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class TunePlan:
    """A tuning, every name checked and the space laid out."""

    spec: TuneSpec
    plan: Plan
    task: Task
    space: Space
    key: TunedKey
    memory_bytes: int
    accuracy: dict[str, str]  # branch -> how it holds the gate


class NoneHolds(Exception):
    """No configuration meets the limits: a verdict, not a failure."""

    def __init__(self, reasons: str, trials: tuple[Trial, ...]) -> None:
        super().__init__(reasons)
        self.trials = trials


OnSay = Callable[[str], None]


def plan_tune(spec: TuneSpec, *, on_say: OnSay | None = None, dry: bool = False) -> TunePlan:
    """Check every name and lay the space out. With `dry`, accuracy that is not known yet is not measured.

    Raises ConfigError, SetupError or DataError.
    """
    run = _default_run(spec)
    plan = resolve(run)
    if not plan.backend.needs_model:
        raise ConfigError(
            f"the {run.backend} backend has nothing to tune", where="--backend", hint="leave --backend out"
        )
    task = open_task(plan, cache_dir())
    gates = Gates(plan, task, measure=not dry, on_say=on_say, asked=spec.precision)
    space = build_space(plan, task, run, backend=spec.backend, precision=spec.precision, gate=gates.why_not)
    total = psutil.virtual_memory().total
    return TunePlan(
        spec=spec,
        plan=plan,
        task=task,
        space=space,
        key=tune_key(spec),
        memory_bytes=int(spec.memory_gib * 2**30) if spec.memory_gib else int(MEMORY_SHARE * total),
        accuracy=gates.how,
    )


def _default_run(spec: TuneSpec) -> RunSpec:
    """What would be run if nothing were tuned."""
    precision = spec.precision or Precision.FP32
    return replace(spec.run, backend=spec.backend or spec.run.backend, precision=precision, tuned=None)


def tune_key(spec: TuneSpec) -> TunedKey:
    """What the result of a tuning is kept for. Raises ConfigError for a key nobody has."""
    run = _default_run(spec)
    fixed = kept_for(run.options, run.workload, run.backend)
    fixed |= {
        f"backend.{k}": v for k, v in option_groups(run.options, run.workload, run.backend)["backend"].items()
    }
    if spec.backend:
        fixed["backend"] = spec.backend
    if spec.precision:
        fixed["precision"] = spec.precision.value
    return TunedKey(
        machine=this_machine(),
        workload=run.workload,
        scenario=run.scenario,
        suite=run.suite,
        round=run.round,
        model=run.model,
        fixed=fixed,
    )


def tune(
    planned: TunePlan, root: Path, *, on_trial: OnTrial | None = None, on_say: OnSay | None = None
) -> tuple[TunedRecord, Path]:
    """Search, and keep the best. Raises NoneHolds, ConfigError, RunError, or what the default ended with."""
    ready(root)  # known before minutes of work
    spec, plan = planned.spec, planned.plan
    server = plan.spec.scenario is Scenario.SERVER
    share = 1 - RATE_SHARE if server else 1.0
    load = os.getloadavg()
    search = Search(
        space=planned.space,
        world=World(
            open=_opener(planned), clock=time.monotonic, pause=time.sleep, load=lambda: os.getloadavg()
        ),
        effort=Effort(
            budget_s=spec.budget_s * share,
            share=share,
            memory_bytes=planned.memory_bytes,
            slice_s=spec.slice_s,
            seed=spec.seed,
            drift=spec.drift,
            most_trials=spec.most_trials or Effort.most_trials,
        ),
        unit=UNITS.get(plan.spec.scenario, "s"),
        on_trial=on_trial,
    )
    try:
        found = search.run()
        record = _record(planned, found, load)
        if server:
            record = _with_rate(planned, record, on_say)
    except NothingHolds as nothing:
        raise NoneHolds(nothing.reasons, nothing.trials) from None
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(
            "stopped by the user", hint="nothing was kept; what was tuned before still holds"
        ) from None
    return record, write_tuned(root, record)


def _with_rate(planned: TunePlan, record: TunedRecord, on_say: OnSay | None) -> TunedRecord:
    """With the highest rate of the best configuration that is sure to be VALID, by LoadGen itself."""
    best, run, started = record.best, planned.plan.spec, time.monotonic()
    options = _others(planned) | best.options
    what = replace(run, backend=best.backend, precision=best.precision, options=options)

    def say(trial: ServerTrial) -> None:
        if on_say:
            on_say(
                f"Server rate: {trial.rate_qps:.5g} queries/s for {trial.seconds:.0f} s, "
                f"{trial.over} of {trial.queries} late"
            )

    try:
        found = find_server_rate(what, budget_s=RATE_SHARE * planned.spec.budget_s, on_trial=say)
    except Interrupted:
        raise
    except ColdmarkError as error:  # the configuration is found: it is kept without a rate
        finding = Finding(
            rule="tune.server_rate",
            severity=Severity.WARNING,
            subject=error.where or "the Server rate",
            expected="a searched rate",
            found=f"{_why_no_rate(error, planned.spec.budget_s)}; a run finds a lower one by itself",
        )
        record = replace(record, findings=(*record.findings, finding))
    else:
        record = replace(record, server=found)
    return replace(record, took_s=record.took_s + time.monotonic() - started)


def _why_no_rate(error: ColdmarkError, budget_s: float) -> str:
    """An error of the rate search; of a budget, with what of the user's own it had."""
    said = error.message + (f"; {error.hint}" if error.hint else "")
    return (
        f"{RATE_SHARE:.0%} of --budget {budget_s:g} is the rate's: {said}"
        if error.where == "--budget"
        else said
    )


UNITS = {Scenario.OFFLINE: "samples/s", Scenario.SERVER: "queries/s"}


def _opener(planned: TunePlan) -> Opener:
    spec = planned.plan.spec
    return Opener(
        spec=spec,
        room=Room(cache=str(cache_dir()), memory_bytes=planned.memory_bytes),
        latency=spec.scenario not in UNITS,
        others=_others(planned),
    )


def _others(planned: TunePlan) -> dict[str, str]:
    """The options that were given, those of the backend too: not all of them are searched in each scenario.

    They stand under their full names, as those of a configuration do.
    """
    spec = planned.plan.spec
    given = option_groups(spec.options, spec.workload, spec.backend)["backend"]
    other = {k: v for k, v in spec.options.items() if not _is_backends(k, planned.plan)}
    return other | {f"backend.{k}": v for k, v in given.items()}


def _record(planned: TunePlan, found: Found, load: tuple[float, ...]) -> TunedRecord:
    spec, plan = planned.spec, planned.plan
    best = found.best
    used = replace(plan.spec, backend=best.backend, precision=best.precision)
    software = software_versions(plan)
    model = model_sha256(planned.task)
    if (best.backend, best.precision) != (plan.spec.backend, plan.spec.precision):
        options = {k: v for k, v in used.options.items() if not _is_backends(k, plan)}
        own = resolve(replace(used, options=options))
        software = software_versions(own) | software
        model = model_sha256(open_task(own, cache_dir()))
    value, default_value = found.value, found.default_value
    if plan.spec.scenario is Scenario.SERVER:
        value, default_value = _played(value), default_value and _played(default_value)
    return TunedRecord(
        id=tuned_id(planned.key),
        key=planned.key,
        model_sha256=model,
        software=software,
        best=best,
        outcome=found.outcome,
        value=value,
        default=planned.space.default,
        default_value=default_value,
        ratio=found.ratio,
        accuracy=planned.accuracy.get(f"{best.backend} {best.precision.value}", ""),
        expected_qps=found.value.value if plan.spec.scenario is Scenario.OFFLINE else None,
        trials=found.trials,
        findings=found.findings,
        left_out=planned.space.left_out,
        seed=spec.seed,
        budget_s=spec.budget_s,
        took_s=found.took_s,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        load_average=tuple(load),
    )


def _played(found: Measurement) -> Measurement:
    """A Server value of the search: no LoadGen measured it."""
    method = f"measured service times played through a queue; {found.method}"
    return replace(found, provenance=Provenance.SIMULATED, method=method)


def _is_backends(key: str, plan: Plan) -> bool:
    return bool(
        option_groups({key: plan.spec.options[key]}, plan.spec.workload, plan.spec.backend)["backend"]
    )
