"""`full`: the official architecture with seeded weights, for speed only."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx

from coldmark.workloads.cache import materialise
from coldmark.workloads.rnnt import architecture
from coldmark.workloads.rnnt.features import FrontEnd
from coldmark.workloads.rnnt.library import AudioLibrary
from coldmark.workloads.rnnt.pipeline import RECIPE, Graphs, open_graphs, pipeline
from coldmark.workloads.rnnt.spoken import Tape
from coldmark.workloads.sources import SEEDED
from coldmark.workloads.task import Task, calibrated, drawn

FRONT_END = FrontEnd()
UTTERANCES = 2513
"""As many as the official set."""

TAPE_SEED = 540_005
CALIBRATION_SEED = 540_006
CALIBRATION_COUNT = 500

LABELS_A_SECOND = 14.86
"""Of the official transcripts: 233 450 characters in 15 710 s (dev-clean up to 15 s, from the manifest)."""

VERSION = 1


def open_full(cache: Path, need_model: bool, shape: architecture.Shape | None = None) -> Task:
    """The task with seeded weights; `shape` for tests, which take a small one of the same form."""
    shape = shape or architecture.Shape()
    graphs = seeded_graphs(cache, shape) if need_model else None

    def on(seed: int, count: int) -> Task:
        tape = Tape(seed, count, FRONT_END.rate)
        audio = AudioLibrary("synthetic-speech-16k", tape.samples, count, tape.waveform)
        frames = FRONT_END.frames(tape.samples)
        seconds = float(tape.samples.mean()) / FRONT_END.rate
        record = {
            "weights": f"seeded random (seed {architecture.SEED}), performance only",
            "macs_per_sample": str(_macs(shape, float(frames.mean()), seconds)),
        }
        return Task(
            model=pipeline(graphs, FRONT_END, audio, int(frames.max())) if graphs else None,
            library=audio,
            samples=count,
            recipe=RECIPE,
            refusal=SEEDED,
            facts=record | ({"model_sha256": graphs.sha256} if graphs else {}),
            identity=drawn("tape", seed),
        )

    return calibrated(on(TAPE_SEED, UTTERANCES), lambda: on(CALIBRATION_SEED, CALIBRATION_COUNT))


def seeded_graphs(cache: Path, shape: architecture.Shape) -> Graphs:
    """Both graphs, made once."""
    stem = f"full-v{VERSION}-{architecture.SEED}-{shape.encoder}"
    paths = [cache / "rnnt" / f"{stem}-{part}.onnx" for part in ("encoder", "decoder")]
    if not all(path.is_file() for path in paths):
        weights = architecture.seeded(shape)
        for path, build in zip(paths, (architecture.build_encoder, architecture.build_decoder), strict=True):
            materialise(path, partial(_write, build(weights, shape)))
    return open_graphs(*paths)


def _write(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString())


def _macs(shape: architecture.Shape, frames: float, seconds: float) -> int:
    """Of an utterance of mean length at the official rate of speech."""
    said = round(seconds * LABELS_A_SECOND)
    half = round(np.ceil(frames / 2))
    return architecture.encoder_macs(shape, round(frames)) + architecture.decoder_macs(shape, half, said)
