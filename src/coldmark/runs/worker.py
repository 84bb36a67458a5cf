"""The child process of one LoadGen test: builds the SUT, lets LoadGen drive it, writes the outcome.

Started by `runs.execute` as `python -m coldmark.runs.worker JOB.json`.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coldmark.backends.build import BuildRequest
from coldmark.core.codec import dump_json, from_plain, read_json
from coldmark.core.nouns import Mode, Precision, Scenario
from coldmark.core.record import RunSpec
from coldmark.core.settings import SourcedSettings
from coldmark.core.sut import Model, SystemUnderTest
from coldmark.loadgen.child import Child
from coldmark.loadgen.official import OfficialTest
from coldmark.loadgen.progress import Phase
from coldmark.rules.run_checks import issued_at_least
from coldmark.runs.rate import fill_open, service_times
from coldmark.runs.resolve import Plan, base_settings, open_task, resolve
from coldmark.store.rundir import write_whole
from coldmark.workloads.task import Task

SERVICE, TIMES = "service.json", "times.npy"
"""What a trial leaves: how long batches take, and when each query came and was answered [ns]."""

STALL_BATCHES = 30
"""No completion for as long as so many batches take is a stall, however slow the model."""

RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""ru_maxrss is in bytes on macOS and in KiB on Linux."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the parent hands over, as `job.json`."""

    spec: RunSpec
    mode: Mode
    cache: str
    known_qps: float | None = None
    known_bare_rate: float | None = None  # spares an accuracy test the measurement
    settings: SourcedSettings | None = None  # ready ones, of an audit test
    trial: bool = False  # of Server: leaves its queries' times
    measure_service: bool = False  # leaves how long batches take


def main(path: Path) -> None:
    """Run the test that a job file describes, in the folder it lies in."""
    child = Child(path.parent)
    try:
        job = from_plain(read_json(path), Job, where=str(path))
        child.finish(_run(child, job, path.parent))
    except Exception as error:  # noqa: BLE001 - the process edge: whatever it was, the outcome says so
        child.fail(error)


def _run(child: Child, job: Job, directory: Path) -> dict[str, Any]:
    child.phase(Phase.LOADING)
    plan = resolve(job.spec)
    task = open_task(plan, Path(job.cache))
    sut = build_sut(plan, task)
    sourced = job.settings or base_settings(plan, task, job.mode)
    child.phase(Phase.WARMING)
    test = _Deferred()
    sut.start(test.complete, child.fail)
    child.phase(Phase.BARE)
    samples = sourced.settings.samples_per_query or 1
    before = job.known_bare_rate or sut.bare_rate(plan.harness.bare_s, samples)
    if job.measure_service:
        service = service_times(sut)
        plain = {
            "batch_s": service.batch_s,
            "noise": service.noise.tolist(),
            "servers": service.servers,
            "delay_s": service.delay_s,
        }
        write_whole(directory / SERVICE, dump_json(plain))
    sourced = fill_open(sourced, sut, before, job.known_qps, plan.spec.tuned)
    write_whole(directory / "settings.json", dump_json(sourced))
    child.progress.set("patience_ms", int(1000 * STALL_BATCHES * _batch_s(sut, before)))
    child.progress.set("expected", _expected_samples(plan, task, job.mode, sourced))
    if job.mode is Mode.PERFORMANCE and plan.spec.scenario is not Scenario.OFFLINE:
        child.progress.set("floor", issued_at_least(sourced.settings))
    test.target = OfficialTest(
        sut, task.library, sourced.settings, child.progress, child.fail, keep_times=job.trial
    )
    child.phase(Phase.RUNNING)
    wall_s = test.target.run(directory)
    child.phase(Phase.CLOSING)
    after = sut.bare_rate(plan.harness.bare_s, samples) if job.mode is Mode.PERFORMANCE else None
    outcome = {
        "wall_s": wall_s,
        "bare_before": before,
        "bare_after": after,
        "counters": test.target.counters,
        "sut": sut.describe(),
        "target_qps": sourced.settings.target_qps,
        "peak_rss_bytes": peak_rss_bytes(),
    }
    if job.trial:
        np.save(directory / TIMES, test.target.times_ns())
    sut.close()
    return outcome


def _batch_s(sut: SystemUnderTest, rate: float) -> float:
    """About how long a batch takes when every request slot has one."""
    facts = sut.describe()
    batch = facts.get("batch_samples", facts["batch"])
    return (batch if isinstance(batch, int) else 1) * int(facts.get("requests", 1)) / rate


class _Deferred:
    """Where a SUT completes to, before the test that needs the SUT can exist."""

    target: OfficialTest

    def complete(self, ids: Any, answers: Any) -> None:
        self.target.complete(ids, answers)


def peak_rss_bytes() -> int:
    """The most memory that this process has had.

    On Linux ru_maxrss begins at what the parent had when it forked, whatever is executed then.
    """
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def build_sut(plan: Plan, task: Task) -> SystemUnderTest:
    """The SUT of a plan, not yet started. Raises BackendError."""
    model = task.model or Model(path=Path(), inputs=(), outputs=(), finish=lambda outputs, indices: [])
    return plan.backend.build(
        BuildRequest(
            model=model,
            library=task.library,
            scenario=plan.spec.scenario,
            precision=plan.spec.precision,
            options=plan.backend_options,
            samples_per_query=plan.rule.book.samples_per_query,
            floating=task.quantised.floating if task.quantised else Precision.FP32,
        )
    )


def _expected_samples(plan: Plan, task: Task, mode: Mode, sourced: SourcedSettings) -> int:
    """Samples the test will take, where that is known; 0 where time decides."""
    if mode is Mode.ACCURACY:
        return task.samples
    s = sourced.settings
    if plan.spec.scenario is Scenario.OFFLINE:
        n = max(s.min_query_count, int(1.1 * (s.target_qps or 0) * s.min_duration_ms / 1000))
        return n + -n % s.performance_sample_count if s.sample_concatenate_permutation else n
    return 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
