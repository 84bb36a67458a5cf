"""Intervals for shares."""

from __future__ import annotations

from scipy.stats import beta


def share_interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact (Clopper-Pearson) interval of a share, as shares in [0, 1].

    Source: Clopper and Pearson, Biometrika 26 (1934). Raises ValueError unless 0 <= hits <= n, n > 0.
    """
    if not 0 <= hits <= n or n <= 0:
        raise ValueError(f"{hits} of {n}")
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return low, high
