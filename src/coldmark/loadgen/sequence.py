"""The performance set that a round's seed draws, computed apart from LoadGen.

LoadGen shuffles all sample indices with `std::shuffle` and `std::mt19937` and loads the first
`performance_count`. What a shuffle does is left to the C++ standard library: libstdc++ draws its
uniform integers by division up to GCC 10 and by Lemire's multiplication from GCC 11 on, so the same
seed gives two sequences. The published v2.1 logs hold the first, today's wheels give the second
(docs/decisions/0002-loadgen-wheel.md). Wheels from 6.0.6 on draw from [0, performance_count) instead,
which is neither.

Sources: ISO C++ [rand.eng.mers]; Lemire, "Fast Random Integer Generation in an Interval", ACM TOMACS
29 (2019); the behaviour was checked against published logs and the wheel itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

import numpy as np

_SPAN = 1 << 32


class StandardLibrary(StrEnum):
    """Which uniform integers the shuffle was compiled with."""

    LEMIRE = "libstdc++ of GCC 11 or newer"
    DIVISION = "libstdc++ up to GCC 10"


def _words(seed: int) -> Iterator[int]:
    """The output of `std::mt19937(seed)`; the seed is taken modulo 2^32, as its result type does."""
    state = np.random.RandomState()
    state.seed(seed % _SPAN)
    while True:
        yield from state.randint(0, _SPAN, size=4096, dtype=np.uint64).tolist()


def _by_division(words: Iterator[int], n: int) -> int:
    scale = (_SPAN - 1) // n
    word = next(words)
    while word >= n * scale:
        word = next(words)
    return word // scale


def _by_lemire(words: Iterator[int], n: int) -> int:
    product = next(words) * n
    if product % _SPAN < n:
        threshold = (_SPAN - n) % n
        while product % _SPAN < threshold:
            product = next(words) * n
    return product // _SPAN


_UNIFORM: dict[StandardLibrary, Callable[[Iterator[int], int], int]] = {
    StandardLibrary.LEMIRE: _by_lemire,
    StandardLibrary.DIVISION: _by_division,
}


def performance_set(seed: int, total: int, count: int, library: StandardLibrary) -> list[int]:
    """The first `count` of `total` shuffled indices. libstdc++ draws two swap places from one word.

    Raises ValueError unless 0 < count <= total < 65 536 (beyond it libstdc++ draws one by one).
    """
    if not 0 < count <= total < 1 << 16:
        raise ValueError(f"count={count}, total={total}")
    uniform, words = _UNIFORM[library], _words(seed)
    items = list(range(total))
    at = 1
    if total % 2 == 0:
        other = uniform(words, 2)
        items[1], items[other] = items[other], items[1]
        at = 2
    while at < total:
        first, second = divmod(uniform(words, (at + 1) * (at + 2)), at + 2)
        items[at], items[first] = items[first], items[at]
        items[at + 1], items[second] = items[second], items[at + 1]
        at += 2
    return items[:count]


def recognise(seed: int, total: int, loaded: Sequence[int]) -> StandardLibrary | None:
    """Which of the round's own sequences a loaded set is, or None for neither."""
    if not 0 < len(loaded) <= total < 1 << 16:
        return None
    for library in StandardLibrary:
        if performance_set(seed, total, len(loaded), library) == list(loaded):
            return library
    return None
