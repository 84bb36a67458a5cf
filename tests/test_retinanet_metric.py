"""COCO's mAP, against pycocotools and by hand, and the scorer that reads logged detections."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from coldmark.core.errors import DataError
from coldmark.workloads.retinanet.mean_ap import Detections, Truth, interval, match, mean_ap
from coldmark.workloads.retinanet.score import Images, mean_ap_scorer


def coco_map(truth: Truth, found: Detections, images: int, classes: int) -> float:
    """What pycocotools says: the first of its statistics."""
    with contextlib.redirect_stdout(io.StringIO()):
        expected = COCO()
        expected.dataset = {
            "images": [{"id": i} for i in range(images)],
            "categories": [{"id": c} for c in range(classes)],
            "annotations": [
                {
                    "id": k + 1,
                    "image_id": int(truth.image[k]),
                    "category_id": int(truth.label[k]),
                    "bbox": truth.boxes[k].tolist(),
                    "area": float(truth.boxes[k, 2] * truth.boxes[k, 3]),
                    "iscrowd": int(truth.crowd[k]),
                }
                for k in range(len(truth.image))
            ],
        }
        expected.createIndex()
        detected = expected.loadRes(
            [
                {
                    "image_id": int(found.image[k]),
                    "category_id": int(found.label[k]),
                    "bbox": found.boxes[k].tolist(),
                    "score": float(found.score[k]),
                }
                for k in range(len(found.image))
            ]
        )
        run = COCOeval(expected, detected, "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return float(run.stats[0])


def random_case(
    rng: np.random.Generator, images: int, classes: int, detections: int, crowds: float, grid: float
) -> tuple[Truth, Detections]:
    """True boxes and detections, most of them near one. A coarse `grid` makes equal overlaps and scores."""

    def boxes(n: int) -> np.ndarray:
        return np.concatenate((rng.uniform(0, 60, (n, 2)), rng.uniform(5, 40, (n, 2))), axis=1)

    def snap(values: np.ndarray) -> np.ndarray:
        return np.round(values * grid) / grid if grid else values

    n, m = int(rng.integers(1, 6 * images + 1)), int(rng.integers(1, detections * images + 1))
    truth = Truth(
        rng.integers(0, images, n), rng.integers(0, classes, n), snap(boxes(n)), rng.random(n) < crowds
    )
    pick, near = rng.integers(0, n, m), rng.random(m) < 0.7
    found = np.where(near[:, None], truth.boxes[pick] + rng.normal(0, 2, (m, 4)), boxes(m))
    found[:, 2:] = np.maximum(found[:, 2:], 1)
    return truth, Detections(
        np.where(near, truth.image[pick], rng.integers(0, images, m)),
        np.where(rng.random(m) < 0.9, truth.label[pick], rng.integers(0, classes, m)),
        snap(found),
        np.round(rng.random(m), 2),
    )


@given(
    st.integers(0, 2**31),
    st.integers(1, 10),
    st.integers(1, 4),
    st.sampled_from([2, 20, 150]),
    st.sampled_from([0.0, 0.2]),
    st.sampled_from([0.0, 0.2]),
)
@settings(max_examples=40)
def test_map_is_that_of_pycocotools(
    seed: int, images: int, classes: int, detections: int, crowds: float, grid: float
) -> None:
    truth, found = random_case(np.random.default_rng(seed), images, classes, detections, crowds, grid)
    mine = mean_ap(match(truth, found, images, classes), np.ones(images), classes)
    assert mine == pytest.approx(coco_map(truth, found, images, classes), abs=1e-9)


def one(boxes: Sequence[Sequence[float]], *, crowd: bool = False) -> Truth:
    n = len(boxes)
    zeros = np.zeros(n, np.int64)
    return Truth(zeros, zeros, np.array(boxes, float).reshape(-1, 4), np.full(n, crowd))


def say(boxes: Sequence[Sequence[float]], scores: Sequence[float]) -> Detections:
    zeros = np.zeros(len(boxes), np.int64)
    return Detections(zeros, zeros, np.array(boxes, float).reshape(-1, 4), np.array(scores, float))


def test_map_by_hand() -> None:
    truth = one([[0, 0, 10, 10], [50, 50, 10, 10]])
    exact = say([[0, 0, 10, 10], [50, 50, 10, 10]], [0.9, 0.8])
    assert mean_ap(match(truth, exact, 1, 1), np.ones(1), 1) == pytest.approx(1)
    # One of two found, exactly: precision 1 at recalls 0 to 0.5, that is 51 of 101.
    half = say([[0, 0, 10, 10]], [0.9])
    assert mean_ap(match(truth, half, 1, 1), np.ones(1), 1) == pytest.approx(51 / 101)
    # Overlap 0.8 (80 of 100) counts at 7 of 10 thresholds: 0.5, 0.55, ... 0.8.
    part = say([[0, 0, 10, 8], [50, 50, 10, 8]], [0.9, 0.8])
    assert mean_ap(match(truth, part, 1, 1), np.ones(1), 1) == pytest.approx(0.7)
    # A wrong one between them: precision 1 up to recall 0.5, 2/3 after.
    wrong = say([[0, 0, 10, 10], [80, 80, 5, 5], [50, 50, 10, 10]], [0.9, 0.85, 0.8])
    assert mean_ap(match(truth, wrong, 1, 1), np.ones(1), 1) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_nothing_to_find_has_no_map_and_nothing_found_has_none() -> None:
    nothing = match(one([]), say([[0, 0, 1, 1]], [0.5]), 1, 1)
    assert mean_ap(nothing, np.ones(1), 1) == -1
    assert mean_ap(match(one([[0, 0, 9, 9]]), say([], []), 1, 1), np.ones(1), 1) == 0
    assert (
        mean_ap(match(one([[0, 0, 9, 9]], crowd=True), say([[0, 0, 9, 9]], [1]), 1, 1), np.ones(1), 1) == -1
    )


@given(st.integers(0, 2**31), st.integers(2, 6))
@settings(max_examples=25)
def test_an_image_that_weighs_two_is_an_image_that_is_there_twice(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    truth, found = random_case(rng, images, 2, 10, 0.1, 0.0)
    scores = (rng.permutation(len(found.score)) + 1.0) / len(found.score)  # no ties
    found = Detections(found.image, found.label, found.boxes, scores)
    weight = np.ones(images)
    weight[0] = 2
    t, d = (np.append(np.arange(len(of)), np.flatnonzero(of == 0)) for of in (truth.image, found.image))
    copied, detected = truth.image[t], found.image[d]
    copied[len(truth.image) :] = images
    detected[len(found.image) :] = images
    twice = match(
        Truth(copied, truth.label[t], truth.boxes[t], truth.crowd[t]),
        Detections(detected, found.label[d], found.boxes[d], scores[d] - 1e-9 * (detected == images)),
        images + 1,
        2,
    )
    weighed = mean_ap(match(truth, found, images, 2), weight, 2)
    assert weighed == pytest.approx(mean_ap(twice, np.ones(images + 1), 2), abs=1e-9)


def test_the_interval_holds_the_value_and_is_the_same_each_time() -> None:
    truth, found = random_case(np.random.default_rng(5), 60, 2, 10, 0.0, 0.0)
    matches = match(truth, found, 60, 2)
    value = mean_ap(matches, np.ones(60), 2)
    low, high = interval(matches, np.ones(60, bool), 2, draws=60)
    assert low < value < high
    assert (low, high) == interval(matches, np.ones(60, bool), 2, draws=60)


# -- the scorer --------------------------------------------------------------------------------------


def images(count: int = 3, classes: int = 2) -> Images:
    """Images of 100 px height and 200 px width."""
    return Images(np.full(count, 100), np.full(count, 200), np.arange(count), classes)


def truths() -> Truth:
    boxes = np.array([[20, 10, 40, 30], [0, 0, 200, 100]], float)
    return Truth(np.array([0, 2]), np.array([0, 1]), boxes, np.zeros(2, bool))


def answer(*rows: Sequence[float]) -> bytes:
    return np.array(rows, "<f4").tobytes()


RIGHT = [answer([0, 0.1, 0.1, 0.4, 0.3, 0.9, 0]), b"", answer([2, 0, 0, 1, 1, 0.8, 1])]


def test_shares_of_the_sides_become_px_and_an_empty_answer_counts() -> None:
    score = mean_ap_scorer(images(), truths())(np.arange(3), RIGHT)
    assert (score.value, score.samples, score.line) == (pytest.approx(100), 3, "mAP=100.000%")
    score = mean_ap_scorer(images(), truths())(np.arange(3), [RIGHT[0], b"", b""])
    assert score.value == pytest.approx(50)
    assert score.low is not None
    assert score.high is not None
    assert 0 <= score.low <= score.value <= score.high <= 100


def test_a_sample_logged_twice_counts_the_first_time() -> None:
    score = mean_ap_scorer(images(), truths())(np.array([0, 1, 2, 0]), [*RIGHT, b""])
    assert (score.value, score.samples) == (pytest.approx(100), 3)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (RIGHT[0][:-1], "sample 0 is not rows of 28 bytes"),
        (answer([1, 0, 0, 1, 1, 0.5, 0]), "sample 0 names another sample"),
        (answer([0, 0, np.nan, 1, 1, 0.5, 0]), "not finite"),
        (answer([0, 0, 0, 1, 1, 0.5, 2]), "label outside 0 to 1"),
        (answer([0, 0, 0, 1, 1, 0.5, -1]), "label outside"),
    ],
)
def test_a_bad_answer_is_refused(bad: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        mean_ap_scorer(images(), truths())(np.arange(3), [bad, b"", b""])


def test_an_index_outside_the_set_is_refused() -> None:
    with pytest.raises(DataError, match="index"):
        mean_ap_scorer(images(), truths())(np.array([3]), [b""])
