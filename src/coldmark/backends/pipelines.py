"""Slots over a pipeline: the workload's own compute, with the networks of one lane."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from coldmark.backends.slots import Landed, Sizes
from coldmark.core.nouns import Scenario
from coldmark.core.sut import Answers, Compiled, Compute, Indices, Network, Pipeline, Tensors


class WarmNetwork(Compiled, Protocol):
    """A compiled network that also knows the types of its inputs."""

    @property
    def dtypes(self) -> Sequence[np.dtype[Any]]: ...


class PipelineSlot:
    """One lane of a pipeline. Where it is started rather than called, a thread of its own computes."""

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._work: SimpleQueue[tuple[Indices, Landed] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def answer(self, indices: Indices) -> Answers:
        return self._compute(indices)

    def start(self, indices: Indices, landed: Landed) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="pipeline-lane", daemon=True)
            self._thread.start()
        self._work.put((indices, landed))

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            indices, landed = work
            try:
                answers = self._compute(indices)
            except BaseException as error:  # noqa: BLE001 - a thread edge
                landed(self, None, error)
            else:
                landed(self, answers, None)

    def bare(self, indices: Indices) -> None:
        self._compute(indices)

    start_bare = start

    def stop(self) -> None:
        self._work.put(None)


class PipelineBench:
    """A pipeline's lanes as slots. `lane(networks)` compiles nothing twice that lanes can share."""

    def __init__(
        self,
        pipeline: Pipeline,
        lanes: int,
        batch: int | None,
        scenario: Scenario,
        lane: Callable[[Sequence[Network]], Mapping[str, WarmNetwork]],
        facts: Mapping[str, Any],
    ) -> None:
        self.largest = batch or pipeline.batch[scenario]
        self.size: Sizes | None = pipeline.size
        self.by_size = pipeline.batch_by_size
        self._networks = pipeline.networks(self.largest)
        self._lanes = [lane(self._networks) for _ in range(lanes)]
        self._slots = [PipelineSlot(pipeline.open(compiled, self.largest)) for compiled in self._lanes]
        self._facts = {**facts, "unit": pipeline.unit}

    @property
    def slots(self) -> Sequence[PipelineSlot]:
        return self._slots

    def warm(self) -> None:
        for compiled in self._lanes:
            for network in self._networks:
                call = compiled[network.name]
                for profile in network.profiles:
                    call(*_zeros(profile, call.dtypes))

    def describe(self) -> dict[str, Any]:
        shapes = {n.name: len(n.profiles) for n in self._networks}
        return {**self._facts, "batch": self.largest, "requests": len(self._slots), "shapes": shapes}

    def close(self) -> None:
        for slot in self._slots:
            slot.stop()
        self._slots, self._lanes = [], []


def _zeros(profile: tuple[tuple[int, ...], ...], dtypes: Sequence[np.dtype[Any]]) -> Tensors:
    arrays: list[NDArray[Any]] = [np.zeros(s, t) for s, t in zip(profile, dtypes, strict=True)]
    return arrays
