"""Latency of a batching server under Poisson arrivals, by playing it through in virtual time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def batch_latencies(
    arrivals_s: NDArray[np.float64], service_s: Sequence[float], noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Latency [s] of each arrival at one server that takes all that waits, up to its largest batch.

    `arrivals_s` ascends, shape [n]; `service_s[b - 1]` is the time of a batch of b; `noise` holds factors
    on service times, drawn from in turn. First come, first served; a free server never waits for company.
    """
    largest = len(service_s)
    latencies = np.empty(len(arrivals_s))
    free, at, turn = 0.0, 0, 0
    while at < len(arrivals_s):
        start = max(free, arrivals_s[at])
        size = int(np.searchsorted(arrivals_s[at : at + largest], start, side="right"))
        free = start + service_s[size - 1] * noise[turn % len(noise)]
        latencies[at : at + size] = free - arrivals_s[at : at + size]
        at, turn = at + size, turn + 1
    return latencies


def highest_rate(
    service_s: Sequence[float],
    noise: NDArray[np.float64],
    *,
    limit_s: float,
    percentile: float,
    rng: np.random.Generator,
    queries: int = 20_000,
    rel_tol: float = 0.02,
) -> float:
    """The highest Poisson rate [1/s] whose latency percentile stays within `limit_s`; 0.0 if none does.

    `service_s`, `noise` as in `batch_latencies`; the same unit-rate arrivals are scaled for each trial, so
    that trials differ by the rate alone.
    """
    unit = np.cumsum(rng.exponential(1.0, queries))
    capacity = max((b + 1) / t for b, t in enumerate(service_s)) / float(np.mean(noise))

    def holds(rate: float) -> bool:
        latencies = batch_latencies(unit / rate, service_s, noise)
        return float(np.quantile(latencies, percentile)) <= limit_s

    low, high = 0.0, capacity
    if not holds(capacity * 0.01):
        return 0.0
    while high - low > rel_tol * capacity:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
