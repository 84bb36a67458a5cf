"""What a backend is to the rest of the house: its options, its precisions, and `build`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from coldmark.backends.space import Axis, SpaceRequest
from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.sut import Model, Pipeline, RowSource, SampleLibrary, SystemUnderTest


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What a SUT is built from. `options` is an instance of the backend's own options class."""

    model: Model | Pipeline
    library: SampleLibrary
    scenario: Scenario
    precision: Precision
    options: Any
    samples_per_query: int = 1
    floating: Precision = Precision.FP32  # with INT8: the arithmetic of what is not quantised


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A backend by name. `options` is a frozen dataclass: a key it lacks is refused by name.

    `require` raises ConfigError for a precision that this processor cannot compute in. `space` says what of
    the options may be searched; nothing where there is nothing to search.
    """

    name: str
    options: type
    build: Callable[[BuildRequest], SystemUnderTest]
    versions: Callable[[], Mapping[str, str]]
    needs_model: bool = True
    require: Callable[[Precision], None] = lambda precision: None
    space: Callable[[SpaceRequest], Sequence[Axis]] = lambda request: ()


def without_int8(name: str) -> Callable[[Precision], None]:
    """`require` of a backend that computes nothing, and so nothing quantised."""

    def require(precision: Precision) -> None:
        if precision is Precision.INT8:
            raise ConfigError(
                f"the {name} backend has no int8: it computes no model",
                where="--precision",
                hint="--backend openvino or onnxruntime",
            )

    return require


def row_source(library: SampleLibrary) -> RowSource:
    """A library as rows, which every library of a `Model` is. Raises TypeError for another."""
    if not callable(getattr(library, "fill", None)):
        raise TypeError(f"{type(library).__name__} has no rows: a Model needs a RowSource")
    return cast("RowSource", library)


def processors() -> int:
    """Processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
