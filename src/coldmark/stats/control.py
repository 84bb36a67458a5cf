"""Late queries with their arrivals' luck taken out: a queue played on the same arrivals as a control variate.

Whether a query is late is decided mostly by how crowded it came. The played queue knows that crowd: with L
late ones in a trial, l in the queue played on the trial's own arrivals, and p the long-run share that queue
has at the trial's rate,

    (L - b (l - n p)) / n,    b = Cov(L, l) / Var(l)

has the mean of L / n and less scatter, by as much as L and l go together. Both are estimated from counts in
consecutive blocks of queries.

Source: control variates, as in Law, *Simulation Modeling and Analysis*, on variance reduction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]

LEAST_EFFECT = 0.3
"""The scatter left is not believed to be less than this share of that of independent queries: what fits the
past so well may not fit the next run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One trial: which of its queries were late, and which of them the played queue has late; shape [n]."""

    late: Flags
    played: Flags
    share: float  # of queries that the played queue has late in the long run, at the trial's rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """How far the played queue is followed, and what scatter is left of one."""

    weight: float  # b
    effect: float  # variance of what is left over that of as many independent late queries

    def share(self, pair: Pair) -> float:
        """The late share of a trial, with its arrivals' luck taken out; in [0, 1]."""
        luck = float(pair.played.mean()) - pair.share
        return min(1.0, max(0.0, float(pair.late.mean()) - self.weight * luck))


def control(pairs: Sequence[Pair], blocks: int = 40) -> Control | None:
    """From all these trials together; None where no query was late in either.

    Trials that are mostly late say nothing of the scatter near the limit: leave them out.
    """
    late, played, expected, freedom = [], [], 0.0, 0
    for pair in pairs:
        per = len(pair.late) // blocks
        if per < 2:
            continue
        one, other = (_counts(flags, per, blocks) for flags in (pair.late, pair.played))
        mean = float(one.mean() + other.mean()) / 2
        expected += blocks * mean * (1 - mean / per)  # were they late by themselves: binomial
        late.append(one - one.mean())
        played.append(other - other.mean())
        freedom += blocks - 1
    if expected <= 0:
        return None
    a, b = np.concatenate(late), np.concatenate(played)
    weight = float(np.clip(a @ b / (b @ b), 0.0, 1.0)) if b.any() else 0.0
    left = a - weight * b
    effect = (float(left @ left) / freedom) / (expected / len(a))
    return Control(weight=weight, effect=max(LEAST_EFFECT, effect))


def _counts(flags: Flags, per: int, blocks: int) -> NDArray[np.float64]:
    """Late queries in each block."""
    return np.asarray(flags[: per * blocks].reshape(blocks, per).sum(axis=1), np.float64)
