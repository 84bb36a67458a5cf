"""Execute a resolved run: its directory, its tests, its verdict, its sealed record."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import coldmark
from coldmark.core import errors
from coldmark.core.calibration import CalibrationOptions
from coldmark.core.codec import dump_json, read_json
from coldmark.core.errors import ColdmarkError, ConfigError, Doomed, Interrupted
from coldmark.core.nouns import Mode, State
from coldmark.core.record import RunRecord, RunSpec
from coldmark.loadgen.child import OUTCOME
from coldmark.loadgen.progress import Phase
from coldmark.loadgen.supervise import ChildResult, OnProgress, supervise
from coldmark.runs.doom import watch_for
from coldmark.runs.resolve import Plan, open_task, refusal, resolve
from coldmark.runs.telemetry.sample import OnSampler, Sampling, find_sensors, sampled
from coldmark.runs.telemetry.verdict import with_telemetry
from coldmark.runs.verdict import TestRun, judge
from coldmark.runs.worker import Job
from coldmark.store.rundir import RECORD, RunDir, new_run_id, read_record, write_whole
from coldmark.telemetry.inventory import detect
from coldmark.telemetry.sensor import Found
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.task import Task

TWIN = "twin"
"""The backend whose runs go through virtual time; its rooms are imported only then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """How far a run is, for whoever shows it."""

    mode: Mode
    phase: Phase
    done: float | None  # share in [0, 1], where it is known
    left_s: float | None
    samples: int


OnTick = Callable[[Tick], None]


def execute(
    spec: RunSpec,
    root: Path,
    *,
    on_tick: OnTick | None = None,
    on_start: Callable[[Path], None] | None = None,
    on_sampler: OnSampler | None = None,
) -> tuple[RunRecord, Path]:
    """Run what the spec asks and return the sealed record and its directory.

    `on_start` is called with the directory as soon as there is one, `on_sampler` with what samples the run.
    Raises ConfigError, SetupError, TelemetryError or DataError before anything is written. A run that fails
    or is interrupted later leaves a record that says so, and raises the error it ended with.
    """
    plan = resolve(spec)
    if plan.backend.name == TWIN:
        from coldmark.runs.twin.record import check

        check(plan)  # refuses what cannot be meant before anything is written
    cache = cache_dir()
    task = open_task(plan, cache)
    plan = pinned(plan, task)
    sensors = _sensors(plan)
    held = RunDir.create(root, new_run_id(f"{spec.workload}-{spec.scenario.slug}"))
    try:
        if on_start:
            on_start(held.path)
        return _execute_in(held, plan, task, cache, on_tick, sensors, on_sampler), held.path
    finally:
        held.release()


def resume(path: Path, *, on_tick: OnTick | None = None) -> RunRecord:
    """Finish a run that was killed or interrupted: tests that completed are kept, the others are run again.

    Raises ConfigError where there is nothing to finish, where the run was stopped because it could not become
    VALID, or where the software is no longer the same: tests of unlike software are not pooled in one record.
    """
    record = read_record(path)
    if record.state is State.COMPLETE:
        raise ConfigError("this run is complete", where=str(path), hint="a new one: coldmark run")
    if record.state is State.STOPPED:
        raise ConfigError(
            f"as it is it cannot become VALID: {record.reason}",
            where=str(path),
            hint="start a new run with that changed: coldmark run",
        )
    plan = resolve(record.spec)
    if change := software_change(record, plan):
        raise ConfigError(f"the software has changed: {change}", where=str(path), hint="start a new run")
    cache = cache_dir()
    task = open_task(plan, cache)
    if change := model_change(path, task):
        raise ConfigError(change, where=str(path), hint="start a new run")
    sensors = _sensors(plan)
    held = RunDir(path)
    held.hold()
    try:
        return _execute_in(held, plan, task, cache, on_tick, sensors)
    finally:
        held.release()


def model_change(path: Path, task: Task) -> str:
    """That the model's file is not the one that a run began with; empty where it is, or is not known."""
    file = path / "task.json"
    was = read_json(file).get("model_sha256") if file.is_file() else None
    now = task.facts.get("model_sha256")
    return f"the model has changed: it was {was[:12]}…, is {now[:12]}…" if was and now and was != now else ""


def pinned(plan: Plan, task: Task) -> Plan:
    """The plan with its calibration by id and content: every process of this run opens the same one.

    So does whoever resumes or audits it, or is told that it was made anew meanwhile.
    """
    if task.quantised is None:
        return plan
    calibration = CalibrationOptions(id=task.quantised.id, content=task.quantised.content)
    options = {f"calibration.{key}": value for key, value in asdict(calibration).items()}
    return replace(
        plan, spec=replace(plan.spec, options=plan.spec.options | options), calibration=calibration
    )


def _sensors(plan: Plan) -> Found | None:
    """What a run is sampled with; None for a simulated one."""
    return None if plan.backend.name == TWIN else find_sensors(plan.sampling, plan.sensors)


def _execute_in(
    held: RunDir,
    plan: Plan,
    task: Task,
    cache: Path,
    on_tick: OnTick | None,
    sensors: Found | None,
    on_sampler: OnSampler | None = None,
) -> RunRecord:
    software = software_versions(plan)
    record = RunRecord(
        run_id=held.path.name,
        state=State.RUNNING,
        spec=plan.spec,
        quantised=task.quantised,
        software=software,
        started=_now(),
    )
    held.write("spec.json", plan.spec)
    held.write("environment.json", environment())
    held.write(RECORD, record)
    held.write("system.json", detect(software=software))
    held.write("task.json", {"workload": plan.workload.id, "samples": task.samples, **task.facts})
    tests: dict[Mode, TestRun] = {}
    with _recorded_end(held, record):
        if plan.backend.name == TWIN:
            from coldmark.runs.twin.record import simulated

            done = simulated(record, held, plan, task)
            return _sealed(held, replace(done, state=State.COMPLETE, finished=_now()))
        with sampled(held.path, sensors, plan.sampling, plan.spec.options, on_sampler) as sampling:
            for mode in plan.spec.modes:
                if mode is Mode.ACCURACY and refusal(plan, task):
                    continue
                tests[mode] = _completed(held, mode) or _test(
                    held, plan, mode, cache, tests.get(Mode.PERFORMANCE), on_tick, sampling
                )
        record = with_telemetry(judge(record, plan, task, tests), plan, tests, held.path, sampling)
        record = replace(record, state=State.COMPLETE, finished=_now())
    return _sealed(held, record)


def _sealed(held: RunDir, record: RunRecord) -> RunRecord:
    held.write(RECORD, record)
    held.seal()
    return record


def _completed(held: RunDir, mode: Mode) -> TestRun | None:
    """A test that completed in an earlier attempt. What is left of one that did not is set aside."""
    directory = held.path / mode.value
    if not directory.is_dir():
        return None
    outcome = directory / OUTCOME
    if outcome.is_file() and (found := read_json(outcome)).get("state") == State.COMPLETE.value:
        return TestRun(directory=directory, outcome=found)
    taken = len(list(held.path.glob(f"{mode.value}.broken-*")))
    directory.rename(held.path / f"{mode.value}.broken-{taken + 1}")
    return None


_STATES = {Interrupted: State.INTERRUPTED, Doomed: State.STOPPED}


@contextmanager
def _recorded_end(held: RunDir, record: RunRecord) -> Iterator[None]:
    """Whatever ends the run early, its record says so."""
    try:
        yield
    except ColdmarkError as error:
        state = _STATES.get(type(error), State.FAILED)
        held.write(RECORD, replace(record, state=state, reason=str(error), finished=_now()))
        held.seal()
        raise
    except KeyboardInterrupt:
        held.write(
            RECORD, replace(record, state=State.INTERRUPTED, reason="stopped by the user", finished=_now())
        )
        held.seal()
        raise Interrupted(
            "stopped by the user", hint=f"to finish it: coldmark runs resume {held.path.name}"
        ) from None


def _test(
    held: RunDir,
    plan: Plan,
    mode: Mode,
    cache: Path,
    earlier: TestRun | None,
    on_tick: OnTick | None,
    sampling: Sampling | None = None,
) -> TestRun:
    """One LoadGen test in a child process. Raises what the child ended with, if it did not complete."""
    directory = held.test_dir(mode)
    job = Job(
        spec=plan.spec,
        mode=mode,
        cache=str(cache),
        known_qps=earlier.outcome.get("target_qps") if earlier else None,
        known_bare_rate=earlier.outcome.get("bare_before") if earlier else None,
    )
    if sampling:
        sampling.follow(mode, directory)
    watch = watch_for(plan, mode, directory)
    hint = f"its record is {held.path}; to finish it: coldmark runs resume {held.path.name}"
    result = run_child(plan, job, directory, on_tick=on_tick, hint=hint, watch=watch)
    return TestRun(directory=directory, outcome=result.outcome)


def run_child(
    plan: Plan,
    job: Job,
    directory: Path,
    *,
    on_tick: OnTick | None,
    hint: str | None = None,
    watch: OnProgress | None = None,
) -> ChildResult:
    """Run a job in `directory`. Raises what the child ended with, if not complete.

    `hint` is what the user is told to do then, where the child says nothing. `watch` is shown the child's
    counters, and raises Doomed to end it.
    """
    file = directory / "job.json"
    write_whole(file, dump_json(job))
    result = supervise(
        [sys.executable, "-m", "coldmark.runs.worker", str(file)],
        directory,
        stall_s=plan.harness.stall_s,
        env=child_environment(),
        on_progress=_all_of(_ticker(plan, job.mode, on_tick) if on_tick else None, watch),
    )
    if result.state is not State.COMPLETE:
        raise _as_error(result, hint)
    return result


def _all_of(*watchers: OnProgress | None) -> OnProgress | None:
    """One watcher that calls those there are, in turn."""
    given = [watcher for watcher in watchers if watcher]

    def tell(counters: Mapping[str, int]) -> None:
        for watcher in given:
            watcher(counters)

    return tell if given else None


def child_environment() -> dict[str, str]:
    """The child's environment: thread pools beside the backend's own are kept from spinning."""
    return {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "OPENCV_FOR_THREADS_NUM": "1"}


def _as_error(result: ChildResult, hint: str | None) -> ColdmarkError:
    kind, said = getattr(errors, str(result.error.get("kind")), errors.RunError), result.error
    error: ColdmarkError = kind(
        str(said.get("message")), where=said.get("where"), hint=said.get("hint") or hint
    )
    return error


def _ticker(plan: Plan, mode: Mode, on_tick: OnTick) -> Callable[[Mapping[str, int]], None]:
    """Turn a child's counters into ticks."""
    minimum_s = (plan.length.min_duration_ms or plan.rule.book.min_duration_ms) / 1000
    minimum_s = plan.test_overrides.get("min_duration_ms", minimum_s * 1000) / 1000

    def tick(counters: Mapping[str, int]) -> None:
        phase, done, left = Phase(counters["phase"]), None, None
        if phase is Phase.RUNNING and counters["started_ns"]:
            elapsed = datetime.now(UTC).timestamp() - counters["started_ns"] * 1e-9
            done = _share_done(counters, elapsed, minimum_s, mode)
            left = elapsed * (1 / done - 1) if done > 0.01 else None
        on_tick(Tick(mode=mode, phase=phase, done=done, left_s=left, samples=counters["completed"]))

    return tick


def _share_done(counters: Mapping[str, int], elapsed: float, minimum_s: float, mode: Mode) -> float:
    """How much is done: by samples where their number is known, else by time and least queries, the later."""
    if counters["expected"]:
        return min(1.0, counters["completed"] / counters["expected"])
    if mode is not Mode.PERFORMANCE or not minimum_s:
        return 0.0
    by_queries = counters["queries"] / counters["floor"] if counters["floor"] else 1.0
    return min(1.0, elapsed / minimum_s, by_queries)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def software_versions(plan: Plan) -> dict[str, str]:
    """What computed and what measured, by version."""
    return {
        **plan.backend.versions(),
        "mlcommons-loadgen": metadata.version("mlcommons-loadgen"),
        "coldmark": coldmark.__version__,
    }


def software_change(record: RunRecord, plan: Plan) -> str:
    """What is no longer the version that a run was made with; empty where all is."""
    return version_changes(record.software, software_versions(plan))


def version_changes(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Which versions differ, in words; empty where none does."""
    both = {name: (then.get(name), now.get(name)) for name in {*then, *now}}
    return ", ".join(f"{name} was {a}, is {b}" for name, (a, b) in sorted(both.items()) if a != b)


def environment() -> dict[str, Any]:
    """What surrounds the run, without anything of the user's own environment but thread settings."""
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_AFFINITY")
    return {
        "python": sys.version,
        "platform": platform.platform(),
        "packages": {d.metadata["Name"]: d.version for d in metadata.distributions()},
        "variables": {name: os.environ[name] for name in names if name in os.environ},
        "load_average": list(os.getloadavg()),
    }
