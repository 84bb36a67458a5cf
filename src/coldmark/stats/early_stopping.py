"""MLPerf's early stopping: how many queries are enough for a percentile claim.

A claim "the p-th percentile is below the bound" is made with confidence c. If at most t of n queries
were over the bound, and h = n - t were not, the claim holds when
I_(p-d)(h, t+1) <= 1 - c, with I the regularised incomplete beta function: that is the chance to see
no more than t over-latency queries among h + t if the true share below the bound were only p - d.
Source: MLPerf Inference rules, early stopping criterion (c = 0.99, d = 0).
"""

from __future__ import annotations

import math


def min_passing(over: int, percentile: float, *, confidence: float = 0.99, tolerance: float = 0.0) -> int:
    """Fewest queries within the bound that carry the claim, given `over` beyond it: h(t).

    `percentile` is a share in (0, 1). Raises ValueError outside the domain.
    """
    from scipy.special import betainc  # a quarter of a second, and most commands count no queries

    if over < 0 or not 0 < tolerance + percentile < 1 or not 0 < confidence < 1 or tolerance < 0:
        raise ValueError(f"over={over}, percentile={percentile}, confidence={confidence}")
    p = percentile - tolerance
    low, high = 0, max(16, over)
    while betainc(high, over + 1, p) > 1 - confidence:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if betainc(middle, over + 1, p) <= 1 - confidence:
            high = middle
        else:
            low = middle
    return high


def min_queries(over: int, percentile: float, *, confidence: float = 0.99, tolerance: float = 0.0) -> int:
    """Fewest queries in all that carry the claim with `over` of them beyond the bound: n(t)."""
    return over + min_passing(over, percentile, confidence=confidence, tolerance=tolerance)


def floor_queries(percentile: float, *, estimate: bool) -> int:
    """The least number of queries with which early stopping says anything.

    An estimate (SingleStream, MultiStream) discards at least one query, a bound (Server) none.
    """
    return min_queries(1 if estimate else 0, percentile)


def carries(
    queries: int, over: int, percentile: float, *, confidence: float = 0.99, tolerance: float = 0.0
) -> bool:
    """Whether so many queries carry the claim with `over` of them beyond the bound: n >= n(over).

    The same bound as `min_queries`, as the sum it stands for: the chance of at most `over` among `queries`
    if each is over with 1 - p + d. Terms fall geometrically below the mean, so that a few thousand are enough
    for hundreds of millions of queries, and no library is imported. Raises ValueError outside the domain.
    """
    if over < 0 or not 0 < percentile - tolerance < 1 or not 0 < confidence < 1 or tolerance < 0:
        raise ValueError(f"over={over}, percentile={percentile}, confidence={confidence}")
    q = 1 - percentile + tolerance
    if over >= queries * q:  # at or above the mean: the chance is about one half or more
        return False
    ways = math.lgamma(queries + 1) - math.lgamma(over + 1) - math.lgamma(queries - over + 1)
    largest = ways + over * math.log(q) + (queries - over) * math.log1p(-q)
    term = total = 1.0
    for k in range(over, 0, -1):
        term *= k / (queries - k + 1) * (1 - q) / q
        total += term
        if term < 1e-12 * total:
            break
    return largest + math.log(total) <= math.log(1 - confidence)


def most_over(queries: int, percentile: float, *, confidence: float = 0.99, tolerance: float = 0.0) -> int:
    """Most queries beyond the bound with which so many in all still carry the claim; -1 where none do."""

    def holds(over: int) -> bool:
        return carries(queries, over, percentile, confidence=confidence, tolerance=tolerance)

    if not holds(0):
        return -1
    low, high = 0, int(queries * (1 - percentile + tolerance)) + 1  # from that share on no claim is carried
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
