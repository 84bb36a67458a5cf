"""RetinaNet's anchors, box coder, suppression and decoding, against plain loops and numbers by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from coldmark.workloads.retinanet import detect
from coldmark.workloads.retinanet.anchors import all_anchors, cell_anchors, decode, encode, level_anchors
from coldmark.workloads.retinanet.architecture import FULL, MINI
from coldmark.workloads.retinanet.detect import Detector, above, best_of_each, first_of_each
from coldmark.workloads.retinanet.suppress import suppress

SIDE, CLASSES, CELLS, BASES = 32, 3, (4, 2), (8, 16)


def plain_iou(a: NDArray[Any], b: NDArray[Any]) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    inside = max(0.0, float(w)) * max(0.0, float(h))
    union = float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) - inside
    return inside / union if union > 0 else 0.0


def plain_nms(boxes: NDArray[Any], groups: NDArray[Any], threshold: float) -> list[int]:
    kept: list[int] = []
    for i in range(len(boxes)):
        if all(groups[i] != groups[j] or plain_iou(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


# -- anchors ----------------------------------------------------------------------------------------


def test_a_cells_anchors_of_the_official_first_level_by_hand() -> None:
    # Sizes 32, 40 and 50; height over width 0.5: 32 * sqrt(2) = 45.25 wide, 32 / sqrt(2) = 22.63 high.
    anchors = cell_anchors(32)
    assert anchors.shape == (9, 4)
    assert anchors[0].tolist() == [-23, -11, 23, 11]
    assert anchors[3].tolist() == [-16, -16, 16, 16]
    assert anchors[4].tolist() == [-20, -20, 20, 20]
    assert anchors[8].tolist() == [-18, -35, 18, 35]


def test_the_official_grid_has_120_087_anchors_a_step_apart() -> None:
    assert FULL.cells == (100, 50, 25, 13, 7)
    assert len(all_anchors(FULL.side, FULL.cells, FULL.bases)) == 9 * (10000 + 2500 + 625 + 169 + 49)
    level = level_anchors(800, 13, 256)
    # 800 // 13 = 61 px, not 64: the second cell of a row, then the second row.
    assert (level[9] - level[0]).tolist() == [61, 0, 61, 0]
    assert (level[9 * 13] - level[0]).tolist() == [0, 61, 0, 61]


def test_decoding_by_hand() -> None:
    anchor = np.array([[10, 20, 30, 60]], np.float32)
    moved = decode(np.array([[0.5, -0.25, math.log(2), 0]], np.float32), anchor, 100)
    assert moved[0] == pytest.approx([10, 10, 50, 50])  # centre (30, 30), 40 wide and high
    huge = decode(np.array([[0, 0, 50, 50]], np.float32), anchor, 100)
    assert huge[0].tolist() == [0, 0, 100, 100]  # sizes are bounded, boxes end at the image


@given(st.integers(0, 2**31))
def test_encoding_and_decoding_are_inverse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    anchors = all_anchors(MINI.side, MINI.cells, MINI.bases)[rng.integers(0, 3000, 20)]
    low = rng.uniform(0, 100, (20, 2))
    boxes = np.concatenate((low, low + rng.uniform(5, 28, (20, 2))), axis=1).astype(np.float32)
    assert np.allclose(decode(encode(boxes, anchors), anchors, MINI.side), boxes, atol=1e-2)


# -- suppression ------------------------------------------------------------------------------------


@given(st.integers(0, 2**31), st.integers(0, 200), st.integers(1, 4), st.sampled_from([0.3, 0.5]))
def test_suppression_keeps_what_a_plain_loop_keeps(seed: int, n: int, groups: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 12, (n, 2))
    boxes = np.concatenate((low, low + rng.integers(0, 12, (n, 2))), axis=1).astype(np.float32)
    group = rng.integers(0, groups, n)
    assert suppress(boxes, group, threshold).tolist() == plain_nms(boxes, group, threshold)


def test_a_chain_spares_the_box_whose_rival_is_gone() -> None:
    # Each overlaps the next by 60 / 140 > 0.4: the second falls to the first, so the third stays.
    boxes = np.array([[x, 0, x + 100, 1] for x in (0, 40, 80)], np.float32)
    assert suppress(boxes, np.zeros(3, np.int64), 0.4).tolist() == [0, 2]
    assert suppress(boxes, np.array([0, 1, 0]), 0.4).tolist() == [0, 1, 2]


# -- the whole decoding -----------------------------------------------------------------------------


def heads(rng: np.random.Generator, n: int, spread: float) -> list[NDArray[np.float32]]:
    """Random outputs of a two-level network: logits, no two of them alike, then deltas."""
    shapes = [(n, 9 * CLASSES, c, c) for c in CELLS]
    total = sum(math.prod(shape) for shape in shapes)
    values = -4 + spread * (6 * rng.permutation(total) / total - 3)
    parts = np.split(values.astype(np.float32), [math.prod(shapes[0])])
    logits = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    return [*logits, *(rng.normal(0, 0.3, (n, 36, c, c)).astype(np.float32) for c in CELLS)]


def plain_detections(outputs: list[NDArray[np.float32]], image: int) -> list[tuple[float, int, list[float]]]:
    """The reference's steps in its own order and layout: per level transpose, sigmoid, threshold, sort."""
    candidates = []
    for level, (cells, base) in enumerate(zip(CELLS, BASES, strict=True)):
        raw = outputs[level][image].reshape(9, CLASSES, cells, cells)
        scores = 1 / (1 + np.exp(-raw.transpose(2, 3, 0, 1).reshape(-1, CLASSES).astype(np.float64)))
        deltas = outputs[len(CELLS) + level][image].reshape(9, 4, cells, cells)
        boxes = decode(
            np.ascontiguousarray(deltas.transpose(2, 3, 0, 1).reshape(-1, 4)),
            level_anchors(SIDE, cells, base),
            SIDE,
        )
        found = [
            (float(scores[a, k]), k, boxes[a])
            for a in range(len(scores))
            for k in range(CLASSES)
            if scores[a, k] > detect.SCORE_THRESHOLD
        ]
        found.sort(key=lambda row: -row[0])
        candidates += found[: detect.LEVEL_CANDIDATES]
    candidates.sort(key=lambda row: -row[0])
    boxes = np.array([row[2] for row in candidates]).reshape(-1, 4)
    kept = plain_nms(boxes, np.array([row[1] for row in candidates]), detect.OVERLAP_THRESHOLD)
    best = kept[: detect.DETECTIONS]
    return [(candidates[i][0], candidates[i][1], candidates[i][2].tolist()) for i in best]


@given(st.integers(0, 2**31), st.integers(1, 3), st.sampled_from([0.3, 1.0, 2.0]))
@settings(max_examples=25)
def test_a_batch_is_decoded_as_the_reference_decodes_each_image(seed: int, n: int, spread: float) -> None:
    outputs = heads(np.random.default_rng(seed), n + 1, spread)  # one row of padding
    found = Detector(SIDE, CLASSES, CELLS, BASES).detect(outputs, n)
    assert set(found.image) <= set(range(n))
    for image in range(n):
        mine = found.image == image
        expected = plain_detections(outputs, image)
        assert found.labels[mine].tolist() == [row[1] for row in expected]
        assert np.allclose(found.boxes[mine], [row[2] for row in expected] or np.zeros((0, 4)), atol=1e-3)


def test_level_and_image_keep_no_more_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "LEVEL_CANDIDATES", 7)
    monkeypatch.setattr(detect, "DETECTIONS", 5)
    outputs = heads(np.random.default_rng(3), 2, 3.0)
    found = Detector(SIDE, CLASSES, CELLS, BASES).detect(outputs, 2)
    for image in range(2):
        expected = plain_detections(outputs, image)
        assert len(expected) == 5
        assert found.labels[found.image == image].tolist() == [row[1] for row in expected]


def test_answers_are_the_rows_the_official_script_reads() -> None:
    outputs = heads(np.random.default_rng(0), 2, 0.0)
    outputs[0][0, 9 + 1, 2, 3] = 2.0  # anchor 3, class 1, row 2, column 3 of the finer level
    for part in outputs[2:]:
        part[:] = 0
    first, second = Detector(SIDE, CLASSES, CELLS, BASES).finish(outputs, np.array([41, 7]))
    assert second.tobytes() == b""  # no detection is an empty answer
    row = np.frombuffer(first.tobytes(), "<f4")
    # The square anchor of 8 px around x = 24, y = 16 in an image of 32: ymin, xmin, ymax, xmax.
    assert row[:5].tolist() == [41, 12 / 32, 20 / 32, 20 / 32, 28 / 32]
    assert row[5] == pytest.approx(1 / (1 + math.exp(-2)))
    assert row[6] == 1


@given(st.lists(st.sampled_from([-3.0, -2.95, -2.94, 0.0, 5.0]), max_size=60), st.integers(1, 9))
def test_what_lies_above_a_threshold_is_found_slice_by_slice(values: list[float], width: int) -> None:
    row = np.array(values, np.float32)
    before = detect._SLICE
    try:
        detect._SLICE = width
        assert above(row, np.float32(-2.95)).tolist() == np.flatnonzero(row > np.float32(-2.95)).tolist()
    finally:
        detect._SLICE = before


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 8), st.integers(0, 2**31))
def test_the_best_of_each_group(groups: list[int], most: int, seed: int) -> None:
    of = np.sort(np.array(groups, np.int64))
    values = np.random.default_rng(seed).permutation(len(of)).astype(np.float32)
    best = best_of_each(values, of, 5, most)
    for group in range(5):
        expected = sorted(values[of == group].tolist(), reverse=True)[:most]
        assert sorted(values[best][of[best] == group].tolist(), reverse=True) == expected
    first = first_of_each(of, most)
    assert first.tolist() == [i for i in range(len(of)) if np.count_nonzero(of[:i] == of[i]) < most]
