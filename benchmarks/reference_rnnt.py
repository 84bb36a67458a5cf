"""RNN-T the reference way: ONNX Runtime, FP32, default threads, one utterance and one symbol at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from coldmark.workloads.rnnt.alphabet import BLANK
from coldmark.workloads.rnnt.decode import MOST_AT_A_FRAME
from coldmark.workloads.rnnt.features import FrontEnd
from coldmark.workloads.rnnt.mini import FRONT_END as MINI

UTTERANCES = 16
"""Drawn at random; the rate is scaled to the mean length of the library."""


def reference_rate(model_path: Path | None, task: Any, seconds: float) -> float:
    """Utterances/s, waveform to labels, by the graphs of the task's pipeline; `model_path` is not read."""
    encoder, decoder = (
        ort.InferenceSession(str(network.path), providers=["CPUExecutionProvider"])
        for network in task.model.networks(1)
    )
    front_end = next(f for f in (FrontEnd(), MINI) if f.width == encoder.get_inputs()[0].shape[-1])
    indices = np.random.default_rng(20220908).permutation(task.library.count)[:UTTERANCES]
    task.library.load(indices)
    done, turn, started = 0.0, 0, 0.0
    while not started or time.perf_counter() < started + seconds:
        index = int(indices[turn % len(indices)])
        _transcribe(task.library.waveform(index), front_end, encoder, decoder)
        if started:
            done += task.library.samples[index]
        else:
            started = time.perf_counter()  # the first one warms
        turn += 1
    rate = done / task.library.samples.mean() / (time.perf_counter() - started)
    task.library.unload(indices)
    return float(rate)


def _transcribe(waveform: Any, front_end: FrontEnd, encoder: Any, decoder: Any) -> list[int]:
    """Prediction network and joint once a symbol and once a blank, as the reference's greedy decoder does."""
    frames = int(front_end.frames(np.array(len(waveform))))
    features = np.zeros((frames + frames % 2, 1, front_end.width), np.float32)
    front_end(waveform, features[:, 0])
    (heard,) = encoder.run(None, {"features": features, "lengths": np.array([frames])})
    parts, _, width = decoder.get_inputs()[1].shape
    state, said = np.zeros((parts, 1, width), np.float32), [BLANK]
    for place in range((frames + 1) // 2):
        frame = heard[:, place : place + 1]
        for _ in range(MOST_AT_A_FRAME):
            feed = {"symbol": np.array(said[-1:]), "state": state, "heard": frame}
            logits, after = decoder.run(None, feed)
            best = int(logits.argmax())
            if best == BLANK:
                break
            said.append(best)
            state = after
    return said[1:]
