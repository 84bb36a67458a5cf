"""Rules on one detail log of a tree: each adds findings with the line that breaks it.

No threshold stands here; they come from the rule book, or for a marked shorter run from its length.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from coldmark.core.nouns import Scenario, Severity
from coldmark.rules.book import Benchmark, Compliance, Latency, LengthRule, RuleBook, ScenarioBook
from coldmark.rules.plausibility import RESULT_KEYS, allowed, deviation, estimate_holds, recomputed
from coldmark.stats.early_stopping import carries, min_queries
from coldmark.submission.findings import Findings
from coldmark.submission.place import name_in
from coldmark.submission.scan import DetailLog


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCase:
    """A log, and what is asked of it."""

    log: DetailLog
    book: RuleBook
    benchmark: Benchmark
    scenario: Scenario  # of the log
    accuracy_run: bool
    findings: Findings
    test: str = ""  # TEST01 …; "" for a submitted run
    length: LengthRule | None = None  # of a tree that is marked as shorter than the round

    @property
    def rule(self) -> ScenarioBook:
        return self.book.scenario(name_in(self.book, self.benchmark), self.scenario)

    @property
    def audit(self) -> Compliance | None:
        """What an audit test sets; None for a submitted run, and for a test the round does not have."""
        return self.book.compliance.get(self.test)

    @property
    def by_token(self) -> bool:
        """Whether the latency is bounded token by token."""
        limit = self.benchmark.latency.get(self.scenario)
        return limit is not None and not (limit.ttft_ms is None and limit.tpot_ms is None)

    @property
    def samples(self) -> float | None:
        """Samples of the one query of Offline: equal issue asks for whole passes, logged so or not."""
        asked = self.log.number("generated_samples_per_query") or self.log.number(
            "effective_samples_per_query"
        )
        each = self.log.number("effective_performance_sample_count")
        logged = self.log.values.get("effective_sample_concatenate_permutation")
        if (
            not asked
            or not each
            or not (self.benchmark.equal_issue if logged is None else logged in (True, "true"))
        ):
            return asked
        passes = math.ceil(asked / each) * each
        if logged is None:  # LoadGen 4.1 does not say whether it did: the one that the rate fits
            rate = self.log.number(RESULT_KEYS[Scenario.OFFLINE]) or 0.0
            ran = rate * (self.log.number("result_max_latency_ns") or 0.0) * 1e-9
            return min(asked, passes, key=lambda n: abs(n - ran))
        return passes

    @property
    def departure(self) -> Severity:
        """A marked shorter run departs from the round openly; any other breaks it."""
        return Severity.ERROR if self.length is None else Severity.WARNING

    def add(
        self,
        rule: str,
        expected: object,
        found: object,
        clause: str,
        key: str = "",
        severity: Severity = Severity.ERROR,
    ) -> None:
        """A finding at the line of a key."""
        self.findings.add(self.log.path, rule, expected, found, clause, severity, self.log.lines.get(key, 0))


LogRule = Callable[[LogCase], None]


def entries_whole(case: LogCase) -> None:
    """Every line is a log entry, and none contradicts an earlier one."""
    add_problems(case.log, case.findings)


def add_problems(log: DetailLog, findings: Findings) -> None:
    """What is wrong with a log's lines, whatever the log is of."""
    for line in log.problems:
        expected = "one value of a key" if line.key == "log.contradiction" else "a log entry on every line"
        findings.add(log.path, line.key, expected, line.text, "checker: MLPerfLog", Severity.ERROR, line.line)


def errors_none(case: LogCase) -> None:
    """LoadGen flagged no error."""
    part = case.book.submission
    known = part.log.errors_known if part and part.log else ()
    for line in case.log.errors:
        if not any(text in line.text for text in known):
            case.findings.add(
                case.log.path,
                "log.errors",
                "no entry with is_error",
                f"{line.key}: {line.text}",
                "checker: find_error_in_detail_log",
                Severity.ERROR,
                line.line,
            )


def mode_right(case: LogCase) -> None:
    """The log is of the mode whose folder it lies in."""
    key = "effective_test_mode"
    expected = "AccuracyOnly" if case.accuracy_run else "PerformanceOnly"
    if case.log.values.get(key) not in (expected, "SubmissionRun"):
        case.add("log.mode", expected, case.log.values.get(key), "rules: Definitions, LoadGen modes", key)


def verdict_valid(case: LogCase) -> None:
    """LoadGen calls the run VALID, and each of its conditions met."""
    if case.accuracy_run:
        return
    part = case.book.submission
    assert part is not None
    assert part.log is not None
    found = case.log.values.get(part.log.validity)
    if found != part.log.valid:
        case.add("log.valid", part.log.valid, found, part.log.clause, part.log.validity)
    for key in ("result_min_duration_met", "result_min_queries_met", "result_perf_constraints_met"):
        if case.log.values.get(key) is False:
            case.add("log.met", f"{key} = true", "false", part.log.clause, key)
    if case.rule.early_stopping != "none" and case.log.values.get("early_stopping_met") is not True:
        found = case.log.values.get("early_stopping_met")
        case.add(
            "log.early_stopping", "early_stopping_met = true", found, case.book.early_stopping.clause,
            "early_stopping_met",
        )  # fmt: skip


def seeds_right(case: LogCase) -> None:
    """The round's seeds; TEST05 has its own."""
    seeds, alternate = case.book.seeds, case.audit is not None and case.audit.alternate_seeds
    for name in ("qsl", "sample_index", "schedule"):
        key = f"effective_{name}_rng_seed"
        expected = getattr(seeds, f"test05_{name}" if alternate else name)
        if case.log.values.get(key) != expected:
            case.add("log.seeds", f"{key} = {expected}", case.log.values.get(key), seeds.clause, key)


def duration_long(case: LogCase) -> None:
    """The run was told to last the round's minimum, and did."""
    if case.accuracy_run:
        return
    needed, key = case.rule.min_duration_ms, "effective_min_duration_ms"
    told = case.log.number(key)
    if told is None or told < needed:
        case.add("log.duration", f"{key} >= {needed}", told, case.rule.clause, key, case.departure)
    least = needed if case.length is None else case.length.min_duration_ms or needed
    if case.length is not None and (told is None or told < least):
        case.add("log.length", f"{key} >= {least}, as marked", told, "coldmark: marked length", key)
    seconds = window_s(case.log)
    if seconds is None:
        case.add(
            "log.window", "power_begin before power_end", "no such times", case.rule.clause, "power_begin"
        )
    elif told is not None and seconds * 1000 < min(told, least) * (1 - 1e-6) - 1:
        found = f"{seconds:.3f} s between power_begin and power_end"
        case.add("log.window", f">= {min(told, least) / 1000:g} s", found, case.rule.clause, "power_end")


def window_s(log: DetailLog) -> float | None:
    """Seconds between LoadGen's begin and end marks."""
    begin, end = (_iso(log.word(key)) for key in ("power_begin", "power_end"))
    try:
        seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def _iso(text: str) -> str:
    """`07-22-2022 23:10:52.311` year first: read ten times as fast as by a format."""
    return f"{text[6:10]}-{text[:5]}T{text[11:]}"


def queries_enough(case: LogCase) -> None:
    """As many queries as early stopping needs for those over the bound; Offline: the round's samples."""
    if case.accuracy_run:
        return
    if case.rule.early_stopping == "none":
        key = "effective_samples_per_query"
        found, needed = case.log.number(key), case.rule.min_query_count
        if found is None or found < needed:
            case.add("log.samples", f"{key} >= {needed}", found, case.rule.clause, key, case.departure)
        return
    key = "result_query_count"
    count, told = case.log.number(key), case.log.number("effective_min_query_count")
    over = over_bound(case)
    book, percentile = case.book.early_stopping, case.rule.percentile
    if count and case.by_token:
        taken = "the log's own early_stopping_met is taken: it does not count tokens over a bound"
        case.add("log.unchecked", "early stopping counted again", taken, book.clause, key, Severity.NOTE)
    elif count is None or not carries(
        int(count), over, percentile, confidence=book.confidence, tolerance=book.tolerance
    ):
        needed = min_queries(over, percentile, confidence=book.confidence, tolerance=book.tolerance)
        case.add("log.queries", f"{key} >= {needed}, {over} over the bound", count, book.clause, key)
    if told is None or told < 1:
        clause = case.rule.clause
        case.add(
            "log.min_queries", "effective_min_query_count >= 1", told, clause, "effective_min_query_count"
        )
    elif count is not None and count < told:
        case.add("log.queries", f"{key} >= {told:.0f}, as told", count, case.rule.clause, key)


def over_bound(case: LogCase) -> int:
    """Queries over the bound that early stopping counts: an estimate gives up one at least."""
    if case.rule.early_stopping == "estimate":
        return 1
    over = case.log.number("result_overlatency_query_count")
    return int(over) if over is not None and over >= 0 else 0


def latency_bound(case: LogCase) -> None:
    """Server is held to the round's bound, and its percentile lies within it."""
    limit = case.benchmark.server_latency_ms
    if case.accuracy_run or case.scenario is not Scenario.SERVER:
        return
    tokens = case.benchmark.latency.get(case.scenario)
    if tokens is not None:
        token_bounds(case, tokens)
    key = "effective_target_latency_ns"
    told = case.log.number(key)
    if (
        limit is not None
        and not (case.by_token and told == 0)
        and (told is None or not 0 < told <= round(limit * 1_000_000))
    ):
        case.add("log.latency", f"{key} <= {round(limit * 1_000_000)}", told, case.rule.clause, key)
    percentile = f"result_{100 * case.rule.percentile:.2f}_percentile_latency_ns"
    found = case.log.number(percentile)
    if told is not None and not case.by_token and found is not None and found > told:
        case.add("log.latency", f"{percentile} <= {told:.0f}", f"{found:.0f}", case.rule.clause, percentile)
    key = "effective_target_latency_percentile"
    share = case.log.number(key)
    if share is None or share < case.rule.percentile:
        case.add("log.percentile", f"{key} >= {case.rule.percentile}", share, case.rule.clause, key)


TOKEN_KEYS = {
    "ttft_ms": "result_first_token_99.00_percentile_latency_ns",
    "tpot_ms": "result_time_per_output_token_99.00_percentile_ns",
}
"""The 99th percentile of the time to the first token and for each further one, as LoadGen logs them."""


def token_bounds(case: LogCase, limits: Latency) -> None:
    """The first token and each further one come within the round's bounds, where it has any."""
    if not case.by_token:
        return
    key = "requested_use_token_latencies"
    if case.log.values.get(key) is not True:
        case.add("log.tokens", f"{key} = true", case.log.values.get(key), case.rule.clause, key)
    for name, key in TOKEN_KEYS.items():
        limit, found = getattr(limits, name), case.log.number(key)
        if limit is not None and (found is None or not 0 < found < limit * 1e6):
            case.add("log.latency", f"{key} < {limit * 1e6:.0f}", found, case.rule.clause, key)


def samples_right(case: LogCase) -> None:
    """Enough distinct samples in memory, the round's samples a query, and no fewer than asked in accuracy."""
    key, needed = "effective_performance_sample_count", case.benchmark.performance_sample_count
    found = case.log.number(key)
    if found is None or found < needed:
        clause = "checker: performance-sample-count"
        # In accuracy mode the whole set is asked, whatever fits in memory.
        severity = Severity.WARNING if case.accuracy_run else case.departure
        case.add("log.sample_count", f"{key} >= {needed}", found, clause, key, severity)
    if case.scenario is Scenario.MULTI_STREAM and not case.accuracy_run:
        key, needed = "effective_samples_per_query", case.rule.samples_per_query
        if case.log.number(key) != needed:
            case.add(
                "log.samples_per_query", f"{key} = {needed}", case.log.number(key), case.rule.clause, key
            )


def audit_settings(case: LogCase) -> None:
    """The audit settings of a test in its own run, and none of any test in a submitted one."""
    if case.accuracy_run:
        return
    audit = case.audit
    expected: dict[str, object] = {
        "effective_performance_issue_same": bool(audit and audit.performance_issue_same),
        "effective_performance_issue_unique": bool(audit and audit.performance_issue_unique),
        "effective_accuracy_log_rng_seed": audit.accuracy_log_rng_seed if audit else 0,
        "effective_sample_concatenate_permutation": case.benchmark.equal_issue,
    }
    if audit and audit.performance_issue_same:
        expected["effective_performance_issue_same_index"] = audit.performance_issue_same_index
        expected.pop("effective_sample_concatenate_permutation")
    sampling = case.benchmark.test01_sampling_target if audit and audit.accuracy_log_rng_seed else 0
    expected["effective_accuracy_log_sampling_target"] = sampling
    clause = audit.clause if audit else "compliance: audit settings belong to the audit tests"
    for key, value in expected.items():
        found = case.log.values.get(key)
        if found is not None and found != value:
            case.add("log.audit", f"{key} = {value}", found, clause, key)


def result_follows(case: LogCase) -> None:
    """The result follows from other fields of the log, and its latencies are in order."""
    if case.accuracy_run:
        return
    clause, log, scenario = case.book.tolerances.clause, case.log, case.scenario
    key = RESULT_KEYS[scenario]
    value = log.number(key)
    if value is None or not math.isfinite(value) or value <= 0:
        case.add("log.result", f"{key} > 0", log.values.get(key), case.rule.clause, key)
        return
    off = deviation(
        lambda key: case.samples if key == "generated_samples_per_query" else log.number(key), scenario
    )
    if case.rule.result_field not in (*RESULT_KEYS.values(), COMPLETED):
        found = "taken as LoadGen logs it"
        expected = f"{case.rule.result_field} follows from other fields"
        case.add("log.unchecked", expected, found, clause, case.rule.result_field, Severity.NOTE)
    most = allowed(case.book.tolerances, scenario, log.number("result_query_count"))
    if off is not None and (
        off < -most
        or (
            off > most
            and not estimate_holds(log.number, case.rule, scenario, case.book.early_stopping.confidence)
        )
    ):
        expected = f"within {most:.1%} of {recomputed(log.number, scenario):.6g}"
        case.add("log.result", expected, f"{value:.6g} ({off:+.2%})", clause, key)
    _order(case, "latency_ns")
    _order(case, "per_query_latency_ns")


def _order(case: LogCase, kind: str) -> None:
    """Percentiles ascend, and lie between least and greatest."""
    ends = "query_latency_ns" if kind.startswith("per_query") else "latency_ns"
    keys = [f"result_{p}_percentile_{kind}" for p in ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")]
    row = [f"result_min_{ends}", *keys, f"result_max_{ends}"]
    found = [(key, value) for key in row if (value := case.log.number(key)) is not None]
    for (first, low), (second, high) in itertools.pairwise(found):
        if low > high:
            clause = case.book.tolerances.clause
            case.add("log.order", f"{second} >= {first} = {low:.0f}", f"{high:.0f}", clause, second)
            return


COMPLETED = "result_completed_samples_per_sec"
"""Server's result in later rounds: queries over the time to the last answer."""


def time_adds_up(case: LogCase) -> None:
    """Queries and rate, or queries and latency, take the time the run took."""
    seconds, log = window_s(case.log), case.log
    if case.accuracy_run or not seconds:
        return
    count = log.number("result_query_count")
    if case.scenario is Scenario.OFFLINE:
        samples, rate = case.samples, log.number(RESULT_KEYS[case.scenario])
        needed = samples / rate if samples and rate else None
    elif case.scenario is Scenario.SERVER:
        rate = log.number(RESULT_KEYS[case.scenario])
        needed = count / rate if count and rate else None
    else:
        single = case.scenario is Scenario.SINGLE_STREAM
        mean = log.number("result_mean_latency_ns" if single else "result_mean_query_latency_ns")
        needed = count * mean * 1e-9 if count and mean else None
    tolerances = case.book.tolerances
    under = tolerances.time_under.get(case.scenario)
    if needed is None or tolerances.time_over is None or under is None:
        return
    if case.scenario is Scenario.SERVER:  # the last answers come up to one latency after the last query
        needed = max(needed, min(needed + (log.number("result_max_latency_ns") or 0) * 1e-9, seconds))
    rate = log.number(COMPLETED)
    if case.rule.result_field == COMPLETED and count and rate:
        off = count / rate / seconds
        if not 1 - under <= off <= 1 + tolerances.time_over:
            found = f"{count / rate:.1f} s by result and counts, {seconds:.1f} s by power_begin and power_end"
            case.add("log.time", "one duration", found, tolerances.clause, COMPLETED)
    if not 1 - under <= needed / seconds <= 1 + tolerances.time_over:
        found = f"{needed:.1f} s by result and counts, {seconds:.1f} s by power_begin and power_end"
        case.add("log.time", "one duration", found, tolerances.clause, RESULT_KEYS[case.scenario])


RULES: tuple[LogRule, ...] = (
    entries_whole,
    errors_none,
    mode_right,
    verdict_valid,
    seeds_right,
    duration_long,
    queries_enough,
    latency_bound,
    samples_right,
    audit_settings,
    result_follows,
    time_adds_up,
)


OF_A_RESULT = (errors_none, verdict_valid, duration_long, queries_enough, result_follows, time_adds_up)
"""Rules that hold where a run has to be a valid one of full length: some audit tests end early by design."""


def check_log(case: LogCase) -> None:
    """All rules on a log."""
    whole = case.audit is None or case.audit.valid
    for rule in RULES:
        if whole or rule not in OF_A_RESULT:
            rule(case)
