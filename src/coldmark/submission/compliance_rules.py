"""Rules on `compliance/`: each test's own run, and its verdict again from both logs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from coldmark.core.nouns import Scenario, Severity
from coldmark.rules.audit import PASS, compare, metric_difference, metric_tolerance, score_field
from coldmark.rules.book import Benchmark, Compliance, LengthRule, RuleBook
from coldmark.rules.submission_book import SubmissionBook
from coldmark.submission.accuracy_rules import AccuracyCase, check_accuracy
from coldmark.submission.findings import Findings
from coldmark.submission.log_rules import LogCase, add_problems, check_log
from coldmark.submission.place import Entry, submission_of
from coldmark.submission.scan import DetailLog, scan_detail
from coldmark.submission.texts import as_number, parse_accuracy
from coldmark.submission.tree import Tree, Unreadable, read_text

_SCORE = re.compile(r"^(reference|test) score = (\S+)", re.MULTILINE)
STATED = 1e-4
"""Relative difference that printing a score may make: LoadGen logs six digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplianceCase:
    """The compliance folder of an entry."""

    tree: Tree
    entry: Entry
    book: RuleBook
    benchmark: Benchmark
    findings: Findings
    submitted: DetailLog | None
    length: LengthRule | None
    accuracy_samples: float | None

    @property
    def part(self) -> SubmissionBook:
        return submission_of(self.book)

    def folder(self, test: str) -> str:
        return f"{self.entry.at('compliance')}/{test}"


def check_compliance(case: ComplianceCase) -> None:
    """All tests that the benchmark needs."""
    logs: dict[str, DetailLog | None] = {"": case.submitted}
    for test in case.benchmark.compliance:
        book = case.book.compliance[test]
        if case.tree.get(case.folder(test)) is None:
            case.findings.add(
                case.folder(test),
                "compliance.missing",
                f"{test}, {book.purpose}",
                "no such folder",
                book.clause,
            )
            continue
        if book.answers:
            _check_lines(case, test, book)
            continue
        log = logs[test] = _check_run(case, test)
        _check_verdict(case, test, book, log, logs.get(book.against))
        if book.accuracy_log_rng_seed:
            _check_answers(case, test, book)


def _check_run(case: ComplianceCase, test: str) -> DetailLog | None:
    path = f"{case.folder(test)}/performance/run_1/mlperf_log_detail.txt"
    if not case.tree.has(path):
        return None  # the folder's rule says so
    try:
        log = scan_detail(case.tree, path)
    except Unreadable as error:
        clause = case.book.compliance[test].clause
        case.findings.add(path, "log.readable", "a readable log", error, clause)
        return None
    logged = log.word("effective_scenario")
    if logged not in list(Scenario):
        clause = case.book.compliance[test].clause
        case.findings.add(path, "log.scenario", "a scenario", logged or "none", clause)
        add_problems(log, case.findings)
        return None
    if case.submitted is not None and logged != case.submitted.word("effective_scenario"):
        clause, expected = case.book.compliance[test].clause, case.submitted.word("effective_scenario")
        line = log.lines.get("effective_scenario", 0)
        # Of an inferred result the test may be of the folder's own scenario: then nothing can be compared.
        own = case.part.scenario_folders.get(case.entry.scenario) == logged
        case.findings.add(
            path, "log.scenario", f"{expected}, as the submitted run", logged, clause,
            Severity.WARNING if own else Severity.ERROR, line,
        )  # fmt: skip
        return None
    check_log(
        LogCase(
            log=log, book=case.book, benchmark=case.benchmark, scenario=Scenario(logged), accuracy_run=False,
            findings=case.findings, test=test, length=case.length,
        )
    )  # fmt: skip
    return log


def score(log: DetailLog, book: RuleBook) -> float | None:
    """What the audit tests compare of a log: its result, in Server the completed rate."""
    rule = book.scenarios[Scenario(log.word("effective_scenario"))]
    return log.number(score_field(rule))


def _check_verdict(
    case: ComplianceCase, test: str, book: Compliance, log: DetailLog | None, other: DetailLog | None
) -> None:
    """The script's verdict, its scores, and the comparison again; `other`: the run to compare with."""
    path = f"{case.folder(test)}/verify_performance.txt"
    if log is not None and other is not None and book.performance != "none":
        _compare(case, path, book, log, other)
    if not case.tree.has(path):
        return  # the folder's rule says so, where there has to be one
    try:
        text = read_text(case.tree, path)
    except Unreadable as error:
        case.findings.add(path, "compliance.text", "a text in UTF-8", error, book.clause)
        return
    if PASS not in text:
        case.findings.add(path, "compliance.performance", PASS, "no such line", book.clause)
    if log is None or other is None:
        return
    for match in _SCORE.finditer(text):
        own = other if match[1] == "reference" else log
        if not _stated(match[2], own, case.book, STATED):
            # Published trees show scores of a run that was made again; the comparison below is of the logs.
            near = _stated(match[2], own, case.book, book.performance_tolerance)
            severity = Severity.WARNING if near else Severity.ERROR
            line = text.count("\n", 0, match.start()) + 1
            expected = f"the {match[1]} score of its log"
            case.findings.add(path, "compliance.score", expected, match[2], book.clause, severity, line)


def _stated(text: str, log: DetailLog, book: RuleBook, share: float) -> bool:
    """Whether a score stands in a log, as latency [ns] or as the rate that it makes."""
    value, own = as_number(text), score(log, book)
    if value is None or not own:
        return False
    rule = book.scenarios[Scenario(log.word("effective_scenario"))]
    forms = [own]
    if rule.lower_is_better:
        forms += [1e9 / own, rule.samples_per_query * 1e9 / own]
    return any(math.isclose(value, form, rel_tol=share) for form in forms)


def _compare(case: ComplianceCase, path: str, book: Compliance, log: DetailLog, other: DetailLog) -> None:
    """The rule's own comparison, from both logs: more than the verify scripts see."""
    scenario = Scenario(log.word("effective_scenario"))
    rule = case.book.scenarios[scenario]
    compared = compare(book, scenario, rule, score(other, case.book), score(log, case.book))
    if not compared.reference or not compared.test or compared.kept:
        return
    text = f"{compared.test:.6g} against {compared.reference:.6g} "
    text += f"({compared.test / compared.reference - 1:+.1%})"
    case.findings.add(path, "compliance.compare", compared.bound, text, book.clause)


def _check_lines(case: ComplianceCase, test: str, book: Compliance) -> None:
    """A test that looks at answers only: its script's own lines."""
    path = f"{case.folder(test)}/verify_accuracy.txt"
    try:
        lines = {line.strip() for line in read_text(case.tree, path).splitlines()}
    except Unreadable as error:
        case.findings.add(path, "compliance.text", "a text in UTF-8", error, book.clause)
        return
    for allowed in book.answers:
        if not lines.intersection(allowed):
            expected = " | ".join(allowed)
            case.findings.add(path, "compliance.accuracy", expected, "no such line", book.clause)
    found = "the script's lines are taken: the tree holds no answers to compare"
    case.findings.add(path, "compliance.unchecked", book.purpose, found, book.clause, Severity.NOTE)


def _check_answers(case: ComplianceCase, test: str, book: Compliance) -> None:
    """Answers equal those of the accuracy run, or their metric does."""
    path = f"{case.folder(test)}/verify_accuracy.txt"
    folder = f"{case.folder(test)}/accuracy"
    if case.tree.get(folder) is None:
        case.findings.add(folder, "compliance.accuracy", "the test's answers", "no such folder", book.clause)
        return
    check_accuracy(
        AccuracyCase(
            tree=case.tree, path=folder, book=case.book, benchmark=case.benchmark, findings=case.findings,
            closed=True, audit=True, samples=case.accuracy_samples,
        )
    )  # fmt: skip
    if not case.tree.has(path):
        return
    try:
        passed = PASS in read_text(case.tree, path)
    except Unreadable as error:
        case.findings.add(path, "compliance.text", "a text in UTF-8", error, book.clause)
        return
    if not passed:
        _check_unequal(case, folder, book)


def _check_unequal(case: ComplianceCase, folder: str, book: Compliance) -> None:
    """Where answers differ, the metrics over the same samples must agree."""
    own = metric_tolerance(book, case.benchmark)
    for number, (metric, target) in enumerate(case.benchmark.targets.items()):
        most = own if target.audit_tolerance is None else target.audit_tolerance
        baseline, compliance = (
            _metric(case, f"{folder}/{name}_accuracy.txt", metric) for name in ("baseline", "compliance")
        )
        apart = metric_difference(baseline, compliance)
        if apart is not None and most is not None:
            if apart > most:
                found = f"{metric}: {baseline} against {compliance}"
                case.findings.add(folder, "compliance.accuracy", f"within {most:.1%}", found, book.clause)
        elif number == 0:  # scripts need not print the others over so few samples
            expected = "equal answers, or baseline_accuracy.txt and compliance_accuracy.txt"
            case.findings.add(folder, "compliance.accuracy", expected, "neither", book.clause)
            return
        else:
            case.findings.add(
                folder, "compliance.unchecked", f"{metric} within its tolerance", "not in both files",
                book.clause, Severity.NOTE,
            )  # fmt: skip


def _metric(case: ComplianceCase, path: str, metric: str) -> float | None:
    part = case.book.submission
    assert part is not None
    how = part.accuracy_text.get(metric)
    if how is None or not case.tree.has(path):
        return None
    try:
        said = parse_accuracy(read_text(case.tree, path), how)
    except Unreadable as error:
        case.findings.add(path, "compliance.text", "a text in UTF-8", error, part.clause)
        return None
    return as_number(said.values[-1][1]) if said.values else None
