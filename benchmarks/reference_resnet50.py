"""ResNet-50 the reference way: ONNX Runtime, FP32, default threads, a batch after the other."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

BATCH = 32
"""The reference harness's own largest batch."""


def reference_rate(model_path: Path, task: Any, seconds: float) -> float:
    """Samples/s of the model of a task on its own samples, post-processing included."""
    session = ort.InferenceSession(str(model_path), providers=["CPUExecutionProvider"])
    indices = np.arange(BATCH, dtype=np.int64)
    task.library.load(indices)
    rows = np.empty((BATCH, *task.model.inputs[0].shape), np.float32)
    done, started = 0, 0.0
    while not started or time.perf_counter() < started + seconds:
        task.library.fill(indices, [rows])
        outputs = session.run(list(task.model.outputs), {task.model.inputs[0].name: rows})
        task.model.finish(outputs, indices)
        if started:
            done += BATCH
        else:
            started = time.perf_counter()  # the first batch warms
    rate = done / (time.perf_counter() - started)
    task.library.unload(indices)
    return rate
