"""3D-UNet the reference way: ONNX Runtime, FP32, default threads, one window and one case after another."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from coldmark.workloads.unet3d.windows import starts, weights


def reference_rate(model_path: Path | None, task: Any, seconds: float) -> float:
    """Cases/s on a task's own cases, blending and argmax included, loading not.

    Cases are of unequal size and few fit into the time, so windows are counted, and their rate is divided by
    the mean number of windows of all cases.
    """
    network, library = task.model.networks(1)[0], task.library
    session = ort.InferenceSession(str(model_path or network.path), providers=["CPUExecutionProvider"])
    patch = weights(library.window)

    def infer(window: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run(list(network.outputs), {network.inputs[0]: window})[0]
        return found

    infer(np.zeros((1, 1, *patch.shape), np.float32))  # the first one warms
    windows, spent, index = 0, 0.0, 0
    while spent < seconds:
        at = np.array([index % library.count])
        library.load(at)
        started = time.perf_counter()
        windows += _case(infer, library.volume(int(at[0])), patch)
        spent += time.perf_counter() - started
        library.unload(at)
        index += 1
    return float(windows / spent / library.mean_windows)


def _case(infer: Any, volume: NDArray[np.float32], patch: NDArray[np.float32]) -> int:
    """Label one case as the reference does; returns its windows."""
    side = len(patch)
    sums = np.zeros((3, *volume.shape), np.float32)
    norm = np.zeros_like(sums)
    places = starts(volume.shape, side)
    for i, j, k in places:
        at = (..., slice(i, i + side), slice(j, j + side), slice(k, k + side))
        sums[at] += infer(np.ascontiguousarray(volume[None, None][at]))[0] * patch
        norm[at] += patch
    np.argmax(sums / norm, axis=0).astype(np.uint8).tobytes()
    return len(places)
