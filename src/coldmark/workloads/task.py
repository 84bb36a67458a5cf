"""What a workload is to the rest of the house, and how its folder is found."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.core.calibration import Quantisation
from coldmark.core.codec import read_toml
from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.core.sut import Model, Pipeline, SampleLibrary


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The accuracy a model must reach: `ratio` times its FP32 reference."""

    metric: str
    unit: str
    reference: float
    ratio: float
    source: str  # where the reference comes from

    @property
    def target(self) -> float:
        return self.reference * self.ratio


def gate_ratio(workload_id: str) -> float:
    """The share of the FP32 reference that a benchmark id demands: 99.9 % by its name, else 99 %."""
    return 0.999 if workload_id.endswith("-99.9") else 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The task's metric over the answers given."""

    value: float
    samples: int
    line: str  # as the official accuracy script prints it
    low: float | None = None  # 95 % interval of the value, where the metric has one
    high: float | None = None


Scorer = Callable[[NDArray[np.int64], Sequence[bytes]], Score]
"""(sample indices, answers) of an accuracy run -> score. Raises DataError on a bad answer.

Whoever judges an accuracy asks for the complete set first; TEST01 scores a part of it, where a metric can."""


Identity = Callable[[int], str]
"""Sample index -> what a sample is, told without loading it: a digest of its content, the seed and index it
is drawn from, or its name in an official set. Equal samples have equal ones, in whatever set they stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a workload knows about quantising its networks; the names are those of its ONNX graphs."""

    transformer: bool = False  # attention and layer norms need other places of quantisation than convolutions
    skip: tuple[str, ...] = ()  # networks of the pipeline that are left as they are
    keep: tuple[str, ...] = ()  # regular expressions of node names that stay in floating point
    methods: tuple[str, ...] = ()  # methods to try, in this order; empty: those of the backend
    samples: int = 300  # calibration samples where nothing else is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A workload opened with one model source: what to run, on what, and how to score it."""

    model: Model | Pipeline | None  # None only for backends that compute nothing
    library: SampleLibrary
    samples: int  # in the evaluation set
    scorer: Scorer | None = None
    gate: Gate | None = None
    refusal: str = ""  # why accuracy is refused, where it is
    official: bool = False  # MLPerf's own model file and data set
    calibration: Callable[[], Task] | None = None  # the same model on samples one may calibrate with
    identity: Identity | None = None  # what tells samples apart, so that two sets can be compared
    quantised: Quantisation | None = None  # what the networks of `model` are, where they are quantised
    overlap: str = ""  # of a calibration set: the clause by which it may hold samples of the evaluation set
    recipe: Recipe | None = None  # how its networks are quantised; None: in the usual way
    facts: dict[str, str] = field(default_factory=dict)  # what stands in the record
    warnings: tuple[str, ...] = ()  # doubts about model or data that a result must carry


def calibrated(task: Task, calibration: Callable[[], Task]) -> Task:
    """`task`, which can be opened on its calibration set too.

    Opening that set raises ConfigError where a path was not given, DataError where data is amiss.
    """
    return replace(task, calibration=lambda: replace(calibration(), gate=None, warnings=()))


def drawn(name: str, seed: int) -> Identity:
    """Identity of what is drawn from seed and index alone."""
    return lambda index: f"{name} {seed} {index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadFile:
    """A folder's `workload.toml`."""

    ids: tuple[str, ...]
    title: str
    task: str
    module: str  # dotted path with `Options` and `open_task`
    sources: dict[str, str]  # model source -> what it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One benchmark id and the folder that serves it."""

    id: str
    file: WorkloadFile

    @property
    def options(self) -> type:
        """The options class: a key it lacks is refused by name."""
        kind: type = importlib.import_module(self.file.module).Options
        return kind

    def open(self, source: str, options: Any, *, cache: Path, need_model: bool = True) -> Task:
        """Open with a model source. Raises ConfigError or DataError; writes only into `cache`."""
        task: Task = importlib.import_module(self.file.module).open_task(
            self.id, source, options, cache=cache, need_model=need_model
        )
        return task


@cache
def workloads() -> Mapping[str, Workload]:
    """All workloads by id."""
    found: dict[str, Workload] = {}
    for folder in sorted(resources.files("coldmark.workloads").iterdir(), key=lambda f: f.name):
        toml = Path(str(folder)) / "workload.toml"
        if toml.is_file():
            file = read_toml(toml, WorkloadFile)
            found |= {name: Workload(id=name, file=file) for name in file.ids}
    return found


def find_workload(name: str) -> Workload:
    """The workload called `name`. Raises ConfigError with the nearest right name."""
    known = workloads()
    if name not in known:
        raise ConfigError(f"no workload {name!r}", where="WORKLOAD", hint=did_you_mean(name, known))
    return known[name]
