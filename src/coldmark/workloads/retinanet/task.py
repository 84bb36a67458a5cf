"""RetinaNet opened with one of its model sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.cache import materialise
from coldmark.workloads.onnx_file import Signature, inspect
from coldmark.workloads.retinanet.architecture import FULL, MINI, SEED
from coldmark.workloads.retinanet.heads import (
    LARGE_RECIPE,
    full_model,
    gives_detections,
    image_side,
    small_model,
)
from coldmark.workloads.retinanet.mini import mini_file, on_drawn, open_mini
from coldmark.workloads.retinanet.openimages import ListedImages, OpenImages
from coldmark.workloads.retinanet.preprocess import from_pixels
from coldmark.workloads.retinanet.scenes import draw
from coldmark.workloads.retinanet.score import mean_ap_scorer
from coldmark.workloads.retinanet.sizes import macs
from coldmark.workloads.rows import RowLibrary
from coldmark.workloads.sources import SEEDED, needed, own_model
from coldmark.workloads.task import Gate, Task, calibrated, drawn, gate_ratio

PERFORMANCE_COUNT = 64  # the round's own number of samples in memory
SCENE_SEED = 640_800  # of the images that `full` is run on
CALIBRATION_SEED = 640_801  # of the images that it is calibrated on

OFFICIAL_REFERENCE = 37.55  # %, mAP


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`--set model.path=...`, `data.path`, `calibration.list` and `calibration.data`."""

    model_path: Path | None = None
    data_path: Path | None = None
    calibration_list: Path | None = None  # MLPerf's openimages_cal_images_list.txt
    calibration_data: Path | None = None  # the folder where the listed images lie


def open_task(workload: str, source: str, options: Options, *, cache: Path, need_model: bool = True) -> Task:
    """The task with a model source: `mini`, `full`, `official`, or a path to an ONNX file."""
    if source == "mini":
        return open_mini(workload, cache)
    if source == "full":
        return _full(cache, need_model)
    if source == "official":
        return _official(workload, options)
    path = own_model(source)
    return _own(workload, path, options, cache)


# -- full -------------------------------------------------------------------------------------------


def _full(cache: Path, need_model: bool) -> Task:
    from coldmark.workloads.retinanet import architecture

    path, sha256 = None, ""
    if need_model:
        path = materialise(cache / "retinanet" / f"full-v1-{SEED}.onnx", architecture.write)
        signature = inspect(path)
        sha256 = signature.sha256

    def on(seed: int) -> Task:
        library = _scene_library(seed)
        return Task(
            model=full_model(path, signature, library) if path else None,
            library=library,
            samples=PERFORMANCE_COUNT,
            refusal=SEEDED,
            recipe=LARGE_RECIPE,
            facts={
                "model_sha256": sha256,
                "weights": f"seeded random (seed {SEED}), performance only",
                "macs_per_sample": str(macs(FULL)),
            },
            identity=drawn("scene", seed),
        )

    return calibrated(on(SCENE_SEED), lambda: on(CALIBRATION_SEED))


def _scene_library(seed: int) -> RowLibrary:
    """Drawn scenes, enlarged: noise would leave random heads alike everywhere, and decoding idle."""

    def read(index: int) -> NDArray[np.float32]:
        return from_pixels(draw(seed, index).image, FULL.side)

    return RowLibrary("scenes-800", PERFORMANCE_COUNT, PERFORMANCE_COUNT, (3, FULL.side, FULL.side), read)


# -- official and own -------------------------------------------------------------------------------


def _official(workload: str, options: Options) -> Task:
    model_path = needed("model.path", options.model_path, "MLPerf's retinanet ONNX file")
    data_path = needed(
        "data.path", options.data_path, "the OpenImages folder with annotations and validation/data"
    )
    record = {"weights": "given by path", "data": str(data_path), "macs_per_sample": str(macs(FULL))}
    signature = inspect(model_path)
    return _on_openimages(
        workload, model_path, signature, data_path, record, options, official=gives_detections(signature)
    )


def _on_openimages(
    workload: str,
    path: Path,
    signature: Signature,
    data: Path,
    record: dict[str, str],
    options: Options,
    *,
    official: bool,
) -> Task:
    def on(found: dict[str, Any]) -> Task:
        return Task(
            model=full_model(path, signature, found["library"]),
            official=official,
            gate=_official_gate(workload),
            recipe=LARGE_RECIPE,
            facts=record | {"model_sha256": signature.sha256},
            **found,
        )

    return calibrated(on(_openimages(data)), lambda: on(_listed(options)))


def _official_gate(workload: str) -> Gate:
    return Gate(
        metric="mAP",
        unit="%",
        reference=OFFICIAL_REFERENCE,
        ratio=gate_ratio(workload),
        source="MLPerf Inference v2.1, retinanet, FP32 reference",
    )


def _openimages(folder: Path) -> dict[str, Any]:
    images = OpenImages(folder, FULL.classes)
    return {
        "library": RowLibrary(
            "openimages",
            len(images),
            min(PERFORMANCE_COUNT, len(images)),
            (3, FULL.side, FULL.side),
            lambda index: images.preprocessed(index, FULL.side),
        ),
        "samples": len(images),
        "scorer": mean_ap_scorer(images.images, images.truth),
        "identity": images.identity,
    }


def _listed(options: Options) -> dict[str, Any]:
    """The images to calibrate on. Raises ConfigError where list or folder was not given."""
    listed = needed("calibration.list", options.calibration_list, "MLPerf's openimages_cal_images_list.txt")
    folder = needed("calibration.data", options.calibration_data, "the folder with the images it names")
    images = ListedImages(folder, listed)
    return {
        "library": RowLibrary(
            "openimages-calibration",
            len(images),
            min(PERFORMANCE_COUNT, len(images)),
            (3, FULL.side, FULL.side),
            lambda index: images.preprocessed(index, FULL.side),
        ),
        "samples": len(images),
        "identity": images.identity,
    }


def _own(workload: str, path: Path, options: Options, cache: Path) -> Task:
    """A model of the user's: its input size says on which set it is run."""
    signature = inspect(path)
    record = {"model_sha256": signature.sha256, "weights": "given by path"}
    if image_side(path, signature) == MINI.side:
        return on_drawn(workload, small_model(path, signature), record, mini_file(), cache)
    if options.data_path is not None:
        return _on_openimages(workload, path, signature, options.data_path, record, options, official=False)

    def on(seed: int) -> Task:
        library = _scene_library(seed)
        return Task(
            model=full_model(path, signature, library),
            library=library,
            samples=PERFORMANCE_COUNT,
            facts=record,
            refusal="no images to score on: give --set data.path=FOLDER with "
            "annotations/openimages-mlperf.json",
            identity=drawn("scene", seed),
        )

    return calibrated(on(SCENE_SEED), lambda: on(CALIBRATION_SEED))
