"""Slots over a pipeline: the workload's own compute, with the networks of one lane."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from queue import SimpleQueue
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from coldmark.backends.slots import Landed, Sizes
from coldmark.core.nouns import Scenario
from coldmark.core.sut import Answers, Compiled, Compute, Indices, Network, Pipeline

OPEN_WARM_S = 3.0
"""How long the shapes of an open network are run in turn before the clock starts. They share its kernels and,
with the largest run first, its memory, so that a shape met later costs milliseconds once."""

Profile: TypeAlias = tuple[tuple[int, ...], ...]


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

    varied = True

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
        self._streams = int(facts["streams"])

    @property
    def slots(self) -> Sequence[PipelineSlot]:
        return self._slots

    def warm(self) -> None:
        """Each shape once on each stream, for which lanes run at the same time. A spare lane has the same
        compiled networks."""
        busy = self._lanes[: self._streams]
        with ThreadPoolExecutor(len(busy), "warm") as threads:
            for network in self._networks:
                for done in [threads.submit(_warm, network, lane[network.name]) for lane in busy]:
                    done.result()

    def describe(self) -> dict[str, Any]:
        shapes = {n.name: len(n.profiles) for n in self._networks}
        return {**self._facts, "batch": self.largest, "requests": len(self._slots), "shapes": shapes}

    def close(self) -> None:
        for slot in self._slots:
            slot.stop()
        self._slots, self._lanes = [], []


def _warm(network: Network, call: WarmNetwork) -> None:
    """Every shape where each was compiled; the largest and what time allows where all are one network."""
    for profile in _in_turn(network):
        _run(call, profile)


def _in_turn(network: Network, now: Callable[[], float] = time.perf_counter) -> Iterator[Profile]:
    largest, *others = _largest_first(network)
    yield largest
    until = now() + OPEN_WARM_S
    for profile in reversed(others):
        if network.dynamic and now() > until:
            return
        yield profile


def _largest_first(network: Network) -> list[Profile]:
    return sorted(network.profiles, key=lambda profile: -sum(prod(shape) for shape in profile))


def _run(call: WarmNetwork, profile: Profile) -> None:
    arrays: list[NDArray[Any]] = [np.zeros(s, t) for s, t in zip(profile, call.dtypes, strict=True)]
    call(*arrays)
