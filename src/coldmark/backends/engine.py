"""An engine of rows: a compiled model with lanes, each one request slot for each compiled batch size."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from coldmark.core.sut import Tensors

Done = Callable[["Lane", BaseException | None], None]


class Lane(Protocol):
    """One request slot. Its owner fills `inputs(bucket)`, runs or starts it, and reads `outputs(bucket)`."""

    def inputs(self, bucket: int) -> Tensors:
        """Writable input tensors of a batch size, [bucket, ...] each."""

    def outputs(self, bucket: int) -> Tensors:
        """Output tensors of the last run of that batch size; overwritten by the next."""

    def run(self, bucket: int) -> None:
        """Compute now, in this thread, other Python threads running on."""

    def start(self, bucket: int, done: Done) -> None:
        """Compute elsewhere; `done(lane, error)` is called from another thread."""


class Engine(Protocol):
    """A compiled model."""

    @property
    def lanes(self) -> Sequence[Lane]: ...

    @property
    def largest(self) -> int:
        """The largest batch a lane takes."""

    def bucket(self, n: int) -> int:
        """The batch size in which n <= largest samples are computed; the rest is padding."""

    def describe(self) -> dict[str, Any]: ...

    def close(self) -> None: ...


def pick_bucket(sizes: Sequence[int], n: int) -> int:
    """The smallest compiled batch size that holds n samples. `sizes` ascend."""
    return sizes[bisect_left(sizes, n)]


def warm(engine: Engine, rounds: int = 3) -> None:
    """Run every lane at every batch size it has, so that the clock meets no first time."""
    sizes = sorted({engine.bucket(n) for n in range(1, engine.largest + 1)})
    for lane in engine.lanes:
        for bucket in sizes:
            for tensor in lane.inputs(bucket):
                tensor.fill(0)
            for _ in range(rounds):
                lane.run(bucket)
