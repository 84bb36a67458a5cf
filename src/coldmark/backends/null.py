"""The backend that answers at once: what remains is the harness and LoadGen themselves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.backends.build import Backend, BuildRequest, without_int8
from coldmark.core.sut import Answers, Complete, Fail, Ids, Indices


@dataclass(frozen=True, slots=True, kw_only=True)
class NullOptions:
    """The null backend has nothing to set."""


class NullSut:
    """Completes every sample inside `issue`, with four zero bytes for an answer."""

    name = "null"

    def __init__(self) -> None:
        self._complete: Complete | None = None
        self._zeros = np.zeros((0, 4), np.uint8)

    def start(self, complete: Complete, fail: Fail) -> None:
        self._complete = complete

    def issue(self, ids: Ids, indices: Indices) -> None:
        assert self._complete is not None
        self._complete(ids, self._answers(len(ids)))

    def _answers(self, n: int) -> Answers:
        if len(self._zeros) < n:
            self._zeros = np.zeros((n, 4), np.uint8)
        return self._zeros[:n]

    def flush(self) -> None:
        """Nothing ever waits here."""

    def bare_rate(self, seconds: float, samples: int) -> float:
        """Rate of the empty loop: what a call of nothing costs in Python."""
        ids = np.arange(samples, dtype=np.uint64)
        done, started = 0, time.perf_counter()
        while (now := time.perf_counter()) < started + seconds:
            self._answers(len(ids))
            done += samples
        return done / (now - started)

    def bare_times(self, seconds: float, samples: int) -> NDArray[np.float64]:
        """What one empty call takes."""
        return np.array([samples / self.bare_rate(seconds, samples)])

    def describe(self) -> dict[str, Any]:
        return {"issue": "inline", "batch": "any", "streams": 1, "threads": 0}

    def close(self) -> None:
        """Nothing to release."""


def _build(request: BuildRequest) -> NullSut:
    return NullSut()


def _versions() -> Mapping[str, str]:
    return {}


BACKEND = Backend(
    name="null",
    options=NullOptions,
    build=_build,
    versions=_versions,
    needs_model=False,
    require=without_int8("null"),
)
