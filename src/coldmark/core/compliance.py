"""What the audit tests of a run found: `compliance/compliance.json` is a `ComplianceRecord`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coldmark.core.nouns import Finding, Severity

SCORE = "compliance.score"
"""The rule that compares scores."""
SCHEMA = 1
"""Version of the record's JSON form."""

ScoreAnswers = Callable[[NDArray[np.int64], Sequence[bytes]], tuple[float, str]]
"""(sample indices, answers) of a part of the set -> a workload's metric, and the line its script prints.

Raises DataError where it cannot score a part.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the machine itself was: bare rates [samples/s], each the mean of before and after a test."""

    reference: float  # around the submitted run
    test: float  # around the audit test

    @property
    def ratio(self) -> float:
        """How many times as fast the machine was in the audit test."""
        return self.test / self.reference


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreComparison:
    """The score of an audit test against the submitted run's, both from their own logs."""

    field: str  # LoadGen's key
    lower_is_better: bool
    reference: float | None
    test: float | None
    tolerance: float  # share of the reference
    direction: str  # "within": both ways; "not_faster", "not_slower": one way
    as_logged: bool = False  # "not_faster" of two latencies as they are, not as the rates they make

    @property
    def speed(self) -> float | None:
        """How many times as fast the audit test was, None without both scores."""
        if not self.reference or not self.test:
            return None
        return self.reference / self.test if self.lower_is_better else self.test / self.reference

    @property
    def kept(self) -> bool:
        """Whether both scores are there and the bound holds: strictly, in the scripts' own arithmetic."""
        if not self.reference or not self.test or self.speed is None:
            return False
        above = self.test >= self.reference * (1 + self.tolerance)
        below = self.test <= self.reference * (1 - self.tolerance)
        if self.direction == "within":
            return not above and not below
        if self.direction == "not_slower":
            return not (above if self.lower_is_better else below)
        return not below if self.as_logged else self.speed < 1 + self.tolerance

    def beside(self, pace: Pace) -> ScoreComparison:
        """The comparison as it would be, had the machine kept its pace: shown, never judged by."""
        if self.test is None:
            return self
        test = self.test * pace.ratio if self.lower_is_better else self.test / pace.ratio
        return replace(self, test=test)

    @property
    def bound(self) -> str:
        """The bound in words."""
        ways = {"within": "within {}", "not_faster": "at most {} faster", "not_slower": "at most {} slower"}
        return ways[self.direction].format(f"{self.tolerance:.0%}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerComparison:
    """The answers sampled in performance mode against those of the accuracy run, byte by byte."""

    reference_entries: int
    reference_duplicates: int
    reference_conflicts: int  # an index answered twice, differently, in the accuracy run
    test_entries: int
    samples: int  # distinct ones among the test's
    differing: int  # entries with other bytes than the accuracy run's
    missing: int  # entries of samples that the accuracy run does not have
    first_differing: int | None = None  # the index of the first
    baseline: float | None = None  # metric of the accuracy run's answers to those samples
    compliance: float | None = None  # metric of the audit test's answers to them
    tolerance: float | None = None  # most relative difference of the two


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierTry:
    """A try of an audit test that was repeated because the machine's own pace had changed."""

    score: ScoreComparison
    pace: Pace
    finished: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class TestVerdict:
    """What one audit test found."""

    __test__ = False  # the name is the field's; pytest is not to collect it

    test: str
    score: ScoreComparison
    answers: AnswerComparison | None = None
    findings: tuple[Finding, ...] = ()
    pace: Pace | None = None  # None in Server, whose rate is told, and where it was not measured
    earlier: tuple[EarlierTry, ...] = ()

    @property
    def machine_changed(self) -> bool:
        """Whether the score is all that fails, and it holds beside the machine's own pace."""
        errors = {f.rule for f in self.findings if f.severity is Severity.ERROR}
        if errors != {SCORE} or self.pace is None or self.score.test is None:
            return False
        return not self.score.kept and self.score.beside(self.pace).kept

    @property
    def pace_texts(self) -> list[str]:
        """What the machine's own pace has to do with the scores, of every try in turn."""
        tries = [(one.score, one.pace) for one in self.earlier]
        tries += [(self.score, self.pace)] if self.pace else []
        texts = []
        for number, (score, pace) in enumerate(tries, 1):
            if score.speed is not None:
                text = f"try {number} of {len(tries)}: " if self.earlier else ""
                text += (
                    f"{score.speed:.3f} times as fast as the run, the machine itself {pace.ratio:.3f} times"
                )
                texts.append(f"{text} (bare rate {pace.test:.6g} against {pace.reference:.6g} samples/s)")
        return texts

    @property
    def passed(self) -> bool:
        return not any(f.severity is Severity.ERROR for f in self.findings)

    @property
    def performance_passed(self) -> bool:
        """Whether everything but the answers is in order: the verdict of verify_performance.txt."""
        return not any(
            f.severity is Severity.ERROR and not f.rule.startswith("compliance.answers")
            for f in self.findings
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplianceRecord:
    """The audit tests of one run."""

    schema: int = SCHEMA
    run_id: str
    round: str
    benchmark: str
    scenario: str
    tests: dict[str, TestVerdict]
    software: dict[str, str]
    finished: str  # ISO 8601, UTC

    @property
    def passed(self) -> bool:
        return all(t.passed for t in self.tests.values())
