"""The shipped small sibling: the model that comes with coldmark, its held-out set and its gate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from coldmark.core.codec import read_toml
from coldmark.workloads.rnnt.features import FrontEnd
from coldmark.workloads.rnnt.library import AudioLibrary
from coldmark.workloads.rnnt.pipeline import RECIPE, Graphs, open_graphs, pipeline
from coldmark.workloads.rnnt.spoken import SpokenSet
from coldmark.workloads.rnnt.wer import word_error_rate
from coldmark.workloads.sources import check_shipped, shipped
from coldmark.workloads.task import Gate, Task, calibrated, drawn, gate_ratio

PACKAGE = "coldmark.workloads.rnnt"

FRONT_END = FrontEnd(rate=8000, transform=256, mels=40)

TRAINING_SEED = 540_001
VALIDATION_SEED = 540_002  # for choices made during development, so that held-out utterances stay unseen
HELDOUT_SEED = 540_003
CALIBRATION_SEED = 540_004

HELDOUT_COUNT = 2513  # as many as the official set
CALIBRATION_COUNT = 500  # as many as in MLPerf's list


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the shipped model was made."""

    training_seed: int
    training_utterances: int
    letter_steps: int
    steps: int
    fresh_utterances: int
    fresh_steps: int
    batch: int
    peak_rate: float
    network_seed: int
    threads: int
    opset: int
    minutes: float
    made_with: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """The evaluation set, and what the FP32 model reached on it."""

    heldout_seed: int
    heldout_count: int
    heldout_sha256: str
    words: int
    labels: int
    reference_errors: int
    reference_accuracy_percent: float  # 100 minus the word error rate


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniFile:
    """`mini.toml`: the facts of the shipped model, written by its training script."""

    encoder_sha256: str
    decoder_sha256: str
    encoder_hidden: int
    prediction_hidden: int
    joint_hidden: int
    parameters: int
    macs_per_sample: int
    training: Training
    heldout: Heldout


OTHER_SET = (
    "the held-out utterances spoken here differ from those the reference was measured on; the gate may be "
    "off by as much as that changes"
)


def mini_file() -> MiniFile:
    """The facts of the shipped model."""
    return read_toml(shipped(PACKAGE, "mini.toml"), MiniFile)


def shipped_graphs() -> Graphs:
    """The shipped encoder and decoder. Raises DataError when they are not those of `mini.toml`."""
    facts = mini_file()
    graphs = open_graphs(shipped(PACKAGE, "mini-encoder.onnx"), shipped(__package__, "mini-decoder.onnx"))
    check_shipped(graphs.encoder, graphs.sha256, f"{facts.encoder_sha256} {facts.decoder_sha256}")
    return graphs


def heldout(facts: MiniFile, cache: Path) -> SpokenSet:
    """The evaluation set of the shipped model."""
    return SpokenSet(facts.heldout.heldout_seed, facts.heldout.heldout_count, cache)


def calibration(cache: Path, count: int = CALIBRATION_COUNT) -> SpokenSet:
    """Utterances for quantisation, with none of training, validation or evaluation among them."""
    return SpokenSet(CALIBRATION_SEED, count, cache)


def library(said: SpokenSet, name: str) -> AudioLibrary:
    return AudioLibrary(name, said.samples, len(said.samples), said.waveform)


def open_on_heldout(graphs: Graphs, cache: Path, record: dict[str, str]) -> Task:
    """A model of the shipped one's form on the held-out set, with the shipped one's gate."""
    facts = mini_file()

    def on(said: SpokenSet, name: str) -> Task:
        audio = library(said, name)
        return Task(
            model=pipeline(graphs, FRONT_END, audio, int(FRONT_END.frames(said.samples).max())),
            library=audio,
            samples=len(said.texts),
            scorer=word_error_rate(said.texts),
            gate=Gate(
                metric="WER",
                unit="%",
                reference=facts.heldout.reference_accuracy_percent,
                ratio=gate_ratio("rnnt"),
                source=f"mini, FP32, {facts.heldout.heldout_count} held-out utterances (mini.toml)",
            ),
            recipe=RECIPE,
            facts=record,
            identity=drawn("utterance", said.seed),
        )

    said = heldout(facts, cache)
    doubts = () if said.sha256 == facts.heldout.heldout_sha256 else (OTHER_SET,)
    task = replace(on(said, f"spoken-{facts.heldout.heldout_seed}"), warnings=doubts)
    return calibrated(task, lambda: on(calibration(cache), f"spoken-{CALIBRATION_SEED}"))


def open_mini(cache: Path) -> Task:
    graphs = shipped_graphs()
    record = {
        "model_sha256": graphs.sha256,
        "weights": "trained for this project on synthetic speech",
        "macs_per_sample": str(mini_file().macs_per_sample),
    }
    return open_on_heldout(graphs, cache, record)
