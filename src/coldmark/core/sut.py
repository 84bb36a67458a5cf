"""The two big protocols: what answers queries, and where samples come from.

Both speak in arrays of ids and indices, never in one Python object per sample, so that a native
issue path can take the place of the Python one below them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from coldmark.core.nouns import Scenario

Ids: TypeAlias = NDArray[np.uint64]
"""Response ids of LoadGen, one a sample, shape [n]."""

Indices: TypeAlias = NDArray[np.int64]
"""Sample indices into the library, shape [n]."""

Answers: TypeAlias = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
"""Encoded answers, one a sample: [n, bytes], or a sequence of n byte arrays of unequal length."""

Complete: TypeAlias = Callable[[Ids, Answers], None]
"""Called by a SUT, from any thread, when samples are answered. Never raises into the SUT."""

Fail: TypeAlias = Callable[[BaseException], None]
"""Called by a SUT, from any thread, when it can no longer answer. The run ends as failed."""

Tensors: TypeAlias = Sequence[NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a model. The first dimension is the batch and stays open."""

    name: str
    shape: tuple[int, ...]  # without the batch dimension
    dtype: str = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model file whose input rows are samples, and how its outputs become answers."""

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]  # names, in the order `finish` takes them
    finish: Callable[[Tensors, Indices], Answers]  # outputs of a batch, samples in its first rows -> answers
    finish_is_work: bool = False  # decoding is part of the task (boxes), so the bare rate includes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network file of a pipeline, and every combination of input shapes it will be called with."""

    name: str
    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    profiles: tuple[tuple[tuple[int, ...], ...], ...]
    dynamic: bool = False  # compile once with open shapes, not once a profile: for weights that fill memory
    fp32: bool = False  # in FP32 whatever the run's precision


class Compiled(Protocol):
    """A network as one lane has it."""

    def __call__(self, *inputs: NDArray[Any]) -> Tensors:
        """Compute in this thread, other Python threads running on.

        Inputs are C-contiguous and have the shapes of one of the profiles. The outputs are overwritten by
        the next call of this network in this lane.
        """


Compute: TypeAlias = Callable[[Indices], Answers]
"""Answers loaded samples, in one lane's own buffers: never called twice at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A model of several networks, or of samples of unequal size: how one lane answers a batch."""

    networks: Callable[[int], tuple[Network, ...]]  # batch -> networks with the shapes that batch needs
    open: Callable[[Mapping[str, Compiled], int], Compute]  # networks by name, batch -> a lane
    batch: Mapping[Scenario, int]  # where nothing else is asked for
    size: Callable[[Indices], NDArray[np.int64]] | None = None  # work of samples, known without loading them
    batch_by_size: bool = False  # the batch counts size, not samples
    unit: str = "samples"  # what the batch counts


class SampleLibrary(Protocol):
    """The samples of a workload (LoadGen's QSL). Loading is untimed."""

    @property
    def name(self) -> str: ...

    @property
    def count(self) -> int:
        """Samples in all."""

    @property
    def performance_count(self) -> int:
        """Samples that fit in memory together, at least the round's number."""

    def load(self, indices: Indices) -> None:
        """Make these samples ready in memory. Raises DataError."""

    def unload(self, indices: Indices) -> None:
        """Let these samples go."""


class RowSource(SampleLibrary, Protocol):
    """A library whose samples are rows of a `Model`'s inputs."""

    def fill(self, indices: Indices, inputs: Tensors) -> None:
        """Write loaded samples into the first rows of each input tensor, [>= n, ...]. Timed."""


class SystemUnderTest(Protocol):
    """Answers queries. `issue` may come from one thread at a time; completions from any."""

    @property
    def name(self) -> str: ...

    def start(self, complete: Complete, fail: Fail) -> None:
        """Get ready: after this, `issue` costs no first-time work."""

    def issue(self, ids: Ids, indices: Indices) -> None:
        """Take a query of n samples; each id is completed exactly once, now or later."""

    def flush(self) -> None:
        """No more samples are to come for now: leave nothing waiting for company."""

    def bare_rate(self, seconds: float, samples: int) -> float:
        """Samples/s of the same compiled model, batch and streams without any harness around it.

        `samples` is the query size, which matters where a query is answered inline.
        """

    def bare_times(self, seconds: float, samples: int) -> NDArray[np.float64]:
        """Wall seconds of single batches of `samples`, one after another, without any harness; shape [n]."""

    def describe(self) -> dict[str, Any]:
        """What was compiled and how: versions, precision, batch, streams, threads."""

    def close(self) -> None:
        """Release everything. May be called twice."""
