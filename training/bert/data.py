"""Training data of BERT's `mini`: drawn passages as sequences, with where the answer begins and ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldmark.workloads.bert import words
from coldmark.workloads.bert.features import Features, Form, featurise
from coldmark.workloads.bert.passages import TRAINED, Mix, draw, examples, vocabulary


@dataclass(frozen=True)
class Labelled:
    """Sequences with the places of their answers; 0 where the window holds no answer, as BERT has it."""

    features: Features
    start: NDArray[np.int64]  # [n]
    end: NDArray[np.int64]  # [n]
    sentence: NDArray[np.int64]  # [n, sequence] number of the sentence in the window


def load(seed: int, count: int, form: Form, mix: Mix = TRAINED) -> Labelled:
    """The sequences of passages 0 to count - 1 of a seed."""
    tokenizer = vocabulary()
    passages = [draw(seed, index, mix) for index in range(count)]
    features = featurise(examples(passages), tokenizer, form)
    asked = [(p, q) for p in passages for q in p.questions]
    first = np.array([len(p.text[: q.start].split()) for p, q in asked])  # word where the answer begins
    pieces = np.array([len(tokenizer.encode(q.answer)) for _, q in asked])
    hit = features.word == first[features.example][:, None]
    start = hit.argmax(axis=1)
    end = start + pieces[features.example] - 1
    whole = hit.any(axis=1) & (end < features.length - 1)
    # A window that begins inside the answer's first word shows a part of it only.
    whole &= features.word[np.arange(len(features)), start - 1] != first[features.example]
    stops = features.ids == tokenizer.encode(".")[0]
    return Labelled(features, start * whole, end * whole, np.cumsum(stops, axis=1) - stops)


def batches(
    data: Labelled, size: int, steps: int, short: tuple[int, int], rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Rows of each step, of like length; the first `short[0]` steps see sequences of at most `short[1]`."""
    early = np.flatnonzero(data.features.length <= short[1])
    every = np.arange(len(data.features))
    waiting: list[NDArray[np.int64]] = []
    for step in range(steps):
        if step == short[0]:
            waiting = []
        if not waiting:
            waiting = _groups(data, early if step < short[0] else every, size, rng)
        yield waiting.pop()


def _groups(
    data: Labelled, rows: NDArray[np.int64], size: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """One pass over these rows in a random order, cut into batches of like length."""
    order = rng.permutation(rows)
    groups = []
    for at in range(0, len(order), size * 32):
        part = order[at : at + size * 32]
        part = part[np.argsort(data.features.length[part], kind="stable")]
        groups += [part[i : i + size] for i in range(0, len(part) - size + 1, size)]
    return [groups[i] for i in rng.permutation(len(groups))]


def gather(data: Labelled, rows: NDArray[np.int64]) -> tuple[Tensor, ...]:
    """These rows, no longer than the longest: ids, mask, segments [n, length], begin and end [n]."""
    f = data.features
    longest = int(f.length[rows].max())
    at = np.arange(longest)
    mask = (at < f.length[rows][:, None]).astype(np.int64)
    segments = mask * (at >= f.window[rows][:, None])
    parts = (f.ids[rows, :longest], mask, segments, data.start[rows], data.end[rows])
    return tuple(map(torch.from_numpy, parts))


def hints(data: Labelled, rows: NDArray[np.int64], values: NDArray[np.bool_]) -> list[Tensor]:
    """What the first three layers should know of each piece, float32 [n, length] (see `net.Hints`).

    `values` says of each piece of the vocabulary whether it is of a name, a thing or a number.
    """
    f = data.features
    longest = int(f.length[rows].max())
    ids, sentence = f.ids[rows, :longest], data.sentence[rows, :longest]
    at, row = np.arange(longest), np.arange(len(rows))[:, None]
    passage = f.word[rows, :longest] >= 0
    asked = np.zeros((len(rows), len(values)), np.bool_)
    np.logical_or.at(asked, (row, ids), at < f.window[rows][:, None])
    named = asked[row, ids] & values[ids] & passage
    held = np.zeros((len(rows), longest + 1), np.int64)
    np.add.at(held, (row, sentence), named)
    touched = (held == held.max(axis=1, keepdims=True)) & (held > 0)
    answered = sentence == sentence[row[:, 0], data.start[rows]][:, None]
    answered &= (data.start[rows] > 0)[:, None]
    found = (named, touched[row, sentence], answered)
    return [torch.from_numpy(h.astype(np.float32)) for h in found]


def value_pieces() -> NDArray[np.bool_]:
    """Which pieces of the vocabulary are of a name, a thing or a number: [pieces]."""
    tokenizer = vocabulary()
    lists = (words.SHE, words.HE, words.FAMILY_HEADS, words.TOWN_HEADS, words.PROFESSIONS, words.GOODS)
    more = (words.MATERIALS, words.BUILDINGS, words.PRIZES, words.MONTHS)
    named = {n for each in (*lists, *more) for word in each for n in tokenizer.encode(word)}
    inner = [p.startswith("##") or p.isdigit() for p in tokenizer.pieces]
    return np.array([n in named or inner[n] for n in range(len(tokenizer))])
