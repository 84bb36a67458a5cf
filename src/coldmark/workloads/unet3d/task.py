"""3D-UNet opened with one of its model sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldmark.core.errors import ConfigError, DataError
from coldmark.workloads.cache import materialise
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.sources import SEEDED, needed, own_model
from coldmark.workloads.task import Gate, Task, gate_ratio
from coldmark.workloads.unet3d import architecture, full
from coldmark.workloads.unet3d.architecture import OFFICIAL
from coldmark.workloads.unet3d.cases import CaseLibrary
from coldmark.workloads.unet3d.dice import mean_dice
from coldmark.workloads.unet3d.kits import KitsFolder
from coldmark.workloads.unet3d.mini import heldout, mini_file, mini_gate, open_mini
from coldmark.workloads.unet3d.network import pipeline, window_model
from coldmark.workloads.unet3d.sets import PERFORMANCE_COUNT, WINDOW

OFFICIAL_DICE = 0.86170
DEFAULT_SCALE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`--set model.path=...`, `--set data.path=...` and, for `full`, `--set data.scale=...`."""

    model_path: Path | None = None
    data_path: Path | None = None
    data_scale: float = DEFAULT_SCALE  # sides of the cases of `full` against KiTS19's, in (0, 1]

    def __post_init__(self) -> None:
        if not 0 < self.data_scale <= 1:
            raise ConfigError(f"{self.data_scale} is not in (0, 1]", where="--set data.scale")


def open_task(workload: str, source: str, options: Options, *, cache: Path, need_model: bool = True) -> Task:
    """The task with a model source: `mini`, `full`, `official`, or a path to an ONNX file."""
    if source == "mini":
        return open_mini(workload)
    if source == "full":
        return _full(options, cache, need_model)
    if source == "official":
        return _official(workload, options)
    path = own_model(source)
    return _own(workload, path, options)


def _full(options: Options, cache: Path, need_model: bool) -> Task:
    cases = full.noise_library(options.data_scale, OFFICIAL.window, PERFORMANCE_COUNT)
    model, sha256 = None, ""
    if need_model:
        path = materialise(cache / "unet3d" / f"full-v1-{architecture.SEED}.onnx", architecture.write)
        signature = inspect(path)
        model, sha256 = pipeline(window_model(path, signature), cases), signature.sha256
    return Task(
        model=model,
        library=cases,
        samples=cases.count,
        refusal=SEEDED,
        facts={
            "model_sha256": sha256,
            "weights": f"seeded random (seed {architecture.SEED}), performance only",
            "macs_per_sample": str(round(architecture.macs(OFFICIAL) * cases.mean_windows)),
            "scale": f"{options.data_scale:g} of the sides of KiTS19's cases",
            **cases.facts(),
        },
    )


def _official(workload: str, options: Options) -> Task:
    model_path = needed("model.path", options.model_path, "MLPerf's 3D-UNet ONNX file")
    data_path = needed("data.path", options.data_path, "the folder of preprocessed KiTS19 cases")
    if model_path.suffix != ".onnx":
        raise DataError(
            "not an ONNX file: PyTorch's checkpoints and modules can run code when they are opened",
            where=str(model_path),
            hint="give 3dunet_kits19_128x128x128_dynbatch.onnx of the same release",
        )
    return _scored(workload, model_path, data_path, official=True)


def _scored(workload: str, path: Path, data: Path, *, official: bool) -> Task:
    signature = inspect(path)
    model = window_model(path, signature)
    folder = KitsFolder(data)
    cases = CaseLibrary("kits19", PERFORMANCE_COUNT, folder.shapes, model.window, folder.volume, folder.names)
    return Task(
        model=pipeline(model, cases),
        library=cases,
        samples=len(folder),
        scorer=mean_dice(len(folder), folder.labels),
        gate=official_gate(workload),
        official=official,
        facts={
            "model_sha256": signature.sha256,
            "weights": "given by path",
            "data": str(data),
            **cases.facts(),
        },
    )


def official_gate(workload: str) -> Gate:
    return Gate(
        metric="DICE",
        unit="",
        reference=OFFICIAL_DICE,
        ratio=gate_ratio(workload),
        source="MLPerf Inference v2.1, 3d-unet on KiTS19, FP32 reference",
    )


def _own(workload: str, path: Path, options: Options) -> Task:
    """A model of the user's: its window says on which set it is run."""
    if options.data_path is not None:
        return _scored(workload, path, options.data_path, official=False)
    signature = inspect(path)
    model = window_model(path, signature)
    record = {"model_sha256": signature.sha256, "weights": "given by path"}
    if model.window == WINDOW:
        facts = mini_file()
        held: dict[str, Any] = heldout(facts)
        cases: CaseLibrary = held["library"]
        return Task(
            model=pipeline(model, cases),
            gate=mini_gate(workload, facts),
            facts=record | cases.facts(),
            **held,
        )
    cases = full.noise_library(options.data_scale, model.window, PERFORMANCE_COUNT)
    return Task(
        model=pipeline(model, cases),
        library=cases,
        samples=cases.count,
        facts=record | cases.facts(),
        refusal="no cases to score on: give --set data.path=FOLDER of preprocessed KiTS19 cases",
    )
