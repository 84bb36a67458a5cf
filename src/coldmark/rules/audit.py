"""The audit tests of a round: what LoadGen is told, and what their logs must show.

All numbers come from the rule book. Where MLPerf's verification scripts of v2.1 are known to be wrong, the
rules' text is followed, and the finding says what the script would do (docs/explanation/compliance.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from coldmark.core.compliance import ScoreComparison
from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Finding, Length, Scenario, Severity
from coldmark.core.runlog import RunLog
from coldmark.core.settings import TestSettings
from coldmark.rules.book import Benchmark, Compliance, RuleBook, ScenarioBook, ScenarioRule
from coldmark.rules.run_checks import CHECKS, CheckedRun, unmodified

PASS = "TEST PASS"  # noqa: S105 - the scripts' own word for a verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """One audit test of one benchmark-scenario."""

    name: str
    book: Compliance
    rule: ScenarioRule  # with the seeds that hold in this test
    ordinary: ScenarioRule  # with the round's own

    @property
    def samples_answers(self) -> bool:
        """Whether some answers are logged and compared."""
        return bool(self.book.accuracy_log_rng_seed)

    @property
    def settings(self) -> dict[str, Any]:
        """What differs from the submitted run's test settings, by their names."""
        values: dict[str, Any] = {}
        if self.samples_answers:
            values["accuracy_log_rng_seed"] = self.book.accuracy_log_rng_seed
            values["accuracy_log_sampling_target"] = self.rule.benchmark.test01_sampling_target
        if self.book.performance_issue_same:
            values["performance_issue_same"] = True
            values["performance_issue_same_index"] = self.book.performance_issue_same_index
        if self.book.alternate_seeds:
            seeds = self.rule.seeds
            values |= {
                "qsl_rng_seed": seeds.qsl,
                "sample_index_rng_seed": seeds.sample_index,
                "schedule_rng_seed": seeds.schedule,
            }
        return values

    @property
    def accuracy_tolerance(self) -> float | None:
        """Most relative difference of the metric where answers differ."""
        return metric_tolerance(self.book, self.rule.benchmark)


def audits(book: RuleBook, rule: ScenarioRule) -> dict[str, Audit]:
    """The audit tests that a round asks of a benchmark-scenario, by name.

    Raises ConfigError for a test this book does not describe.
    """
    found: dict[str, Audit] = {}
    for name in rule.benchmark.compliance:
        entry = book.compliance.get(name)
        if entry is not None and rule.scenario in entry.not_in:
            continue
        if entry is None or not entry.supported:
            raise ConfigError(
                f"{name} of round {book.round} cannot be run here",
                where=f"{rule.name} {rule.scenario}",
                hint=entry.purpose if entry else "only tests that a rule book describes can be run",
            )
        held = rule
        if entry.alternate_seeds:
            held = replace(rule, seeds=rule.seeds.alternate())
        found[name] = Audit(name=name, book=entry, rule=held, ordinary=rule)
    return found


def metric_tolerance(book: Compliance, benchmark: Benchmark) -> float | None:
    """Most relative difference of a benchmark's metric, over the sampled samples, where answers differ."""
    strict = "99.9" in benchmark.official_name
    return book.accuracy_tolerance_strict if strict else book.accuracy_tolerance


def metric_difference(baseline: float | None, compliance: float | None) -> float | None:
    """|1 - baseline / compliance|, None where either is missing or nothing."""
    return abs(1 - baseline / compliance) if baseline and compliance else None


def score_field(rule: ScenarioBook) -> str:
    """LoadGen's key of what audit tests compare: the result, in Server the completed rate."""
    return rule.audit_field or rule.result_field


def tolerance(book: Compliance, scenario: Scenario, reference: float | None) -> float:
    """The share by which scores may differ; a very short latency of the submitted run relaxes it."""
    limit = book.relaxed_below_ns.get(scenario)
    if book.relaxed_tolerance is None or limit is None or reference is None or reference > limit:
        return book.performance_tolerance
    return book.relaxed_tolerance


def compare(
    book: Compliance, scenario: Scenario, rule: ScenarioBook, reference: float | None, test: float | None
) -> ScoreComparison:
    """The two scores that a test compares, and how far they may lie apart."""
    return ScoreComparison(
        field=score_field(rule),
        lower_is_better=rule.lower_is_better,
        reference=reference or None,
        test=test or None,
        tolerance=tolerance(book, scenario, reference or None),
        direction=book.performance,
        as_logged=rule.lower_is_better and bool(book.against),  # that script does not make rates of them
    )


def compare_scores(audit: Audit, reference: RunLog, test: RunLog) -> ScoreComparison:
    """The comparison of an audit test, from the detail logs of the submitted run and of its own."""
    rule, key = audit.rule, score_field(audit.rule.book)
    return compare(audit.book, rule.scenario, rule.book, reference.number(key), test.number(key))


def performance_findings(audit: Audit, reference: RunLog, test: RunLog) -> Iterator[Finding]:
    """What an audit test's detail log shows against the submitted run's: no finding of ERROR is a pass."""
    for name, log in (("the submitted run", reference), ("the audit test", test)):
        if not log.valid:
            yield _finding(audit, log, "valid", "VALID", f"{name} is not VALID")
    if reference.get("effective_scenario") != test.get("effective_scenario"):
        yield _finding(
            audit,
            test,
            "scenario",
            str(reference.get("effective_scenario")),
            str(test.get("effective_scenario")),
        )
        return
    yield from _same_bound(audit, reference, test)
    yield from _score(audit, compare_scores(audit, reference, test), test)


def _same_bound(audit: Audit, reference: RunLog, test: RunLog) -> Iterator[Finding]:
    """Server: both runs held to one latency bound. The scripts' own check of this never fires."""
    key = "effective_target_latency_ns"
    if audit.rule.scenario is Scenario.SERVER and reference.get(key) != test.get(key):
        yield _finding(
            audit,
            test,
            "target_latency",
            f"{reference.get(key)} ns, as the submitted run",
            f"{test.get(key)} ns (the official script means to check this and does not)",
        )


def _score(audit: Audit, score: ScoreComparison, log: RunLog) -> Iterator[Finding]:
    if score.reference is None or score.test is None:
        missing = "the submitted run" if score.reference is None else "the audit test"
        yield _finding(audit, log, "score", f"{score.field} in both logs", f"none in {missing}")
        return
    if score.kept:
        return
    found = f"{score.test:.6g} against {score.reference:.6g}"
    if score.direction == "not_faster":
        found = f"{(score.speed or 0) - 1:.1%} faster ({found})"
        relaxed = audit.book.relaxed_tolerance
        if score.lower_is_better and relaxed and (score.speed or 0) < 1 + relaxed:
            found += f"; the official script allows {relaxed:.0%} here whatever the latency"
    than = "of" if score.direction == "within" else "than"
    yield _finding(audit, log, "score", f"{score.bound} {than} the submitted run", found)


def _finding(audit: Audit, log: RunLog, rule: str, expected: str, found: str) -> Finding:
    return Finding(
        rule=f"compliance.{rule}",
        severity=Severity.ERROR,
        subject=log.path,
        expected=expected,
        found=found,
        clause=audit.book.clause,
    )


def run_findings(audit: Audit, log: RunLog, settings: TestSettings, length: Length) -> list[Finding]:
    """The checks of an ordinary run, with this test's seeds, and that LoadGen took its audit settings."""
    run = CheckedRun(log=log, settings=settings, rule=audit.rule, length=length)
    found = [f for check in CHECKS if check is not unmodified for f in check(run)]
    for key, expected in audit.settings.items():
        effective = log.get(f"effective_{key}")
        if effective != expected:
            found.append(_finding(audit, log, "settings", f"effective_{key} = {expected}", str(effective)))
    return found
