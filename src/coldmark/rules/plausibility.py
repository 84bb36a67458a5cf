"""Whether a result follows from the other fields of its own log: what no official checker asks."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

from coldmark.core.nouns import Scenario
from coldmark.rules.book import ScenarioBook, Tolerances

Number = Callable[[str], float | None]

RESULT_KEYS: dict[Scenario, str] = {
    Scenario.OFFLINE: "result_samples_per_second",
    Scenario.SERVER: "result_scheduled_samples_per_sec",
    Scenario.SINGLE_STREAM: "early_stopping_latency_ss",
    Scenario.MULTI_STREAM: "early_stopping_latency_ms",
}
"""The logged result that is checked: the run's own scenario, whatever folder it lies in."""


def recomputed(number: Number, scenario: Scenario) -> float | None:
    """The logged result again [its own unit], from fields of the log that do not hold it.

    Offline: samples over the longest latency; Server: the target rate; the streams: the percentile.
    """
    if scenario is Scenario.OFFLINE:
        # Equal issue pads the query to whole passes after the effective settings are logged.
        n = number("generated_samples_per_query") or number("effective_samples_per_query")
        worst = number("result_max_latency_ns")
        return None if n is None or not worst else n / (worst * 1e-9)
    if scenario is Scenario.SERVER:
        return number("effective_target_qps")
    if scenario is Scenario.SINGLE_STREAM:
        return number("result_90.00_percentile_latency_ns")
    # A detail log has the percentile of each sample too; the result is of queries of 8.
    per_query = number("result_99.00_percentile_per_query_latency_ns")
    return number("result_99.00_percentile_latency_ns") if per_query is None else per_query


def deviation(number: Number, scenario: Scenario) -> float | None:
    """The logged result over what its log's other fields give, minus 1; None where they do not say."""
    if scenario not in RESULT_KEYS:
        return None
    result, other = number(RESULT_KEYS[scenario]), recomputed(number, scenario)
    if not result or other is None or other <= 0:
        return None
    return result / other - 1


def estimate_holds(number: Number, book: ScenarioBook, scenario: Scenario, confidence: float) -> bool:
    """Whether early stopping may estimate so far above the percentile: few queries make it careful.

    The estimate discards fewer of the slowest than the percentile does, by about z sqrt(p (1 - p) / n).
    """
    count, p, value = number("result_query_count"), book.percentile, number(RESULT_KEYS[scenario])
    if book.early_stopping != "estimate" or not count or value is None:
        return False
    z = NormalDist().inv_cdf(confidence)
    share = 100 * (p + 2 * z * math.sqrt(p * (1 - p) / count))
    kind = "per_query_latency_ns" if scenario is Scenario.MULTI_STREAM else "latency_ns"
    keys = [
        f"result_{q}_percentile_{kind}" for q in ("95.00", "97.00", "99.00", "99.90") if float(q) >= share
    ]
    bounds = [bound for key in keys if (bound := number(key)) is not None]
    return not bounds or value <= min(bounds)


def allowed(tolerances: Tolerances, scenario: Scenario, queries: float | None) -> float:
    """The largest |deviation| a round accepts; a short Server run scatters by 1/sqrt(queries)."""
    share = float(getattr(tolerances, scenario.slug))
    if scenario is Scenario.SERVER and queries:
        return max(share, tolerances.server_deviations / math.sqrt(queries))
    return share
