"""Checks on one finished test: each yields findings with clause, expected and found.

A check never answers yes or no, and no threshold stands here: they come from the rule book and from
the settings the test was resolved to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from coldmark.core.nouns import Finding, Length, Mode, Scenario, Severity
from coldmark.core.runlog import RunLog
from coldmark.core.settings import TestSettings
from coldmark.rules.book import ScenarioRule
from coldmark.rules.plausibility import RESULT_KEYS, allowed, deviation, estimate_holds, recomputed


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRun:
    """What the checks look at: a test's log, what it was told, and what the round demands."""

    log: RunLog
    settings: TestSettings
    rule: ScenarioRule
    length: Length

    @property
    def mode(self) -> Mode:
        return self.settings.mode

    @property
    def official_severity(self) -> Severity:
        """A departure from the round breaks an official run and is a note on a shorter one."""
        return Severity.ERROR if self.length is Length.OFFICIAL else Severity.NOTE


Check = Callable[[CheckedRun], Iterator[Finding]]


def _finding(
    run: CheckedRun, rule: str, expected: str, found: str, clause: str, severity: Severity = Severity.ERROR
) -> Finding:
    return Finding(
        rule=rule, severity=severity, subject=run.log.path, expected=expected, found=found, clause=clause
    )


def log_finished(run: CheckedRun) -> Iterator[Finding]:
    """LoadGen came to its own end and wrote a verdict."""
    if not run.log.finished:
        yield _finding(
            run,
            "log.finished",
            "a closing record",
            "the log breaks off",
            "coldmark: an unfinished test has no result",
        )


def log_errors(run: CheckedRun) -> Iterator[Finding]:
    """LoadGen flagged nothing as an error; one error line is a failure whatever the verdict."""
    for line in run.log.errors:
        yield _finding(
            run,
            "log.errors",
            "no line with is_error",
            f"line {line.line}: {line.text}",
            "checker: errors in mlperf_log_detail.txt",
        )


def settings_effective(run: CheckedRun) -> Iterator[Finding]:
    """What LoadGen says it used is what it was told."""
    for key, expected in expected_effective(run.settings).items():
        found = run.log.get(key)
        if found is None or not _same(expected, found):
            yield _finding(
                run,
                "settings.effective",
                f"{key} = {expected}",
                f"{found}",
                "coldmark: settings are read back from the detail log",
            )


def expected_effective(s: TestSettings) -> dict[str, object]:
    """The `effective_*` lines that these settings must lead to."""
    mode = {Mode.PERFORMANCE: "PerformanceOnly", Mode.ACCURACY: "AccuracyOnly"}[s.mode]
    expected: dict[str, object] = {
        "effective_scenario": s.scenario.value,
        "effective_test_mode": mode,
        "effective_qsl_rng_seed": s.qsl_rng_seed,
        "effective_sample_index_rng_seed": s.sample_index_rng_seed,
        "effective_schedule_rng_seed": s.schedule_rng_seed,
        "effective_performance_issue_unique": s.performance_issue_unique,
        "effective_performance_issue_same": s.performance_issue_same,
        "effective_performance_sample_count": s.performance_sample_count,
        "effective_accuracy_log_rng_seed": s.accuracy_log_rng_seed,
        "effective_min_duration_ms": s.min_duration_ms,
        "effective_max_duration_ms": s.max_duration_ms,
        "effective_max_query_count": s.max_query_count,
        "effective_sample_concatenate_permutation": s.sample_concatenate_permutation,
    }
    if s.scenario is Scenario.OFFLINE:
        expected["effective_min_query_count"] = 1
    else:
        expected["effective_min_query_count"] = issued_at_least(s)
        expected["effective_target_latency_percentile"] = s.target_latency_percentile
    if s.scenario is Scenario.SERVER:
        expected["effective_target_qps"] = s.target_qps
        expected["effective_target_latency_ns"] = s.target_latency_ns
    if s.scenario is Scenario.MULTI_STREAM:
        expected["effective_samples_per_query"] = s.samples_per_query
    return expected


EQUAL_ISSUE_SLACK = 2.0
"""How much longer than the duration LoadGen sizes a SingleStream run with equal issue."""


def issued_at_least(s: TestSettings) -> int:
    """LoadGen's count of queries. With equal issue, SingleStream goes over the loaded set in whole passes.

    One pass more where the count is whole already. Source: loadgen/test_settings_internal.cc, v2.1.
    """
    if not s.sample_concatenate_permutation or s.scenario is not Scenario.SINGLE_STREAM:
        return s.min_query_count
    wanted = s.min_query_count
    if s.expected_latency_ns:
        wanted = max(
            wanted, int(EQUAL_ISSUE_SLACK * (s.min_duration_ms / 1000) * (1e9 / s.expected_latency_ns))
        )
    return wanted + s.performance_sample_count - wanted % s.performance_sample_count


def _same(expected: object, found: object) -> bool:
    """Equal, with the six digits that LoadGen prints of a floating-point number."""
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, float) and isinstance(found, int | float):
        return math.isclose(expected, found, rel_tol=1e-5)
    return expected == found


def loadgen_verdict(run: CheckedRun) -> Iterator[Finding]:
    """LoadGen itself calls the performance run VALID."""
    if run.mode is not Mode.PERFORMANCE or not run.log.finished or run.log.valid:
        return
    why = str(run.log.get("result_invalid_reason") or "no reason given").strip()
    yield _finding(run, "loadgen.valid", "VALID", f"INVALID: {why}", "checker: Result is : VALID")


def early_stopping_met(run: CheckedRun) -> Iterator[Finding]:
    """Enough queries for the percentile that is claimed."""
    if run.mode is not Mode.PERFORMANCE or run.rule.book.early_stopping == "none":
        return
    if run.log.get("early_stopping_met") is False:
        yield _finding(
            run,
            "early_stopping.met",
            f"at least {run.rule.query_floor} queries, and few enough over the bound",
            f"{run.log.get('result_query_count')} queries, not met",
            run.rule.early_stopping.clause,
        )


def duration_min(run: CheckedRun) -> Iterator[Finding]:
    """The run was told to last, and did last, at least the round's minimum duration."""
    if run.mode is not Mode.PERFORMANCE:
        return
    needed = run.rule.book.min_duration_ms
    if run.settings.min_duration_ms < needed:
        yield _finding(
            run,
            "duration.min",
            f">= {needed} ms",
            f"{run.settings.min_duration_ms} ms",
            run.rule.book.clause,
            run.official_severity,
        )
    if run.log.get("result_min_duration_met") is False:
        yield _finding(
            run,
            "duration.met",
            f">= {run.settings.min_duration_ms} ms",
            "ended earlier",
            run.rule.book.clause,
        )


def queries_min(run: CheckedRun) -> Iterator[Finding]:
    """At least the queries that early stopping needs (Offline: the round's samples)."""
    if run.mode is not Mode.PERFORMANCE:
        return
    if run.settings.min_query_count < run.rule.query_floor:
        unit = "samples" if run.rule.scenario is Scenario.OFFLINE else "queries"
        yield _finding(
            run,
            "queries.min",
            f">= {run.rule.query_floor} {unit}",
            f"{run.settings.min_query_count} {unit}",
            run.rule.book.clause,
            run.official_severity,
        )
    if run.log.get("result_min_queries_met") is False:
        yield _finding(
            run, "queries.met", f">= {run.settings.min_query_count}", "fewer", run.rule.book.clause
        )


def seeds(run: CheckedRun) -> Iterator[Finding]:
    """The round's own seeds."""
    for name in ("qsl", "sample_index", "schedule"):
        expected, found = getattr(run.rule.seeds, name), getattr(run.settings, f"{name}_rng_seed")
        if expected != found:
            yield _finding(
                run, f"seeds.{name}", str(expected), str(found), run.rule.seeds.clause, run.official_severity
            )


def latency_limit(run: CheckedRun) -> Iterator[Finding]:
    """Server is held to the round's latency bound; the streams and Server to its percentile."""
    limit = run.rule.target_latency_ns
    if limit is not None and run.settings.target_latency_ns != limit:
        yield _finding(
            run,
            "latency.limit",
            f"{limit} ns",
            f"{run.settings.target_latency_ns} ns",
            run.rule.book.clause,
            run.official_severity,
        )
    if run.rule.scenario is Scenario.OFFLINE:
        return
    if run.settings.target_latency_percentile != run.rule.book.percentile:
        yield _finding(
            run,
            "latency.percentile",
            f"{run.rule.book.percentile}",
            f"{run.settings.target_latency_percentile}",
            run.rule.book.clause,
            run.official_severity,
        )


def samples(run: CheckedRun) -> Iterator[Finding]:
    """Enough distinct samples in memory, and the round's samples a query."""
    needed = run.rule.benchmark.performance_sample_count
    if run.settings.performance_sample_count < needed:
        yield _finding(
            run,
            "samples.performance_count",
            f">= {needed}",
            f"{run.settings.performance_sample_count}",
            "conf: performance_sample_count_override",
            run.official_severity,
        )
    if run.rule.scenario is Scenario.MULTI_STREAM:
        expected, found = run.rule.book.samples_per_query, run.settings.samples_per_query
        if expected != found:
            yield _finding(
                run,
                "samples.per_query",
                str(expected),
                str(found),
                run.rule.book.clause,
                run.official_severity,
            )


def unmodified(run: CheckedRun) -> Iterator[Finding]:
    """No audit setting is left on in an ordinary run, and equal issue only where the round has it."""
    s = run.settings
    for name in (
        "performance_issue_unique",
        "performance_issue_same",
        "accuracy_log_probability",
        "accuracy_log_sampling_target",
        "accuracy_log_rng_seed",
    ):
        if getattr(s, name):
            yield _finding(
                run,
                f"settings.{name}",
                "off",
                str(getattr(s, name)),
                "compliance: audit settings belong to the audit tests",
                run.official_severity,
            )
    if s.sample_concatenate_permutation != run.rule.benchmark.equal_issue:
        yield _finding(
            run,
            "settings.sample_concatenate_permutation",
            str(run.rule.benchmark.equal_issue),
            str(s.sample_concatenate_permutation),
            "conf: 3d-unet.*.sample_concatenate_permutation",
            run.official_severity,
        )


def plausible(run: CheckedRun) -> Iterator[Finding]:
    """The result follows from the other fields of the same log."""
    if run.mode is not Mode.PERFORMANCE or not run.log.finished:
        return
    scenario = run.rule.scenario
    off = deviation(run.log.number, scenario)
    most = allowed(run.rule.tolerances, scenario, run.log.number("result_query_count"))
    confidence = run.rule.early_stopping.confidence
    careful = off is not None and estimate_holds(run.log.number, run.rule.book, scenario, confidence)
    if off is not None and (off < -most or (off > most and not careful)):
        yield _finding(
            run,
            "result.plausible",
            f"within {most:.1%} of {recomputed(run.log.number, scenario):.6g}",
            f"{run.log.number(RESULT_KEYS[scenario]):.6g} ({off:+.2%})",
            run.rule.tolerances.clause,
            Severity.WARNING,
        )


CHECKS: tuple[Check, ...] = (
    log_finished,
    log_errors,
    settings_effective,
    loadgen_verdict,
    early_stopping_met,
    duration_min,
    queries_min,
    seeds,
    latency_limit,
    samples,
    unmodified,
    plausible,
)


def check_run(run: CheckedRun) -> list[Finding]:
    """All findings on a test, in the order of the checks."""
    return [finding for check in CHECKS for finding in check(run)]
