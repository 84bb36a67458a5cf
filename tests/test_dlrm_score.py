"""DLRM's AUC against scikit-learn, its interval, and its scorer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from coldmark.core.errors import DataError
from coldmark.workloads.dlrm import scores
from coldmark.workloads.dlrm.auc import auc


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=60))
def test_auc_equals_the_fields_own_with_ties(drawn: list[tuple[int, bool]]) -> None:
    values = np.array([v for v, _ in drawn], np.float32) / np.float32(7)
    clicked = np.array([c for _, c in drawn])
    if clicked.all() or not clicked.any():
        with pytest.raises(ValueError, match="both"):
            auc(values, clicked)
        return
    found = auc(values, clicked)
    assert found.value == pytest.approx(roc_auc_score(clicked, values), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_auc_of_many_scores_equals_the_fields_own() -> None:
    rng = np.random.default_rng(0)
    clicked = rng.random(200_000) < 0.2
    values = (rng.normal(size=200_000) + clicked).astype(np.float16).astype(np.float32)
    assert auc(values, clicked).value == pytest.approx(roc_auc_score(clicked, values), abs=1e-9)


def test_auc_and_its_interval_by_hand() -> None:
    # Clicked .9 and .4 against .5, .4 and .1: (1 + 1 + 1) + (0 + 1/2 + 1) of six couples.
    found = auc(np.array([0.9, 0.4, 0.5, 0.4, 0.1]), np.array([True, True, False, False, False]))
    assert found.value == pytest.approx(4.5 / 6)
    # DeLong: clicked see shares 1 and 1/2 (variance 1/8), unclicked 1/2, 3/4, 1 (variance 1/16).
    half = 1.959963985 * (1 / 8 / 2 + 1 / 16 / 3) ** 0.5
    assert found.low == pytest.approx(0.75 - half)
    assert found.high == 1.0


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    clicked = np.arange(400) < 100
    inside = 0
    for _ in range(400):
        found = auc(rng.normal(size=400) + 1.0 * clicked, clicked)
        inside += found.low <= 0.760249939 <= found.high  # the normal distribution at 1 / sqrt(2)
    assert 0.91 < inside / 400 < 0.98


def answer(*pairs: tuple[float, float]) -> bytes:
    return np.array(pairs, "<f4").tobytes()


def test_a_sample_that_was_logged_twice_counts_once() -> None:
    score = scores.area(np.array([0, 2, 3]), lambda: np.array([True, False, True]))
    first, second = answer((0.9, 1), (0.2, 0)), answer((0.4, 1))
    result = score(np.array([1, 0, 1]), [second, first, answer((0.1, 1))])
    assert result.value == 100
    assert result.samples == 2
    assert result.line == "AUC=100.000%, accuracy=66.667%, good=2, total=3, queries=2"


@pytest.mark.parametrize(
    ("indices", "answers", "text"),
    [
        ([0], [answer((0.5, 1))], "the answer to sample 0 has 8 bytes, its 2 pairs need 16"),
        ([0], [answer((0.5, 1), (0.5, 1))], "pair 1 of the log says clicked = 1, the data say 0"),
        ([0], [answer((float("nan"), 1), (0.5, 0))], "not a number"),
        ([2], [answer((0.5, 1))], "index is outside 0 to 1"),
        ([1], [answer((0.5, 1))], "both clicked and unclicked"),
        ([], [], "no sample"),
    ],
)
def test_an_answer_that_cannot_be_scored_is_refused(
    indices: list[int], answers: list[bytes], text: str
) -> None:
    score = scores.area(np.array([0, 2, 3]), lambda: np.array([True, False, True]))
    with pytest.raises(DataError, match=text):
        score(np.array(indices, np.int64), answers)
