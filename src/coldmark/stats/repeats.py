"""Repeated readings of two configurations, interleaved: how far apart they are, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from coldmark.core.nouns import Measurement


def mean_interval(values: Sequence[float], unit: str, confidence: float = 0.95) -> Measurement:
    """Geometric mean of repeated readings, positive each, with its interval; none for fewer than two.

    On logarithms, so that no interval of a rate or a latency reaches below zero. Raises ValueError.
    """
    found = np.asarray(values, np.float64)
    if (found <= 0).any():
        raise ValueError("readings are to be positive")
    return _measured(found, unit, confidence, "geometric mean of repeats, Student's t on logarithms")


def ratio_interval(above: Sequence[float], below: Sequence[float], confidence: float = 0.95) -> Measurement:
    """above / below of readings taken in pairs, positive each, with its interval.

    Taken round by round, what slows both cancels. Logarithms, because a ratio and its inverse are one
    statement. Raises ValueError for readings of unequal number, none, or not positive.
    """
    a, b = np.asarray(above, np.float64), np.asarray(below, np.float64)
    if len(a) != len(b) or (a <= 0).any() or (b <= 0).any():
        raise ValueError(f"{len(a)} and {len(b)} readings, all to be positive")
    return _measured(a / b, "", confidence, "geometric mean of paired ratios, Student's t on logarithms")


def _measured(values: NDArray[np.float64], unit: str, confidence: float, method: str) -> Measurement:
    n = len(values)
    if not n:
        raise ValueError("no readings")
    logs = np.log(values)
    mean = float(np.mean(logs))
    if n < 2:
        return Measurement(value=float(np.exp(mean)), unit=unit, n=n, method=method)
    half = float(student.ppf((1 + confidence) / 2, n - 1) * np.std(logs, ddof=1) / np.sqrt(n))
    low, value, high = (float(np.exp(x)) for x in (mean - half, mean, mean + half))
    return Measurement(value=value, unit=unit, low=low, high=high, n=n, method=method)


def spread(values: Sequence[float]) -> float:
    """Relative scatter of readings, by the median absolute deviation: one outlier does not move it."""
    found = np.asarray(values, np.float64)
    middle = float(np.median(found))
    return float(1.4826 * np.median(np.abs(found - middle)) / middle) if middle > 0 else 0.0
