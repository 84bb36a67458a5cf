"""RetinaNet the reference way: ONNX Runtime, FP32, default threads, one image after another.

MLPerf's own file decodes its boxes in the graph; ours are decoded in Python, by the same steps, so the peer
is given that too. What is the harness's own is done as it does it: a Python list a detection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from coldmark.core.sut import Pipeline

IMAGES = 16
"""Samples of the set that are gone through again and again."""


def reference_rate(model_path: Path | None, task: Any, seconds: float) -> float:
    """Samples/s of the model of a task on its own samples, post-processing included."""
    answer = _pipeline(task.model) if isinstance(task.model, Pipeline) else _rows(task)
    indices = np.arange(min(IMAGES, task.samples), dtype=np.int64)
    task.library.load(indices)
    _listed(answer(indices[:1]))  # the first warms
    done, started = 0, time.perf_counter()
    while (now := time.perf_counter()) < started + seconds:
        _listed(answer(indices[done % len(indices)][None]))
        done += 1
    task.library.unload(indices)
    return done / (now - started)


def _session(path: Path) -> Any:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _pipeline(pipeline: Pipeline) -> Callable[[Any], Any]:
    (network,) = pipeline.networks(1)
    session = _session(network.path)

    def run(*inputs: Any) -> Any:
        return session.run(list(network.outputs), dict(zip(network.inputs, inputs, strict=True)))

    return pipeline.open({network.name: run}, 1)


def _rows(task: Any) -> Callable[[Any], Any]:
    session, model = _session(task.model.path), task.model
    row = np.empty((1, *model.inputs[0].shape), np.float32)

    def answer(indices: Any) -> Any:
        task.library.fill(indices, [row])
        return model.finish(session.run(list(model.outputs), {model.inputs[0].name: row}), indices)

    return answer


def _listed(answers: Any) -> list[np.ndarray]:
    """Each detection as a list of seven numbers, then float32 again: what the harness logs."""
    found = []
    for answer in answers:
        rows = np.asarray(answer).view("<f4").reshape(-1, 7)
        found.append(np.array([[float(value) for value in row] for row in rows], np.float32))
    return found
