"""LoadGen's scenarios in virtual time: arrivals, latency bound, percentile and early stopping, without a
clock.

Server: Poisson arrivals at a rate, dealt to replicas in turn; each replica takes all that waits, up to its
largest batch. The result is the highest rate whose bound holds with the round's confidence. SingleStream and
MultiStream: one query after another, the early-stopping estimate of the percentile. Nothing here is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coldmark.stats.early_stopping import most_over
from coldmark.stats.queueing import batch_latencies

Array = NDArray[np.float64]

SERVICE_SPREAD = 0.01
"""Standard deviation of the logarithm of a service time. [M]"""
LARGEST_BATCH = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """An accelerator that answers a batch of b in `fixed_s + b * sample_s`."""

    fixed_s: float
    sample_s: float

    def largest_batch(self, limit_s: float) -> int:
        """The batch whose service takes half the bound: one is served while the next gathers."""
        return int(np.clip((limit_s / 2 - self.fixed_s) / self.sample_s, 1, LARGEST_BATCH))

    def service(self, limit_s: float) -> Array:
        """Service times [s] of batches 1 .. largest."""
        return self.fixed_s + self.sample_s * np.arange(1.0, self.largest_batch(limit_s) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerResult:
    """The highest rate that holds the bound, and how it stood there."""

    rate_per_s: float
    queries: int
    over_latency: int
    percentile_s: float


def server_latencies(
    unit_arrivals: Array, rate_per_s: float, replicas: Sequence[Replica], limit_s: float, noise: Array
) -> Array:
    """Latencies [s] of all queries at a rate; `unit_arrivals` ascend at one a second, shape [n]."""
    arrivals, r = unit_arrivals / rate_per_s, len(replicas)
    return np.concatenate(
        [
            batch_latencies(arrivals[i::r], replica.service(limit_s).tolist(), np.roll(noise, i))
            for i, replica in enumerate(replicas)
        ]
    )


def highest_server_rate(
    replicas: Sequence[Replica],
    *,
    limit_s: float,
    percentile: float,
    queries: int,
    seed: int,
    search_queries: int = 40_000,
    rel_tol: float = 0.002,
) -> ServerResult:
    """The highest arrival rate that the latency bound holds at; a rate of 0 where none does.

    The search uses fewer queries, the answer is confirmed with all of them, a little lower if it must be.
    """
    rng = np.random.default_rng(seed)
    noise = np.exp(rng.normal(0.0, SERVICE_SPREAD, 4096))
    arrivals = np.cumsum(rng.exponential(1.0, queries))
    capacity = sum(b / s[-1] for s in (x.service(limit_s) for x in replicas) for b in (len(s),))

    def holds(rate: float, n: int) -> tuple[bool, Array]:
        latencies = server_latencies(arrivals[:n], rate, replicas, limit_s, noise)
        return int(np.sum(latencies > limit_s)) <= most_over(n, percentile), latencies

    few = min(search_queries, queries)
    best = _bisect(lambda rate: holds(rate, few)[0], 0.02 * capacity, 1.02 * capacity, rel_tol * capacity)
    for _ in range(20):
        good, latencies = holds(best, queries) if best > 0 else (False, np.empty(0))
        if good:
            return ServerResult(
                rate_per_s=float(best),
                queries=queries,
                over_latency=int(np.sum(latencies > limit_s)),
                percentile_s=float(np.quantile(latencies, percentile)),
            )
        best *= 1 - rel_tol
    return ServerResult(rate_per_s=0.0, queries=0, over_latency=0, percentile_s=float("inf"))


def _bisect(holds: Callable[[float], bool], low: float, high: float, tolerance: float) -> float:
    if not holds(low):
        return 0.0
    while high - low > tolerance:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamResult:
    """A stream's percentile as its latencies have it, and as early stopping estimates it [s]."""

    estimate_s: float
    percentile_s: float


def play_stream(latency_s: float, *, percentile: float, queries: int, seed: int) -> StreamResult:
    """Queries of a mean latency, one after another.

    As LoadGen does: of n latencies the largest t + 1 with n >= n(t + 1) are given up, the next is the
    estimate.
    """
    rng = np.random.default_rng(seed)
    latencies = np.sort(latency_s * np.exp(rng.normal(0.0, SERVICE_SPREAD, queries)))[::-1]
    given_up = max(1, most_over(queries, percentile))
    return StreamResult(
        estimate_s=float(latencies[min(given_up - 1, queries - 1)]),
        percentile_s=float(np.quantile(latencies, percentile)),
    )


def stream_estimate_s(latency_s: float, *, percentile: float, queries: int, seed: int) -> float:
    """Early-stopping estimate [s] of a stream's percentile."""
    return play_stream(latency_s, percentile=percentile, queries=queries, seed=seed).estimate_s
