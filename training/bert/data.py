"""Training data of BERT's `mini`: drawn passages as sequences, with where the answer begins and ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldmark.workloads.bert.features import Features, Form, featurise
from coldmark.workloads.bert.passages import draw, examples, vocabulary


@dataclass(frozen=True)
class Labelled:
    """Sequences with the places of their answers; 0 where the window holds no answer, as BERT has it."""

    features: Features
    start: NDArray[np.int64]  # [n]
    end: NDArray[np.int64]  # [n]


def load(seed: int, count: int, form: Form) -> Labelled:
    """The sequences of passages 0 to count - 1 of a seed."""
    tokenizer = vocabulary()
    passages = [draw(seed, index) for index in range(count)]
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
    return Labelled(features, start * whole, end * whole)


def batches(data: Labelled, size: int, rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
    """One pass in batches of like length: ids, mask, segments, start, end."""
    order = rng.permutation(len(data.features))
    chunk = size * 32
    groups = []
    for at in range(0, len(order), chunk):
        part = order[at : at + chunk]
        part = part[np.argsort(data.features.length[part], kind="stable")]
        groups += [part[i : i + size] for i in range(0, len(part) - size + 1, size)]
    for index in rng.permutation(len(groups)):
        yield gather(data, groups[index])


def gather(data: Labelled, rows: NDArray[np.int64]) -> tuple[Tensor, ...]:
    """These rows as tensors, no longer than the longest."""
    f = data.features
    longest = int(f.length[rows].max())
    at = np.arange(longest)
    mask = (at < f.length[rows][:, None]).astype(np.int64)
    segments = mask * (at >= f.window[rows][:, None])
    parts = (f.ids[rows, :longest], mask, segments, data.start[rows], data.end[rows])
    return tuple(map(torch.from_numpy, parts))
