"""From logged scores of beginning and end to the text of the answer, as the official script does it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.core.sut import Answers
from coldmark.workloads.bert.features import Features
from coldmark.workloads.bert.squad import Example
from coldmark.workloads.bert.tokenizer import Tokenizer, basic_tokens

BEST = 20  # beginnings and ends that are paired
LONGEST = 30  # pieces of an answer
NOTHING = "empty"  # what the official script answers where no pair is possible
ABSENT = -10000.0  # the official script's score beyond the end of a logged answer
LOGIT = np.dtype("<f4")
CHUNK = 1024


def encode(start: NDArray[np.float32], end: NDArray[np.float32]) -> Answers:
    """Scores [n, pieces] each as answers: float32 [pieces, 2] little-endian, row by row."""
    both = np.stack((start, end), axis=-1).astype(LOGIT, copy=False)
    return np.ascontiguousarray(both).view(np.uint8).reshape(len(both), -1)


def decode(answers: Sequence[bytes], sequence: int) -> NDArray[np.float32]:
    """Scores [n, sequence, 2] of logged answers; shorter ones are filled with ABSENT. Raises DataError."""
    scores = np.full((len(answers), sequence, 2), ABSENT, np.float32)
    for row, answer in zip(scores, answers, strict=True):
        if not answer or len(answer) % (2 * LOGIT.itemsize) or len(answer) > row.nbytes:
            raise DataError(
                f"an answer of {len(answer)} bytes is not float32 [up to {sequence}, 2]",
                where="the accuracy log",
            )
        logged = np.frombuffer(answer, LOGIT).reshape(-1, 2)
        row[: len(logged)] = logged
    if np.isnan(scores).any():
        raise DataError("an answer holds what is not a number", where="the accuracy log")
    return scores


def best_spans(
    features: Features, rows: NDArray[np.int64], scores: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The best allowed (first piece, last piece) of each row and its score, -inf where none is allowed.

    Of the BEST beginnings and ends: both inside the window, the beginning where it counts, in order, at
    most LONGEST pieces. Of equals the first wins, by rank of beginning, then of end.
    """
    firsts = np.argsort(-scores[..., 0], axis=1, kind="stable")[:, :BEST]
    lasts = np.argsort(-scores[..., 1], axis=1, kind="stable")[:, :BEST]
    at = np.arange(len(rows))[:, None]
    inside = features.word[rows] >= 0
    counts = inside & features.best[rows]
    long = lasts[:, None, :] - firsts[:, :, None]
    allowed = counts[at, firsts][:, :, None] & inside[at, lasts][:, None, :] & (long >= 0) & (long < LONGEST)
    wide = scores.astype(np.float64)
    sums = wide[..., 0][at, firsts][:, :, None] + wide[..., 1][at, lasts][:, None, :]
    sums = np.where(allowed, sums, -np.inf).reshape(len(rows), -1)
    best = sums.argmax(axis=1)
    first, last = np.divmod(best, lasts.shape[1])
    each = np.arange(len(rows))
    return firsts[each, first], lasts[each, last], sums[each, best]


def texts(
    examples: Sequence[Example],
    features: Features,
    tokenizer: Tokenizer,
    rows: NDArray[np.int64],
    answers: Sequence[bytes],
) -> list[str]:
    """The answer to each example; of its windows the best span counts, the first of equals.

    `rows` are the features that were answered, each once.
    """
    found: list[tuple[float, int, int, int]] = [(-np.inf, -1, 0, 0)] * len(examples)
    order = np.argsort(rows, kind="stable")
    for begin in range(0, len(order), CHUNK):
        part = order[begin : begin + CHUNK]
        scores = decode([answers[i] for i in part], features.form.sequence)
        firsts, lasts, sums = best_spans(features, rows[part], scores)
        for row, first, last, total in zip(
            rows[part].tolist(), firsts.tolist(), lasts.tolist(), sums.tolist(), strict=True
        ):
            example = int(features.example[row])
            if total > found[example][0]:
                found[example] = total, row, first, last
    return [
        _text(example, features, tokenizer, *span) if span[0] >= 0 else NOTHING
        for example, (_, *span) in zip(examples, found, strict=True)
    ]


def _text(example: Example, features: Features, tokenizer: Tokenizer, row: int, first: int, last: int) -> str:
    pieces = tokenizer.text(features.ids[row, first : last + 1].tolist())
    words = example.words[features.word[row, first] : features.word[row, last] + 1]
    return original(pieces, " ".join(words))


def original(pieces: str, passage: str) -> str:
    """The part of the passage that the pieces spell, in its own spelling.

    The passage is tokenised again, the pieces are looked for in it, and the characters of both are
    matched one to one, blanks apart. Where that fails the whole passage part is the answer.
    """
    spelt = " ".join(basic_tokens(passage))
    begin = spelt.find(pieces)
    if begin < 0:
        return passage
    kept = [i for i, c in enumerate(passage) if c != " "]
    if len(kept) != len(spelt) - spelt.count(" "):
        return passage
    end = begin + len(pieces) - 1
    if not pieces or spelt[begin] == " " or spelt[end] == " ":
        return passage
    first = begin - spelt.count(" ", 0, begin)
    last = end - spelt.count(" ", 0, end)
    return passage[kept[first] : kept[last] + 1]
