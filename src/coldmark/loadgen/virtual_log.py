"""What a test in virtual time says of itself, in the words of a detail log: the same checks run on it.

Only what was simulated is there: nothing that LoadGen would have counted, no latencies that nobody played.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from coldmark.core.nouns import Scenario
from coldmark.core.runlog import RunLog
from coldmark.core.settings import TestSettings
from coldmark.core.twin import Played
from coldmark.rules.book import ScenarioRule
from coldmark.rules.run_checks import expected_effective


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualTest:
    """A finished test in virtual time."""

    value: float  # in the log's own unit: samples/s, queries/s or ns; 0: no rate holds the bound
    simulated_s: float  # how long clocks and temperatures were simulated under load
    played: Played | None


def virtual_log(test: VirtualTest, settings: TestSettings, rule: ScenarioRule, *, path: str) -> RunLog:
    """The test as a log: `effective_*` of what it was told, `result_*` of what it gave."""
    values = expected_effective(settings) | {rule.book.result_field: test.value}
    scenario = settings.scenario
    values |= _offline(test, settings) if scenario is Scenario.OFFLINE else _queries(test, settings, rule)
    met = [name for name in MUST if values.get(name) is False]
    values["result_validity"] = "INVALID" if met or not test.value else "VALID"
    if not test.value:
        values["result_invalid_reason"] = "no rate holds the latency bound"
    elif met:
        values["result_invalid_reason"] = "not met: " + ", ".join(met)
    return RunLog(path=path, values=values)


MUST = ("result_min_duration_met", "result_min_queries_met", "early_stopping_met")


def _offline(test: VirtualTest, settings: TestSettings) -> dict[str, Any]:
    """One query of all samples: as many as the minimum duration takes, and at least the minimum count."""
    if not test.value:
        return {}
    samples = max(settings.min_query_count, math.ceil(test.value * settings.min_duration_ms / 1000))
    return {
        "effective_samples_per_query": samples,
        "result_query_count": 1,
        "result_max_latency_ns": samples / test.value * 1e9,
        "result_min_duration_met": round(test.simulated_s * 1000) >= settings.min_duration_ms,
        "result_min_queries_met": True,
    }


def _queries(test: VirtualTest, settings: TestSettings, rule: ScenarioRule) -> dict[str, Any]:
    """Many queries: how many were played, and where their percentile lies."""
    if test.played is None:
        return {}
    queries, percentile = test.played.queries, 100 * rule.book.percentile
    # MultiStream's result is of queries; its plain percentiles are of samples, which are not played.
    kind = "per_query_latency" if settings.scenario is Scenario.MULTI_STREAM else "latency"
    return {
        "result_query_count": queries,
        f"result_{percentile:.2f}_percentile_{kind}_ns": test.played.percentile_ns,
        "result_min_duration_met": round(test.simulated_s * 1000) >= settings.min_duration_ms,
        "result_min_queries_met": queries >= settings.min_query_count,
        "early_stopping_met": queries >= rule.query_floor,
    }
