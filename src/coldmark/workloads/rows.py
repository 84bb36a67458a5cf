"""A sample library whose samples are rows of equal shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import RunError
from coldmark.core.sut import Indices, Tensors

ReadRow = Callable[[int], NDArray[np.float32]]
"""Sample index -> the preprocessed sample, shape `shape`. Raises DataError."""


class RowLibrary:
    """Holds loaded samples as the rows of one array, so that a batch is gathered by one copy.

    LoadGen loads at most `performance_count` samples at a time; the array has room for these.
    """

    def __init__(
        self, name: str, count: int, performance_count: int, shape: tuple[int, ...], read: ReadRow
    ) -> None:
        self.name = name
        self.count = count
        self.performance_count = performance_count
        self._shape = shape
        self._read = read
        self._slots = np.full(count, -1, np.int64)
        self._rows = np.zeros((0, *shape), np.float32)
        self._free: list[int] = []

    def load(self, indices: Indices) -> None:
        wanted = [int(i) for i in np.unique(indices) if self._slots[i] < 0]
        if len(wanted) > len(self._free):
            self._grow(len(wanted) - len(self._free))
        for index in wanted:
            slot = self._free.pop()
            self._rows[slot] = self._read(index)
            self._slots[index] = slot

    def _grow(self, more: int) -> None:
        have = len(self._rows)
        rows = np.empty((have + more, *self._shape), np.float32)
        rows[:have] = self._rows
        self._rows = rows
        self._free = [*range(have + more - 1, have - 1, -1), *self._free]

    def unload(self, indices: Indices) -> None:
        for index in np.unique(indices):
            if self._slots[index] >= 0:
                self._free.append(int(self._slots[index]))
                self._slots[index] = -1

    def fill(self, indices: Indices, inputs: Tensors) -> None:
        out = inputs[0]
        if len(indices) == 1:
            slot = self._slots[indices[0]]
            if slot < 0:
                raise RunError(f"sample {indices[0]} was issued but never loaded")
            out[0] = self._rows[slot]
            return
        slots = self._slots[indices]
        if slots.min() < 0:
            raise RunError("a sample was issued that was never loaded")
        # mode="clip" writes straight into `out`; the default would go through a copy.
        np.take(self._rows, slots, axis=0, out=out[: len(indices)], mode="clip")
