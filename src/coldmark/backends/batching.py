"""One SUT for all engines: inline for the streams, a batching queue for Server and Offline.

Inline, the thread that issues also computes: a thread hand-over costs microseconds that SingleStream
would show. Queued, whoever finds a slot idle starts it (the issuing thread, or the completion that
frees it), so there is no dispatcher thread either; what waits while slots are busy forms the next batch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.backends.bare import bare_inline, bare_queued, bare_times, typical_samples
from coldmark.backends.build import BuildRequest
from coldmark.backends.slots import Bench, Slot, alike
from coldmark.core.nouns import Scenario
from coldmark.core.sut import Answers, Complete, Fail, Ids, Indices, SampleLibrary, SystemUnderTest


class InlineSut:
    """Answers each query in the thread that issues it."""

    def __init__(self, name: str, bench: Bench, library: SampleLibrary) -> None:
        self.name = name
        self._bench = bench
        self._library = library
        self._complete: Complete | None = None

    def start(self, complete: Complete, fail: Fail) -> None:
        self._complete = complete
        self._bench.warm()
        self._answer = self._bench.slots[0].answer
        # Where batches count size, a query of unequal samples is cut by what fits.
        self._most = 1 if self._bench.by_size else self._bench.largest

    def issue(self, ids: Ids, indices: Indices) -> None:
        assert self._complete is not None
        most = self._most
        if len(ids) <= most:
            self._complete(ids, self._answer(indices))
            return
        for at in range(0, len(ids), most):
            self._complete(ids[at : at + most], self._answer(indices[at : at + most]))

    def flush(self) -> None:
        """Nothing ever waits here."""

    def bare_rate(self, seconds: float, samples: int) -> float:
        return bare_inline(self._bench, self._library, seconds, samples)

    def bare_times(self, seconds: float, samples: int) -> NDArray[np.float64]:
        return bare_times(self._bench, self._library, seconds, samples)

    def describe(self) -> dict[str, Any]:
        return {"issue": "inline", **self._bench.describe()}

    def close(self) -> None:
        self._bench.close()


@dataclass(slots=True)
class _Waiting:
    """Samples of one query that no slot has taken yet."""

    ids: Ids
    indices: Indices
    ends: NDArray[np.int64] | None  # running total of what the batch counts; None where it counts samples
    since: float

    def cost(self) -> int:
        return len(self.ids) if self.ends is None else int(self.ends[-1])

    def fits(self, room: int, *, alone: bool) -> int:
        """How many of the first samples fit into `room`; one always does into an empty batch."""
        n = len(self.ids) if self.ends is None else int(np.searchsorted(self.ends, room, side="right"))
        return max(min(room, n), 1 if alone else 0)

    def split(self, n: int) -> tuple[_Waiting, _Waiting]:
        if self.ends is None:
            head, tail = None, None
        else:
            head, tail = self.ends[:n], self.ends[n:] - self.ends[n - 1]
        return (
            _Waiting(self.ids[:n], self.indices[:n], head, self.since),
            _Waiting(self.ids[n:], self.indices[n:], tail, self.since),
        )


class QueuedSut:
    """Collects samples into batches and keeps every slot busy while there are any.

    With `delay_s` above zero an idle slot waits that long for a batch to fill. The samples of one large
    query are put into batches of like size.
    """

    def __init__(self, name: str, bench: Bench, library: SampleLibrary, *, delay_s: float = 0.0) -> None:
        self.name = name
        self._bench = bench
        self._library = library
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0  # in what the batch counts
        self._idle: list[Slot] = list(bench.slots)
        self._flights: dict[int, Ids] = {}  # by id(slot)
        self._complete: Complete | None = None
        self._fail: Fail | None = None
        self._timer: threading.Timer | None = None
        self._closed = False

    def start(self, complete: Complete, fail: Fail) -> None:
        self._complete, self._fail = complete, fail
        self._bench.warm()

    def issue(self, ids: Ids, indices: Indices) -> None:
        since = time.monotonic() if self._delay_s else 0.0
        size, by_size = self._bench.size, self._bench.by_size
        if len(ids) == 1:  # every query of Server: nothing to sort, and no time for it
            waiting = [_Waiting(ids, indices, size(indices) if size and by_size else None, since)]
        elif size is None:
            waiting = [_Waiting(ids, indices, None, since)]
        else:
            waiting = [
                _Waiting(ids[part], indices[part], np.cumsum(sizes) if by_size else None, since)
                for part, sizes in alike(size(indices), self._bench.largest, by_size)
            ]
        with self._lock:
            self._queue.extend(waiting)
            self._waiting += sum(w.cost() for w in waiting)
        self._dispatch()

    def flush(self) -> None:
        self._dispatch(now=True)

    def _dispatch(self, *, now: bool = False) -> None:
        """Start idle slots while samples wait."""
        while True:
            with self._lock:
                if not self._idle or not self._ready(now):
                    return
                slot = self._idle.pop()
                ids, indices = self._take()
            self._launch(slot, ids, indices)

    def _ready(self, now: bool) -> bool:
        """Whether a batch should leave; if it should only later, the alarm is set. Lock held."""
        if not self._queue or self._closed:
            return False
        if now or not self._delay_s or self._waiting >= self._bench.largest:
            return True
        left = self._queue[0].since + self._delay_s - time.monotonic()
        if left <= 0:
            return True
        if self._timer is None:
            self._timer = threading.Timer(left, self._alarm)
            self._timer.daemon = True
            self._timer.start()
        return False

    def _alarm(self) -> None:
        with self._lock:
            self._timer = None
        try:
            self._dispatch()
        except BaseException as error:  # noqa: BLE001 - a thread edge
            self._report(error)

    def _take(self) -> tuple[Ids, Indices]:
        """The next batch, from as many queries as fit. Lock held; something waits."""
        room = self._bench.largest
        taken: list[_Waiting] = []
        while room > 0 and self._queue:
            head = self._queue[0]
            n = head.fits(room, alone=not taken)
            if n == 0:
                break
            if n == len(head.ids):
                self._queue.popleft()
            else:
                head, self._queue[0] = head.split(n)
            taken.append(head)
            room -= head.cost()
        self._waiting -= self._bench.largest - room
        if len(taken) == 1:
            return taken[0].ids, taken[0].indices
        return np.concatenate([t.ids for t in taken]), np.concatenate([t.indices for t in taken])

    def _launch(self, slot: Slot, ids: Ids, indices: Indices) -> None:
        self._flights[id(slot)] = ids
        slot.start(indices, self._landed)

    def _landed(self, slot: Slot, answers: Answers | None, error: BaseException | None) -> None:
        """A slot is done: answer, then start it again or leave it idle. Runs in the slot's thread."""
        try:
            if error is not None:
                raise error
            assert self._complete is not None
            assert answers is not None
            self._complete(self._flights.pop(id(slot)), answers)
            with self._lock:
                batch = self._take() if self._ready(now=False) else None
                if batch is None:
                    self._idle.append(slot)
            if batch is not None:
                self._launch(slot, *batch)
        except BaseException as problem:  # noqa: BLE001 - a thread edge
            self._report(problem)

    def _report(self, error: BaseException) -> None:
        if self._fail is not None:
            self._fail(error)

    def bare_rate(self, seconds: float, samples: int) -> float:
        return bare_queued(self._bench, self._library, seconds)

    def bare_times(self, seconds: float, samples: int) -> NDArray[np.float64]:
        return bare_times(self._bench, self._library, seconds, samples)

    def describe(self) -> dict[str, Any]:
        samples = typical_samples(self._bench, self._library)
        return {
            "issue": "queued",
            "delay_us": self._delay_s * 1e6,
            "batch_samples": samples,
            **self._bench.describe(),
        }

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
        self._bench.close()


def sut_for(name: str, bench: Bench, request: BuildRequest, delay_us: float) -> SystemUnderTest:
    """The SUT that fits the scenario: inline for the streams, a queue for Server and Offline."""
    if request.scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM):
        return InlineSut(name, bench, request.library)
    return QueuedSut(name, bench, request.library, delay_s=delay_us * 1e-6)
