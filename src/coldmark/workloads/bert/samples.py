"""The sequences of a data set as samples, and the packing of a batch into a network's inputs."""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import RunError
from coldmark.core.sut import Indices
from coldmark.workloads.bert.features import Features

PERFORMANCE_COUNT = 10_833  # the round's own number of samples in memory

Packed: TypeAlias = tuple[NDArray[np.signedinteger[Any]], ...]
"""Ids, mask and segments, [batch, sequence] each."""


class FeatureLibrary:
    """Sequences as samples: numbers only, so that all are in memory from the start.

    Loading is kept count of all the same, for a sample that was never loaded must not be answered.
    """

    def __init__(self, name: str, features: Features) -> None:
        self.name = name
        self.count = len(features)
        self.performance_count = min(PERFORMANCE_COUNT, self.count)
        self.features = features
        self._loaded = np.zeros(self.count, np.bool_)

    def load(self, indices: Indices) -> None:
        self._loaded[indices] = True

    def unload(self, indices: Indices) -> None:
        self._loaded[indices] = False

    def identity(self, index: int) -> str:
        """SHA-256 of a sequence's pieces."""
        f = self.features
        return hashlib.sha256(f.ids[index, : f.length[index]].astype("<i8").tobytes()).hexdigest()

    def check(self, indices: Indices) -> None:
        """Raises RunError when one of these samples is not loaded."""
        if not self._loaded[indices].all():
            raise RunError("a sample was issued that was never loaded")


class Packer:
    """Packs samples into `input_ids`, `input_mask` and `segment_ids` of a shape; one lane's own buffers."""

    def __init__(self, library: FeatureLibrary, dtype: type[np.signedinteger[Any]] = np.int64) -> None:
        self._library = library
        self._dtype = dtype
        sequence = library.features.form.sequence
        # Row n has its first n entries set: masks and segments are rows of it.
        self._steps = np.tri(sequence + 1, sequence, -1, dtype)
        self._buffers: dict[tuple[int, int], Packed] = {}

    def pack(self, indices: Indices, batch: int, sequence: int) -> Packed:
        """The inputs [batch, sequence] of these samples; rows beyond them repeat the first sample."""
        self._library.check(indices)
        f = self._library.features
        ids, mask, segments = self._of(batch, sequence)
        n = len(indices)
        length, window = f.length[indices], f.window[indices]
        ids[:n] = f.ids[indices, :sequence]
        mask[:n] = self._steps[length, :sequence]
        np.subtract(mask[:n], self._steps[window, :sequence], out=segments[:n])
        for buffer in (ids, mask, segments):
            buffer[n:] = buffer[0]
        return ids, mask, segments

    def _of(self, batch: int, sequence: int) -> Packed:
        shape = batch, sequence
        if shape not in self._buffers:
            self._buffers[shape] = tuple(np.zeros(shape, self._dtype) for _ in range(3))
        return self._buffers[shape]
