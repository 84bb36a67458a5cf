"""The best rate that OpenVINO's own benchmark tool allows a task: its networks' calls, each at its best hint.

The tool knows networks, not tasks: it computes random data, in one shape, without reading samples and without
decoding. So a pipeline is run once with its networks listened to, and the tool is asked how long each of
those calls takes. What it says is a bound that leaves out everything between the calls.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from coldmark.core.nouns import Precision
from coldmark.core.sut import Compiled, Compute, Model, Network, Pipeline, Tensors
from coldmark.runs.calibration.measure import Pass
from coldmark.runs.resolve import Plan
from coldmark.runs.worker import build_sut
from coldmark.workloads.task import Task

HINTS = ("throughput", "latency")
ARITHMETIC = {Precision.FP32: "f32", Precision.BF16: "bf16"}
MOST_SHAPES = 6
"""Of one network; the times of the others are read off between these, by the elements they take in."""
BATCHES = (1, 8)
"""Of a network whose rows are samples, besides those of the configurations that are compared."""
LIMIT_S = 600.0

Shapes: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A network in one shape."""

    path: Path
    inputs: tuple[str, ...]
    shapes: Shapes
    arithmetic: str  # of what is not quantised

    @property
    def elements(self) -> int:
        """What it takes in."""
        return sum(prod(shape) for shape in self.shapes)


Calls: TypeAlias = Mapping[Call, float]
"""Calls a sample."""


@dataclass(slots=True)
class App:
    """The tool on one task. `ways` are sets of calls that make the same samples; the best is read on."""

    ways: Sequence[Calls]
    hints: dict[Call, str] = field(default_factory=dict)  # the better one of each, once known

    def rate(self, seconds: float) -> float:
        """Samples/s of the fastest way, each call read for `seconds` with each hint."""
        rates = [1 / self._sample_s(calls, seconds) for calls in self.ways]
        best = int(np.argmax(rates))
        self.ways = [self.ways[best]]
        return rates[best]

    def _sample_s(self, calls: Calls, seconds: float) -> float:
        """Seconds that the calls of a sample take one after another."""
        total, networks = 0.0, {(call.path, call.inputs): None for call in calls}
        for path, inputs in networks:
            own = sorted((c for c in calls if (c.path, c.inputs) == (path, inputs)), key=lambda c: c.elements)
            picks = np.unique(np.linspace(0, len(own) - 1, min(MOST_SHAPES, len(own))).round().astype(int))
            read = [own[at] for at in picks]
            times = [self._seconds(call, seconds) for call in read]
            at = np.interp([c.elements for c in own], [c.elements for c in read], times)
            total += float(np.dot(at, [calls[c] for c in own]))
        return total

    def _seconds(self, call: Call, seconds: float) -> float:
        hints = [self.hints[call]] if call in self.hints else list(HINTS)
        times = {hint: call_seconds(call, hint, seconds) for hint in hints}
        self.hints[call] = min(times, key=lambda hint: times[hint])
        return times[self.hints[call]]


def call_seconds(call: Call, hint: str, seconds: float) -> float:
    """Seconds a call takes by the tool, by its iterations over its time: calls side by side count as such.

    Raises RuntimeError with the tool's last words.
    """
    shapes = ",".join(
        f"{name}[{','.join(map(str, shape))}]" for name, shape in zip(call.inputs, call.shapes, strict=True)
    )
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from openvino.tools.benchmark.main import main; main()"]
        command += ["-m", str(call.path), "-d", "CPU", "-hint", hint, "-t", str(max(1, round(seconds)))]
        command += ["-shape", shapes, "-infer_precision", call.arithmetic, "-json_stats"]
        command += ["-report_type", "no_counters", "-report_folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        report = Path(folder) / "benchmark_report.json"
        if done.returncode or not report.is_file():
            raise RuntimeError(f"benchmark_app {hint} {shapes}: {done.stdout[-500:]}{done.stderr[-500:]}")
        found = json.loads(report.read_text())["execution_results"]
    return float(found["total execution time (ms)"]) / 1000 / int(found["total number of iterations"])


def app_of(tasks: Sequence[tuple[Plan, Task]], samples: int) -> App:
    """The tool's side of these configurations, each a way; calls counted on `samples` random samples."""
    model = tasks[0][1].model
    if isinstance(model, Model):
        given = {int(plan.spec.options.get("backend.batch", BATCHES[0])) for plan, _ in tasks}
        batches = sorted({*BATCHES, *given})
        return App([_rows(tasks[0][0], tasks[0][1], model, batch) for batch in batches])
    return App([_counted(plan, task, samples) for plan, task in tasks])


def _arithmetic(plan: Plan, task: Task) -> str:
    return ARITHMETIC[task.quantised.floating if task.quantised else plan.spec.precision]


def _rows(plan: Plan, task: Task, model: Model, batch: int) -> Calls:
    call = Call(
        path=model.path,
        inputs=tuple(i.name for i in model.inputs),
        shapes=tuple((batch, *i.shape) for i in model.inputs),
        arithmetic=_arithmetic(plan, task),
    )
    return {call: 1 / batch}


class _Counting:
    """A compiled network that notes the shapes it is called with."""

    def __init__(self, name: str, compiled: Compiled, seen: Counter[tuple[str, Shapes]]) -> None:
        self._name, self._compiled, self._seen = name, compiled, seen

    def __call__(self, *inputs: NDArray[Any]) -> Tensors:
        self._seen[self._name, tuple(i.shape for i in inputs)] += 1
        return self._compiled(*inputs)


def _counted(plan: Plan, task: Task, samples: int) -> Calls:
    """Calls a sample of a pipeline, counted in a pass over random samples; not timed."""
    pipeline = task.model
    assert isinstance(pipeline, Pipeline)
    seen: Counter[tuple[str, Shapes]] = Counter()
    networks: dict[str, Network] = {}

    def opened(compiled: Mapping[str, Compiled], batch: int) -> Compute:
        networks.update({n.name: n for n in pipeline.networks(batch)})
        return pipeline.open({name: _Counting(name, c, seen) for name, c in compiled.items()}, batch)

    sut = build_sut(plan, replace(task, model=replace(pipeline, open=opened)))
    some = min(samples, task.library.performance_count, task.samples)
    drawn = np.sort(np.random.default_rng(0).permutation(task.samples)[:some]).astype(np.int64)
    try:
        calls = Pass(sut)
        seen.clear()
        calls.answers(task.library, drawn)
    finally:
        sut.close()
    return {
        Call(
            path=networks[name].path,
            inputs=networks[name].inputs,
            shapes=shapes,
            arithmetic="f32" if networks[name].fp32 else _arithmetic(plan, task),
        ): count / some
        for (name, shapes), count in seen.items()
    }
