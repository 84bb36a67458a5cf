"""The shipped small sibling: the model that comes with coldmark, its held-out set and its gate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldmark.core.codec import read_toml
from coldmark.core.sut import Model
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.retinanet.heads import RECIPE, small_model
from coldmark.workloads.retinanet.heldout import HeldoutSet
from coldmark.workloads.retinanet.scenes import CALIBRATION_COUNT, CALIBRATION_SEED
from coldmark.workloads.retinanet.score import mean_ap_scorer
from coldmark.workloads.rows import RowLibrary
from coldmark.workloads.sources import check_shipped, shipped
from coldmark.workloads.task import Gate, Task, calibrated, drawn, gate_ratio

PACKAGE = "coldmark.workloads.retinanet"

PERFORMANCE_COUNT = 256  # more than the round's 64, so that scenes with many objects count as they should


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the shipped model was made."""

    hard_seed: int
    hard_scenes: int
    hard_epochs: int
    hard_rate: float
    training_seed: int
    training_scenes: int
    epochs: int
    peak_rate: float
    batch: int
    network_seed: int
    threads: int
    made_with: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """The evaluation set, and what the FP32 model reached on it."""

    heldout_seed: int
    heldout_count: int
    heldout_objects: int
    heldout_sha256: str
    reference_map_percent: float


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
    "the held-out scenes drawn here differ from those the reference was measured on (another OpenCV draws "
    "otherwise); the gate may be off by as much as that changes"
)


def mini_file() -> MiniFile:
    """The facts of the shipped model."""
    return read_toml(shipped(PACKAGE, "mini.toml"), MiniFile)


def open_mini(workload: str, cache: Path) -> Task:
    """The shipped model. Raises DataError when it is not the one its facts describe."""
    facts = mini_file()
    path = shipped(PACKAGE, "mini.onnx")
    signature = inspect(path)
    check_shipped(path, signature.sha256, facts.sha256)
    record = {
        "model_sha256": signature.sha256,
        "weights": "trained for this project on drawn scenes",
        "macs_per_sample": str(facts.macs_per_sample),
    }
    return on_drawn(workload, small_model(path, signature), record, facts, cache)


def on_drawn(workload: str, model: Model, record: dict[str, str], facts: MiniFile, cache: Path) -> Task:
    """A model of mini's form on the held-out scenes."""
    held = facts.heldout

    def on(data: dict[str, Any]) -> Task:
        return Task(model=model, gate=mini_gate(workload, facts), recipe=RECIPE, facts=record, **data)

    return calibrated(
        on(heldout(held.heldout_seed, held.heldout_count, cache, held.heldout_sha256)),
        lambda: on(heldout(CALIBRATION_SEED, CALIBRATION_COUNT, cache, "")),
    )


def mini_gate(workload: str, facts: MiniFile) -> Gate:
    held = facts.heldout
    return Gate(
        metric="mAP",
        unit="%",
        reference=held.reference_map_percent,
        ratio=gate_ratio(workload),
        source=f"mini, FP32, {held.heldout_count} held-out scenes (mini.toml)",
    )


def heldout(seed: int, count: int, cache: Path, sha256: str) -> dict[str, Any]:
    """Samples and scorer of a set of drawn scenes, and a warning where its pixels are not `sha256`."""
    scenes = HeldoutSet(seed, count, cache)
    shape = scenes.preprocessed(0).shape
    return {
        "library": RowLibrary(
            f"scenes-{seed}", count, min(PERFORMANCE_COUNT, count), shape, scenes.preprocessed
        ),
        "samples": count,
        "scorer": mean_ap_scorer(scenes.images, scenes.truth),
        "identity": drawn("scene", seed),
        "warnings": (OTHER_SET,) if sha256 and scenes.sha256 != sha256 else (),
    }
