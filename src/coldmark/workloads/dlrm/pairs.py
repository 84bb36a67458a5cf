"""Sample libraries of user-item pairs: a sample is a run of pairs of a log."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError, RunError
from coldmark.core.sut import Indices, SampleLibrary
from coldmark.workloads.dlrm.shape import DENSE, TABLES

Columns = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]
"""Log of counts plus one [n, 13], categories [n, 26], clicks [n]: 0 or 1."""

Read = Callable[[int, int], Columns]
"""(first pair, end) -> these pairs of the log. Raises DataError."""


class PairSource(SampleLibrary, Protocol):
    """A library whose loaded samples lie in arrays of pairs."""

    @property
    def columns(self) -> Columns:
        """What is loaded now."""

    def sizes(self, indices: Indices) -> NDArray[np.int64]:
        """Pairs of each sample, known without loading."""

    def start(self, index: int) -> int:
        """Where a loaded sample begins in `columns`. Raises RunError where it is not loaded."""


class PairLibrary:
    """Samples cut out of a log at `bounds`, read when loaded."""

    def __init__(self, name: str, bounds: NDArray[np.int64], performance_count: int, read: Read) -> None:
        self.name = name
        self.count = len(bounds) - 1
        self.performance_count = performance_count
        self._bounds = bounds
        self._read = read
        self._starts = np.full(self.count, -1, np.int64)
        self.columns: Columns = _room(0)

    def sizes(self, indices: Indices) -> NDArray[np.int64]:
        return np.asarray(self._bounds[indices + 1] - self._bounds[indices])

    def identity(self, index: int) -> str:
        """SHA-256 of a sample's pairs."""
        found = hashlib.sha256()
        for column in self._read(int(self._bounds[index]), int(self._bounds[index + 1])):
            found.update(np.ascontiguousarray(column).data)
        return found.hexdigest()

    def start(self, index: int) -> int:
        found = int(self._starts[index])
        if found < 0:
            raise RunError(f"sample {index} was issued but never loaded")
        return found

    def load(self, indices: Indices) -> None:
        wanted = np.setdiff1d(indices, np.flatnonzero(self._starts >= 0))
        if not len(wanted):
            return
        sizes = self.sizes(wanted)
        before = len(self.columns[2])
        end = before + int(sizes.sum())
        columns = _room(end)
        _put(columns, 0, self.columns)
        # Neighbouring samples are read as one run of pairs, straight into their place.
        at = before
        for run in np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1):
            first, last = int(self._bounds[run[0]]), int(self._bounds[run[-1] + 1])
            _put(columns, at, self._read(first, last))
            at += last - first
        self.columns = columns
        self._starts[wanted] = before + np.cumsum(sizes) - sizes

    def unload(self, indices: Indices) -> None:
        self._starts[indices] = -1
        if not (self._starts >= 0).any():
            self.columns = _room(0)


class WindowLibrary:
    """Samples that are windows of one pool of pairs: nothing is copied, so many fit in little memory."""

    def __init__(self, name: str, sizes: NDArray[np.int64], make: Callable[[], Columns], pool: int) -> None:
        self.name = name
        self.count = self.performance_count = len(sizes)
        self.pool = pool
        self._sizes = sizes
        # A stride without a common divisor with most pools spreads the windows over all of it.
        self._starts = np.arange(len(sizes), dtype=np.int64) * 7919 % (pool - int(sizes.max()) + 1)
        self._make = make
        self.columns: Columns = _room(0)

    def sizes(self, indices: Indices) -> NDArray[np.int64]:
        return self._sizes[indices]

    def start(self, index: int) -> int:
        if not len(self.columns[2]):
            raise RunError(f"sample {index} was issued but never loaded")
        return int(self._starts[index])

    def load(self, indices: Indices) -> None:
        if not len(self.columns[2]):
            self.columns = self._make()

    def unload(self, indices: Indices) -> None:
        """The pool stays: it serves all samples."""


def _room(pairs: int) -> Columns:
    return (
        np.empty((pairs, DENSE), np.float32),
        np.empty((pairs, TABLES), np.int32),
        np.empty(pairs, np.float32),
    )


def _put(columns: Columns, at: int, part: Columns) -> None:
    for whole, piece in zip(columns, part, strict=True):
        whole[at : at + len(piece)] = piece


def check_categories(category: NDArray[np.int32], rows: tuple[int, ...], first: int, where: str) -> None:
    """Raise DataError naming the first pair with a category beyond its table.

    `first` is the place in the log of the first of these pairs.
    """
    limits = np.array(rows, np.int64)
    if not len(category):
        return
    if (category.min(axis=0) >= 0).all() and (category.max(axis=0) < limits).all():
        return
    pair, table = np.argwhere((category < 0) | (category >= limits))[0].tolist()
    raise DataError(
        f"pair {first + pair}: category {int(category[pair, table])} is beyond table {table}, "
        f"which has {rows[table]} rows",
        where=where,
        hint="are model and data of one preprocessing?",
    )
