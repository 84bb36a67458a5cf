"""From logs to a verdict: metric, findings, accuracy against its gate, what the harness cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from coldmark.core.codec import from_plain, read_json
from coldmark.core.errors import DataError
from coldmark.core.nouns import Finding, Length, Mode, Scenario, Severity
from coldmark.core.record import Accuracy, Harness, Metric, RunRecord
from coldmark.core.runlog import RunLog
from coldmark.core.settings import SourcedSettings
from coldmark.loadgen.log import (
    ACCURACY,
    DETAIL,
    AccuracyLog,
    loaded_set,
    parse_accuracy,
    parse_detail,
    window_s,
)
from coldmark.loadgen.sequence import recognise
from coldmark.rules.run_checks import CheckedRun, check_run
from coldmark.runs.resolve import Plan, refusal
from coldmark.store.rundir import sha256, write_whole
from coldmark.workloads.task import Task

ACCURACY_TEXT = "accuracy.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """A completed LoadGen test: where its logs are, and what the child wrote of it."""

    __test__ = False

    directory: Path
    outcome: dict[str, Any]

    def log(self) -> RunLog:
        return parse_detail(self.directory / DETAIL)

    def settings(self) -> SourcedSettings:
        path = self.directory / "settings.json"
        return from_plain(read_json(path), SourcedSettings, where=str(path))


def judge(record: RunRecord, plan: Plan, task: Task, tests: dict[Mode, TestRun]) -> RunRecord:
    """The record with everything that follows from the logs of its tests."""
    findings: list[Finding] = []
    metric = harness = None
    results: dict[str, Any] = {}
    for mode, test in tests.items():
        log = test.log()
        settings = test.settings().settings
        findings += check_run(CheckedRun(log=log, settings=settings, rule=plan.rule, length=plan.spec.length))
        if mode is Mode.PERFORMANCE:
            findings += _sequence(log, plan, settings.qsl_rng_seed, settings.performance_sample_count)
            findings += _unreachable(test)
            metric = metric_of(log, plan)
            harness = _harness(log, plan, test.outcome)
            results = results_of(log)
    findings += [_doubt(text) for text in task.warnings]
    accuracy = _accuracy(plan, task, tests.get(Mode.ACCURACY))
    findings += _accuracy_findings(plan, task, accuracy)
    reasons = tuple(reason_of(f) for f in findings if f.severity is Severity.ERROR)
    valid = not reasons and bool(tests)
    return replace(
        record,
        verdict="VALID" if valid else "INVALID",
        reasons=reasons,
        metric=metric,
        harness=harness,
        accuracy=accuracy,
        findings=tuple(findings),
        results=results,
        submittable=valid and plan.spec.length is Length.OFFICIAL and task.official and len(tests) == 2,
    )


def _doubt(text: str) -> Finding:
    return Finding(
        rule="task.data",
        severity=Severity.WARNING,
        subject="model and data",
        expected="what the reference was measured on",
        found=text,
        clause="coldmark: mini.toml",
    )


def reason_of(finding: Finding) -> str:
    """A finding as one line of a verdict."""
    return f"{finding.rule}: expected {finding.expected}, found {finding.found}"


def results_of(log: RunLog) -> dict[str, Any]:
    """LoadGen's own results, for the record."""
    return {k: v for k, v in log.values.items() if k.startswith(("result_", "early_stopping"))}


def metric_of(log: RunLog, plan: Plan) -> Metric | None:
    """The headline number of a log, in the scenario's unit; None where there is none."""
    book = plan.rule.book
    value = log.number(book.result_field)
    # Early stopping writes 0 where there were too few queries for an estimate: that is no result.
    return None if not value else Metric(name=book.metric, value=value * book.scale, unit=book.unit)


def _sequence(log: RunLog, plan: Plan, seed: int, count: int) -> list[Finding]:
    """Whether the samples LoadGen drew are the round's own, and in which of its two forms."""
    total = log.number("qsl_reported_total_count")
    loaded = loaded_set(log)
    if total is None or not loaded or int(total) >= 1 << 16:
        return []
    form = recognise(seed, int(total), loaded[:count])
    found = (
        f"{plan.rule.round}'s own, as compiled with {form}"
        if form
        else "neither of the round's own sequences"
    )
    return [
        Finding(
            rule="loadgen.sequence",
            severity=Severity.NOTE if form else Severity.WARNING,
            subject=log.path,
            expected=f"the sample sequence of {plan.rule.round}",
            found=found,
            clause="coldmark: docs/decisions/0002-loadgen-wheel.md",
        )
    ]


def _unreachable(test: TestRun) -> list[Finding]:
    source = test.settings().sources.get("target_qps", "")
    if "no rate meets" not in source:
        return []
    return [
        Finding(
            rule="server.unreachable",
            severity=Severity.WARNING,
            subject=str(test.directory),
            expected="a rate that holds the latency bound",
            found=source.removeprefix("auto: "),
            clause="coldmark: auto rate",
        )
    ]


def _harness(log: RunLog, plan: Plan, outcome: dict[str, Any]) -> Harness:
    before, after = outcome.get("bare_before"), outcome.get("bare_after")
    rates = [r for r in (before, after) if r]
    bare = float(np.mean(rates)) if rates else None
    rate, method = _rate(log, plan.spec.scenario, plan.rule.book.samples_per_query)
    share = rate / bare if rate and bare else None
    per_query = None
    if rate and bare and plan.spec.scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM):
        per_query = plan.rule.book.samples_per_query * (1 / rate - 1 / bare) * 1e9
    return Harness(
        share=share,
        rate=rate,
        bare_rate=bare,
        bare_before=before,
        bare_after=after,
        overhead_ns_per_query=per_query,
        method=method,
        counters=outcome.get("counters", {}),
    )


def _rate(log: RunLog, scenario: Scenario, samples_per_query: int) -> tuple[float | None, str]:
    """Samples/s through LoadGen, harness included, and what the share is of."""
    if scenario is Scenario.OFFLINE:
        return log.number("result_samples_per_second"), "rate over bare rate"
    if scenario is Scenario.SERVER:
        return log.number(
            "result_completed_samples_per_sec"
        ), "completed rate over bare capacity (load, not cost)"
    if scenario is Scenario.SINGLE_STREAM:
        return log.number("result_qps_with_loadgen_overhead"), "rate with LoadGen's overhead over bare rate"
    queries, window = log.number("result_query_count"), window_s(log)
    rate = samples_per_query * queries / window if queries and window else None
    return rate, "rate between LoadGen's begin and end marks over bare rate"


def unscored(plan: Plan, task: Task, reason: str = "") -> Accuracy:
    """An accuracy that was not measured: the gate it would have met, and why it was not."""
    gate = task.gate
    return Accuracy(
        metric=gate.metric if gate else plan.rule.benchmark.accuracy.metric,
        value=None,
        unit=gate.unit if gate else "",
        reference=gate.reference if gate else None,
        target=gate.target if gate else None,
        passed=None,
        reason=reason,
    )


def _accuracy(plan: Plan, task: Task, test: TestRun | None) -> Accuracy:
    gate, empty = task.gate, unscored(plan, task)
    if test is None or task.scorer is None or gate is None:
        asked = Mode.ACCURACY in plan.spec.modes
        return replace(empty, reason=refusal(plan, task) or ("" if asked else "not asked for"))
    try:
        log = parse_accuracy(test.directory / ACCURACY)
        require_complete(log, task.samples, test.directory / ACCURACY)
    except DataError as error:
        return replace(empty, passed=False, reason=f"{error.where}: {error.message}")
    score = task.scorer(log.indices, log.answers)
    digest = sha256(test.directory / ACCURACY)
    write_whole(test.directory / ACCURACY_TEXT, f"{score.line}\nhash={digest}\n")
    return replace(
        empty,
        value=score.value,
        samples=score.samples,
        low=score.low,
        high=score.high,
        passed=score.value >= gate.target,
    )


def require_complete(log: AccuracyLog, samples: int, path: Path) -> None:
    """Every sample of the set is answered. Raises DataError: a part of the set has no accuracy."""
    answered = np.unique(log.indices)
    if len(answered) != samples or answered[0] != 0 or answered[-1] != samples - 1:
        raise DataError(
            f"{len(answered)} of {samples} samples are answered",
            where=str(path),
            hint="a partly answered run is not scored; run it again",
        )


def _accuracy_findings(plan: Plan, task: Task, accuracy: Accuracy) -> list[Finding]:
    found: list[Finding] = []
    if accuracy.passed is False:
        value = accuracy.reason or f"{accuracy.value:.4f} {accuracy.unit}"
        found.append(
            Finding(
                rule="accuracy.target",
                severity=Severity.ERROR,
                subject="accuracy",
                expected=f">= {accuracy.target:.4f} {accuracy.unit}",
                found=value,
                clause=task.gate.source if task.gate else "",
            )
        )
    entry = plan.rule.benchmark
    needed = entry.accuracy_sample_count or entry.dataset_size
    if task.official and needed is not None and task.samples != needed:
        severity = Severity.ERROR if plan.spec.length is Length.OFFICIAL else Severity.NOTE
        found.append(
            Finding(
                rule="accuracy.samples",
                severity=severity,
                subject="data set",
                expected=f"{needed} samples",
                found=f"{task.samples}",
                clause="checker: accuracy-sample-count",
            )
        )
    return found
