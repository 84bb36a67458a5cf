"""From logged detections to mAP, as the official accuracy script reads and scores them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.retinanet.detect import COLUMNS
from coldmark.workloads.retinanet.mean_ap import Detections, Truth, interval, match, mean_ap
from coldmark.workloads.task import Score, Scorer

LOG = "the accuracy log"
DRAWS = 100  # of the bootstrap


@dataclass(frozen=True, slots=True)
class Images:
    """What is known of the images of a set: sizes in px and the order their ids sort in, [n] each."""

    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    rank: NDArray[np.int64]  # scores that tie are counted in the order of the image ids
    classes: int


def mean_ap_scorer(images: Images, truth: Truth) -> Scorer:
    """The scorer of a set with these annotations (`truth.image` is the sample index).

    As the official script does, it counts the images in the log, each the first time it was logged.
    """
    ranked = Truth(images.rank[truth.image], truth.label, truth.boxes, truth.crowd)

    def score(indices: NDArray[np.int64], answers: Sequence[bytes]) -> Score:
        first = np.unique(indices, return_index=True)[1]
        if len(first) and not 0 <= indices.min() <= indices.max() < len(images.rank):
            raise DataError(f"a sample index is outside 0 to {len(images.rank) - 1}", where=LOG)
        rows = _rows(indices[first], [answers[i] for i in first], images.classes)
        answered = np.zeros(len(images.rank), np.bool_)
        answered[images.rank[indices[first]]] = True
        seen = answered[ranked.image]
        counted = Truth(ranked.image[seen], ranked.label[seen], ranked.boxes[seen], ranked.crowd[seen])
        total = len(images.rank)
        matches = match(counted, _detections(rows, images), total, images.classes)
        value = 100 * max(0.0, mean_ap(matches, np.ones(total), images.classes))
        low, high = interval(matches, answered, images.classes, draws=DRAWS) if len(first) else (0.0, 1.0)
        return Score(
            value=value, samples=len(first), line=f"mAP={value:.3f}%", low=100 * low, high=100 * high
        )

    return score


def _rows(indices: NDArray[np.int64], answers: Sequence[bytes], classes: int) -> NDArray[np.float32]:
    """All rows of all answers, [n, COLUMNS]. Raises DataError where one is not what it should be."""
    width = 4 * COLUMNS
    for index, answer in zip(indices, answers, strict=True):
        if len(answer) % width:
            raise DataError(f"the answer to sample {index} is not rows of {width} bytes", where=LOG)
    rows = np.frombuffer(b"".join(answers), "<f4").reshape(-1, COLUMNS)
    if not np.isfinite(rows).all():
        raise DataError("a detection has a number that is not finite", where=LOG)
    whose = np.repeat(indices, [len(answer) // width for answer in answers])
    if (rows[:, 0] != whose).any():
        wrong = int(whose[np.argmax(rows[:, 0] != whose)])
        raise DataError(f"the answer to sample {wrong} names another sample", where=LOG)
    labels = rows[:, 6].astype(np.int64)
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(f"a detection has a label outside 0 to {classes - 1}", where=LOG)
    return rows


def _detections(rows: NDArray[np.float32], images: Images) -> Detections:
    """Rows with boxes in px, in the script's own arithmetic (float32 up to the subtraction)."""
    index = rows[:, 0].astype(np.int64)
    sides = np.stack((images.heights[index], images.widths[index]), axis=1).astype(np.float32)
    low, high = rows[:, 1:3] * sides, rows[:, 3:5] * sides
    boxes = np.concatenate((low[:, ::-1], (high - low)[:, ::-1]), axis=1).astype(np.float64)
    return Detections(images.rank[index], rows[:, 6].astype(np.int64), boxes, rows[:, 5].astype(np.float64))
