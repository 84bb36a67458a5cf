"""From the heads of a RetinaNet to detections, as MLPerf's reference does it.

That is: threshold, the best scores of each level, boxes, class-wise suppression, the best of the image.

The reference's constants (mlcommons/training, single_stage_detector/ssd, `RetinaNet`): scores above 0.05, the
best 1 000 of a level, suppression above an overlap of 0.5, the best 300 of an image.

Everything is done for a whole batch at once. The threshold is put to the logits, not the scores: of some
30 million logits an image a few thousand pass, and only theirs are ever turned into scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from coldmark.core.sut import Answers, Indices, Tensors
from coldmark.workloads.retinanet.anchors import PER_CELL, Boxes, decode, level_anchors
from coldmark.workloads.retinanet.suppress import suppress

SCORE_THRESHOLD = 0.05
LEVEL_CANDIDATES = 1000
OVERLAP_THRESHOLD = 0.5
DETECTIONS = 300

COLUMNS = 7
"""Of an answer's rows: sample index, ymin, xmin, ymax, xmax (shares of the sides), score, label."""

_LOGIT_THRESHOLD = np.float32(math.log(SCORE_THRESHOLD / (1 - SCORE_THRESHOLD)))
_SLICE = 1 << 18  # logits compared at a time: what they are compared into stays in the processor's cache


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of detections or candidates: whose, where, how sure, what."""

    image: NDArray[np.int64]  # row of the batch
    boxes: Boxes
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __getitem__(self, rows: NDArray[np.int64]) -> Found:
        return Found(self.image[rows], self.boxes[rows], self.logits[rows], self.labels[rows])


class Detector:
    """Decodes a network of this geometry: class logits of every level, then box deltas of every level."""

    def __init__(self, side: int, classes: int, cells: Sequence[int], bases: Sequence[int]) -> None:
        self._side = side
        self._classes = classes
        self._anchors = [level_anchors(side, n, base) for n, base in zip(cells, bases, strict=True)]

    def finish(self, outputs: Tensors, indices: Indices) -> Answers:
        """Outputs of a batch whose first rows are these samples -> one answer a sample."""
        return encode(self.detect(outputs, len(indices)), indices, self._side)

    def detect(self, outputs: Tensors, n: int) -> Found:
        """The detections in the first n rows, by image and falling score."""
        levels = len(self._anchors)
        parts = [
            self._level(outputs[i][:n], outputs[levels + i][:n], anchors)
            for i, anchors in enumerate(self._anchors)
        ]
        found = Found(
            *(np.concatenate([getattr(p, k) for p in parts]) for k in ("image", "boxes", "logits", "labels"))
        )
        found = found[np.lexsort((-found.logits, found.image))]
        kept = suppress(found.boxes, found.image * self._classes + found.labels, OVERLAP_THRESHOLD)
        return found[kept[first_of_each(found.image[kept], DETECTIONS)]]

    def _level(self, logits: NDArray[np.float32], deltas: NDArray[np.float32], anchors: Boxes) -> Found:
        """Candidates of a level. Logits [n, 9 * classes, cells, cells], deltas [n, 9 * 4, cells, cells]."""
        n, _, rows, columns = logits.shape
        cells = rows * columns
        places = above(logits.reshape(-1), _LOGIT_THRESHOLD)
        values = logits.reshape(-1)[places]
        image = places // (logits.size // max(1, n))
        if len(places) > LEVEL_CANDIDATES:
            best = best_of_each(values, image, n, LEVEL_CANDIDATES)
            places, values, image = places[best], values[best], image[best]
        channel, cell = np.divmod(places % (logits.size // max(1, n)), cells)
        anchor, label = np.divmod(channel, self._classes)
        four = deltas.reshape(n, PER_CELL, 4, cells)[image, anchor, :, cell]
        boxes = decode(four, anchors[cell * PER_CELL + anchor], self._side)
        return Found(image, boxes, values, label)


def above(values: NDArray[np.float32], threshold: np.float32) -> NDArray[np.int64]:
    """Where values [n] lie above the threshold, ascending."""
    flags = np.empty(min(_SLICE, len(values)), np.bool_)
    parts = []
    for start in range(0, len(values), _SLICE):
        part = values[start : start + _SLICE]
        hits = np.flatnonzero(np.greater(part, threshold, out=flags[: len(part)]))
        if len(hits):
            parts.append(hits + start)
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def best_of_each(
    values: NDArray[np.float32], groups: NDArray[np.int64], n: int, most: int
) -> NDArray[np.int64]:
    """Rows of the `most` largest values of each group 0 to n - 1; `groups` ascend. In no order."""
    ends = np.searchsorted(groups, np.arange(n + 1))
    parts = []
    for start, stop in pairwise(ends):
        if stop - start > most:
            parts.append(start + np.argpartition(values[start:stop], stop - start - most)[-most:])
        else:
            parts.append(np.arange(start, stop))
    return np.concatenate(parts)


def first_of_each(groups: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Rows of the first `most` members of each group; `groups` [n] must lie together."""
    if len(groups) == 0:
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.concatenate(([True], groups[1:] != groups[:-1])))
    rank = np.arange(len(groups)) - np.repeat(starts, np.diff(np.append(starts, len(groups))))
    return np.flatnonzero(rank < most)


def encode(found: Found, indices: Indices, side: int) -> Answers:
    """One answer a sample: its rows of COLUMNS little-endian float32, as the reference logs them."""
    rows = np.empty((len(found.image), COLUMNS), "<f4")
    rows[:, 0] = indices[found.image]
    rows[:, 1:5] = found.boxes[:, [1, 0, 3, 2]] / np.float32(side)
    rows[:, 5] = 1 / (1 + np.exp(-found.logits))
    rows[:, 6] = found.labels
    ends = np.searchsorted(found.image, np.arange(1, len(indices)))
    return [part.reshape(-1).view(np.uint8) for part in np.split(rows, ends)]
