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
        """The late share of a trial, with its arrivals' luck taken out; at least 0."""
        n = len(pair.late)
        return max(0.0, float(pair.late.mean()) - self.weight * float(pair.played.sum() - n * pair.share) / n)


def control(pairs: Sequence[Pair], blocks: int = 40) -> Control | None:
    """From all trials together; None where no query was late in either."""
    counts = [_counts(p, blocks) for p in pairs if len(p.late) >= 2 * blocks]
    if not counts:
        return None
    late, played = (np.concatenate(part) for part in zip(*counts, strict=True))
    expected = sum(float(p.late.sum() + p.played.sum()) / 2 for p in pairs) / len(late)
    if expected <= 0 or not (played @ played):
        return None
    weight = float(np.clip(late @ played / (played @ played), 0.0, 1.0))
    left = late - weight * played
    freedom = len(late) - len(counts)
    return Control(weight=weight, effect=max(LEAST_EFFECT, float(left @ left) / freedom / expected))


def _counts(pair: Pair, blocks: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Late queries in each block of a trial, off their mean."""
    per = len(pair.late) // blocks
    both = [
        f[: per * blocks].reshape(blocks, per).sum(axis=1).astype(np.float64)
        for f in (pair.late, pair.played)
    ]
    return both[0] - both[0].mean(), both[1] - both[1].mean()
