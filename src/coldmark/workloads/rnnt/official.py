"""MLPerf's own model and data, and models of the user's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from coldmark.core.errors import DataError
from coldmark.workloads.rnnt.features import FrontEnd
from coldmark.workloads.rnnt.library import AudioLibrary
from coldmark.workloads.rnnt.librispeech import Listed, Recordings
from coldmark.workloads.rnnt.pipeline import RECIPE, Graphs, open_graphs, pipeline
from coldmark.workloads.rnnt.wer import word_error_rate
from coldmark.workloads.task import Gate, Task, calibrated, gate_ratio

FRONT_END = FrontEnd()

REFERENCE = Gate(
    metric="WER",
    unit="%",
    reference=100 - 7.452,
    ratio=gate_ratio("rnnt"),
    source="MLPerf Inference v2.1, rnnt, FP32 reference: word error rate 7.452 %",
)


def model_folder(folder: Path) -> Graphs:
    """`encoder.onnx` and `decoder.onnx` in a folder. Raises DataError for a checkpoint, with the way out."""
    if folder.is_file():
        raise DataError(
            "is a file; the model is a folder with encoder.onnx and decoder.onnx",
            where=str(folder),
            hint=f"make them from the checkpoint: python -m coldmark.workloads.rnnt.convert {folder} FOLDER",
        )
    return open_graphs(folder / "encoder.onnx", folder / "decoder.onnx")


def open_recordings(
    graphs: Graphs,
    said: Recordings,
    record: dict[str, str],
    calibration: Callable[[], Listed],
    *,
    official: bool,
) -> Task:
    """A model on LibriSpeech, with the round's gate. `calibration` opens what it is calibrated on."""

    def on(name: str, data: Recordings | Listed) -> Task:
        audio = AudioLibrary(name, data.samples, len(data.samples), data.waveform)
        return Task(
            model=pipeline(graphs, FRONT_END, audio, int(FRONT_END.frames(data.samples).max())),
            library=audio,
            samples=len(data.samples),
            recipe=RECIPE,
            gate=REFERENCE,
            official=official,
            facts=record,
            identity=data.identity,
        )

    task = replace(on("librispeech-dev-clean", said), scorer=word_error_rate(said.texts))
    return calibrated(task, lambda: on("librispeech-calibration", calibration()))
