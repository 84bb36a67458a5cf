"""What remains when the SUT answers at once: the harness and LoadGen themselves.

Samples/s and ns a query of the issuing loop; Server as the highest offered rate that stayed VALID; Offline
memory a sample as the growth of the child's peak between two sizes.
"""

from __future__ import annotations

from typing import Any

from common import machine, parser, report, run, spec, spread

from coldmark.core.nouns import Scenario

SERVER_RATES = (20_000, 50_000, 100_000, 150_000, 200_000, 250_000, 300_000)
OFFLINE_SIZES = (1_000_000, 4_000_000)


def stream(scenario: Scenario, repeats: int, seconds: float) -> dict[str, Any]:
    """SingleStream or MultiStream: queries one after another."""
    rates, costs = [], []
    for _ in range(repeats):
        _, outcome, _ = run(spec("mini", scenario, backend="null", seconds=seconds))
        samples = 8 if scenario is Scenario.MULTI_STREAM else 1
        # LoadGen ends a stream with the first query after the minimum duration.
        queries = outcome["counters"]["queries"] / seconds
        rates.append(queries * samples)
        costs.append(1e9 / queries)
    return {"scenario": scenario.value, "rates": rates, "ns_per_query": costs}


def server(repeats: int, seconds: float) -> dict[str, Any]:
    """The highest of the offered rates that stayed VALID, each time."""
    best = []
    for _ in range(repeats):
        valid = [0.0]
        for rate in SERVER_RATES:
            what = spec("mini", Scenario.SERVER, backend="null", seconds=seconds, target_qps=float(rate))
            record, _, _ = run(what)
            if record.verdict != "VALID":
                break
            valid.append(float(rate))
        best.append(valid[-1])
    return {"scenario": "Server", "rates": best, "ns_per_query": [1e9 / b for b in best if b]}


def offline(repeats: int) -> dict[str, Any]:
    """The rate of the larger size, and bytes a sample between the two."""
    rates, memory = [], []
    for _ in range(repeats):
        peaks = []
        for size in OFFLINE_SIZES:
            what = spec(
                "mini",
                Scenario.OFFLINE,
                backend="null",
                seconds=0.001,
                target_qps=1.0,
                options={"test.min_query_count": str(size)},
            )
            record, outcome, _ = run(what)
            peaks.append(outcome["peak_rss_bytes"])
        assert record.metric is not None
        rates.append(record.metric.value)
        memory.append((peaks[1] - peaks[0]) / (OFFLINE_SIZES[1] - OFFLINE_SIZES[0]))
    return {"scenario": "Offline", "rates": rates, "ns_per_query": [1e9 / r for r in rates], "bytes": memory}


def main() -> None:
    given = parser(__doc__ or "").parse_args()
    where = machine()
    rows = [stream(s, given.repeats, given.seconds) for s in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM)]
    rows += [server(given.repeats, given.seconds), offline(given.repeats)]
    report(
        "null backend: the harness alone",
        ["scenario", "samples/s: median (range)", "ns a query (Offline: a sample)", "bytes a sample"],
        rows,
        lambda r: [r["scenario"], spread(r["rates"]), spread(r["ns_per_query"]), spread(r.get("bytes", []))],
        where,
        given.json,
    )


if __name__ == "__main__":
    main()
