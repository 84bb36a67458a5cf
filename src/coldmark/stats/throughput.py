"""A rate over time: bins, where it becomes steady, steps, drift, and means with intervals.

Neighbouring bins are alike, so every interval is widened by (1 + r) / (1 - r) in variance, r the lag-one
correlation (first-order autoregressive noise).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Z95 = 1.959964
LEAST_BINS = 8
STEP_Z = 4.5
"""A step stands so many standard errors high: of the hundred places it may be, chance reaches 4 in some."""
LEAST_STEP = 0.01
LEAST_DRIFT = 0.005
LEAST_SEGMENT = 4


def edges(begin_s: float, end_s: float, *, count: float | None = None) -> Array:
    """Bin edges [m + 1] over a window: about 100 bins, none below 0.5 s nor below 100 events of `count`."""
    length = end_s - begin_s
    bins = min(100.0, length / 0.5, (count or math.inf) / 100)
    return np.linspace(begin_s, end_s, max(1, int(bins)) + 1)


def binned_rate(t_s: Array, count: Array, at: Array) -> Array:
    """Rate [m] of a counter sampled at t_s [n], between edges [m + 1]."""
    return np.diff(np.interp(at, t_s, count)) / np.diff(at)


def binned_mean(t_s: Array, value: Array, at: Array) -> Array:
    """Mean [m] over time of a value that holds until its next sample; t_s [n], edges [m + 1]."""
    area = np.concatenate([[0.0], np.cumsum(value[:-1] * np.diff(t_s))])
    # Beyond the last sample the value holds, before the first one it is taken to have been the same.
    t = np.concatenate([[min(at[0], t_s[0]) - 1.0], t_s, [max(at[-1], t_s[-1]) + 1.0]])
    area = np.concatenate(
        [[area[0] - value[0] * (t_s[0] - t[0])], area, [area[-1] + value[-1] * (t[-1] - t_s[-1])]]
    )
    found: Array = np.diff(np.interp(at, t, area)) / np.diff(at)
    return found


def inflation(residual: Array) -> float:
    """Factor on the variance of a mean of correlated residuals [n]; at least 1."""
    n = len(residual)
    power = float(residual @ residual)
    if n < 4 or power <= 0:
        return 1.0
    r = float(residual[1:] @ residual[:-1]) / power
    r = min(0.95, max(0.0, r + (1 + 3 * r) / n))  # the usual estimate is too small by that much
    return (1 + r) / (1 - r)


def mean_interval(y: Array) -> tuple[float, float, float]:
    """Mean of y [n] and its 95 % interval."""
    mean = float(y.mean())
    if len(y) < 2:
        return mean, -math.inf, math.inf
    se = math.sqrt(float(y.var(ddof=1)) * inflation(y - mean) / len(y))
    return mean, mean - Z95 * se, mean + Z95 * se


def steady_from(y: Array) -> int | None:
    """First bin of the steady part of y [n]; None where there is none in the first half.

    The truncation that gives the mean of the rest its least standard error, kept only where what it cuts off
    differs from the rest. Source: K. P. White Jr., An effective truncation heuristic for bias reduction in
    simulation output (MSER), Simulation 69 (1997).
    """
    n = len(y)
    if n < LEAST_BINS:
        return None
    score = [float(np.var(y[d:])) / (n - d) for d in range(n // 2 + 1)]
    d = int(np.argmin(score))
    if d == 0:
        return 0
    if d >= n // 2:  # still moving at the middle: a slope, unless noise made it
        share, se = drift(y, [])
        return None if abs(share) > STEP_Z * se and abs(share) >= LEAST_DRIFT else 0
    mean, low, high = mean_interval(y[d:])
    off = abs(float(y[:d].mean()) - mean)
    noise = (high - low) / 2 / Z95 * math.sqrt(1 + (n - d) / d)
    if off < 3 * noise or off < LEAST_DRIFT * abs(mean):
        return 0
    return d


@dataclass(frozen=True, slots=True)
class Step:
    """The mean changes at bin `at` from `before` to `after`, over the stretches next to it."""

    at: int
    before: float
    after: float
    first: int  # of the stretch before
    last: int  # one past the stretch after


def steps(y: Array) -> list[Step]:
    """Steps of the mean of y [n], by binary segmentation; those that noise explains are left out."""
    if len(y) < 2 * LEAST_SEGMENT:
        return []
    d = np.diff(y)
    sigma = 1.4826 * float(np.median(np.abs(d - np.median(d)))) / math.sqrt(2)
    sigma = max(sigma, 1e-9 * abs(float(y.mean())) + 1e-300)
    cuts = sorted(_split(y, 0, len(y), sigma))
    while cuts:
        bounds = [0, *cuts, len(y)]
        residual = np.concatenate([y[a:b] - y[a:b].mean() for a, b in pairwise(bounds)])
        spread = float(np.std(residual)) * math.sqrt(inflation(residual))
        z = [
            abs(y[b:c].mean() - y[a:b].mean()) / max(spread * math.sqrt(1 / (b - a) + 1 / (c - b)), 1e-300)
            for a, b, c in zip(bounds, bounds[1:], bounds[2:], strict=False)
        ]
        size = [
            abs(y[b:c].mean() / y[a:b].mean() - 1) if y[a:b].mean() else math.inf
            for a, b, c in zip(bounds, bounds[1:], bounds[2:], strict=False)
        ]
        weak = [i for i in range(len(cuts)) if z[i] < STEP_Z or size[i] < LEAST_STEP]
        if not weak:
            break
        del cuts[min(weak, key=lambda i: z[i])]
    bounds = [0, *cuts, len(y)]
    return [
        Step(at=b, before=float(y[a:b].mean()), after=float(y[b:c].mean()), first=a, last=c)
        for a, b, c in zip(bounds, bounds[1:], bounds[2:], strict=False)
    ]


def _split(y: Array, a: int, b: int, sigma: float) -> list[int]:
    n = b - a
    if n < 2 * LEAST_SEGMENT:
        return []
    left = np.cumsum(y[a:b])[:-1]
    k = np.arange(1, n)
    gain = (left / k - (y[a:b].sum() - left) / (n - k)) ** 2 * k * (n - k) / n
    gain[: LEAST_SEGMENT - 1] = gain[n - LEAST_SEGMENT :] = 0.0
    at = int(np.argmax(gain)) + 1
    if gain[at - 1] < STEP_Z**2 * sigma**2:
        return []
    return [*_split(y, a, a + at, sigma), a + at, *_split(y, a + at, b, sigma)]


def drift(y: Array, cuts: list[int]) -> tuple[float, float]:
    """Relative change over the length of y [n] that is neither step nor noise, and its standard error."""
    n = len(y)
    if n < LEAST_BINS:
        return 0.0, math.inf
    t = np.linspace(0, 1, n)
    bounds = [0, *cuts, n]
    ty, yy = t.copy(), y.copy()
    for a, b in pairwise(bounds):
        ty[a:b] -= ty[a:b].mean()
        yy[a:b] -= yy[a:b].mean()
    weight = float(ty @ ty)
    slope = float(ty @ yy) / weight
    residual = yy - slope * ty
    variance = float(residual @ residual) / max(1, n - len(bounds)) * inflation(residual) / weight
    mean = float(y.mean()) or math.inf
    return slope / mean, math.sqrt(variance) / abs(mean)
