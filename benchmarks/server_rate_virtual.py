"""The Server rate search in virtual time, where the true limit is known: rate over it, and how often VALID.

Each queue is searched many times with arrivals of its own, starting from bare times that are 7 % too fast;
each rate found is then played several times at official length. No machine is measured here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from common import machine, parser, report, spread
from numpy.typing import NDArray

from coldmark.runs.tuning.rate_search import Goal, Observed, play, search
from coldmark.stats.early_stopping import most_over
from coldmark.stats.queueing import Service

PERCENTILE = 0.99
QUERIES, DURATION_S = 270_336, 600.0
OVERHEAD_S = 3.0
"""What a trial takes besides its queries."""
TOO_FAST = 0.93
FIRST = 0.25
"""Share of capacity that is tried first."""


def _noise(scale: float, seed: int = 0) -> NDArray[np.float64]:
    return np.asarray(np.exp(np.random.default_rng(seed).normal(0, scale, 4096)), np.float64)


BATCHED = Service(batch_s=tuple(0.0008 + 0.0007 * b for b in range(1, 9)), noise=_noise(0.08))
QUEUES = {
    "8 at a time in 6.4 ms, bound 15 ms": (BATCHED, 0.015),
    "the same, two streams of half the speed, bound 30 ms": (
        replace(BATCHED, batch_s=tuple(2 * t for t in BATCHED.batch_s), servers=2),
        0.03,
    ),
    "one at a time in 20 ms, bound 60 ms": (Service(batch_s=(0.02,), noise=_noise(0.05)), 0.06),
    "8 at a time in 0.9 ms, bound 15 ms": (
        replace(BATCHED, batch_s=tuple(0.00006 + 0.000105 * b for b in range(1, 9))),
        0.015,
    ),
    "8 at a time in 6.4 ms that wait 1 ms, bound 15 ms": (replace(BATCHED, delay_s=0.001), 0.015),
    "one at a time in 16 ms, bound 130 ms": (Service(batch_s=(0.016,), noise=_noise(0.05)), 0.13),
}


class Virtual:
    """Trials of a queue in virtual time, each with arrivals of its own."""

    def __init__(self, service: Service, goal: Goal, seed: int) -> None:
        self._service, self._goal, self._seed = service, goal, seed

    def __call__(self, rate: float, seconds: float, number: int) -> Observed:
        rng = np.random.default_rng([self._seed, number])
        came = np.cumsum(rng.exponential(1 / rate, max(2, rng.poisson(rate * seconds))))
        took = self._service.latencies(came)
        return Observed(
            rate=rate,
            seconds=seconds,
            times_s=np.stack([came, came + took], axis=1),
            late=took > self._goal.bound_s,
            percentile_s=float(np.quantile(took, PERCENTILE)),
            spent_s=seconds + OVERHEAD_S,
        )


def valid(service: Service, goal: Goal, rate: float, seed: list[int]) -> bool:
    """Whether an official run at a rate is, by its late queries."""
    queries = goal.queries(rate)
    came = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, queries))
    late = int((service.latencies(came) > goal.bound_s).sum())
    return late <= most_over(queries, PERCENTILE)


def true_limit(service: Service, goal: Goal, plays: int = 5) -> float:
    """The rate at which half of the official runs are VALID, to a part in a thousand [1/s]."""
    low, high = 0.3 * service.capacity, service.capacity
    while high / low > 1.001:
        middle = float(np.sqrt(low * high))
        holds = sum(valid(service, goal, middle, [99, k]) for k in range(plays)) > plays / 2
        low, high = (middle, high) if holds else (low, middle)
    return low


def measure(name: str, budget_s: float, searches: int, plays: int) -> dict[str, Any]:
    """Searches of one queue."""
    service, bound_s = QUEUES[name]
    goal = Goal(bound_s=bound_s, percentile=PERCENTILE, least_queries=QUERIES, duration_s=DURATION_S)
    bare = replace(service, batch_s=tuple(TOO_FAST * t for t in service.batch_s))
    played, limit = play(bare, goal), true_limit(service, goal)
    row: dict[str, Any] = {"queue": name, "budget_s": budget_s, "limit": limit, "plays": searches * plays}
    row |= {"confidence": goal.confidence, "ratio": [], "trials": [], "valid": 0}
    for seed in range(searches):
        first = FIRST * played.capacity
        found = search(Virtual(service, goal, seed), played, goal, first=first, budget_s=budget_s)
        row["ratio"].append(found.rate_qps / limit)
        row["trials"].append(len(found.trials))
        row["valid"] += sum(valid(service, goal, found.rate_qps, [7, seed, k]) for k in range(plays))
    return row


def show(row: dict[str, Any]) -> list[str]:
    ratio = np.array(row["ratio"])
    return [
        row["queue"],
        f"{row['limit']:.4g}",
        f"{row['budget_s']:.0f} s",
        f"{ratio.mean():.3f} ({ratio.min():.3f} to {ratio.max():.3f})",
        f"{(ratio >= 0.97).sum()} of {len(ratio)}",
        f"{row['valid']} of {row['plays']}",
        spread(row["trials"]).partition(".")[0],
    ]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--budget-s", type=float, nargs="*", default=[60.0, 180.0], help="of each search")
    options.add_argument("--searches", type=int, default=20)
    options.add_argument("--plays", type=int, default=3, help="runs of official length at each rate found")
    given = options.parse_args()
    where = machine()
    rows = [measure(q, b, given.searches, given.plays) for q in QUEUES for b in given.budget_s]
    report(
        "Server rate search in virtual time: found over true",
        ["queue", "limit /s", "time", "mean (least to greatest)", "at least 0.97", "VALID", "trials"],
        rows,
        show,
        where,
        given.json,
    )


if __name__ == "__main__":
    main()
