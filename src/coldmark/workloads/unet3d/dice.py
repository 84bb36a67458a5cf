"""DICE of organ and tumour, as MLPerf's accuracy script has it (3d-unet-kits19, accuracy_kits.py, v2.1).

For each case and class 2 |prediction and truth| / (|prediction| + |truth|), with 1e-6 added above and below,
so that a class absent from both counts as found. The score of a case is the mean of organ (kidney, without
the tumour) and tumour; the metric is the mean over the cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.task import Score, Scorer

CLASSES = 3
SMOOTH = 1e-6
RESAMPLES = 4000
BOOTSTRAP_SEED = 2022
BLOCK = 1 << 22
"""Voxels counted at once."""

Truth = Callable[[int], NDArray[np.uint8]]
"""Sample index -> the labels of its volume, any shape, values 0 to 2. Raises DataError."""


def dice(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.float64]:
    """DICE of classes 1 and 2, shape [2]. Both arrays are flat, of one length, values 0 to 2."""
    pairs = np.zeros(CLASSES * CLASSES, np.int64)
    for at in range(0, len(truth), BLOCK):  # bincount makes eight bytes of each voxel
        part = slice(at, at + BLOCK)
        pairs += np.bincount(CLASSES * truth[part] + prediction[part], minlength=len(pairs))
    table = pairs.reshape(CLASSES, CLASSES).astype(np.float64)
    both, sums = table.diagonal(), table.sum(axis=0) + table.sum(axis=1)
    return np.asarray((2 * both + SMOOTH) / (sums + SMOOTH))[1:]


def interval(cases: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of the mean over cases [n], by resampling the cases (percentile bootstrap)."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    means = cases[rng.integers(len(cases), size=(RESAMPLES, len(cases)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def dice_table(
    count: int, truth: Truth, indices: NDArray[np.int64], answers: Sequence[bytes]
) -> NDArray[np.float64]:
    """DICE by case, [n, 2], in order of sample index; the first answer to a sample counts.

    Truth and answers are taken one case at a time. Raises DataError for an index outside the set, an answer
    of another size than its volume and a class that is none.
    """
    samples, first = np.unique(indices, return_index=True)
    rows = np.empty((len(samples), CLASSES - 1))
    for row, (sample, at) in enumerate(zip(samples.tolist(), first.tolist(), strict=True)):
        if not 0 <= sample < count:
            raise DataError(f"sample index {sample} is outside the set of {count}", where="accuracy log")
        labels = truth(sample).reshape(-1)
        found = np.frombuffer(answers[at], np.uint8)
        if found.size != labels.size:
            raise DataError(
                f"the answer to sample {sample} has {found.size} bytes, its volume {labels.size} voxels",
                where="accuracy log",
            )
        if found.max() >= CLASSES:
            raise DataError(
                f"the answer to sample {sample} holds class {found.max()}, known are 0 to {CLASSES - 1}",
                where="accuracy log",
            )
        rows[row] = dice(found, labels)
    return rows


def mean_dice(count: int, truth: Truth) -> Scorer:
    """The scorer of a set of `count` cases."""

    def score(indices: NDArray[np.int64], answers: Sequence[bytes]) -> Score:
        table = dice_table(count, truth, indices, answers)
        cases = table.mean(axis=1)
        mean, (organ, tumour) = float(cases.mean()), table.mean(axis=0)
        low, high = interval(cases)
        line = f"Accuracy: mean = {mean:.5f}, kidney = {organ:.4f}, tumor = {tumour:.4f}"
        return Score(value=mean, samples=len(table), line=line, low=low, high=high)

    return score
