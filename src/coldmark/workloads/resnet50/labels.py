"""From a classifier's outputs to labels, and from logged labels to top-1 accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.core.sut import Answers, Indices, Tensors
from coldmark.stats.intervals import share_interval
from coldmark.workloads.task import Score, Scorer

# The official accuracy script reads a label as one little-endian float32 by default.
LABEL = np.dtype("<f4")


def encode(labels: NDArray[np.int64]) -> Answers:
    """Labels [n] as answers [n, 4]."""
    return labels.astype(LABEL).view(np.uint8).reshape(len(labels), LABEL.itemsize)


def finish_scores(outputs: Tensors, indices: Indices) -> Answers:
    """Scores [batch, classes], the first rows being those of `indices` -> the label of each."""
    return encode(outputs[0][: len(indices)].argmax(axis=1))


def finish_scores_background(outputs: Tensors, indices: Indices) -> Answers:
    """The same for models with a background class at 0, as MLPerf's own ONNX file has."""
    return encode(outputs[0][: len(indices)].argmax(axis=1) - 1)


def finish_labels_background(outputs: Tensors, indices: Indices) -> Answers:
    """Labels [batch] that count a background class at 0."""
    return encode(outputs[0][: len(indices)].astype(np.int64) - 1)


def top1(labels: NDArray[np.int64]) -> Scorer:
    """The scorer of a set with these true labels, [count]: share of first answers that are right.

    As the official script does, a sample that was logged twice counts once, the first time.
    """

    def score(indices: NDArray[np.int64], answers: Sequence[bytes]) -> Score:
        first = np.unique(indices, return_index=True)[1]
        if any(len(answers[i]) != LABEL.itemsize for i in first):
            raise DataError(f"an answer is not one label of {LABEL.itemsize} bytes", where="the accuracy log")
        if len(first) and not 0 <= indices.min() <= indices.max() < len(labels):
            raise DataError(f"a sample index is outside 0 to {len(labels) - 1}", where="the accuracy log")
        found = np.frombuffer(b"".join(answers[i] for i in first), LABEL)
        good = int(np.count_nonzero(found == labels[indices[first]]))
        total = len(first)
        low, high = share_interval(good, total) if total else (0.0, 1.0)
        share = 100.0 * good / max(1, total)
        return Score(
            value=share,
            samples=total,
            line=f"accuracy={share:.3f}%, good={good}, total={total}",
            low=100 * low,
            high=100 * high,
        )

    return score
