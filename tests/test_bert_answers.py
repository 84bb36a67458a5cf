"""From scores to answers to F1: by hand, by laws, and against the plain way of doing it."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.bert import answers
from coldmark.workloads.bert.answers import best_spans, decode, encode, original, texts
from coldmark.workloads.bert.features import Features, Form, featurise
from coldmark.workloads.bert.metric import f1, measure, normalised
from coldmark.workloads.bert.scoring import interval, scorer
from coldmark.workloads.bert.squad import Example
from coldmark.workloads.bert.tokenizer import Tokenizer

TOKENIZER = Tokenizer(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz.,'", "steve", "smith"]
)
FORM = Form(sequence=24, question=4, stride=6)
EXAMPLES = [
    Example("one", "a b", tuple("cdefghijklmnopqrstuvwxyzabcdef"), ("e f",)),
    Example("two", "a", ("Steve", "Smith's", "b."), ("Steve Smith", "Smith")),
]
FEATURES = featurise(EXAMPLES, TOKENIZER, FORM)


def scores_for(features: Features, row: int, first: int, last: int) -> bytes:
    """The logged answer of a model that is sure of this span."""
    logits = np.zeros((features.form.sequence, 2), np.float32)
    logits[first, 0] = logits[last, 1] = 5.0
    return logits.tobytes()


# -- logged answers ------------------------------------------------------------------------------------


def test_an_answer_is_begin_and_end_of_each_piece_in_turn() -> None:
    start, end = np.array([[1, 2, 3]], np.float32), np.array([[4, 5, 6]], np.float32)
    (row,) = np.asarray(encode(start, end))
    assert row.view("<f4").tolist() == [1, 4, 2, 5, 3, 6]


@given(st.integers(1, 24), st.integers(1, 3))
def test_what_is_encoded_is_decoded_and_short_answers_are_filled(pieces: int, n: int) -> None:
    rng = np.random.default_rng(pieces)
    start, end = rng.standard_normal((2, n, pieces)).astype(np.float32)
    found = decode([row.tobytes() for row in encode(start, end)], 24)
    assert np.array_equal(found[:, :pieces, 0], start)
    assert np.array_equal(found[:, :pieces, 1], end)
    assert (found[:, pieces:] == -10000).all()


@pytest.mark.parametrize("answer", [b"", bytes(4), bytes(9), bytes(8 * 25)])
def test_an_answer_of_another_size_is_refused(answer: bytes) -> None:
    with pytest.raises(DataError, match=r"float32 \[up to 24, 2\]"):
        decode([answer], 24)


def test_an_answer_that_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="not a number"):
        decode([np.full((24, 2), np.nan, np.float32).tobytes()], 24)


# -- spans -------------------------------------------------------------------------------------------------


def plain_best(features: Features, row: int, logits: NDArray[np.float32]) -> tuple[int, int, float] | None:
    """The rule, read aloud: among the twenty best beginnings and ends, the best pair that may be."""
    ranked = [sorted(range(len(logits)), key=lambda i: -logits[i, side])[: answers.BEST] for side in (0, 1)]
    best = None
    for first in ranked[0]:
        for last in ranked[1]:
            inside = features.word[row, first] >= 0 and features.word[row, last] >= 0
            if not inside or not features.best[row, first] or not 0 <= last - first < answers.LONGEST:
                continue
            total = float(logits[first, 0]) + float(logits[last, 1])
            if best is None or total > best[2]:
                best = first, last, total
    return best


@given(st.integers(0, len(FEATURES) - 1), st.integers(0, 10**6), st.sampled_from([1, 3, 100]))
def test_the_best_span_is_the_one_the_plain_way_finds(row: int, seed: int, grain: int) -> None:
    logits = np.random.default_rng(seed).integers(-grain, grain + 1, (FORM.sequence, 2)).astype(np.float32)
    firsts, lasts, sums = best_spans(FEATURES, np.array([row]), logits[None])
    expected = plain_best(FEATURES, row, logits)
    if expected is None:
        assert sums[0] == -np.inf
    else:
        assert (firsts[0], lasts[0], sums[0]) == expected


def test_a_span_longer_than_thirty_pieces_is_never_the_answer() -> None:
    form = Form(sequence=64, question=4, stride=8)
    features = featurise([Example("long", "a", tuple("b" * 50), ("b",))], TOKENIZER, form)
    logits = np.full((1, 64, 2), -50, np.float32)
    begin = int(features.window[0])
    logits[0, begin, 0] = logits[0, begin + 30, 1] = 10
    logits[0, begin + 29, 1] = 9
    firsts, lasts, _ = best_spans(features, np.array([0]), logits)
    assert (firsts[0], lasts[0]) == (begin, begin + 29)


def test_a_piece_counts_only_in_the_window_with_most_around_it() -> None:
    shared = np.flatnonzero((FEATURES.word[0] >= 0) & ~FEATURES.best[0])
    assert len(shared)
    logits = np.full((1, FORM.sequence, 2), -9, np.float32)
    logits[0, shared[0]] = 9
    firsts, _, _ = best_spans(FEATURES, np.array([0]), logits)
    assert firsts[0] not in shared


# -- texts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "passage", "answer"),
    [
        ("steve smith", "Steve Smith's", "Steve Smith"),
        ("smith", "(Smith).", "Smith"),
        ("1895", "(1895-1943),", "1895"),
        ("cafe", "the Café", "Café"),
        ("not there", "Steve Smith", "Steve Smith"),  # pieces that are not found: all of it
        ("a b", "A\u200b B", "A\u200b B"),  # a dropped character: no one-to-one match
        ("日", "日本", "日"),
        ("u . s", "U.S. Army", "U.S"),
    ],
)
def test_pieces_are_found_again_in_the_passages_spelling(pieces: str, passage: str, answer: str) -> None:
    assert original(pieces, passage) == answer


def test_the_best_window_of_a_passage_answers() -> None:
    rows = np.flatnonzero(FEATURES.example == 0)
    assert len(rows) > 1
    logged = [np.zeros((FORM.sequence, 2), np.float32).tobytes() for _ in rows]
    last = int(rows[-1])
    at = int(np.flatnonzero(FEATURES.best[last])[2])
    logged[-1] = scores_for(FEATURES, last, at, at + 1)
    word = int(FEATURES.word[last, at])
    found = texts(EXAMPLES, FEATURES, TOKENIZER, rows, logged)
    assert found == [" ".join(EXAMPLES[0].words[word : word + 2]), "empty"]


def test_a_sure_model_answers_in_the_passages_own_spelling() -> None:
    row = int(np.flatnonzero(FEATURES.example == 1)[0])
    at = int(FEATURES.window[row])
    found = texts(EXAMPLES, FEATURES, TOKENIZER, np.array([row]), [scores_for(FEATURES, row, at, at + 1)])
    assert found == ["empty", "Steve Smith"]


# -- the metric --------------------------------------------------------------------------------------------

WORDS = st.lists(
    st.sampled_from(["the", "a", "An", "red", "Red", "house", "1,000", "it's", "--"]), max_size=6
)


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        ("The red house", "red house", 1.0),
        ("red house", "house", 2 / 3),  # precision 1/2, recall 1
        ("a red red house", "red house", 0.8),  # 2 of 3 and 2 of 2
        ("in May 1900", "1900", 0.5),  # 1/3 and 1
        ("green", "red", 0.0),
        ("1,000", "1000", 1.0),
        ("the", "a", 0.0),  # nothing left to share
    ],
)
def test_f1_by_hand(found: str, truth: str, expected: float) -> None:
    assert f1(normalised(found), normalised(truth)) == pytest.approx(expected, abs=1e-12)


def test_what_does_not_count_by_hand() -> None:
    assert normalised("The  U.S.'s AN-theatre, a") == "uss antheatre"
    assert normalised("éa the-end") == "éa theend"


@given(WORDS, WORDS)
def test_f1_is_even_and_one_only_for_equal_bags(one: Sequence[str], other: Sequence[str]) -> None:
    a, b = normalised(" ".join(one)), normalised(" ".join(other))
    assert f1(a, b) == f1(b, a)
    assert 0 <= f1(a, b) <= 1
    assert (f1(a, b) == 1) == (bool(a) and sorted(a.split()) == sorted(b.split()))
    shared = sum(min(a.split().count(w), b.split().count(w)) for w in set(a.split()))
    if a or b:
        assert f1(a, b) == pytest.approx(2 * shared / (len(a.split()) + len(b.split())), abs=1e-12)


@given(WORDS, st.text(string.punctuation + " ", max_size=5))
def test_case_articles_punctuation_and_blanks_do_not_count(words: Sequence[str], noise: str) -> None:
    text = " ".join(words)
    spread = f" A {text.upper()} {noise} "
    assert normalised(spread) == normalised(text)


@given(st.lists(WORDS, min_size=1, max_size=4), WORDS)
def test_the_best_of_the_given_answers_counts(given_: list[list[str]], words: Sequence[str]) -> None:
    truths = [" ".join(t) for t in given_]
    found = " ".join(words)
    ((exact, best),) = measure([found], [truths]).tolist()
    assert best == max(f1(normalised(found), normalised(t)) for t in truths)
    assert exact == float(normalised(found) in [normalised(t) for t in truths])


# -- the score ---------------------------------------------------------------------------------------------


def test_the_score_by_hand_and_its_line() -> None:
    rows = [int(r) for r in range(len(FEATURES))]
    logged = [np.zeros((FORM.sequence, 2), np.float32).tobytes() for _ in rows]
    at = int(np.flatnonzero(FEATURES.word[0] == 2)[0])
    logged[0] = scores_for(FEATURES, 0, at, at + 2)  # "e f g" for "e f": F1 0.8
    two = int(np.flatnonzero(FEATURES.example == 1)[0])
    begin = int(FEATURES.window[two])
    logged[two] = scores_for(FEATURES, two, begin, begin + 1)  # "Steve Smith": right
    score = scorer(EXAMPLES, FEATURES, TOKENIZER)(np.array(rows), logged)
    assert score.value == pytest.approx(90.0)
    assert json.loads(score.line) == {"exact_match": 50.0, "f1": pytest.approx(90.0)}
    assert score.line.startswith('{"exact_match": 50.0, "f1": ')
    assert score.samples == len(FEATURES)
    assert score.low is not None
    assert score.high is not None
    assert score.low <= score.value <= score.high


def test_a_sample_logged_twice_counts_once_and_a_missing_one_is_no_answer() -> None:
    row = int(np.flatnonzero(FEATURES.example == 1)[0])
    begin = int(FEATURES.window[row])
    right = scores_for(FEATURES, row, begin, begin + 1)
    wrong = scores_for(FEATURES, row, begin + 3, begin + 3)
    score = scorer(EXAMPLES, FEATURES, TOKENIZER)(np.array([row, row]), [right, wrong])
    assert (score.value, score.samples) == (50.0, 1)


def test_an_index_outside_the_set_is_refused() -> None:
    with pytest.raises(DataError, match="index"):
        scorer(EXAMPLES, FEATURES, TOKENIZER)(np.array([len(FEATURES)]), [bytes(8)])


def test_the_interval_of_equal_values_is_a_point() -> None:
    assert interval(np.full(50, 70.0)) == (70.0, 70.0)
    low, high = interval(np.tile([0.0, 100.0], 200))
    # The mean of 400 coin throws of 100: standard error 2.5, so about 50 - 4.9 to 50 + 4.9.
    assert 44 < low < 46.5
    assert 53.5 < high < 56
