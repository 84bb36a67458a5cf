"""From questions to the sequences a network reads: windows over passages that are too long.

A sequence is [CLS] question [SEP] window [SEP]. A passage longer than the sequence is read in windows that
begin `stride` pieces apart, each a feature of its own; a piece that stands in several windows counts in
the one where it has most text on both sides. This is the official conversion of SQuAD for BERT.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.bert.squad import Example
from coldmark.workloads.bert.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The lengths of a sequence, in pieces."""

    sequence: int
    question: int  # a longer question is cut
    stride: int  # between the beginnings of windows


OFFICIAL = Form(sequence=384, question=64, stride=128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """All sequences of a data set, a row each."""

    form: Form
    ids: NDArray[np.int64]  # [n, sequence], 0 beyond the end
    length: NDArray[np.int64]  # [n] pieces in use
    window: NDArray[np.int64]  # [n] where the passage's window begins
    word: NDArray[np.int32]  # [n, sequence] word of the passage, -1 outside the window
    best: NDArray[np.bool_]  # [n, sequence] whether the piece counts in this window
    example: NDArray[np.int64]  # [n] which question

    def __len__(self) -> int:
        return len(self.length)


def featurise(examples: Sequence[Example], tokenizer: Tokenizer, form: Form) -> Features:
    """The sequences of these questions, in their order, windows of a passage in theirs."""
    rows = [row for number, e in enumerate(examples) for row in _rows(number, e, tokenizer, form)]
    ids = np.zeros((len(rows), form.sequence), np.int64)
    word = np.full((len(rows), form.sequence), -1, np.int32)
    best = np.zeros((len(rows), form.sequence), np.bool_)
    for at, row in enumerate(rows):
        ids[at, : len(row.pieces)] = row.pieces
        span = slice(row.window, row.window + len(row.words))
        word[at, span] = row.words
        best[at, span] = row.best
    return Features(
        form=form,
        ids=ids,
        length=np.array([len(row.pieces) for row in rows], np.int64),
        window=np.array([row.window for row in rows], np.int64),
        word=word,
        best=best,
        example=np.array([row.example for row in rows], np.int64),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    example: int
    pieces: list[int]
    window: int
    words: list[int]
    best: NDArray[np.bool_]


def _rows(number: int, example: Example, tokenizer: Tokenizer, form: Form) -> Iterator[_Row]:
    question = tokenizer.encode(example.question)[: form.question]
    pieces: list[int] = []
    words: list[int] = []
    for at, word in enumerate(example.words):
        found = tokenizer.encode(word)
        pieces += found
        words += [at] * len(found)
    head = [tokenizer.start, *question, tokenizer.separator]
    spans = windows(len(pieces), form.sequence - len(head) - 1, form.stride)
    counts = max_context(len(pieces), spans)
    for index, (start, length) in enumerate(spans):
        end = start + length
        yield _Row(
            number,
            [*head, *pieces[start:end], tokenizer.separator],
            len(head),
            words[start:end],
            counts[start:end] == index,
        )


def windows(pieces: int, room: int, stride: int) -> list[tuple[int, int]]:
    """(start, length) of the windows over so many pieces, each at most `room` long."""
    found: list[tuple[int, int]] = []
    start = 0
    while start < pieces:
        length = min(room, pieces - start)
        found.append((start, length))
        if start + length == pieces:
            break
        start += min(length, stride)
    return found


def max_context(pieces: int, spans: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """The window in which each piece counts, [pieces]: the one with most context on its poorer side.

    A hundredth of the window's length is added, as the official conversion does; the first of equals wins.
    """
    at = np.arange(pieces)
    scores = np.full((max(1, len(spans)), pieces), -np.inf)
    for index, (start, length) in enumerate(spans):
        inside = at[start : start + length]
        sides = np.minimum(inside - start, start + length - 1 - inside)
        scores[index, start : start + length] = sides + 0.01 * length
    return np.asarray(scores.argmax(axis=0), np.int64)
