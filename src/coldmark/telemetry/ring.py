"""The last readings of one sensor, in memory made once: one thread writes rows, others copy them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coldmark.core.trace import Array

Times = NDArray[np.int64]


class Ring:
    """`capacity` rows of `width` values, each with a time [ns]."""

    def __init__(self, capacity: int, width: int) -> None:
        self.capacity = capacity
        self._t: Times = np.zeros(capacity, np.int64)
        self._v = np.full((capacity, width), np.nan)
        self._rows: list[Array] = [self._v[i] for i in range(capacity)]
        self.head = 0  # rows ever written

    def row(self) -> Array:
        """The row to write next; `keep` makes it part of the ring."""
        return self._rows[self.head % self.capacity]

    def keep(self, t_ns: int) -> None:
        self._t[self.head % self.capacity] = t_ns
        self.head += 1

    def since(self, first: int) -> tuple[Times, Array, int]:
        """Copies of the rows from `first` on: times [n], values [n, width], and how many were lost.

        The oldest rows may be overwritten while they are copied, so what the writer has reached is cut off.
        """
        head = self.head
        start = max(first, head - self.capacity + 1)
        at = np.arange(start, head) % self.capacity
        t, v = self._t[at], self._v[at]
        overtaken = max(0, self.head + 1 - self.capacity - start)
        return t[overtaken:], v[overtaken:], start + overtaken - first
