"""Exact match and F1 over a data set, with the line that the official script prints."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.bert.answers import texts
from coldmark.workloads.bert.features import Features
from coldmark.workloads.bert.metric import measure
from coldmark.workloads.bert.squad import Example
from coldmark.workloads.bert.tokenizer import Tokenizer
from coldmark.workloads.task import Score, Scorer

RESAMPLES = 1000
RESAMPLE_SEED = 9


def scorer(examples: Sequence[Example], features: Features, tokenizer: Tokenizer) -> Scorer:
    """The scorer of this set: F1 in percent over all its questions.

    As the official scripts do it, a question none of whose windows was answered is answered "empty". A
    sample that was logged twice counts once, the first time.
    """

    def score(indices: NDArray[np.int64], answers: Sequence[bytes]) -> Score:
        rows, first = np.unique(indices, return_index=True)
        if len(rows) and not 0 <= rows[0] <= rows[-1] < len(features):
            raise DataError(f"a sample index is outside 0 to {len(features) - 1}", where="the accuracy log")
        found = texts(examples, features, tokenizer, rows, [answers[i] for i in first])
        scores = 100.0 * measure(found, [e.answers for e in examples])
        exact, value = scores.mean(axis=0).tolist()
        low, high = interval(scores[:, 1])
        return Score(
            value=value,
            samples=len(rows),
            line=json.dumps({"exact_match": exact, "f1": value}),
            low=low,
            high=high,
        )

    return score


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean, over questions drawn again with repetition."""
    rng = np.random.default_rng(RESAMPLE_SEED)
    n = len(values)
    means = np.array([values[rng.integers(n, size=n)].mean() for _ in range(RESAMPLES)])
    low, high = np.percentile(means, (2.5, 97.5)).tolist()
    return low, high
