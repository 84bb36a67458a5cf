"""Exact match and F1 of answers, as SQuAD v1.1's own evaluation defines them.

Rajpurkar, Zhang, Lopyrev, Liang, "SQuAD: 100,000+ Questions" (2016), section 6.1: case, ASCII punctuation,
articles and blanks do not count; F1 is over the words two answers share; the best of all given answers.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalised(text: str) -> str:
    """What of an answer counts."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def f1(found: str, truth: str) -> float:
    """Harmonic mean of precision and recall over words, 0 to 1; both answers normalised."""
    one, other = found.split(), truth.split()
    same = (Counter(one) & Counter(other)).total()
    if not same:
        return 0.0
    precision, recall = same / len(one), same / len(other)
    return 2 * precision * recall / (precision + recall)


def measure(found: Sequence[str], truths: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Exact match and F1 of each answer against the best of its given ones, [n, 2], 0 to 1."""
    scores = np.zeros((len(found), 2))
    for row, (answer, given) in enumerate(zip(found, truths, strict=True)):
        plain = normalised(answer)
        wanted = {normalised(t) for t in given}
        scores[row] = plain in wanted, max(f1(plain, t) for t in wanted)
    return scores
