"""The bare rate: slots of known speed on a clock of their own."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.backends.bare import LANDINGS, LONG, _batches, _Round
from coldmark.backends.slots import Bench
from coldmark.core.sut import Indices


class Machine:
    """Streams that compute batches first come first served, slots that hand them over, and the clock.

    A batch of size s takes `s * seconds` of its stream. The clock moves from one end to the next, in a thread
    that begins once every slot has its first batch.
    """

    by_size, largest, varied = False, 1, False

    def __init__(self, streams: int, slots: int, seconds: float, fault_after: int | None = None) -> None:
        self.now, self.idle, self.seconds = 0.0, streams, seconds
        self.slots = [MadeUpSlot(self) for _ in range(slots)]
        self.started, self.fault_after = 0, fault_after
        self._queue: deque[Flight] = deque()
        self._numbers = count()
        self._ends: list[tuple[float, int, Flight]] = []

    def size(self, indices: Indices) -> Any:
        return indices  # a sample's index is its size

    def take(self, flight: Flight) -> None:
        self._queue.append(flight)
        self.started += 1
        if self.started == len(self.slots):
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while self._queue or self._ends:
            while self.idle and self._queue:
                self.idle -= 1
                flight = self._queue.popleft()
                end = self.now + self.seconds * int(flight.batch.sum())
                heapq.heappush(self._ends, (end, next(self._numbers), flight))
            self.now, _, flight = heapq.heappop(self._ends)
            self.idle += 1
            faulty = self.fault_after is not None and self.started > self.fault_after
            flight.landed(flight.slot, None, ValueError("made up") if faulty else None)


class MadeUpSlot:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def start_bare(self, batch: Indices, landed: Callable[..., None]) -> None:
        self._machine.take(Flight(self, batch, landed))


class Flight:
    def __init__(self, slot: MadeUpSlot, batch: Indices, landed: Callable[..., None]) -> None:
        self.slot, self.batch, self.landed = slot, batch, landed


def measured(machine: Machine, sizes: Sequence[int], seconds: float = 1.0) -> float:
    batches = [np.array([size]) for size in sizes]
    return _Round(cast("Bench", machine), batches, seconds, lambda: machine.now).rate()


@pytest.mark.parametrize(("streams", "slots"), [(1, 1), (1, 2), (2, 2), (2, 3), (3, 4)])
@pytest.mark.parametrize("batch_s", [0.01, 0.7, 1.0, 2.0, 9.0, 40.0])
def test_the_rate_of_a_slow_model_is_that_of_its_streams(streams: int, slots: int, batch_s: float) -> None:
    machine = Machine(streams, slots, batch_s)
    # Where streams land in step and a slot waits for one, its turns are long and short by turns.
    rel = (
        1e-6 if slots == streams or streams == 1 else 0.01 if batch_s < 0.1 else 0.08 if batch_s < 5 else 0.13
    )
    assert measured(machine, [1]) == pytest.approx(streams / batch_s, rel=rel)


def test_two_streams_and_a_spare_slot_at_a_sample_a_second() -> None:
    """Three batches of 2 s from the first start to the last landing, 4 s, would say 0.75."""
    assert measured(Machine(2, 3, 2.0), [1]) == pytest.approx(1.0, rel=0.04)


def test_a_slot_lands_so_many_times_and_no_more_where_batches_are_slow() -> None:
    machine = Machine(1, 1, 2.0)
    measured(machine, [1])
    assert machine.started == 1 + LANDINGS


def test_batches_longer_than_all_patience_are_counted_once() -> None:
    machine = Machine(1, 1, LONG + 1.0)
    measured(machine, [1])
    assert machine.started == 2


@given(
    streams=st.integers(1, 3),
    spare=st.integers(0, 1),
    sizes=st.lists(st.integers(1, 20), min_size=2, max_size=8),
    seconds=st.sampled_from([20.0, 40.0]),
)
def test_batches_of_unequal_size_are_counted_by_their_work(
    streams: int, spare: int, sizes: list[int], seconds: float
) -> None:
    machine = Machine(streams, streams + spare, 0.02)
    assert measured(machine, sizes, seconds) == pytest.approx(streams / 0.02, rel=0.05)


def test_the_first_error_ends_the_round_once_every_slot_is_down() -> None:
    machine = Machine(2, 3, 0.1, fault_after=7)
    with pytest.raises(ValueError, match="made up"):
        measured(machine, [1])
    assert machine.idle == 2


class Bare:
    """Samples of one size."""

    by_size, size = False, None

    def __init__(self, largest: int, varied: bool) -> None:
        self.largest, self.varied = largest, varied


class Library:
    count, performance_count = 80, 50


@pytest.mark.parametrize("largest", [1, 8, 64])
def test_samples_of_unequal_work_are_gone_through_and_others_are_not(largest: int) -> None:
    """Decoding the boxes of image 0 takes 0.41 ms, of image 4 0.98 ms: one of them says little."""
    same = _batches(cast("Any", Bare(largest, False)), cast("Any", Library()), None)
    assert [len(batch) for batch in same] == [largest]
    varied = _batches(cast("Any", Bare(largest, True)), cast("Any", Library()), None)
    assert len({tuple(batch) for batch in varied}) > 1
    assert {len(batch) for batch in varied} == {largest}
    assert len(np.unique(np.concatenate(varied))) >= 48
