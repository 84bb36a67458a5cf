"""The shipped small sibling: the model that comes with coldmark, its held-out set and its gate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coldmark.core.codec import read_toml
from coldmark.core.sut import Model
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.resnet50 import labels
from coldmark.workloads.resnet50.classifier import classifier
from coldmark.workloads.resnet50.heldout import HeldoutSet
from coldmark.workloads.resnet50.preprocess import preprocess
from coldmark.workloads.rows import RowLibrary
from coldmark.workloads.sources import check_shipped, shipped
from coldmark.workloads.task import Gate, Task, calibrated, gate_ratio

PACKAGE = "coldmark.workloads.resnet50"

PERFORMANCE_COUNT = 1024  # the round's own number of samples in memory

CALIBRATION_SEED = 510_004  # 510_001 to 510_003 are trained on, chosen by and scored on
CALIBRATION_COUNT = 500  # as many as MLPerf's own list for ImageNet has


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the shipped model was made."""

    training_seed: int
    training_images: int
    epochs: int
    batch: int
    peak_rate: float
    width: int
    network_seed: int
    threads: int
    opset: int
    made_with: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """The evaluation set, and what the FP32 model reached on it."""

    heldout_seed: int
    heldout_count: int
    heldout_sha256: str
    reference_correct: int
    reference_top1_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniFile:
    """`mini.toml`: the facts of the shipped model, written by its training script."""

    sha256: str
    input_size: int
    parameters: int
    macs_per_sample: int
    classes: tuple[str, ...]
    training: Training
    heldout: Heldout


OTHER_SET = (
    "the held-out images drawn here differ in their bytes from those the reference was measured on "
    "(another JPEG encoder); the gate may be off by as much as that changes"
)


def mini_file() -> MiniFile:
    """The facts of the shipped model."""
    return read_toml(shipped(PACKAGE, "mini.toml"), MiniFile)


def open_mini(cache: Path) -> Task:
    facts = mini_file()
    path = shipped(PACKAGE, "mini.onnx")
    signature = inspect(path)
    check_shipped(path, signature.sha256, facts.sha256)
    record = {
        "model_sha256": signature.sha256,
        "weights": "trained for this project on drawn shapes",
        "macs_per_sample": str(facts.macs_per_sample),
    }
    return drawn_task(classifier(path, signature, facts.input_size), facts, cache, record)


def drawn_task(model: Model, facts: MiniFile, cache: Path, record: dict[str, str]) -> Task:
    """A classifier of the drawn classes, on the held-out images."""
    task = Task(model=model, gate=mini_gate(facts), facts=record, **heldout(facts, cache))
    return calibrated(task, lambda: replace(task, **_calibration(facts, cache)))


def mini_gate(facts: MiniFile) -> Gate:
    held = facts.heldout
    return Gate(
        metric="acc",
        unit="%",
        reference=held.reference_top1_percent,
        ratio=gate_ratio("resnet50"),
        source=f"mini, FP32, {held.heldout_count} held-out images (mini.toml)",
    )


def heldout(facts: MiniFile, cache: Path) -> dict[str, Any]:
    """Samples and scorer of the held-out set, drawn once and kept as JPEG."""
    held = facts.heldout
    images = HeldoutSet(held.heldout_seed, held.heldout_count, cache)
    same = images.sha256 == held.heldout_sha256
    return {
        **_samples(f"shapes-{held.heldout_seed}", images, facts.input_size),
        "warnings": () if same else (OTHER_SET,),
    }


def _calibration(facts: MiniFile, cache: Path) -> dict[str, Any]:
    """What a task on images to calibrate with has of its own."""
    images = HeldoutSet(CALIBRATION_SEED, CALIBRATION_COUNT, cache)
    return _samples(f"shapes-{CALIBRATION_SEED}", images, facts.input_size)


def _samples(name: str, images: HeldoutSet, size: int) -> dict[str, Any]:
    count = len(images.labels)
    return {
        "library": RowLibrary(
            name,
            count,
            min(PERFORMANCE_COUNT, count),
            (3, size, size),
            lambda index: preprocess(images.jpeg(index), size),
        ),
        "samples": count,
        "scorer": labels.top1(images.labels),
        "identity": images.identity,
    }
