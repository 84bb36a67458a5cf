"""Class-wise non-maximum suppression of a whole batch without a loop over boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PAIRS = 1 << 20  # pairs looked at in one go: bounds memory to some 50 MB


def suppress(boxes: NDArray[np.float32], groups: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """Rows kept, ascending: no earlier kept row of the same group overlaps them by more than `threshold`.

    Boxes [n, 4] (xmin, ymin, xmax, ymax) in falling order of score; groups [n] tell image and class.
    Pairs are only formed inside a group. Overlaps decide in rounds: a row that no undecided earlier row
    overlaps is kept, and what it overlaps goes; chains are short, so a few rounds end it.
    """
    n = len(boxes)
    order = np.argsort(groups, kind="stable")
    winner, loser = _overlapping(boxes[order], groups[order], threshold)
    kept = np.ones(n, np.bool_)
    while len(winner):
        open_rows = np.zeros(n, np.bool_)
        open_rows[loser] = True  # some earlier row may still take it away
        sure = ~open_rows[winner]
        kept[loser[sure]] = False
        alive = kept[winner] & kept[loser] & ~sure
        winner, loser = winner[alive], loser[alive]
    return np.sort(order[kept])


def _overlapping(
    boxes: NDArray[np.float32], groups: NDArray[np.int64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (earlier, later) of rows of one group that overlap above the threshold; groups ascend."""
    n = len(groups)
    ends = np.searchsorted(groups, groups, side="right")
    followers = ends - np.arange(n) - 1  # of each row in its group
    reach = np.cumsum(followers)
    first: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    second = [np.zeros(0, np.int64)]
    start = 0
    while start < n:
        taken = int(reach[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(reach, taken + _PAIRS, side="right")))
        counts = followers[start:stop]
        a = np.repeat(np.arange(start, stop), counts)
        within = np.arange(len(a)) - np.repeat(np.cumsum(counts) - counts, counts)
        b = a + 1 + within
        much = _overlap(boxes[a], boxes[b]) > threshold
        first.append(a[much])
        second.append(b[much])
        start = stop
    return np.concatenate(first), np.concatenate(second)


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of pairs of boxes [n, 4]; 0 where both are empty."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    sides = np.maximum(high - low, 0)
    inside = sides[:, 0] * sides[:, 1]
    area = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1]) + (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    return np.asarray(inside / np.maximum(area - inside, np.float32(1e-9)))
