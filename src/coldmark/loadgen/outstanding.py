"""The table of outstanding response ids: it refuses what LoadGen would crash on or let pass.

LoadGen takes an id as a pointer. A duplicate, unknown or late id is a wild one: one error line at
best, a segmentation fault at worst. So every id is looked up here before it is handed on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import RunError
from coldmark.core.sut import Ids

BLOCK_MIN = 512
"""Queries of at least this many samples get a sorted block (9 B a sample); smaller ones share a set."""


class HarnessFault(RunError):
    """The SUT or LoadGen broke the contract of ids."""


@dataclass(slots=True)
class _Block:
    """One large query: its ids sorted, and which of them are done."""

    ids: Ids
    done: NDArray[np.bool_]
    left: int


class Outstanding:
    """Ids that were issued and not yet completed. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._small: set[int] = set()
        self._blocks: list[_Block] = []

    def __len__(self) -> int:
        return len(self._small) + sum(block.left for block in self._blocks)

    def add(self, ids: Sequence[int] | Ids) -> None:
        """Note a query's ids as issued. Raises HarnessFault when one is outstanding already.

        Below BLOCK_MIN a list of plain integers is quicker than an array.
        """
        if len(ids) >= BLOCK_MIN:
            self._add_block(np.sort(np.asarray(ids, dtype=np.uint64)))
            return
        before = len(self._small)
        self._small.update(ids)
        twice = len(self._small) != before + len(ids)
        if twice or (self._blocks and any(self._open(block, ids) for block in self._blocks)):
            raise HarnessFault(f"LoadGen issued an id twice in a query of {len(ids)}")

    def _add_block(self, ids: Ids) -> None:
        twice = bool((ids[1:] == ids[:-1]).any())
        twice = twice or any(int(i) in self._small for i in ids[: len(ids) if self._small else 0])
        if twice or any(self._open(block, ids) for block in self._blocks):
            raise HarnessFault(f"LoadGen issued an id twice in a query of {len(ids)}")
        self._blocks.append(_Block(ids, np.zeros(len(ids), np.bool_), len(ids)))

    @staticmethod
    def _open(block: _Block, ids: Sequence[int] | Ids) -> bool:
        """Whether any of `ids` is outstanding in `block`."""
        wanted = np.asarray(ids, dtype=np.uint64)
        at = np.minimum(np.searchsorted(block.ids, wanted), len(block.ids) - 1)
        return bool(((block.ids[at] == wanted) & ~block.done[at]).any())

    def take(self, ids: Ids) -> None:
        """Note ids as completed. Raises HarnessFault when one is unknown, late or given twice."""
        if not self._blocks:
            self._take_small(ids)
            return
        for block in self._blocks:
            ids = self._take_block(block, ids)
            if not len(ids):
                break
        if len(ids):
            self._take_small(ids)
        if not self._blocks[0].left:
            self._blocks = [block for block in self._blocks if block.left]

    def _take_small(self, ids: Ids) -> None:
        before = len(self._small)
        self._small.difference_update(ids.tolist())
        if before - len(self._small) != len(ids):
            raise HarnessFault(
                f"the SUT completed {len(ids)} ids of which only {before - len(self._small)} were outstanding"
            )

    @staticmethod
    def _take_block(block: _Block, ids: Ids) -> Ids:
        """Take what belongs to the block; what does not is returned."""
        at = np.searchsorted(block.ids, ids)
        at[at == len(block.ids)] = 0
        mine = block.ids[at] == ids
        rest = ids[:0]
        if not mine.all():
            rest, at = ids[~mine], at[mine]
        if block.done[at].any():
            raise HarnessFault("the SUT completed an id a second time")
        block.done[at] = True
        if len(at) > 1:
            at.sort()
            if (at[1:] == at[:-1]).any():
                raise HarnessFault("the SUT completed an id twice in one completion")
        block.left -= len(at)
        return rest


class Dated:
    """Ids of small queries with when they reached us: the same refusals, and how many came back too late.

    For Server, whose latency is bounded. LoadGen counts from when a query was due and until it has the
    answer, so it finds no fewer late than are counted here. Not thread-safe: its owner holds a lock.
    """

    def __init__(self, bound_ns: int) -> None:
        self._bound_ns = bound_ns
        self._since: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._since)

    def add(self, ids: Sequence[int]) -> None:
        """Note a query's ids as issued now. Raises HarnessFault when one is outstanding already."""
        since, before = self._since, len(self._since)
        now = time.monotonic_ns()
        for i in ids:
            since[i] = now
        if len(since) != before + len(ids):
            raise HarnessFault(f"LoadGen issued an id twice in a query of {len(ids)}")

    def take(self, ids: Sequence[int]) -> int:
        """Note ids as completed now; returns how many of them took longer than the bound.

        Raises HarnessFault when one is unknown, late or given twice.
        """
        since, late = self._since, 0
        earliest = time.monotonic_ns() - self._bound_ns
        try:
            for i in ids:
                if since.pop(i) < earliest:
                    late += 1
        except KeyError:
            raise HarnessFault(
                f"the SUT completed {len(ids)} ids of which not all were outstanding"
            ) from None
        return late


class Kept(Dated):
    """As `Dated`, and every query's time is kept: for a trial, whose tail is looked into."""

    def __init__(self, bound_ns: int) -> None:
        super().__init__(bound_ns)
        self._times: list[tuple[int, int]] = []

    def take(self, ids: Sequence[int]) -> int:
        now = time.monotonic_ns()
        self._times += [(self._since.get(i, now), now) for i in ids]
        return super().take(ids)

    def times_ns(self) -> NDArray[np.int64]:
        """When each query reached us and was answered, in the order they came, shape [n, 2]."""
        found = np.array(self._times, np.int64).reshape(-1, 2)
        return found[np.argsort(found[:, 0], kind="stable")]
