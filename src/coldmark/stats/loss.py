"""Throughput lost to each reason for a lower clock, with an interval.

Where part of the window was free of every reason, that part says what the rate would have been: the rate
of each bin is regressed on the shares of the bin in which each reason was active,

    r_i = r0 - sum_k d_k a_ki + e_i,        loss_k = d_k mean(a_k) / r0.

A rate falls no more than the clock does, so a fall beyond the clock's own is not the reason's and is called
unexplained. Where no part was free, the time of a sample is taken as s = a + c / f and carried on to the
best clock, if the clock varied enough to tell c; else only bounds are given: nothing, and the clock's fall.
docs/explanation/telemetry.md has it in full.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coldmark.stats.throughput import Z95, inflation

Array = NDArray[np.float64]

FREE_BINS = 5.0
"""So much of the window (in bins) must be free of every reason for a comparison within the run."""
WIDEST = 0.02
"""A half interval wider than this says too little: bounds are given instead."""
LEAST_SPREAD = 0.02
"""Relative spread of the clock below which its effect on the rate cannot be told."""
UNEXPLAINED = "neither"

COMPARED = "compared within the run"
CARRIED = "carried to the best clock"
BOUNDED = "bounds from the clock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A share of the rate at the best clock; `value` None: only bounds."""

    reason: str
    value: float | None
    low: float
    high: float
    method: str


def losses(
    rate: Array, active: Mapping[str, Array], clock: Array | None, best_clock: float | None, edge: int = 1
) -> list[Lost]:
    """Loss to each reason: rate [n] in bins, share of each bin a reason was active [n], clock [n].

    `edge` bins at both ends have no part in the fit, since their rate holds the begin and the end of the
    test; the time that each reason was active is that of all bins.
    `best_clock` is what the clock would be without any reason, where a device says so. An empty list means
    that nothing can be said: no free part, and no clock.
    """
    acting = {name: a for name, a in active.items() if float(a.sum()) > 0}
    idle = [
        Lost(reason=n, value=0.0, low=0.0, high=0.0, method="never active") for n in active if n not in acting
    ]
    if not acting:
        return idle
    free = float(np.clip(1 - sum(acting.values()), 0, 1).sum())
    inner = slice(edge, len(rate) - edge)
    if free >= FREE_BINS:
        return [*_compared(rate, acting, clock, inner), *idle]
    if clock is None or best_clock is None or not _usable(clock):
        return idle
    part = {name: a[inner] for name, a in acting.items()}
    return [*_carried(rate[inner], part, clock[inner], best_clock), *idle]


def _compared(rate: Array, acting: Mapping[str, Array], clock: Array | None, inner: slice) -> list[Lost]:
    x = np.column_stack([np.ones_like(rate), *acting.values()])[inner]
    beta, cov = _fit(x, rate[inner])
    if beta[0] <= 0:
        return []
    found, unexplained = [], 0.0
    falls = _falls(x, None if clock is None else clock[inner])
    for k, (name, a) in enumerate(acting.items(), start=1):
        share = float(a.mean())
        gradient = np.zeros(len(beta))
        gradient[0], gradient[k] = beta[k] * share / beta[0] ** 2, -share / beta[0]
        value = -beta[k] * share / beta[0]
        se = math.sqrt(max(0.0, float(gradient @ cov @ gradient)))
        if falls is not None:
            most = max(0.0, falls[k - 1]) * share
            if value > most + 2 * se + 0.001:
                unexplained += value - most
                value = most
        # A reason that was active for a moment cannot have cost more than that moment.
        found.append(
            Lost(
                reason=name,
                value=min(share, max(0.0, value)),
                low=max(0.0, min(share, value - Z95 * se)),
                high=min(share, max(0.0, value + Z95 * se)),
                method=COMPARED,
            )
        )
    if unexplained > 0:
        found.append(
            Lost(
                reason=UNEXPLAINED,
                value=unexplained,
                low=0.0,
                high=unexplained,
                method="beyond the clock's fall",
            )
        )
    return found


def _falls(x: Array, clock: Array | None) -> list[float] | None:
    """Relative fall of the clock under each reason; None without a clock."""
    if clock is None or not _usable(clock):
        return None
    beta, _ = _fit(x, clock)
    return [-float(b) / float(beta[0]) for b in beta[1:]]


def _usable(clock: Array) -> bool:
    return bool(np.all(np.isfinite(clock)) and np.all(clock > 0))


def _fit(x: Array, y: Array) -> tuple[Array, Array]:
    """Least squares with the covariance of its coefficients, widened for correlated residuals."""
    beta: Array = np.linalg.lstsq(x, y, rcond=None)[0].astype(np.float64)
    residual = y - x @ beta
    variance = float(residual @ residual) / max(1, len(y) - x.shape[1]) * inflation(residual)
    cov: Array = np.linalg.pinv(x.T @ x) * variance
    return beta, cov


def _carried(rate: Array, acting: Mapping[str, Array], clock: Array, best: float) -> list[Lost]:
    deficit = float(np.clip(1 - clock / best, 0, 1).mean())
    weights = {n: float((a * np.clip(1 - clock / best, 0, 1)).sum()) for n, a in acting.items()}
    total = sum(weights.values()) or 1.0
    spread = float(np.std(clock) / np.mean(clock))
    good = rate > 0
    if spread >= LEAST_SPREAD and good.sum() >= 8 and deficit > 0:
        x = np.column_stack([np.ones(int(good.sum())), best / clock[good]])
        beta, cov = _fit(x, 1 / rate[good])
        if beta[0] >= 0 and beta[1] >= 0:
            mean = float(rate.mean())
            se = mean * math.sqrt(max(0.0, float(np.array([1.0, 1.0]) @ cov @ np.array([1.0, 1.0]))))
            value = min(deficit, max(0.0, 1 - mean * float(beta.sum())))
            if Z95 * se <= WIDEST:
                return [_part(n, w / total, value, se, deficit) for n, w in weights.items()]
    return [
        Lost(reason=n, value=None, low=0.0, high=deficit * w / total, method=BOUNDED)
        for n, w in weights.items()
    ]


def _part(name: str, weight: float, value: float, se: float, most: float) -> Lost:
    return Lost(
        reason=name,
        value=weight * value,
        low=weight * max(0.0, value - Z95 * se),
        high=weight * min(most, value + Z95 * se),
        method=CARRIED,
    )
