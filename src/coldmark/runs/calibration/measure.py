"""Accuracy and speed of a model through its real backend, without LoadGen: bare passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.backends.build import BuildRequest
from coldmark.core.errors import ColdmarkError, DataError, RunError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.sut import Answers, Ids, Indices, Model, Pipeline, SampleLibrary, SystemUnderTest
from coldmark.runs.resolve import Plan
from coldmark.workloads.task import Score, Task

SUBSET_SEED = 20221206
SUBSET_SHARE, SUBSET_LEAST = 0.1, 200
"""What is scored first, so that what clearly fails costs little."""

ROUNDS = 5
ROUNDS_S = 60.0
"""Time after which no further round is begun: a sample of 3D-UNet alone may take a minute."""
WAIT_S = 0.5


class Pass:
    """A SUT that is asked for answers, not timed."""

    def __init__(self, sut: SystemUnderTest) -> None:
        self.sut = sut
        self._answers: dict[int, bytes] = {}
        self._wanted = 0
        self._over = threading.Event()
        self._failures: list[BaseException] = []
        sut.start(self._complete, self._fail)

    def _complete(self, ids: Ids, answers: Answers) -> None:
        for id_, answer in zip(ids.tolist(), answers, strict=True):
            self._answers[id_] = bytes(np.ascontiguousarray(answer).data)
        if len(self._answers) >= self._wanted:
            self._over.set()

    def _fail(self, error: BaseException) -> None:
        self._failures.append(error)
        self._over.set()

    def answers(
        self, library: SampleLibrary, indices: Indices, on_done: Callable[[int], None] | None = None
    ) -> list[bytes]:
        """The answers to these samples, in their order; as many at a time as fit in memory together."""
        found: list[bytes] = []
        for at in range(0, len(indices), library.performance_count):
            part = indices[at : at + library.performance_count]
            library.load(part)
            try:
                found += self._part(part)
            finally:
                library.unload(part)
            if on_done:
                on_done(len(found))
        return found

    def _part(self, indices: Indices) -> list[bytes]:
        self._answers, self._wanted = {}, len(indices)
        self._over.clear()
        ids = np.arange(len(indices), dtype=np.uint64)
        self.sut.issue(ids, indices)
        self.sut.flush()
        while not self._over.wait(WAIT_S):  # in pieces, so that Ctrl-C is heard
            pass
        if self._failures:
            first = self._failures[0]
            raise first if isinstance(first, ColdmarkError) else RunError(f"{type(first).__name__}: {first}")
        return [self._answers[id_] for id_ in range(len(indices))]


@contextmanager
def opened(
    plan: Plan, task: Task, model: Model | Pipeline, precision: Precision, floating: Precision
) -> Iterator[Pass]:
    """A model compiled as an Offline run would."""
    request = BuildRequest(
        model=model,
        library=task.library,
        scenario=Scenario.OFFLINE,
        precision=precision,
        floating=floating,
        options=plan.backend_options,
    )
    sut = plan.backend.build(request)
    try:
        yield Pass(sut)
    finally:
        sut.close()


@dataclass(frozen=True, slots=True)
class Judged:
    """An accuracy, or why what was seen of it is enough."""

    value: float
    whole: bool  # over the whole evaluation set
    samples: int
    part: float | None  # over the part that is scored first, where the metric has a value there


def accuracy(bare: Pass, task: Task, floor: float | None, on_done: Callable[[int], None]) -> Judged:
    """The task's metric over its evaluation set; over a first part where that fails `floor` beyond doubt.

    `floor` is what the FP32 model reached on the same part, times the gate's ratio: the metric of a part need
    not be near that of the whole. Beyond doubt is a miss by more than half the 95 % interval of the part;
    that of the difference is narrower, because both answered the same samples.
    """
    assert task.scorer is not None
    every = np.arange(task.samples, dtype=np.int64)
    first = _subset(task.samples)
    seen = bare.answers(task.library, first, on_done) if len(first) else []
    score = _partly(task, first, seen) if len(first) else None
    part = score.value if score else None
    if score and floor is not None and score.high is not None and score.high < floor:
        return Judged(score.value, whole=False, samples=len(first), part=part)
    rest = np.setdiff1d(every, first)
    found = bare.answers(task.library, rest, lambda done: on_done(len(first) + done))
    whole = task.scorer(np.concatenate([first, rest]), [*seen, *found])
    return Judged(whole.value, whole=True, samples=task.samples, part=part)


def _subset(samples: int) -> Indices:
    size = max(SUBSET_LEAST, round(samples * SUBSET_SHARE))
    if size > samples // 2:
        return np.zeros(0, np.int64)
    return np.sort(np.random.default_rng(SUBSET_SEED).permutation(samples)[:size]).astype(np.int64)


def _partly(task: Task, indices: Indices, answers: list[bytes]) -> Score | None:
    """The score of a part of the set, where the metric has one."""
    assert task.scorer is not None
    try:
        return task.scorer(indices, answers)
    except DataError:
        return None


class FP32Failed(RunError):
    """What candidates are compared with failed: nothing that is measured beside it means anything."""


def speeds(base: Pass, other: Pass, seconds: float) -> NDArray[np.float64]:
    """Rate of `other` over that of `base`, measured in turns so that a drift hits both; shape [1 to 5].

    Raises FP32Failed where `base` fails; what `other` raises is let through.
    """
    found: list[float] = []
    until = time.monotonic() + ROUNDS_S
    for turn in range(ROUNDS):
        if found and time.monotonic() > until:
            break
        pair: dict[Any, float] = {}
        for which in (base, other) if turn % 2 == 0 else (other, base):
            try:
                pair[id(which)] = which.sut.bare_rate(seconds, 1)
            except Exception as error:
                if which is base:
                    raise FP32Failed(f"FP32 failed in a pair of rates: {error}") from error
                raise
        found.append(pair[id(other)] / pair[id(base)])
    return np.array(found)
