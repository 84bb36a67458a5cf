"""Area under the ROC curve, ties counted half, with DeLong's 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Auc:
    """The area and its 95 % interval, as shares of one."""

    value: float
    low: float
    high: float


def auc(scores: NDArray[np.floating], clicked: NDArray[np.bool_]) -> Auc:
    """The share of (clicked, not clicked) couples that the scores [n] put in the right order.

    The variance is that of DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more
    correlated receiver operating characteristic curves" (1988), here from counts of each distinct score,
    so that one sort serves all. Raises ValueError when a class is absent or a score is not a number.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is not a number")
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    first = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    yes = np.add.reduceat(clicked[order].astype(np.int64), first)
    no = np.diff(first, append=len(scores)) - yes
    total_yes, total_no = int(yes.sum()), int(no.sum())
    if not (total_yes and total_no):
        raise ValueError("the area needs both clicked and unclicked pairs")
    beaten = (np.cumsum(no) - 0.5 * no) / total_no  # share of the unclicked below each score
    beating = 1.0 - (np.cumsum(yes) - 0.5 * yes) / total_yes  # share of the clicked above it
    value = float(yes @ beaten) / total_yes
    variance = _spread(beaten, yes, value) / total_yes + _spread(beating, no, value) / total_no
    half = NormalDist().inv_cdf(0.975) * variance**0.5
    return Auc(value, max(0.0, value - half), min(1.0, value + half))


def _spread(shares: NDArray[np.float64], counts: NDArray[np.int64], mean: float) -> float:
    """Sample variance of `shares`, each taken `counts` times, about their mean."""
    n = int(counts.sum())
    return float(counts @ (shares - mean) ** 2) / (n - 1) if n > 1 else 0.0
