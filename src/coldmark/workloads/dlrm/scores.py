"""From logged answers to AUC, as MLPerf's own accuracy script computes and prints it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.dlrm.auc import auc
from coldmark.workloads.task import Score, Scorer

PAIR = np.dtype("<f4")
"""An answer is two of these a pair: the probability, then the truth (0 or 1)."""

WHERE = "the accuracy log"

Clicked = Callable[[], NDArray[np.bool_]]
"""Whether each pair of the log was clicked; asked for only when a run is scored."""


def area(bounds: NDArray[np.int64], clicked: Clicked) -> Scorer:
    """The scorer of a log cut into samples at `bounds` [samples + 1].

    As the official script does, a sample that was logged twice counts once, the first time.
    """

    def score(indices: NDArray[np.int64], answers: Sequence[bytes]) -> Score:
        chosen, first = np.unique(indices, return_index=True)
        if not len(chosen):
            raise DataError("no sample was answered", where=WHERE)
        if not 0 <= chosen[0] <= chosen[-1] < len(bounds) - 1:
            raise DataError(f"a sample index is outside 0 to {len(bounds) - 2}", where=WHERE)
        found = _answered(chosen, [answers[i] for i in first], bounds)
        clicks = clicked()
        truth = np.concatenate([clicks[bounds[i] : bounds[i + 1]] for i in chosen])
        if not np.array_equal(found[:, 1] != 0, truth):
            pair = int(np.argmax((found[:, 1] != 0) != truth))
            raise DataError(
                f"pair {pair} of the log says clicked = {found[pair, 1]:g}, the data say {int(truth[pair])}",
                where=WHERE,
                hint="was it logged on another data set?",
            )
        return _score(found[:, 0], truth, len(chosen))

    return score


def _answered(
    chosen: NDArray[np.int64], answers: Sequence[bytes], bounds: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Probability and truth [pairs, 2] of the chosen samples, in their order. Raises DataError."""
    wanted = (bounds[chosen + 1] - bounds[chosen]) * 2 * PAIR.itemsize
    for index, answer, size in zip(chosen.tolist(), answers, wanted.tolist(), strict=True):
        if len(answer) != size:
            raise DataError(
                f"the answer to sample {index} has {len(answer)} bytes, its {size // 8} pairs need {size}",
                where=WHERE,
            )
    found = np.frombuffer(b"".join(answers), PAIR).reshape(-1, 2)
    if not np.isfinite(found).all():
        raise DataError("a probability is not a number", where=WHERE)
    return found


def _score(probability: NDArray[np.float32], clicked: NDArray[np.bool_], queries: int) -> Score:
    try:
        found = auc(probability, clicked)
    except ValueError as error:
        raise DataError(str(error), where=WHERE) from None
    total, good = len(clicked), int(np.count_nonzero(probability.round() == clicked))
    return Score(
        value=100 * found.value,
        samples=queries,
        line=f"AUC={100 * found.value:.3f}%, accuracy={100 * good / total:.3f}%, "
        f"good={good}, total={total}, queries={queries}",
        low=100 * found.low,
        high=100 * found.high,
    )
