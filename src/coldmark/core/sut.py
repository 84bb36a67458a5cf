"""The two big protocols: what answers queries, and where samples come from.

Both speak in arrays of ids and indices, never in one Python object per sample, so that a native
issue path can take the place of the Python one below them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

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
    """A model file and how its outputs become answers."""

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]  # names, in the order `finish` takes them
    finish: Callable[[Tensors, int], Answers]  # outputs of a batch, number of real rows -> answers


class SampleLibrary(Protocol):
    """The samples of a workload (LoadGen's QSL). Loading is untimed, `fill` is timed."""

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

    def fill(self, indices: Indices, inputs: Tensors) -> None:
        """Write loaded samples into the first rows of each input tensor, [>= n, ...]."""


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
