"""When a test that is still going can no longer become VALID, and why.

Judged by the parent from the child's counters alone, so that the measured process is left in peace. What
counts queries is certain: what has happened already rules a VALID result out. What forecasts a duration
waits for a good part of the work, and leaves the machine room to change.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from coldmark.core.codec import from_plain, read_json
from coldmark.core.errors import Doomed
from coldmark.core.nouns import Length, Mode, Scenario
from coldmark.core.settings import SourcedSettings, TestSettings
from coldmark.loadgen.progress import Phase
from coldmark.loadgen.supervise import OnProgress
from coldmark.rules.book import ScenarioRule
from coldmark.rules.run_checks import issued_at_least
from coldmark.runs.rate import expected_latency_ns
from coldmark.runs.resolve import Plan
from coldmark.stats.early_stopping import carries, most_over

SPREAD = 4.0
"""Standard deviations of a Poisson count that the number of Server queries may be above its mean."""

FORECAST_FROM = 0.3
"""Share of the work, or of the longest duration, after which a forecast is believed."""

TOO_SHORT = 0.9
"""Share of the minimum duration below which a forecast duration is too short."""

TOO_FEW = 0.8
"""Share of the queries needed below which a forecast number is too few: a stream may become faster."""

PREPARED = 2.0
"""Queries that LoadGen prepares of a stream, over those of its minimum duration at the expected latency.
Source: loadgen/loadgen.cc, v2.1."""

GO_ON = "--go-on runs it all the same"
FREE_COUNT = "a higher test.max_query_count, or none"


def watch_for(plan: Plan, mode: Mode, directory: Path) -> OnProgress | None:
    """What watches a test that is to become VALID; None for one whose rules are not meant to hold."""
    if mode is not Mode.PERFORMANCE or plan.harness.go_on or plan.spec.length is Length.SMOKE:
        return None
    doom = Doom(directory, plan.rule)

    def watch(counters: Mapping[str, int]) -> None:
        if counters["phase"] == Phase.RUNNING:
            doom.check(counters, (time.monotonic_ns() - counters["running_ns"]) * 1e-9)

    return watch


class Ages:
    """How old the queries without an answer are, from what earlier looks saw.

    An overloaded system answers its late queries slowly, and most of them are late long before. The counters
    were read at some moment between the look before and this one, so the look before is taken for when they
    were: a parent that was kept waiting makes no query late.
    """

    def __init__(self) -> None:
        self._looks = deque[tuple[float, int]]()  # within the bound: when, and how many were issued
        self._old = 0  # queries issued by the last look beyond it
        self._before_s, self._over = 0.0, 0

    def late(self, counters: Mapping[str, int], elapsed_s: float, bound_s: float) -> tuple[int, int]:
        """Queries answered too late, and queries that are late without an answer; neither more than are."""
        while self._looks and self._looks[0][0] + bound_s <= self._before_s:
            self._old = self._looks.popleft()[1]
        waiting = max(0, self._old - counters["completed"])
        # The child counts an answer as late just before it counts it as completed, and between the two it
        # would be counted twice here. Those that the look before saw as late are among the completed by now.
        over, waiting = max((counters["over"], 0), (self._over, waiting), key=sum)
        self._looks.append((elapsed_s, counters["issued"]))
        self._before_s, self._over = elapsed_s, counters["over"]
        return over, waiting


class Doom:
    """Watches one performance test; its settings are read when LoadGen has the clock."""

    def __init__(self, directory: Path, rule: ScenarioRule) -> None:
        self._directory = directory
        self._rule = rule
        self._ages = Ages()

    @cached_property
    def settings(self) -> TestSettings:
        path = self._directory / "settings.json"
        return from_plain(read_json(path), SourcedSettings, where=str(path)).settings

    @cached_property
    def _claim(self) -> dict[str, float]:
        """Early stopping's percentile, confidence and tolerance."""
        claim = self._rule.early_stopping
        percentile = self.settings.target_latency_percentile or self._rule.book.percentile
        return {"percentile": percentile, "confidence": claim.confidence, "tolerance": claim.tolerance}

    @cached_property
    def _prepared(self) -> tuple[int, int]:
        """Fewest and most queries that LoadGen prepares; of a stream the same."""
        s, least = self.settings, issued_at_least(self.settings)
        if s.scenario is Scenario.SERVER:
            mean = (s.target_qps or 0.0) * s.min_duration_ms / 1000
            spread = SPREAD * math.sqrt(mean)
            return max(least, math.floor(mean - spread)), max(least, math.ceil(mean + spread))
        found = max(least, math.ceil(PREPARED * s.min_duration_ms * 1e6 / (s.expected_latency_ns or 1)))
        return found, found

    @cached_property
    def most_queries(self) -> int:
        """As many queries as LoadGen issues at the most."""
        most = self._prepared[1]
        return min(most, self.settings.max_query_count or most)

    @property
    def _cut(self) -> bool:
        """Whether test.max_query_count is less than what is prepared."""
        return self.most_queries < self._prepared[1]

    @cached_property
    def _needed(self) -> int:
        """Queries that LoadGen and the claim ask for at the least."""
        return max(issued_at_least(self.settings), self._floor)

    @cached_property
    def bearable(self) -> int:
        """Queries over the bound that a Server test of this length can have and be VALID; -1: none."""
        return most_over(self.most_queries, **self._claim)

    def check(self, counters: Mapping[str, int], elapsed_s: float) -> None:
        """Raises Doomed where the test can no longer become VALID, `elapsed_s` after LoadGen's start."""
        if self.settings.mode is not Mode.PERFORMANCE or elapsed_s <= 0:
            return
        if self.settings.scenario is Scenario.OFFLINE:
            self._check_offline(counters, elapsed_s)
            return
        self._check_prepared()
        if self.settings.scenario is Scenario.SERVER:
            self._check_latency(counters, elapsed_s)
        else:
            self._check_stream(counters, elapsed_s)

    def _check_prepared(self) -> None:
        """Queries enough are prepared, whatever their latency, and there is time to issue them."""
        if 0 < self.settings.max_duration_ms < self.settings.min_duration_ms:
            raise Doomed(
                f"test.max_duration_ms ends it after {self.settings.max_duration_ms / 1000:g} s, and "
                f"{self.settings.min_duration_ms / 1000:g} s are the least",
                where="stopped early",
                hint=f"a higher test.max_duration_ms, or none; {GO_ON}",
            )
        if self.most_queries < self._needed:
            raise Doomed(
                f"at most {self.most_queries} queries will be issued, and {self._needed} are the least",
                where="stopped early",
                hint=f"{self._more_queries}; {GO_ON}",
            )
        # Server goes through all it prepared, and to come to this number is an error in LoadGen's log.
        if (
            self.settings.scenario is Scenario.SERVER
            and 0 < self.settings.max_query_count <= self._prepared[0]
        ):
            raise Doomed(
                f"test.max_query_count ends it at {self.settings.max_query_count} queries, and at least "
                f"{self._prepared[0]} will come",
                where="stopped early",
                hint=f"{FREE_COUNT}; {GO_ON}",
            )

    @property
    def _more_queries(self) -> str:
        if self._cut:
            return FREE_COUNT
        rate = " or a higher --target-qps" if self.settings.scenario is Scenario.SERVER else ""
        return f"a longer --length, a higher test.min_query_count{rate}"

    @cached_property
    def _floor(self) -> int:
        """Fewest queries that carry the claim at all: an estimate gives one up, a bound none."""
        given_up, found = int(self._rule.book.early_stopping == "estimate"), 1
        while not carries(found, given_up, **self._claim):
            found += 1
        return found

    def _check_latency(self, counters: Mapping[str, int], elapsed_s: float) -> None:
        """Those answered too late, and those that wait for longer than the bound already."""
        bound_ns, rate = self.settings.target_latency_ns or 0, self.settings.target_qps or 0.0
        over, waiting = self._ages.late(counters, elapsed_s, bound_ns * 1e-9)
        if over + waiting <= self.bearable:
            return
        unanswered = f" ({waiting} of them have no answer yet)" if waiting else ""
        raise Doomed(
            f"after {elapsed_s:.0f} s {over + waiting} of {counters['completed'] + waiting} queries took "
            f"longer than {bound_ns / 1e6:g} ms{unanswered}; a test of at most {self.most_queries} can bear "
            f"{self.bearable}",
            where="stopped early",
            hint=f"a --target-qps below {rate:g}; {GO_ON}",
        )

    def _check_offline(self, counters: Mapping[str, int], elapsed_s: float) -> None:
        """Its one query must not be answered before the minimum duration is over."""
        done, expected = counters["completed"], counters["expected"]
        if not expected or done < FORECAST_FROM * expected:
            return
        rate, needed_s = done / elapsed_s, self.settings.min_duration_ms / 1000
        if expected / rate < TOO_SHORT * needed_s:
            raise Doomed(
                f"at {rate:.4g} samples/s its {expected} samples are answered in {expected / rate:.3g} s, "
                f"and {needed_s:g} s are the least",
                where="stopped early",
                hint=f"--target-qps {rate * 1.1:.4g} or auto; {GO_ON}",
            )

    def _check_stream(self, counters: Mapping[str, int], elapsed_s: float) -> None:
        """The queries that may come last as long as they must, and enough fit into the longest duration."""
        done, s = counters["queries"], self.settings
        rate, needed_s, most_s = done / elapsed_s, s.min_duration_ms / 1000, s.max_duration_ms / 1000
        if done >= FORECAST_FROM * self.most_queries and self.most_queries / rate < TOO_SHORT * needed_s:
            whose = "of test.max_query_count" if self._cut else "that LoadGen prepared"
            prepare_more = f"--set test.expected_latency_ns={expected_latency_ns(s, 1 / rate)} or none"
            raise Doomed(
                f"at {rate:.4g} queries/s the {self.most_queries} {whose} are gone in "
                f"{self.most_queries / rate:.3g} s, and {needed_s:g} s are the least",
                where="stopped early",
                hint=f"{FREE_COUNT if self._cut else prepare_more}; {GO_ON}",
            )
        needed = self._needed
        if most_s and elapsed_s >= FORECAST_FROM * most_s and rate * most_s < TOO_FEW * needed:
            raise Doomed(
                f"at {rate:.4g} queries/s {rate * most_s:.0f} fit into the {most_s:g} s of "
                f"test.max_duration_ms, and {needed} are the least",
                where="stopped early",
                hint=f"a higher test.max_duration_ms, or none; {GO_ON}",
            )
