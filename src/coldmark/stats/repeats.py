"""Repeated readings of two configurations, interleaved: how far apart they are, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from coldmark.core.nouns import Measurement

PAIRED = "geometric mean of paired ratios, Student's t on their logarithms"


def mean_interval(values: Sequence[float], unit: str, confidence: float = 0.95) -> Measurement:
    """Mean of repeated readings with its t interval; no interval of fewer than two. Raises ValueError."""
    low, mean, high = _interval(np.asarray(values, np.float64), confidence)
    return Measurement(
        value=mean, unit=unit, low=low, high=high, n=len(values), method="mean of repeats, Student's t"
    )


def ratio_interval(above: Sequence[float], below: Sequence[float], confidence: float = 0.95) -> Measurement:
    """above / below of readings taken in pairs, positive each, with its interval.

    Taken round by round, what slows both cancels. Logarithms, because a ratio and its inverse are one
    statement. Raises ValueError for readings of unequal number, none, or not positive.
    """
    a, b = np.asarray(above, np.float64), np.asarray(below, np.float64)
    if len(a) != len(b) or (a <= 0).any() or (b <= 0).any():
        raise ValueError(f"{len(a)} and {len(b)} readings, all to be positive")
    low, mean, high = _interval(np.log(a / b), confidence)
    return Measurement(
        value=float(np.exp(mean)),
        unit="",
        low=None if low is None else float(np.exp(low)),
        high=None if high is None else float(np.exp(high)),
        n=len(a),
        method=PAIRED,
    )


def _interval(values: np.ndarray, confidence: float) -> tuple[float | None, float, float | None]:
    if not len(values):
        raise ValueError("no readings")
    mean = float(np.mean(values))
    if len(values) < 2:
        return None, mean, None
    half = float(student.ppf((1 + confidence) / 2, len(values) - 1) * np.std(values, ddof=1))
    half /= float(np.sqrt(len(values)))
    return mean - half, mean, mean + half


def spread(values: Sequence[float]) -> float:
    """Relative scatter of readings, by the median absolute deviation: one outlier does not move it."""
    found = np.asarray(values, np.float64)
    middle = float(np.median(found))
    return float(1.4826 * np.median(np.abs(found - middle)) / middle) if middle > 0 else 0.0
