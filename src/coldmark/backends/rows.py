"""Slots over one network whose input rows are samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldmark.backends.engine import Engine, Lane, warm
from coldmark.backends.slots import Landed, Sizes
from coldmark.core.sut import Answers, Indices, Model, RowSource


class RowSlot:
    """Gathers samples into a lane's input rows, computes, and reads the answers off its outputs."""

    def __init__(self, lane: Lane, engine: Engine, model: Model, library: RowSource) -> None:
        self._lane = lane
        self._bucket = engine.bucket
        self._fill = library.fill
        self._finish = model.finish
        self._finish_is_work = model.finish_is_work
        self._flight: tuple[Indices, int, Landed] | None = None
        self._in_place: Indices | None = None

    def answer(self, indices: Indices) -> Answers:
        lane, bucket = self._lane, self._bucket(len(indices))
        self._fill(indices, lane.inputs(bucket))
        lane.run(bucket)
        return self._finish(lane.outputs(bucket), indices)

    def start(self, indices: Indices, landed: Landed) -> None:
        bucket = self._bucket(len(indices))
        self._fill(indices, self._lane.inputs(bucket))
        self._flight = indices, bucket, landed
        self._lane.start(bucket, self._done)

    def _done(self, lane: Lane, error: BaseException | None) -> None:
        assert self._flight is not None
        indices, bucket, landed = self._flight
        try:
            if error is not None:
                raise error
            answers = self._finish(lane.outputs(bucket), indices)
        except BaseException as problem:  # noqa: BLE001 - a thread edge
            landed(self, None, problem)
            return
        landed(self, answers, None)

    def bare(self, indices: Indices) -> None:
        bucket = self._place(indices)
        self._lane.run(bucket)
        if self._finish_is_work:
            self._finish(self._lane.outputs(bucket), indices)

    def start_bare(self, indices: Indices, landed: Landed) -> None:
        def done(lane: Lane, error: BaseException | None) -> None:
            try:
                if error is None and self._finish_is_work:
                    self._finish(lane.outputs(bucket), indices)
            except BaseException as problem:  # noqa: BLE001 - a thread edge
                error = problem
            landed(self, None, error)

        bucket = self._place(indices)
        self._lane.start(bucket, done)

    def _place(self, indices: Indices) -> int:
        bucket = self._bucket(len(indices))
        if self._in_place is not indices:
            self._fill(indices, self._lane.inputs(bucket))
            self._in_place = indices
        return bucket


class RowBench:
    """An engine's lanes as slots."""

    size: Sizes | None = None
    by_size = False

    def __init__(self, engine: Engine, model: Model, library: RowSource) -> None:
        self._engine = engine
        self.varied = model.finish_is_work
        self._slots = [RowSlot(lane, engine, model, library) for lane in engine.lanes]

    @property
    def slots(self) -> Sequence[RowSlot]:
        return self._slots

    @property
    def largest(self) -> int:
        return self._engine.largest

    def warm(self) -> None:
        warm(self._engine)

    def describe(self) -> dict[str, Any]:
        return self._engine.describe()

    def close(self) -> None:
        self._slots = []
        self._engine.close()
