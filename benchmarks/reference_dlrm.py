"""The reference way of running DLRM: ONNX Runtime, FP32, its defaults, one sample's pairs after another's.

As the official harness does it, without LoadGen: the sample's columns are stacked, the whole model (lookups
inside) is called, and each pair's probability is paired with its truth in a Python loop before the answer
becomes bytes. `layers_rate` leaves that loop out, to show what it costs.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from coldmark.workloads.cache import cache_dir, materialise
from coldmark.workloads.dlrm.architecture import full_config, seeded
from coldmark.workloads.dlrm.graph import build, write
from coldmark.workloads.sources import shipped
from coldmark.workloads.task import Task

SAMPLES = 256


def reference_rate(model_path: Path | None, task: Task, seconds: float, *, loop: bool = True) -> float:
    """Samples/s of the reference's loop over loaded samples of the task."""
    session = ort.InferenceSession(model_path or _whole_file(task))
    indices = np.arange(min(SAMPLES, task.library.count))
    task.library.load(indices)
    dense, category, click = task.library.columns  # type: ignore[attr-defined]
    cuts = [slice(s, s + int(n)) for s, n in zip(_starts(task, indices), _sizes(task, indices), strict=True)]
    done, good, started = 0, 0, 0.0
    while not started or time.perf_counter() < started + seconds:
        cut = cuts[done % len(cuts)]
        feed = {"dense": np.concatenate([dense[cut]]), "category": np.concatenate([category[cut]])}
        found = session.run(None, feed)[0]
        if loop:
            pairs = []
            for probability, truth in zip(found, click[cut], strict=True):
                pairs.append([probability[0], truth])
                good += probability[0].round() == truth
            np.array(pairs, np.float32).tobytes()
        if not started:  # the first call is not counted
            started, done = time.perf_counter(), -1
        done += 1
    elapsed = time.perf_counter() - started
    task.library.unload(indices)
    return done / elapsed


def layers_rate(model_path: Path | None, task: Task, seconds: float) -> float:
    """The same without the loop over pairs."""
    return reference_rate(model_path, task, seconds, loop=False)


def _whole_file(task: Task) -> Path:
    """The whole model of the task: `mini` as shipped, `full` built once."""
    if "most_rows" not in task.facts:
        return shipped("coldmark.workloads.dlrm", "mini.onnx")
    rows = int(task.facts["most_rows"])
    path = cache_dir() / "dlrm" / f"whole-{rows}.onnx"
    config = full_config(rows)
    return materialise(path, lambda aside: write(build(config, seeded(config), whole=True), aside))


def _starts(task: Task, indices: np.ndarray) -> list[int]:
    return [task.library.start(i) for i in indices.tolist()]  # type: ignore[attr-defined]


def _sizes(task: Task, indices: np.ndarray) -> list[int]:
    sizes: list[int] = task.library.sizes(indices).tolist()  # type: ignore[attr-defined]
    return sizes
