"""The audit tests of a finished run: each once more through LoadGen, as the run was, with audit settings.

RUN_ID/compliance/
  TEST01/  TEST04/  TEST05/     as a submission holds them (submission/verification.py)
    run/                        the child's own: job.json, settings.json, outcome.json, child.log;
                                tries.json where earlier tries were repeated
  compliance.json               what they found
  manifest.json                 sha256 of every file here: the run's own seal is not touched
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coldmark.core.codec import dump_json, from_plain, read_json
from coldmark.core.compliance import ComplianceRecord, EarlierTry, Pace, ScoreAnswers, TestVerdict
from coldmark.core.errors import ConfigError, DataError, Interrupted
from coldmark.core.nouns import Mode, Provenance, Scenario, State
from coldmark.core.record import RunRecord
from coldmark.core.settings import SourcedSettings
from coldmark.loadgen.child import OUTCOME
from coldmark.loadgen.log import ACCURACY, DETAIL, SUMMARY
from coldmark.rules.audit import Audit, audits
from coldmark.rules.book import load_book
from coldmark.runs.execute import OnTick, model_change, run_child, software_change
from coldmark.runs.resolve import Plan, open_task, refusal, resolve
from coldmark.runs.worker import Job
from coldmark.store.rundir import (
    COMPLIANCE,
    COMPLIANCE_RECORD,
    RunDir,
    changed_files,
    read_record,
    write_whole,
)
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.task import Task

TRIES = "tries.json"


class Verify(Protocol):
    """Judges an audit test by its logs and writes its verification files."""

    def __call__(
        self,
        audit: Audit,
        folder: Path,
        run: Path,
        plan: Plan,
        score: ScoreAnswers | None,
        pace: Pace | None,
        earlier: Sequence[EarlierTry],
    ) -> TestVerdict: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """A run that can be audited, and what its round asks for."""

    path: Path
    record: RunRecord
    plan: Plan
    task: Task
    tests: Mapping[str, Audit]
    changed: frozenset[str]  # earlier audit tests with files that are not what was sealed


def comply(
    path: Path, verify: Verify, *, on_test: Callable[[str], OnTick | None], tries: int = 1
) -> ComplianceRecord:
    """Run what is still missing of a run's audit tests and judge all of them.

    A test whose score alone fails, and would hold had the machine kept the bare rate that it had around the
    run, is run again, up to `tries` times in all; every try is written down, and judged by the same bound.
    `on_test(name)` is called before each LoadGen test, and returns who is told how far it is. Raises
    ConfigError where the run cannot be audited, DataError where it was changed since it was sealed; a test
    that fails to run raises what it ended with, and those before it are kept.
    """
    run = auditable(path)
    held = RunDir(path)
    held.hold()
    try:
        for name in run.changed:  # before anything is sealed again
            shutil.rmtree(path / COMPLIANCE / name, ignore_errors=True)
        verdicts = {}
        for name, audit in run.tests.items():
            folder = path / COMPLIANCE / name
            _test(run, audit, folder, on_test)
            verdicts[name] = _judge(run, audit, folder, verify)
            while verdicts[name].machine_changed and len(verdicts[name].earlier) + 1 < tries:
                _set_aside(folder, verdicts[name])
                _test(run, audit, folder, on_test)
                verdicts[name] = _judge(run, audit, folder, verify)
            held.seal_added(COMPLIANCE)
        record = ComplianceRecord(
            run_id=run.record.run_id,
            round=run.plan.rule.round,
            benchmark=run.plan.rule.name,
            scenario=run.plan.rule.scenario.value,
            tests=verdicts,
            software=run.record.software,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        held.write(f"{COMPLIANCE}/{COMPLIANCE_RECORD}", record)
    except KeyboardInterrupt:
        raise Interrupted("stopped by the user", hint=f"to go on: coldmark compliance {path.name}") from None
    finally:
        if (path / COMPLIANCE).is_dir():
            held.seal_added(COMPLIANCE)
        held.release()
    return record


def auditable(path: Path) -> Audited:
    """The run with its plan and audit tests. Raises ConfigError or DataError where it cannot be audited."""
    record = read_record(path)
    if record.state is not State.COMPLETE:
        stopped = record.state is State.STOPPED
        hint = "start a new run: coldmark run" if stopped else f"first: coldmark runs resume {path.name}"
        raise ConfigError(f"this run is {record.state}", where=str(path), hint=hint)
    if record.provenance is not Provenance.MEASURED:
        raise ConfigError("a simulated run has nothing to audit", where=str(path))
    wrong = changed_files(path)
    audited = {name for name in wrong if name.startswith(f"{COMPLIANCE}/")}
    if changed := [name for name in wrong if name not in audited]:
        raise DataError(
            f"changed since it was sealed: {', '.join(changed[:8])}",
            where=str(path),
            hint="an audit holds only for the run as it was; run it again",
        )
    plan = resolve(record.spec)
    tests = audits(load_book(record.spec.round), plan.rule)
    if change := software_change(record, plan):
        raise ConfigError(
            f"the software has changed: {change}", where=str(path), hint="start a new run, then audit that"
        )
    task = open_task(plan, cache_dir())
    if change := model_change(path, task):
        raise ConfigError(change, where=str(path), hint="start a new run, then audit that")
    for mode in (Mode.PERFORMANCE, Mode.ACCURACY):
        needed = mode is Mode.PERFORMANCE or any(a.samples_answers for a in tests.values())
        if needed and not (path / mode.value / DETAIL).is_file():
            why = refusal(plan, task) if mode is Mode.ACCURACY else ""
            raise ConfigError(
                f"this run has no {mode} test to hold an audit against" + (f": {why}" if why else ""),
                where=str(path),
                hint="run it with --mode both, and a model whose answers can be scored",
            )
    stale = frozenset(name for name in tests if any(file.split("/")[1] == name for file in audited))
    return Audited(path=path, record=record, plan=plan, task=task, tests=tests, changed=stale)


def _judge(run: Audited, audit: Audit, folder: Path, verify: Verify) -> TestVerdict:
    pace, earlier = _pace(run, folder), _earlier(folder)
    return verify(audit, folder, run.path, run.plan, _scorer(run.task), pace, earlier)


def _pace(run: Audited, folder: Path) -> Pace | None:
    """The bare rates around both runs; Server is told its rate, and the machine's pace explains nothing."""
    if run.plan.spec.scenario is Scenario.SERVER:
        return None
    means = []
    for outcome in (run.path / Mode.PERFORMANCE.value / OUTCOME, folder / "run" / OUTCOME):
        said = read_json(outcome)
        rates = [rate for key in ("bare_before", "bare_after") if (rate := said.get(key))]
        if not rates:
            return None
        means.append(sum(rates) / len(rates))
    return Pace(reference=means[0], test=means[1])


def _earlier(folder: Path) -> tuple[EarlierTry, ...]:
    """The tries of a test before the one that lies there."""
    file = folder / "run" / TRIES
    return from_plain(read_json(file), tuple[EarlierTry, ...], where=str(file)) if file.is_file() else ()


def _set_aside(folder: Path, verdict: TestVerdict) -> None:
    """Note a try that is to be repeated; its outcome no longer counts as one."""
    assert verdict.pace is not None
    now = datetime.now(UTC).isoformat(timespec="seconds")
    noted = (*verdict.earlier, EarlierTry(score=verdict.score, pace=verdict.pace, finished=now))
    write_whole(folder / "run" / TRIES, dump_json(noted))
    (folder / "run" / OUTCOME).unlink()


def _scorer(task: Task) -> ScoreAnswers | None:
    scorer = task.scorer
    if scorer is None:
        return None

    def score(indices: NDArray[np.int64], answers: Sequence[bytes]) -> tuple[float, str]:
        found = scorer(indices, answers)
        return found.value, found.line

    return score


def _test(run: Audited, audit: Audit, folder: Path, on_test: Callable[[str], OnTick | None]) -> None:
    """Run one audit test, unless it completed before; its logs end up where a submission has them."""
    if _kept(audit, folder):
        return
    own, earlier = folder / "run", _earlier(folder)
    if folder.is_dir():
        shutil.rmtree(folder)
    own.mkdir(parents=True)
    if earlier:
        write_whole(own / TRIES, dump_json(earlier))
    hint = f"to go on: coldmark compliance {run.path.name}"
    run_child(run.plan, audit_job(run, audit), own, on_tick=on_test(audit.name), hint=hint)
    performance = folder / "performance" / "run_1"
    performance.mkdir(parents=True)
    for name in (DETAIL, SUMMARY):
        (own / name).rename(performance / name)
    if audit.samples_answers:
        (folder / "accuracy").mkdir()
        (own / ACCURACY).rename(folder / "accuracy" / ACCURACY)


def _kept(audit: Audit, folder: Path) -> bool:
    """Whether an earlier attempt completed this test."""
    outcome = folder / "run" / OUTCOME
    if not outcome.is_file() or read_json(outcome).get("state") != State.COMPLETE.value:
        return False
    needed = [folder / "performance" / "run_1" / name for name in (DETAIL, SUMMARY)]
    if audit.samples_answers:
        needed.append(folder / "accuracy" / ACCURACY)
    return all(file.is_file() for file in needed)


def audit_job(run: Audited, audit: Audit) -> Job:
    """The child's job: the submitted run's own settings, rates included, and the audit's over them."""
    path = run.path / Mode.PERFORMANCE.value / "settings.json"
    settings = from_plain(read_json(path), SourcedSettings, where=str(path))
    settings = SourcedSettings(
        settings=settings.settings, sources=dict.fromkeys(settings.sources, "the submitted run")
    ).override(f"{audit.name}, rule book {audit.rule.round}", **audit.settings)
    return Job(
        spec=run.record.spec,
        mode=Mode.PERFORMANCE,
        cache=str(cache_dir()),
        settings=settings,
    )
