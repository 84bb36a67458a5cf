"""From logged labels to the word error rate, as the official accuracy script counts it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.rnnt.alphabet import BLANK, LABEL, to_text
from coldmark.workloads.task import Score, Scorer

RESAMPLES = 1000
RESAMPLE_SEED = 20220908

_NOTHING = -1  # pads references
_BLANK_WORD = -2  # pads hypotheses: equal to no word of a reference


def word_errors(
    references: Sequence[str], hypotheses: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Substitutions, deletions and insertions of each pair, and the words of each reference; [n] both."""
    numbers: dict[str, int] = {}
    said = _numbered(references, numbers, _NOTHING)
    heard = _numbered(hypotheses, numbers, _BLANK_WORD)
    counts = (said != _NOTHING).sum(axis=1)
    return _distances(said, heard, counts, (heard != _BLANK_WORD).sum(axis=1)), counts


def _numbered(texts: Sequence[str], numbers: dict[str, int], fill: int) -> NDArray[np.int64]:
    """Words as numbers, one row a text, padded with `fill`."""
    words = [[numbers.setdefault(word, len(numbers)) for word in text.split()] for text in texts]
    rows = np.full((len(words), max(map(len, words), default=0)), fill, np.int64)
    for row, found in zip(rows, words, strict=True):
        row[: len(found)] = found
    return rows


def _distances(
    one: NDArray[np.int64], two: NDArray[np.int64], ones: NDArray[np.int64], twos: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Levenshtein distances of all pairs of rows at once, by one row of the table a step.

    Going right in a row costs one a place, so its minimum is a running minimum of what is left after taking
    the place itself off.
    """
    each, places = np.arange(len(one)), np.arange(two.shape[1] + 1)
    row = np.repeat(places[None, :], len(one), axis=0)
    found = row[each, twos]
    for i in range(one.shape[1]):
        after = row + 1
        np.minimum(after[:, 1:], row[:, :-1] + (two != one[:, i, None]), out=after[:, 1:])
        row = np.minimum.accumulate(after - places, axis=1) + places
        found = np.where(ones == i + 1, row[each, twos], found)
    return found


def transcript(answer: bytes) -> str:
    """The text of a logged answer. Raises DataError for what is no sequence of labels."""
    if len(answer) % LABEL.itemsize:
        raise DataError(f"an answer is not labels of {LABEL.itemsize} bytes each", where="the accuracy log")
    labels = np.frombuffer(answer, LABEL)
    if len(labels) and not 0 <= labels.min() <= labels.max() < BLANK:
        raise DataError(f"a label is outside 0 to {BLANK - 1}", where="the accuracy log")
    return to_text(labels)


def word_error_rate(references: Sequence[str]) -> Scorer:
    """The scorer of a set with these transcripts: 100 minus the word error rate, in percent."""

    def score(indices: NDArray[np.int64], answers: Sequence[bytes]) -> Score:
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(references):
            raise DataError(f"a sample index is outside 0 to {len(references) - 1}", where="the accuracy log")
        errors, words = word_errors(
            [references[i] for i in indices.tolist()], [transcript(answer) for answer in answers]
        )
        total = int(words.sum())
        if not total:
            raise DataError("the references hold no word", where="the data set")
        rate = int(errors.sum()) / total
        low, high = _interval(errors, words)
        return Score(
            value=(1 - rate) * 100,
            samples=len(indices),
            line=f"Word Error Rate: {rate * 100}%, accuracy={(1 - rate) * 100}%",
            low=(1 - high) * 100,
            high=(1 - low) * 100,
        )

    return score


def _interval(errors: NDArray[np.int64], words: NDArray[np.int64]) -> tuple[float, float]:
    """95 % interval of the rate: utterances drawn anew with replacement, percentiles of the rate."""
    rng = np.random.default_rng(RESAMPLE_SEED)
    drawn = rng.multinomial(len(errors), np.full(len(errors), 1 / len(errors)), size=RESAMPLES)
    rates = (drawn @ errors) / np.maximum(1, drawn @ words)
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)
