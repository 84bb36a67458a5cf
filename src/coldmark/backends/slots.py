"""What a SUT of this house stands on: slots that answer batches, and what a batch may hold.

A slot answers one batch at a time, in the calling thread or elsewhere. Rows of one network (`rows.py`)
and pipelines of several (`pipelines.py`) are the two kinds; the SUTs in `batching.py` know neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from coldmark.core.sut import Answers, Indices

Landed: TypeAlias = Callable[["Slot", Answers | None, BaseException | None], None]
"""Called from any thread when a started batch is answered, or could not be."""

Sizes: TypeAlias = Callable[[Indices], NDArray[np.int64]]


class Slot(Protocol):
    """Answers one batch at a time."""

    def answer(self, indices: Indices) -> Answers:
        """Answer now, in this thread, other Python threads running on."""

    def start(self, indices: Indices, landed: Landed) -> None:
        """Answer elsewhere; `landed(slot, answers, error)` is called from another thread."""

    def bare(self, indices: Indices) -> None:
        """The work of `answer` alone. The same array again is computed on what is in place already."""

    def start_bare(self, indices: Indices, landed: Landed) -> None:
        """The work of `start` alone; lands with None for answers."""


class Bench(Protocol):
    """Compiled slots and the batches they take."""

    @property
    def slots(self) -> Sequence[Slot]: ...

    @property
    def largest(self) -> int:
        """What the largest batch counts to: samples, or units of size where `by_size`."""

    @property
    def size(self) -> Sizes | None:
        """Work of samples, where they are of unequal size."""

    @property
    def by_size(self) -> bool:
        """Whether a batch counts size, not samples."""

    @property
    def varied(self) -> bool:
        """Whether samples of one size differ in work: boxes to decode, answers to write out."""

    def warm(self) -> None:
        """Run every stream in every shape it has, so that the clock meets no first time."""

    def describe(self) -> dict[str, Any]: ...

    def close(self) -> None:
        """Release everything. May be called twice."""


ORDER_SEED = 20220908


def alike(
    sizes: NDArray[np.int64], most: int, by_size: bool
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Batches of like size out of many samples: (which samples, their sizes) each.

    The batches come in an order of their own, drawn once for all: largest first would make a run look as if
    it sped up. The one that is not full comes last, so that those before it stay whole.
    """
    order = np.argsort(-sizes, kind="stable")
    ends = batch_ends(sizes[order] if by_size else np.ones(len(sizes), np.int64), most)
    parts = np.split(order, ends[:-1])
    turns = [*np.random.default_rng(ORDER_SEED).permutation(len(parts) - 1).tolist(), len(parts) - 1]
    return [(parts[i], sizes[parts[i]]) for i in turns]


def batch_ends(sizes: NDArray[np.int64], most: int) -> list[int]:
    """Where to cut a sequence of sizes into batches of at most `most` in sum, and at least one sample.

    >>> batch_ends(np.array([3, 3, 9, 2, 2]), 6)
    [2, 3, 5]
    """
    ends, total, total_before = list[int](), np.cumsum(sizes), 0
    while (at := ends[-1] if ends else 0) < len(sizes):
        end = int(np.searchsorted(total, total_before + most, side="right"))
        ends.append(max(end, at + 1))
        total_before = int(total[ends[-1] - 1])
    return ends
