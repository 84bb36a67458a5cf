"""Verdict and files of an audit test, in the words MLPerf's verification scripts use and its checker reads.

    TESTxx/
      verify_performance.txt                scores, then TEST PASS or TEST FAIL
      verify_accuracy.txt                   TEST01: what the comparison of answers counted
      accuracy/mlperf_log_accuracy.json     TEST01: the sampled answers, whole
      accuracy/accuracy.txt                 TEST01: sha256 of that file
      accuracy/baseline_accuracy.txt        TEST01, where answers differ: the metric of the accuracy run's
      accuracy/compliance_accuracy.txt      answers to the sampled samples, and of the audit test's
      performance/run_1/                    LoadGen's detail and summary log

The words TEST PASS stand in a file only where it passes: the official checker looks for them in any line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from coldmark.core.compliance import (
    AnswerComparison,
    EarlierTry,
    Pace,
    ScoreAnswers,
    ScoreComparison,
    TestVerdict,
)
from coldmark.core.errors import DataError
from coldmark.core.nouns import Finding, Length, Severity
from coldmark.core.settings import TestSettings
from coldmark.loadgen.log import ACCURACY, DETAIL, AccuracyLog, parse_accuracy, parse_detail
from coldmark.rules.audit import (
    PASS,
    Audit,
    compare_scores,
    metric_difference,
    performance_findings,
    run_findings,
)
from coldmark.store.rundir import sha256, write_whole

PERFORMANCE_DIR, ACCURACY_DIR = "performance/run_1", "accuracy"
VERIFY_PERFORMANCE, VERIFY_ACCURACY = "verify_performance.txt", "verify_accuracy.txt"
ACCURACY_TEXT = "accuracy.txt"
BASELINE, COMPLIANCE = "baseline_accuracy.txt", "compliance_accuracy.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The run that an audit test is held against: where its two LoadGen tests lie."""

    performance: Path
    accuracy: Path | None


def verify(
    audit: Audit,
    folder: Path,
    submitted: Submitted,
    *,
    settings: TestSettings,
    length: Length,
    score: ScoreAnswers | None,
    pace: Pace | None = None,
    earlier: Sequence[EarlierTry] = (),
) -> TestVerdict:
    """Judge the audit test whose logs lie in `folder` as above, and write its verification files.

    `score` is the workload's own metric over some of its samples, None where it has none. `pace` and
    `earlier` tries are written down; no bound depends on them.
    Raises DataError where a log is missing or unreadable.
    """
    test = parse_detail(folder / PERFORMANCE_DIR / DETAIL)
    reference = parse_detail(submitted.performance / DETAIL)
    findings = [*run_findings(audit, test, settings, length), *performance_findings(audit, reference, test)]
    verdict = TestVerdict(
        test=audit.name,
        score=compare_scores(audit, reference, test),
        findings=tuple(findings),
        pace=pace,
        earlier=tuple(earlier),
    )
    write_whole(folder / VERIFY_PERFORMANCE, performance_text(audit, verdict))
    if audit.samples_answers:
        verdict = _verify_answers(audit, folder, submitted, verdict, score)
    return verdict


def performance_text(audit: Audit, verdict: TestVerdict) -> str:
    """`verify_performance.txt`."""
    lines = ["Verifying performance."]
    for name, value in (("reference", verdict.score.reference), ("test", verdict.score.test)):
        lines.append(f"{name} score = {_score_text(verdict.score, value)}")
    lines.append(PASS if verdict.performance_passed else "TEST FAIL: Test score invalid")
    lines += [f"coldmark: {_line(f)}" for f in verdict.findings if f.severity is Severity.ERROR]
    lines += [f"coldmark: {text}" for text in verdict.pace_texts]
    return "\n".join(lines) + "\n"


def _score_text(score: ScoreComparison, value: float | None) -> str:
    """As the scripts print it: the log's value, and in the one-sided test a latency as its rate."""
    if value is None:
        return "0"
    if score.lower_is_better and score.direction == "not_faster":
        return repr(1e9 / value)
    return f"{value:.0f}" if value.is_integer() else repr(value)


def _line(finding: Finding) -> str:
    return f"{finding.rule}: expected {finding.expected}, found {finding.found}".replace(PASS, "a pass")


# -- answers ------------------------------------------------------------------------------------------


def _verify_answers(
    audit: Audit, folder: Path, submitted: Submitted, verdict: TestVerdict, score: ScoreAnswers | None
) -> TestVerdict:
    accuracy = folder / ACCURACY_DIR
    if submitted.accuracy is None:
        raise DataError("the run has no accuracy test to compare with", where=str(submitted.performance))
    test = parse_accuracy(accuracy / ACCURACY)
    reference = parse_accuracy(submitted.accuracy / ACCURACY)
    answers = compare_answers(reference, test)
    write_whole(accuracy / ACCURACY_TEXT, f"hash={sha256(accuracy / ACCURACY)}\n")
    for name in (BASELINE, COMPLIANCE):
        (accuracy / name).unlink(missing_ok=True)
    same = not answers.differing and not answers.missing and answers.test_entries > 0
    if answers.differing and not answers.missing and score is not None:
        answers = _score_both(audit, accuracy, reference, test, answers, score)
    write_whole(folder / VERIFY_ACCURACY, accuracy_text(answers, same))
    found = answer_findings(audit, answers, str(accuracy / ACCURACY))
    return replace(verdict, answers=answers, findings=(*verdict.findings, *found))


def compare_answers(reference: AccuracyLog, test: AccuracyLog) -> AnswerComparison:
    """Count where the bytes of answers differ.

    The scripts compare the first element alone, let a sample pass that the accuracy run lacks, and replace
    the reference by what they just read; here every entry is held whole against the accuracy run's.
    """
    known: dict[int, bytes] = {}
    duplicates = conflicts = 0
    for index, answer in zip(reference.indices.tolist(), reference.answers, strict=True):
        if index in known:
            duplicates += 1
            conflicts += known[index] != answer
        else:
            known[index] = answer
    pairs = list(zip(test.indices.tolist(), test.answers, strict=True))
    different = [index for index, answer in pairs if index in known and known[index] != answer]
    return AnswerComparison(
        reference_entries=len(reference.answers),
        reference_duplicates=duplicates,
        reference_conflicts=conflicts,
        test_entries=len(pairs),
        samples=len({index for index, _ in pairs}),
        differing=len(different),
        missing=sum(index not in known for index, _ in pairs),
        first_differing=different[0] if different else None,
    )


def _score_both(
    audit: Audit,
    accuracy: Path,
    reference: AccuracyLog,
    test: AccuracyLog,
    answers: AnswerComparison,
    score: ScoreAnswers,
) -> AnswerComparison:
    """The metric of both runs over the sampled samples, each counted once, with the two files that say it."""
    known = dict(zip(reference.indices.tolist(), reference.answers, strict=True))
    given = dict(zip(reversed(test.indices.tolist()), reversed(test.answers), strict=True))
    indices = np.array(sorted(given), dtype=np.int64)
    try:
        baseline, baseline_line = score(indices, [known[i] for i in indices.tolist()])
        compliance, compliance_line = score(indices, [given[i] for i in indices.tolist()])
    except DataError:
        return answers  # a metric of the whole set alone: then only equal answers pass
    write_whole(accuracy / BASELINE, f"{baseline_line}\n")
    write_whole(accuracy / COMPLIANCE, f"{compliance_line}\n")
    return replace(answers, baseline=baseline, compliance=compliance, tolerance=audit.accuracy_tolerance)


def answer_findings(audit: Audit, answers: AnswerComparison, subject: str) -> Iterator[Finding]:
    """What the comparison of answers shows; differing bytes are a fault only where the metric differs too."""

    def finding(rule: str, expected: str, found: str, severity: Severity = Severity.ERROR) -> Finding:
        return Finding(
            rule=f"compliance.answers.{rule}",
            severity=severity,
            subject=subject,
            expected=expected,
            found=found,
            clause=audit.book.clause,
        )

    if not answers.test_entries:
        yield finding("sampled", "some answers", "none was sampled, so none was compared")
    if answers.missing:
        yield finding("known", "samples of the accuracy run", f"{answers.missing} that it does not have")
    if answers.reference_conflicts:
        found = f"{answers.reference_conflicts} samples with two unlike answers"
        yield finding("reference", "one answer a sample in the accuracy run", found)
    if not answers.differing:
        return
    said = f"{answers.differing} of {answers.test_entries} differ, first sample {answers.first_differing}"
    delta, most = metric_difference(answers.baseline, answers.compliance), answers.tolerance
    if delta is None or most is None:
        yield finding("equal", "the accuracy run's answers, byte by byte", f"{said}; the metric is not known")
    elif delta > most:
        found = f"{answers.baseline:.6g} and {answers.compliance:.6g}, {delta:.2%} apart; {said}"
        yield finding("metric", f"the metric within {most:.1%}", found)
    else:
        found = f"{said}; the metric is {delta:.3%} apart, {most:.1%} is allowed"
        yield finding("equal", "the accuracy run's answers, byte by byte", found, Severity.NOTE)


def accuracy_text(answers: AnswerComparison, same: bool) -> str:
    """`verify_accuracy.txt`; where answers differ it fails, and the two metric files speak."""
    counts = {
        "num_acc_log_entries": answers.reference_entries,
        "num_acc_log_duplicate_keys": answers.reference_duplicates,
        "num_acc_log_data_mismatch": answers.reference_conflicts,
        "num_perf_log_entries": answers.test_entries,
        "num_perf_log_qsl_idx_match": answers.test_entries - answers.missing,
        "num_perf_log_data_mismatch": answers.differing,
        "num_missing_qsl_idxs": answers.missing,
    }
    lines = ["Verifying accuracy.", *(f"{name} = {count}" for name, count in counts.items())]
    lines.append(PASS if same else "TEST FAIL")
    if answers.baseline is not None and answers.compliance is not None:
        lines.append(f"coldmark: {BASELINE} {answers.baseline:.6g}, {COMPLIANCE} {answers.compliance:.6g}")
    return "\n".join(lines) + "\n"
