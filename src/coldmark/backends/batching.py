"""One SUT for all engines: inline for the streams, a batching queue for Server and Offline.

An engine brings lanes: a lane is one request slot with input tensors for each compiled batch size.
Inline, the thread that issues also computes: a thread hand-over costs microseconds that SingleStream
would show. Queued, whoever finds a lane idle starts it (the issuing thread, or the completion that
frees it), so there is no dispatcher thread either; what waits while lanes are busy forms the next batch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.backends.build import BuildRequest
from coldmark.backends.engine import Engine, Lane, time_batches, warm
from coldmark.core.nouns import Scenario
from coldmark.core.sut import Complete, Fail, Ids, Indices, Model, SampleLibrary, SystemUnderTest


class InlineSut:
    """Answers each query in the thread that issues it."""

    def __init__(self, name: str, engine: Engine, model: Model, library: SampleLibrary) -> None:
        self.name = name
        self._engine = engine
        self._lane = engine.lanes[0]
        self._finish = model.finish
        self._library = library
        self._complete: Complete | None = None

    def start(self, complete: Complete, fail: Fail) -> None:
        self._complete = complete
        warm(self._engine)

    def issue(self, ids: Ids, indices: Indices) -> None:
        assert self._complete is not None
        most, lane = self._engine.largest, self._lane
        for at in range(0, len(ids), most):
            part = ids[at : at + most]
            n = len(part)
            bucket = self._engine.bucket(n)
            self._library.fill(indices[at : at + n], lane.inputs(bucket))
            lane.run(bucket)
            self._complete(part, self._finish(lane.outputs(bucket), n))

    def flush(self) -> None:
        """Nothing ever waits here."""

    def bare_rate(self, seconds: float, samples: int) -> float:
        n = min(samples, self._engine.largest)
        bucket, lane = self._engine.bucket(n), self._lane
        done, started = 0, time.perf_counter()
        until = started + seconds
        while (now := time.perf_counter()) < until:
            lane.run(bucket)
            done += n
        return done / (now - started)

    def bare_times(self, seconds: float, samples: int) -> NDArray[np.float64]:
        return time_batches(self._engine, seconds, samples)

    def describe(self) -> dict[str, Any]:
        return {"issue": "inline", **self._engine.describe()}

    def close(self) -> None:
        self._engine.close()


class QueuedSut:
    """Collects samples into batches and keeps every lane busy while there are any.

    With `delay_s` above zero an idle lane waits that long for a batch to fill.
    """

    def __init__(
        self, name: str, engine: Engine, model: Model, library: SampleLibrary, *, delay_s: float = 0.0
    ) -> None:
        self.name = name
        self._engine = engine
        self._finish = model.finish
        self._library = library
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._queue: deque[tuple[Ids, Indices, float]] = deque()
        self._waiting = 0
        self._idle: list[Lane] = list(engine.lanes)
        self._flights: dict[int, tuple[Ids, int]] = {}  # id(lane) -> ids, bucket
        self._complete: Complete | None = None
        self._fail: Fail | None = None
        self._timer: threading.Timer | None = None
        self._closed = False

    def start(self, complete: Complete, fail: Fail) -> None:
        self._complete, self._fail = complete, fail
        warm(self._engine)

    def issue(self, ids: Ids, indices: Indices) -> None:
        with self._lock:
            self._queue.append((ids, indices, time.monotonic() if self._delay_s else 0.0))
            self._waiting += len(ids)
        self._dispatch()

    def flush(self) -> None:
        self._dispatch(now=True)

    def _dispatch(self, *, now: bool = False) -> None:
        """Start idle lanes while samples wait."""
        while True:
            with self._lock:
                if not self._idle or not self._ready(now):
                    return
                lane = self._idle.pop()
                ids, indices = self._take()
            self._launch(lane, ids, indices)

    def _ready(self, now: bool) -> bool:
        """Whether a batch should leave; if it should only later, the alarm is set. Lock held."""
        if not self._waiting or self._closed:
            return False
        if now or not self._delay_s or self._waiting >= self._engine.largest:
            return True
        left = self._queue[0][2] + self._delay_s - time.monotonic()
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
        room = self._engine.largest
        ids: list[Ids] = []
        indices: list[Indices] = []
        while room and self._queue:
            head_ids, head_indices, since = self._queue[0]
            n = min(room, len(head_ids))
            ids.append(head_ids[:n])
            indices.append(head_indices[:n])
            room -= n
            if n == len(head_ids):
                self._queue.popleft()
            else:
                self._queue[0] = (head_ids[n:], head_indices[n:], since)
        if len(ids) == 1:
            self._waiting -= len(ids[0])
            return ids[0], indices[0]
        joined = np.concatenate(ids)
        self._waiting -= len(joined)
        return joined, np.concatenate(indices)

    def _launch(self, lane: Lane, ids: Ids, indices: Indices) -> None:
        bucket = self._engine.bucket(len(ids))
        self._library.fill(indices, lane.inputs(bucket))
        self._flights[id(lane)] = ids, bucket
        lane.start(bucket, self._landed)

    def _landed(self, lane: Lane, error: BaseException | None) -> None:
        """A lane is done: answer, then start it again or leave it idle. Runs in the engine's thread."""
        try:
            if error is not None:
                raise error
            assert self._complete is not None
            ids, bucket = self._flights.pop(id(lane))
            self._complete(ids, self._finish(lane.outputs(bucket), len(ids)))
            with self._lock:
                batch = self._take() if self._ready(now=False) else None
                if batch is None:
                    self._idle.append(lane)
            if batch is not None:
                self._launch(lane, *batch)
        except BaseException as problem:  # noqa: BLE001 - a thread edge
            self._report(problem)

    def _report(self, error: BaseException) -> None:
        if self._fail is not None:
            self._fail(error)

    def bare_rate(self, seconds: float, samples: int) -> float:
        """All lanes restarted as they land, at the largest batch, with nothing around them."""
        bucket = self._engine.bucket(self._engine.largest)
        lanes = self._engine.lanes
        landed, over = [0], threading.Event()
        lock, flying, errors = threading.Lock(), [len(lanes)], list[BaseException]()
        until = time.perf_counter() + seconds

        def again(lane: Lane, error: BaseException | None) -> None:
            with lock:
                landed[0] += 1
                if error is not None:
                    errors.append(error)
                stop = error is not None or time.perf_counter() >= until
                flying[0] -= stop
                if not flying[0]:
                    over.set()
            if not stop:
                lane.start(bucket, again)

        started = time.perf_counter()
        for lane in lanes:
            lane.start(bucket, again)
        over.wait()
        wall = time.perf_counter() - started
        if errors:
            raise errors[0]
        return landed[0] * self._engine.largest / wall

    def bare_times(self, seconds: float, samples: int) -> NDArray[np.float64]:
        return time_batches(self._engine, seconds, samples)

    def describe(self) -> dict[str, Any]:
        return {"issue": "queued", "delay_us": self._delay_s * 1e6, **self._engine.describe()}

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
        self._engine.close()


def sut_for(name: str, engine: Engine, request: BuildRequest, delay_us: float) -> SystemUnderTest:
    """The SUT that fits the scenario: inline for the streams, a queue for Server and Offline."""
    if request.scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM):
        return InlineSut(name, engine, request.model, request.library)
    return QueuedSut(name, engine, request.model, request.library, delay_s=delay_us * 1e-6)
