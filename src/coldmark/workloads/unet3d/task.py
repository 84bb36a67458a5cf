"""3D-UNet opened with one of its model sources."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from coldmark.core.errors import ConfigError, DataError
from coldmark.workloads.cache import materialise
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.sources import SEEDED, needed, own_model
from coldmark.workloads.task import Gate, Task, calibrated, drawn, gate_ratio
from coldmark.workloads.unet3d import architecture, full
from coldmark.workloads.unet3d.architecture import OFFICIAL
from coldmark.workloads.unet3d.cases import CaseLibrary
from coldmark.workloads.unet3d.dice import mean_dice
from coldmark.workloads.unet3d.kits import CALIBRATION, KitsFolder
from coldmark.workloads.unet3d.mini import mini_file, on_drawn, open_mini
from coldmark.workloads.unet3d.network import LARGE_RECIPE, pipeline, window_model
from coldmark.workloads.unet3d.sets import PERFORMANCE_COUNT, WINDOW

OFFICIAL_DICE = 0.86170
DEFAULT_SCALE = 0.5
CALIBRATION_FOLDER = "the folder that `preprocess.py --calibration` filled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`--set model.path=...`, `data.path`, `calibration.data`, `calibration.list`, `data.scale` of `full`."""

    model_path: Path | None = None
    data_path: Path | None = None
    calibration_data: Path | None = None  # the folder of preprocessed calibration cases
    calibration_list: Path | None = None  # names, where not all of them are meant
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
    model, sha256 = None, ""
    if need_model:
        path = materialise(cache / "unet3d" / f"full-v1-{architecture.SEED}.onnx", architecture.write)
        signature = inspect(path)
        model, sha256 = window_model(path, signature), signature.sha256

    def on(seed: int) -> Task:
        cases = full.noise_library(options.data_scale, OFFICIAL.window, PERFORMANCE_COUNT, seed)
        return Task(
            model=pipeline(model, cases) if model else None,
            library=cases,
            samples=cases.count,
            refusal=SEEDED,
            recipe=LARGE_RECIPE,
            facts={
                "model_sha256": sha256,
                "weights": f"seeded random (seed {architecture.SEED}), performance only",
                "macs_per_sample": str(round(architecture.macs(OFFICIAL) * cases.mean_windows)),
                "scale": f"{options.data_scale:g} of the sides of KiTS19's cases",
                **cases.facts(),
            },
            identity=drawn("noise", seed),
        )

    return calibrated(on(full.SEED), lambda: on(full.CALIBRATION_SEED))


def _official(workload: str, options: Options) -> Task:
    model_path = needed("model.path", options.model_path, "MLPerf's 3D-UNet ONNX file")
    data_path = needed("data.path", options.data_path, "the folder of preprocessed KiTS19 cases")
    if model_path.suffix != ".onnx":
        raise DataError(
            "not an ONNX file: PyTorch's checkpoints and modules can run code when they are opened",
            where=str(model_path),
            hint="give 3dunet_kits19_128x128x128_dynbatch.onnx of the same release",
        )
    return _scored(workload, model_path, data_path, options, official=True)


def _scored(workload: str, path: Path, data: Path, options: Options, *, official: bool) -> Task:
    signature = inspect(path)
    model = window_model(path, signature)

    def on(folder: KitsFolder, where: Path, name: str) -> Task:
        cases = CaseLibrary(name, PERFORMANCE_COUNT, folder.shapes, model.window, folder.volume, folder.names)
        return Task(
            model=pipeline(model, cases),
            library=cases,
            samples=len(folder),
            gate=official_gate(workload),
            recipe=LARGE_RECIPE,
            official=official,
            facts={
                "model_sha256": signature.sha256,
                "weights": "given by path",
                "data": str(where),
                **cases.facts(),
            },
            identity=folder.identity,
        )

    def calibration() -> Task:
        where = needed("calibration.data", options.calibration_data, CALIBRATION_FOLDER)
        return on(KitsFolder(where, CALIBRATION, options.calibration_list), where, "kits19-calibration")

    folder = KitsFolder(data)
    task = replace(on(folder, data, "kits19"), scorer=mean_dice(len(folder), folder.labels))
    return calibrated(task, calibration)


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
        return _scored(workload, path, options.data_path, options, official=False)
    signature = inspect(path)
    model = window_model(path, signature)
    record = {"model_sha256": signature.sha256, "weights": "given by path"}
    if model.window == WINDOW:
        return on_drawn(workload, model, record, mini_file())

    def on(seed: int) -> Task:
        cases = full.noise_library(options.data_scale, model.window, PERFORMANCE_COUNT, seed)
        return Task(
            model=pipeline(model, cases),
            library=cases,
            samples=cases.count,
            facts=record | cases.facts(),
            refusal="no cases to score on: give --set data.path=FOLDER of preprocessed KiTS19 cases",
            identity=drawn("noise", seed),
        )

    return calibrated(on(full.SEED), lambda: on(full.CALIBRATION_SEED))
