"""How far a test is, shared between the child that runs it and the parent that watches.

A small memory-mapped file: the child stores a few integers (tens of nanoseconds each) and prints
nothing; the parent reads them. After a kill the file still says how far the test came.
"""

from __future__ import annotations

import mmap
import struct
import time
from enum import IntEnum
from pathlib import Path

FILE_NAME = "progress.bin"


class Phase(IntEnum):
    """What the child is doing."""

    STARTING = 0
    LOADING = 1  # model, samples
    WARMING = 2
    BARE = 3  # measuring the bare rate
    RUNNING = 4  # LoadGen has the clock
    CLOSING = 5
    DONE = 6


_STAMPS = tuple(f"{phase.name.lower()}_ns" for phase in Phase)
"""When each phase began, on the monotonic clock, which all processes of a machine share; 0: not yet."""

_FIELDS = (
    "phase",
    "queries",
    "issued",
    "completed",
    "started_ns",
    "expected",  # samples the test will take, 0 where time decides
    "floor",  # queries it takes at the least
    "patience_ms",  # how long a slow model may take between two completions
    "over",  # Server queries that took longer than the bound, by our own clock
    "pid",
    *_STAMPS,
)
_SIZE = 8 * len(_FIELDS)


class Progress:
    """Counters of one test. `slots` is a writable view of int64, in the order of the fields."""

    def __init__(self, path: Path, *, create: bool) -> None:
        if create:
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self.slots: memoryview = memoryview(self._map).cast("q")

    def __getattr__(self, name: str) -> int:
        try:
            return int(self.slots[_FIELDS.index(name)])
        except ValueError:
            raise AttributeError(name) from None

    def set(self, name: str, value: int) -> None:
        """Store one field."""
        self.slots[_FIELDS.index(name)] = value

    def enter(self, phase: Phase) -> None:
        """Say what is being done, and since when."""
        self.set(_STAMPS[phase], time.monotonic_ns())
        self.set("phase", int(phase))

    def close(self) -> None:
        """Let the mapping go."""
        self.slots.release()
        self._map.close()


QUERIES, ISSUED, COMPLETED, OVER = (_FIELDS.index(n) for n in ("queries", "issued", "completed", "over"))


def read_progress(path: Path) -> dict[str, int] | None:
    """The counters left in a directory, or None where there are none."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) != _SIZE:
        return None
    return dict(zip(_FIELDS, struct.unpack(f"={len(_FIELDS)}q", data), strict=True))
