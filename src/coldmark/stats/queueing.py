"""Latency of a batching server under Poisson arrivals, by playing it through in virtual time."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

STALL_FACTOR = 1.5
"""A batch that takes more than so many times the usual was held up: the rest does not grow with its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How long batches take, as it was measured."""

    batch_s: tuple[float, ...]  # seconds a batch of 1, 2, ... takes
    noise: NDArray[np.float64]  # factors by which single batches scatter
    servers: int = 1
    delay_s: float = 0.0  # how long a free server waits for a batch to fill
    stalls_s: NDArray[np.float64] | None = None  # what comes on top, whatever the batch; in step with `noise`

    @property
    def capacity(self) -> float:
        """The rate [1/s] that the servers can just not take for ever, whatever the latency."""
        stall, factor = (
            0.0 if self.stalls_s is None else float(np.mean(self.stalls_s)),
            float(np.mean(self.noise)),
        )
        return self.servers * max((b + 1) / (t * factor + stall) for b, t in enumerate(self.batch_s))

    def latencies(self, arrivals_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Latency [s] of each arrival, shape [n]."""
        return batch_latencies(
            arrivals_s,
            self.batch_s,
            self.noise,
            servers=self.servers,
            delay_s=self.delay_s,
            stalls_s=self.stalls_s,
        )

    def rolled(self, share: float) -> Service:
        """The same servers at another place of their scatter: begun at this share of it, [0, 1)."""
        by = -int(share * len(self.noise))
        stalls = None if self.stalls_s is None else np.roll(self.stalls_s, by)
        return replace(self, noise=np.roll(self.noise, by), stalls_s=stalls)


def batch_latencies(
    arrivals_s: NDArray[np.float64],
    service_s: Sequence[float],
    noise: NDArray[np.float64],
    *,
    servers: int = 1,
    delay_s: float = 0.0,
    stalls_s: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Latency [s] of each arrival at servers that take all that waits, up to their largest batch.

    `arrivals_s` ascends, shape [n]; `service_s[b - 1]` is the time of a batch of b; `noise` holds factors
    on service times, drawn from in turn, and `stalls_s` what is added to them in the same turn. First come,
    first served from one queue; a free server waits for company until the first query has waited `delay_s`
    or the batch is full.
    """
    largest, n = len(service_s), len(arrivals_s)
    arrivals = [*arrivals_s.tolist(), *[math.inf] * largest]
    services, factors = list(service_s), cycle(noise.tolist())
    stalls = cycle([0.0] if stalls_s is None else stalls_s.tolist())
    free, at = [0.0] * servers, 0
    ends: list[float] = []
    sizes: list[int] = []
    while at < n:
        start, first = free[0], arrivals[at]
        if start <= first:
            start = first
        if delay_s and start < first + delay_s:
            start = max(start, min(first + delay_s, arrivals[at + largest - 1]))
        then = bisect_right(arrivals, start, at + 1, at + largest) if arrivals[at + 1] <= start else at + 1
        end = start + services[then - at - 1] * next(factors) + next(stalls)
        if servers == 1:
            free[0] = end
        else:
            heapq.heapreplace(free, end)
        ends.append(end)
        sizes.append(then - at)
        at = then
    return np.asarray(np.repeat(ends, sizes) - arrivals_s)


def observed_service(times_s: NDArray[np.float64], bare: Service, *, least: int = 20) -> Service | None:
    """How long batches took in a test, from when each query came and was answered; None for too few.

    `times_s` ascends by arrival, shape [n, 2]. Queries answered at one moment were one batch. It was begun
    when a server was free and its last query there; one that was not full, when its first query had waited
    as long as `bare` lets it wait. Sizes that were not seen scale as `bare` has them; the factors keep their
    order, and with it what comes in bursts.
    """
    if len(times_s) < least:
        return None
    came, done = times_s[:, 0], times_s[:, 1]
    _, first, batch, sizes = np.unique(done, return_index=True, return_inverse=True, return_counts=True)
    last = np.zeros(len(first))
    np.maximum.at(last, batch, came)
    ends = done[first]
    free, took = [-np.inf] * bare.servers, np.empty(len(first))
    order = np.argsort(first, kind="stable")  # first come, first served
    for b in order:
        waited = came[first[b]] + bare.delay_s if sizes[b] < len(bare.batch_s) else -np.inf
        took[b] = ends[b] - max(free[0], last[b], waited)
        heapq.heapreplace(free, float(ends[b]))
    took, sizes = np.maximum(took[order], 1e-9), np.minimum(sizes[order], len(bare.batch_s))
    expected = np.array(bare.batch_s)
    usual = float(np.median(took / expected[sizes - 1]))
    scale = np.full(len(expected), usual)
    for size in np.unique(sizes):
        mine = took[sizes == size]
        if len(mine) >= least:
            scale[size - 1] = float(np.median(mine)) / expected[size - 1]
    batch_s = np.maximum.accumulate(expected * scale)
    factors = np.minimum(took / batch_s[sizes - 1], STALL_FACTOR)
    stalls = took - factors * batch_s[sizes - 1]
    return replace(
        bare, batch_s=tuple(batch_s.tolist()), noise=factors, stalls_s=np.asarray(np.maximum(stalls, 0))
    )


def pooled(services: Sequence[Service]) -> Service:
    """Several observations of the same servers as one: mean batch times, and the factors of all."""
    times = np.array([s.batch_s for s in services])
    weights = np.array([len(s.noise) for s in services], np.float64)
    batch_s = weights @ times / weights.sum()
    noise = np.concatenate([s.noise * (np.mean(s.batch_s) / np.mean(batch_s)) for s in services])
    stalls_s = np.concatenate(
        [np.zeros(len(s.noise)) if s.stalls_s is None else s.stalls_s for s in services]
    )
    return replace(services[0], batch_s=tuple(batch_s.tolist()), noise=noise, stalls_s=stalls_s)


def highest_rate(
    service: Service,
    *,
    limit_s: float,
    percentile: float,
    rng: np.random.Generator,
    queries: int = 20_000,
    rel_tol: float = 0.02,
) -> float:
    """The highest Poisson rate [1/s] whose latency percentile stays within `limit_s`; 0.0 if none does.

    The same unit-rate arrivals are scaled for each trial, so that trials differ by the rate alone.
    """
    unit = np.cumsum(rng.exponential(1.0, queries))

    def holds(rate: float) -> bool:
        return float(np.quantile(service.latencies(unit / rate), percentile)) <= limit_s

    low, high = 0.0, service.capacity
    if not holds(high * 0.01):
        return 0.0
    tolerance = rel_tol * high
    while high - low > tolerance:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def late_shares(
    service: Service,
    rates: NDArray[np.float64],
    *,
    limit_s: float,
    rng: np.random.Generator,
    queries: int = 400_000,
) -> NDArray[np.float64]:
    """Share of queries over `limit_s` at each Poisson rate [1/s], each with arrivals of its own."""
    arrivals = (np.cumsum(rng.exponential(1 / rate, queries)) for rate in rates)
    return np.array([float((service.latencies(came) > limit_s).mean()) for came in arrivals])
