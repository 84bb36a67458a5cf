"""The reference way of running BERT: ONNX Runtime in FP32 with its defaults, one padded sample at a time."""

from __future__ import annotations

import time
from itertools import cycle
from pathlib import Path

import numpy as np
import onnxruntime as ort

from coldmark.core.sut import Pipeline
from coldmark.workloads.bert.samples import FeatureLibrary
from coldmark.workloads.task import Task

SAMPLES = 64


def reference_rate(model_path: Path | None, task: Task, seconds: float) -> float:
    """Samples/s of the loop that the round's reference harness runs for BERT, without LoadGen.

    Each sample's lists become arrays of [1, sequence], the network is called, the two outputs are stacked
    and turned to bytes. The first call is not counted. Without a path the task's own file is taken.
    """
    assert isinstance(task.library, FeatureLibrary)
    if model_path is None:
        assert isinstance(task.model, Pipeline)
        model_path = task.model.networks(1)[0].path
    session = ort.InferenceSession(model_path, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    outputs = [o.name for o in session.get_outputs()]
    lists = _lists(task.library, SAMPLES)

    def answer(sample: tuple[list[int], ...]) -> bytes:
        feed = {n: np.array(v).astype(np.int64)[np.newaxis] for n, v in zip(names, sample, strict=True)}
        return bytes(np.stack(session.run(outputs, feed), axis=-1)[0].tobytes())

    answer(lists[0])
    started = time.perf_counter()
    for done, sample in enumerate(cycle(lists), 1):
        answer(sample)
        if (spent := time.perf_counter() - started) >= seconds:
            return done / spent
    raise AssertionError("unreachable")


def _lists(library: FeatureLibrary, count: int) -> list[tuple[list[int], ...]]:
    """Ids, mask and segments of the first samples, as the reference keeps them: padded lists."""
    f = library.features
    at = np.arange(f.form.sequence)
    found = []
    for row in range(min(count, len(f))):
        mask = (at < f.length[row]).astype(int)
        segments = mask * (at >= f.window[row])
        found.append((f.ids[row].tolist(), mask.tolist(), segments.tolist()))
    return found
