"""What each network is given on calibration samples, kept for the quantiser within bounds.

Rows are read from the library as they are; a pipeline is run in FP32 with its networks listened to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.backends.build import BuildRequest, row_source
from coldmark.core.calibration import WHOLE
from coldmark.core.errors import ColdmarkError, RunError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.sut import Answers, Compiled, Compute, Ids, Indices, Model, Network, Pipeline, Tensors
from coldmark.runs.resolve import Plan
from coldmark.workloads.task import Task

SEED = 20221205
MAX_BYTES = 1 << 30
"""Kept inputs of one network. What is beyond is not kept; the number that is stands in the record."""

Feed = dict[str, NDArray[Any]]
Captured = dict[str, list[Feed]]


@dataclass(slots=True)
class Reservoir:
    """An even draw of at most `most` calls out of any number of them (Vitter's algorithm R)."""

    most: int
    rng: np.random.Generator
    kept: list[Feed] = field(default_factory=list)
    seen: int = 0
    bytes: int = 0

    def offer(self, make: Callable[[], Feed]) -> None:
        """Take the call, instead of another, or leave it; `make` copies its inputs."""
        self.seen += 1
        if len(self.kept) < self.most:
            feed = make()
            size = sum(a.nbytes for a in feed.values())
            if self.kept and self.bytes + size > MAX_BYTES:
                self.most = len(self.kept)
            else:
                self.kept.append(feed)
                self.bytes += size
                return
        place = int(self.rng.integers(self.seen))
        if place < self.most:
            self.kept[place] = make()


def drawn(count: int, wanted: int) -> Indices:
    """Which samples of a calibration set are used: an even draw without repeats, ascending."""
    if wanted >= count:
        return np.arange(count, dtype=np.int64)
    return np.sort(np.random.default_rng(SEED).permutation(count)[:wanted]).astype(np.int64)


def capture(plan: Plan, task: Task, indices: Indices, on_sample: Callable[[int], None]) -> Captured:
    """Inputs of every network on these samples of a calibration task."""
    if isinstance(task.model, Pipeline):
        return _heard(plan, task, task.model, indices, on_sample)
    assert isinstance(task.model, Model)
    return {WHOLE: _rows(task, task.model, indices, on_sample)}


def _rows(task: Task, model: Model, indices: Indices, on_sample: Callable[[int], None]) -> list[Feed]:
    library, found, total = row_source(task.library), list[Feed](), 0
    for at, index in enumerate(indices):
        one = np.array([index], np.int64)
        feed = {spec.name: np.zeros((1, *spec.shape), spec.dtype) for spec in model.inputs}
        total += sum(a.nbytes for a in feed.values())
        if found and total > MAX_BYTES:
            break
        library.load(one)
        library.fill(one, list(feed.values()))
        library.unload(one)
        found.append(feed)
        on_sample(at + 1)
    return found


class _Listening:
    """A compiled network whose inputs are offered to a reservoir before it computes."""

    def __init__(self, network: Network, compiled: Compiled, reservoir: Reservoir) -> None:
        self._names, self._compiled, self._reservoir = network.inputs, compiled, reservoir

    def __call__(self, *inputs: NDArray[Any]) -> Tensors:
        self._reservoir.offer(
            lambda: {name: array.copy() for name, array in zip(self._names, inputs, strict=True)}
        )
        return self._compiled(*inputs)


def _heard(
    plan: Plan, task: Task, pipeline: Pipeline, indices: Indices, on_sample: Callable[[int], None]
) -> Captured:
    networks = {n.name: n for n in pipeline.networks(1)}
    rng = np.random.default_rng(SEED)
    kept = {name: Reservoir(len(indices), rng) for name in networks}

    def opened(compiled: Mapping[str, Compiled], batch: int) -> Compute:
        heard = {name: _Listening(networks[name], c, kept[name]) for name, c in compiled.items()}
        return pipeline.open(heard, batch)

    request = BuildRequest(
        model=replace(pipeline, open=opened),
        library=task.library,
        scenario=Scenario.SINGLE_STREAM,
        precision=Precision.FP32,
        options=plan.backend.options(),
    )
    failures: list[BaseException] = []
    sut = plan.backend.build(request)
    try:
        sut.start(_ignore, failures.append)
        for at, index in enumerate(indices):
            one = np.array([index], np.int64)
            task.library.load(one)
            sut.issue(np.array([at], np.uint64), one)
            task.library.unload(one)
            if failures:
                raise _as_error(failures)
            on_sample(at + 1)
    finally:
        sut.close()
    return {name: reservoir.kept for name, reservoir in kept.items()}


def _ignore(ids: Ids, answers: Answers) -> None:
    """Only the inputs are wanted."""


def _as_error(failures: Sequence[BaseException]) -> ColdmarkError:
    first = failures[0]
    return first if isinstance(first, ColdmarkError) else RunError(f"{type(first).__name__}: {first}")
