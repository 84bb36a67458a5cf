"""Counters that wrap or start anew, as counters that only grow."""

from __future__ import annotations

import math


class Growth:
    """What a counter has grown by since its first value.

    With a range, a fall is one wrap. Without one a fall is a new start (a reset BMC, a reloaded driver): what
    was counted in between is not known and not added.
    """

    def __init__(self, range_: float | None = None) -> None:
        self._range = range_
        self._last = math.nan
        self._sum = 0.0

    def add(self, now: float) -> float:
        """The growth with the value of now; NaN where now is missing."""
        if math.isnan(now):
            return math.nan
        gone = 0.0 if math.isnan(self._last) else now - self._last
        if gone < 0:
            gone = gone + self._range if self._range is not None and gone + self._range >= 0 else 0.0
        self._last = now
        self._sum += gone
        return self._sum
