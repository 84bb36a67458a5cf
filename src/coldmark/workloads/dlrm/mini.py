"""The shipped small sibling: the model that comes with coldmark, its evaluation log and its gate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from coldmark.core.codec import read_toml
from coldmark.core.errors import DataError
from coldmark.core.sut import Pipeline
from coldmark.workloads.cache import materialise
from coldmark.workloads.dlrm import scores
from coldmark.workloads.dlrm.architecture import Config
from coldmark.workloads.dlrm.graph import Split, split, write
from coldmark.workloads.dlrm.heldout import CALIBRATION_SAMPLES, HeldoutLog, calibration_log
from coldmark.workloads.dlrm.lanes import RECIPE, pipeline, work_facts
from coldmark.workloads.dlrm.pairs import PairSource
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.sources import check_shipped, shipped
from coldmark.workloads.task import Gate, Task, calibrated, gate_ratio

PACKAGE = "coldmark.workloads.dlrm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the shipped model was made."""

    training_seed: int
    training_pairs: int
    epochs: int
    batch: int
    peak_rate: float
    table_rate: float
    network_seed: int
    threads: int
    opset: int
    made_with: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """The evaluation log, what the FP32 model reached on it, and what no model can pass."""

    heldout_seed: int
    heldout_samples: int
    heldout_pairs: int
    heldout_sha256: str
    reference_auc_percent: float
    reference_interval_percent: tuple[float, float]
    best_possible_auc_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniFile:
    """`mini.toml`: the facts of the shipped model, written by its training script."""

    sha256: str
    rows: tuple[int, ...]
    bottom: tuple[int, ...]
    top: tuple[int, ...]
    parameters: int
    macs_per_pair: int
    training: Training
    heldout: Heldout


OTHER_LOG = (
    "the evaluation log drawn here differs from the one the reference was measured on (another numpy?); "
    "the gate may be off by as much as that changes"
)


def mini_file() -> MiniFile:
    """The facts of the shipped model."""
    return read_toml(shipped(PACKAGE, "mini.toml"), MiniFile)


def mini_config(facts: MiniFile) -> Config:
    return Config(rows=facts.rows, bottom=facts.bottom, top=facts.top)


def _shipped_model(facts: MiniFile) -> Whole:
    path = shipped(PACKAGE, "mini.onnx")
    whole = read_whole(path, facts.rows)
    check_shipped(path, whole.sha256, facts.sha256)
    return whole


def open_mini(workload: str, cache: Path, need_model: bool) -> Task:
    facts = mini_file()
    whole = _shipped_model(facts) if need_model else None
    record = {
        "model_sha256": facts.sha256,
        "weights": "trained for this project on drawn click logs",
        "best_possible_auc_percent": f"{facts.heldout.best_possible_auc_percent:.3f}",
    }
    return on_drawn(workload, whole, mini_config(facts), record, cache)


def on_drawn(workload: str, whole: Whole | None, config: Config, record: dict[str, str], cache: Path) -> Task:
    """A model of mini's tables on the evaluation log."""
    facts = mini_file()

    def on(data: dict[str, Any]) -> Task:
        return Task(
            model=whole.over(data["library"], cache) if whole else None,
            gate=mini_gate(workload, facts),
            recipe=RECIPE,
            facts={**record, **work_facts(config, data["library"])},
            **data,
        )

    return calibrated(on(heldout(facts, cache)), lambda: on(calibration(cache)))


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole ONNX model taken apart, and the checksum of its file."""

    parts: Split
    sha256: str

    def over(self, library: PairSource, cache: Path) -> Pipeline:
        """The model over a library: its layers kept in the cache, its tables in memory."""
        layers = cache / "dlrm" / f"layers-{self.sha256[:16]}.onnx"
        materialise(layers, lambda aside: write(self.parts.layers, aside))
        return pipeline(self.parts.config, layers, lambda: self.parts.tables, library)


def read_whole(path: Path, rows: tuple[int, ...]) -> Whole:
    """Read a whole model whose tables have `rows` rows. Raises DataError for any other file."""
    signature = inspect(path)
    parts = split(onnx.load_model(path), path)
    if parts.config.rows != rows:
        raise DataError(
            f"its tables have {list(parts.config.rows)} rows, the data need {list(rows)}",
            where=str(path),
            hint="is it the model of another data set?",
        )
    return Whole(parts, signature.sha256)


def mini_gate(workload: str, facts: MiniFile) -> Gate:
    held = facts.heldout
    return Gate(
        metric="AUC",
        unit="%",
        reference=held.reference_auc_percent,
        ratio=gate_ratio(workload),
        source=f"mini, FP32, {held.heldout_samples} held-out samples, {held.heldout_pairs} pairs (mini.toml)",
    )


def heldout(facts: MiniFile, cache: Path) -> dict[str, Any]:
    """Samples and scorer of the evaluation log, drawn once and kept."""
    held = facts.heldout
    log = HeldoutLog(held.heldout_seed, held.heldout_samples, cache)
    return _set(log) | {"warnings": () if log.sha256 == held.heldout_sha256 else (OTHER_LOG,)}


def calibration(cache: Path) -> dict[str, Any]:
    """Samples and scorer of the calibration log."""
    return _set(calibration_log(CALIBRATION_SAMPLES, cache))


def _set(log: HeldoutLog) -> dict[str, Any]:
    library = log.library()
    return {
        "library": library,
        "samples": library.count,
        "scorer": scores.area(log.bounds, lambda: log.clicked),
        "identity": library.identity,
    }
