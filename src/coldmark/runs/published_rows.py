"""From the logs of a run and the description of its system to one row, or to findings that say why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from coldmark.core.imported import finding
from coldmark.core.nouns import Finding, Scenario, Severity
from coldmark.core.published import PublishedRun
from coldmark.loadgen.dialects import Dialects, Headline
from coldmark.loadgen.power_log import Power, busiest, marks, mean_power
from coldmark.loadgen.published_log import ParsedLog, Value, result_of
from coldmark.rules.book import RuleBook, load_book, rounds
from coldmark.rules.plausibility import RESULT_KEYS, allowed, deviation
from coldmark.store.published_system import PublishedSystem

SIX_DIGITS, TWO_DECIMALS = 1e-5, 0.00501
"""How far two prints of one number lie apart: the detail log has six digits, the summary two decimals."""


@dataclass(slots=True)
class RunFiles:
    """What has been read of one performance run so far."""

    path: str = ""
    summary: ParsedLog | None = None
    detail: ParsedLog | None = None
    detail_path: str = ""
    spl: bytes | None = None
    spl_path: str = ""
    power: Power | None = None
    power_window: str = ""


@dataclass(frozen=True, slots=True)
class EntryFiles:
    """What the runs of one system-benchmark-scenario share."""

    accuracy: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """A run's identity, from its folders and its system's file."""

    round: str
    division: str
    submitter: str
    system: str
    benchmark: str
    scenario: str
    run: int
    source: str


@dataclass(slots=True)
class RowMaker:
    """Builds the rows of one round."""

    round: str
    dialects: Dialects
    findings: list[Finding] = field(default_factory=list)

    @property
    def book(self) -> RuleBook | None:
        """The round's rule book, where it says what is plausible."""
        book = load_book(self.round) if self.round in rounds() else None
        return book if book is not None and book.tolerances.measured else None

    def row(
        self, naming: Naming, files: RunFiles, entry: EntryFiles, system: PublishedSystem
    ) -> PublishedRun | None:
        """The row of a run; None, with a finding, where its logs hold no result."""
        log = merged(files)
        self.findings += _log_problems(files)
        logged = self.dialects.scenario(log.word("effective_scenario"))
        headline, score, why = self._score(log, naming.scenario, logged)
        if headline is None or score is None:
            self.findings.append(finding("published.result", files.path or files.detail_path, *why))
            return None
        if log.word("result_validity") not in ("VALID", "INVALID"):
            said = log.word("result_validity") or "none: the log breaks off"
            self.findings.append(finding("published.verdict", files.path, "VALID or INVALID", said))
            return None
        self.findings += _disagreement(files, headline)
        off = self._deviation(log, logged, files)
        power, unit = _power(files, logged, log, naming.scenario)
        return PublishedRun(
            **_names(naming),
            score=score,
            unit=headline.unit,
            metric=headline.metric,
            lower_is_better=headline.lower_is_better,
            validity=log.word("result_validity"),
            inferred=self.dialects.is_inferred(naming.scenario, logged),
            logged_scenario=logged,
            accuracy=entry.accuracy[1] if entry.accuracy else None,
            accuracy_metric=entry.accuracy[0] if entry.accuracy else "",
            power_submission=files.spl is not None,
            power=power,
            power_unit=unit,
            power_window=files.power_window if power is not None else "",
            deviation=off,
            path=files.path or files.detail_path,
            **_numbers(log),
            **({"system_name": naming.system, "suite": ""} | system.columns),
        )

    def _score(
        self, log: ParsedLog, scenario: str, logged: str
    ) -> tuple[Headline | None, float | None, tuple[str, str]]:
        """The result with what it is, or what was expected and what was found instead."""
        if not logged:
            said = log.word("effective_scenario")
            return None, None, ("a scenario in the log", said or "none: the log is empty or breaks off")
        choices = self.dialects.headlines_of(self.round, scenario, logged)
        if not choices:
            return None, None, (f"a rule that infers {scenario}", f"a log of {logged}")
        if (found := result_of(log, choices)) is not None:
            return *found, ("", "")
        return None, None, (f"{choices[-1].key} in the log", "none, or 0")

    def _deviation(self, log: ParsedLog, logged: str, files: RunFiles) -> float | None:
        """How far the logged result is from what its log's other fields give; a finding where too far."""
        try:
            scenario = Scenario(logged)
        except ValueError:
            return None
        off = deviation(log.number, scenario)
        if off is None or self.book is None:
            return off
        limit = allowed(self.book.tolerances, scenario, log.number("result_query_count"))
        if abs(off) > limit:
            line = log.lines.get(RESULT_KEYS[scenario], 0)
            self.findings.append(
                Finding(
                    rule="result.plausible",
                    severity=Severity.WARNING,
                    subject=f"{files.path or files.detail_path}:{line}",
                    expected=f"within {limit:.1%} of what the log's other fields give",
                    found=f"{off:+.2%}",
                    clause=self.book.tolerances.clause,
                )
            )
        return off


def _names(naming: Naming) -> dict[str, Any]:
    return {name: getattr(naming, name) for name in Naming.__slots__}


def merged(files: RunFiles) -> ParsedLog:
    """Both logs of a run as one; of two prints of a number the one with more digits."""
    whole = ParsedLog()
    for log in (files.summary, files.detail):
        for key, value in log.values.items() if log else ():
            known = whole.values.get(key)
            if known is None or (value != known and _digits(value) > _digits(known)):
                whole.values[key] = value
                whole.lines.setdefault(key, log.lines.get(key, 0) if log else 0)
    return whole


def _digits(value: Value) -> int:
    """Significant digits of a number as it is printed; words have none."""
    if isinstance(value, str | bool):
        return 0
    return len(f"{value:.15g}".split("e")[0].replace(".", "").strip("-0"))


def _log_problems(files: RunFiles) -> Iterator[Finding]:
    """Lines of a log that could not be read."""
    for log, path in ((files.summary, files.path), (files.detail, files.detail_path)):
        for problem in log.problems if log else ():
            note = Severity.NOTE if problem.key == "encoding" else Severity.ERROR
            yield finding("published.line", f"{path}:{problem.line}", problem.key, problem.text, note)


def _disagreement(files: RunFiles, headline: Headline) -> Iterator[Finding]:
    """The two logs of one run give one result."""
    if files.summary is None or files.detail is None:
        return
    ours, theirs = files.summary.number(headline.key), files.detail.number(headline.key)
    if ours and theirs and abs(ours - theirs) > max(TWO_DECIMALS, SIX_DIGITS * abs(theirs)):
        line = files.summary.lines.get(headline.key, 0)
        yield finding(
            "published.two_logs",
            f"{files.path}:{line}",
            f"{theirs:.10g}, as in the detail log",
            f"{ours:.10g}",
        )


def _numbers(log: ParsedLog) -> dict[str, Any]:
    """The columns that are a log's own numbers."""
    # Of MultiStream the per-query latencies, which its result is one of.
    latency = {
        column: log.whole(per_query, f"result_{name}_latency_ns")
        for column, name, per_query in (
            ("mean_latency_ns", "mean", "result_mean_query_latency_ns"),
            ("p50_latency_ns", "50.00_percentile", "result_50.00_percentile_per_query_latency_ns"),
            ("p90_latency_ns", "90.00_percentile", "result_90.00_percentile_per_query_latency_ns"),
            ("p99_latency_ns", "99.00_percentile", "result_99.00_percentile_per_query_latency_ns"),
            ("p999_latency_ns", "99.90_percentile", "result_99.90_percentile_per_query_latency_ns"),
            ("max_latency_ns", "max", "result_max_query_latency_ns"),
        )
    }
    return latency | {
        "queries": log.whole("result_query_count"),
        "samples_per_query": log.whole("effective_samples_per_query"),
        "target_qps": log.number("effective_target_qps"),
        "target_latency_ns": log.whole("effective_target_latency_ns"),
        "min_duration_ms": log.whole("effective_min_duration_ms"),
        "min_query_count": log.whole("effective_min_query_count"),
    }


def measure_power(files: RunFiles) -> None:
    """Reduce the meter's log to one number as soon as the run's window is known, and let the log go."""
    if files.spl is None:
        return
    said = files.detail.values if files.detail else {}
    window = marks(said.get("power_begin"), said.get("power_end"))
    if window is not None:
        files.power, files.power_window, files.spl = mean_power(files.spl, window), "marks", b""
    elif (duration_s := _duration_s(merged(files))) is not None:
        files.power, files.power_window, files.spl = busiest(files.spl, duration_s), "busiest", b""


def _duration_s(log: ParsedLog) -> float | None:
    """How long a run was metered [s], as its log has it; None for the streams, whose log does not say."""
    logged = log.word("effective_scenario")
    if logged == "Offline":
        longest = log.number("result_max_latency_ns")
        return longest * 1e-9 if longest else None
    least_ms, queries, rate = (
        log.number(f"effective_{name}") for name in ("min_duration_ms", "min_query_count", "target_qps")
    )
    if logged != "Server" or least_ms is None or not queries or not rate:
        return None
    return max(least_ms * 1e-3, queries / rate)


def _power(files: RunFiles, logged: str, log: ParsedLog, scenario: str) -> tuple[float | None, str]:
    """W, or for the streams J per query, which has 8 samples in MultiStream.

    Source: v2.1 checker, get_power_metric.
    """
    if files.power is None:
        return None, ""
    if scenario not in ("SingleStream", "MultiStream"):
        return files.power.mean_w, "W"
    if files.power_window != "marks":
        return None, ""
    queries = log.number("result_query_count")
    if not queries:  # before v2.0 no log counts them: the rate over the metered time stands for it
        queries = (log.number("result_qps_with_loadgen_overhead") or 0) * files.power.duration_s
    if queries <= 0:
        return None, ""
    samples = 8 if (scenario, logged) == ("MultiStream", "SingleStream") else 1
    return files.power.per_query_j(queries / samples), "J/query"
