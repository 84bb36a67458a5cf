"""COCO's mean average precision at 0.50:0.95 over a whole set, without a loop over images.

The rules are those of pycocotools' `COCOeval` for boxes, all areas, 100 detections an image and class:
detections take the true boxes of their image and class in falling order of score, each the free one it
overlaps most; crowds (groups) may be taken often and count neither way; precision is made falling and read at
101 recalls. Source: Lin et al., "Microsoft COCO" (2014), and the evaluation code of its authors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.retinanet.suppress import pairs

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100  # detections of a class in an image

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Truth:
    """Annotated boxes, [n] each; the order is that of the annotation file."""

    image: Ints  # row of the image
    label: Ints
    boxes: Floats  # [n, 4]: x, y, width, height [px]
    crowd: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Detections:
    """Detected boxes, [n] each, in the order they were logged."""

    image: Ints
    label: Ints
    boxes: Floats  # [n, 4]: x, y, width, height [px]
    score: Floats


@dataclass(frozen=True, slots=True)
class Matches:
    """How the detections of each class fared, in falling order of score."""

    label: Ints  # [n], ascending
    image: Ints  # [n]
    right: NDArray[np.bool_]  # [n, thresholds]
    ignored: NDArray[np.bool_]  # [n, thresholds]: took a crowd
    truth_image: Ints  # [m] of the true boxes that count
    truth_label: Ints  # [m]


def match(truth: Truth, found: Detections, images: int, classes: int) -> Matches:
    """Give every detection the true box it takes, at every threshold."""
    rows = _leading(found)
    image, label = found.image[rows], found.label[rows]
    truth_rows = np.lexsort((truth.crowd, truth.image * classes + truth.label))  # crowds last, else as given
    truth_key = (truth.image * classes + truth.label)[truth_rows]
    key = image * classes + label
    low, high = np.searchsorted(truth_key, key, "left"), np.searchsorted(truth_key, key, "right")
    detection, target = pairs(low, high)
    overlap = _overlap(
        found.boxes[rows[detection]], truth.boxes[truth_rows[target]], truth.crowd[truth_rows[target]]
    )
    near = overlap >= THRESHOLDS[0]
    right, ignored = _take(
        detection[near], target[near], overlap[near], truth.crowd[truth_rows], _rank(key), len(rows)
    )
    order = np.lexsort((image, -found.score[rows], label))
    counting = ~truth.crowd
    return Matches(
        label=label[order],
        image=image[order],
        right=right[order],
        ignored=ignored[order],
        truth_image=truth.image[counting],
        truth_label=truth.label[counting],
    )


def _leading(found: Detections) -> Ints:
    """Rows of the best MOST detections of each image and class: by image, class, falling score."""
    order = np.lexsort((-found.score, found.label, found.image))
    changes = (np.diff(found.image[order]) != 0) | (np.diff(found.label[order]) != 0)
    return np.asarray(order[_rank(np.concatenate(([0], np.cumsum(changes)))[: len(order)]) < MOST])


def _rank(key: Ints) -> Ints:
    """Place of each row among those of its key; equal keys lie together."""
    if len(key) == 0:
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    return np.arange(len(key)) - np.repeat(starts, np.diff(np.append(starts, len(key))))


def _overlap(a: Floats, b: Floats, crowd: NDArray[np.bool_]) -> Floats:
    """Intersection over union of pairs (x, y, width, height); over the detection `a` alone for a crowd."""
    low = np.maximum(a[:, :2], b[:, :2])
    sides = np.maximum(np.minimum(a[:, 2:] + a[:, :2], b[:, 2:] + b[:, :2]) - low, 0)
    inside = sides[:, 0] * sides[:, 1]
    area = a[:, 2] * a[:, 3]
    union = np.where(crowd, area, area + b[:, 2] * b[:, 3] - inside)
    return np.asarray(np.divide(inside, union, out=np.zeros_like(inside), where=inside > 0))


def _take(
    detection: Ints, target: Ints, overlap: Floats, crowd: NDArray[np.bool_], rank: Ints, count: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rank by rank, all images and classes at once, detections choose.

    Returns (right, ignored), [count, thresholds] each.
    """
    right, ignored = (np.zeros((count, len(THRESHOLDS)), np.bool_) for _ in range(2))
    taken = np.zeros((len(crowd), len(THRESHOLDS)), np.bool_)
    ranks = rank[detection]
    order = np.argsort(ranks, kind="stable")
    bounds = np.searchsorted(ranks[order], np.arange(MOST + 1))
    limits = np.minimum(THRESHOLDS, 1 - 1e-10)
    for start, stop in pairwise(bounds):
        if start == stop:
            continue
        pairs = order[start:stop]
        chosen, who = _choose(detection[pairs], target[pairs], overlap[pairs], crowd, taken, limits)
        hit = chosen >= 0
        is_crowd = hit & crowd[chosen]
        rows, columns = np.nonzero(hit & ~is_crowd)
        taken[chosen[rows, columns], columns] = True
        right[who], ignored[who] = hit & ~is_crowd, is_crowd
    return right, ignored


def _choose(
    detection: Ints,
    target: Ints,
    overlap: Floats,
    crowd: NDArray[np.bool_],
    taken: NDArray[np.bool_],
    limits: Floats,
) -> tuple[Ints, Ints]:
    """The box each detection takes at each threshold (-1: none), [detections, thresholds]; which detections.

    True boxes before crowds, then the largest overlap, the later one of equals.
    """
    starts = np.flatnonzero(np.concatenate(([True], detection[1:] != detection[:-1])))
    ours = crowd[target]
    free = (overlap[:, None] >= limits) & (~taken[target] | ours[:, None])
    worth = np.where(free, (overlap + 2.0 * ~ours)[:, None], -1.0)
    best = np.maximum.reduceat(worth, starts, axis=0)
    repeats = np.diff(np.append(starts, len(detection)))
    is_best = free & (worth == np.repeat(best, repeats, axis=0))
    last = np.maximum.reduceat(np.where(is_best, np.arange(len(target))[:, None], -1), starts, axis=0)
    return np.where(last >= 0, target[last], -1), detection[starts]


def mean_ap(matches: Matches, weight: Floats, classes: int) -> float:
    """mAP in 0 to 1, -1 without any true box. Each image counts `weight` times ([images], 1: the metric)."""
    positives = np.bincount(matches.truth_label, weight[matches.truth_image], minlength=classes)
    bounds = np.searchsorted(matches.label, np.arange(classes + 1))
    weights = weight[matches.image]
    values = [
        _class_ap(matches, slice(bounds[label], bounds[label + 1]), weights, float(positives[label]))
        for label in np.flatnonzero(positives > 0)
    ]
    return float(np.mean(np.concatenate(values))) if values else -1.0


def _class_ap(matches: Matches, rows: slice, weights: Floats, positives: float) -> Floats:
    """Precision at every threshold and recall of one class, ravelled.

    Recall only moves at right detections, and falling precision is decided there: only they are looked at.
    """
    right, ignored, w = matches.right[rows], matches.ignored[rows], weights[rows]
    seen = np.cumsum(w)
    values = np.zeros((len(THRESHOLDS), len(RECALLS)))
    for column in range(len(THRESHOLDS)):
        places = np.flatnonzero(right[:, column])
        if len(places) == 0:
            break  # a higher threshold has none either
        good = np.cumsum(w[places])
        counted = seen[places]
        skipped = np.flatnonzero(ignored[:, column])
        if len(skipped):
            taken_off = np.concatenate(([0.0], np.cumsum(w[skipped])))
            counted = counted - taken_off[np.searchsorted(skipped, places)]
        precision = good / (counted + np.spacing(1.0))
        falling = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        values[column] = falling[np.searchsorted(good / positives, RECALLS, side="left")]
    return values.ravel()


def interval(
    matches: Matches, drawn: NDArray[np.bool_], classes: int, *, draws: int, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of mAP by the bootstrap: of the images in `drawn` [images], as many with replacement."""
    rng = np.random.default_rng(seed)
    pool = np.flatnonzero(drawn)
    values = np.zeros(draws)
    for k in range(draws):
        weight = np.bincount(pool[rng.integers(0, len(pool), len(pool))], minlength=len(drawn))
        values[k] = mean_ap(matches, weight.astype(np.float64), classes)
    low, high = np.percentile(np.maximum(values, 0), (2.5, 97.5))
    return float(low), float(high)
