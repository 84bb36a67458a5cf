"""The shipped small sibling: the model that comes with coldmark, its drawn cases and its gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coldmark.core.codec import read_toml
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.sources import check_shipped, shipped
from coldmark.workloads.task import Gate, Task, calibrated, drawn, gate_ratio
from coldmark.workloads.unet3d import sets
from coldmark.workloads.unet3d.cases import CaseLibrary
from coldmark.workloads.unet3d.dice import mean_dice
from coldmark.workloads.unet3d.network import RECIPE, WindowModel, pipeline, window_model

PACKAGE = "coldmark.workloads.unet3d"

HASHED = 4  # cases that are drawn when the set is opened, to see that they are the same here


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the shipped model was made."""

    training_seed: int
    training_cases: int
    steps: int
    batch: int
    peak_rate: float
    filters: tuple[int, ...]
    network_seed: int
    threads: int
    opset: int
    made_with: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """The evaluation set, and what the FP32 model reached on it."""

    heldout_seed: int
    heldout_count: int
    heldout_sha256: str  # over its first HASHED cases
    reference_dice: float
    reference_kidney: float
    reference_tumour: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniFile:
    """`mini.toml`: the facts of the shipped model, written by its training script."""

    sha256: str
    window: int
    parameters: int
    macs_per_window: int
    training: Training
    heldout: Heldout


OTHER_SET = (
    "the held-out volumes drawn here differ from those the reference was measured on; "
    "the gate may be off by as much as that changes"
)


def mini_file() -> MiniFile:
    """The facts of the shipped model."""
    return read_toml(shipped(PACKAGE, "mini.toml"), MiniFile)


def open_mini(workload: str) -> Task:
    facts = mini_file()
    path = shipped(PACKAGE, "mini.onnx")
    signature = inspect(path)
    check_shipped(path, signature.sha256, facts.sha256)
    record = {"model_sha256": signature.sha256, "weights": "trained for this project on drawn volumes"}
    model = window_model(path, signature)
    return on_drawn(workload, model, record, facts, macs_per_window=facts.macs_per_window)


def on_drawn(
    workload: str, model: WindowModel, record: dict[str, str], facts: MiniFile, macs_per_window: int = 0
) -> Task:
    """A model of mini's form on the held-out cases. `macs_per_window` where they are known."""

    def on(data: dict[str, Any]) -> Task:
        cases: CaseLibrary = data["library"]
        work = (
            {"macs_per_sample": str(round(macs_per_window * cases.mean_windows))} if macs_per_window else {}
        )
        return Task(
            model=pipeline(model, cases),
            gate=mini_gate(workload, facts),
            recipe=RECIPE,
            facts={**record, **work, **cases.facts()},
            **data,
        )

    return calibrated(on(heldout(facts)), lambda: on(calibration()))


def mini_gate(workload: str, facts: MiniFile) -> Gate:
    held = facts.heldout
    return Gate(
        metric="DICE",
        unit="",
        reference=held.reference_dice,
        ratio=gate_ratio(workload),
        source=f"mini, FP32, {held.heldout_count} held-out cases (mini.toml)",
    )


def heldout(facts: MiniFile) -> dict[str, Any]:
    """Samples and scorer of the held-out set."""
    held = facts.heldout
    same = sets.digest(held.heldout_seed, HASHED) == held.heldout_sha256
    found = _set(held.heldout_seed, held.heldout_count)
    return found | {"warnings": () if same else (OTHER_SET,)}


def calibration() -> dict[str, Any]:
    """Samples and scorer of the calibration set."""
    return _set(sets.SEEDS["calibration"], sets.CALIBRATION_COUNT)


def _set(seed: int, count: int) -> dict[str, Any]:
    return {
        "library": sets.library(seed, count),
        "samples": count,
        "scorer": mean_dice(count, lambda index: sets.labels(seed, index)),
        "identity": drawn("volume", seed),
    }
