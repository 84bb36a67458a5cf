"""ResNet-50 opened with one of its model sources."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.cache import materialise
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.resnet50 import labels
from coldmark.workloads.resnet50.classifier import classifier, image_size
from coldmark.workloads.resnet50.imagenet import ImageFolder, ListedImages
from coldmark.workloads.resnet50.mini import (
    PERFORMANCE_COUNT,
    drawn_task,
    mini_file,
    open_mini,
)
from coldmark.workloads.rows import RowLibrary
from coldmark.workloads.sources import SEEDED, needed, own_model
from coldmark.workloads.task import Gate, Task, calibrated, drawn, gate_ratio

SIZE = 224
NOISE_SEED = 224
CALIBRATION_SEED = 225
CALIBRATION_FILES = "MLPerf's cal_image_list_option_1.txt or cal_image_list_option_2.txt"

OFFICIAL_REFERENCE = Gate(
    metric="acc",
    unit="%",
    reference=76.46,
    ratio=gate_ratio("resnet50"),
    source="MLPerf Inference v2.1, resnet50, FP32 reference",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`--set model.path=...`, `data.path`, `calibration.list` and `calibration.data`."""

    model_path: Path | None = None
    data_path: Path | None = None
    calibration_list: Path | None = None  # one of MLPerf's two lists for ImageNet
    calibration_data: Path | None = None  # where the listed images lie, if not in data.path


def open_task(workload: str, source: str, options: Options, *, cache: Path, need_model: bool = True) -> Task:
    """The task with a model source: `mini`, `full`, `official`, or a path to an ONNX file."""
    if source == "mini":
        return open_mini(cache)
    if source == "full":
        return _full(cache, need_model)
    if source == "official":
        return _official(options)
    path = own_model(source)
    return _own(path, options, cache)


# -- full -------------------------------------------------------------------------------------------


def _full(cache: Path, need_model: bool) -> Task:
    from coldmark.workloads.resnet50 import architecture

    model, sha256 = None, ""
    if need_model:
        path = materialise(cache / "resnet50" / f"full-v1-{architecture.SEED}.onnx", architecture.write)
        signature = inspect(path)
        model, sha256 = classifier(path, signature, SIZE), signature.sha256
    return _on_noise(
        Task(
            model=model,
            library=_noise_library(NOISE_SEED),
            samples=PERFORMANCE_COUNT,
            refusal=SEEDED,
            facts={
                "model_sha256": sha256,
                "weights": f"seeded random (seed {architecture.SEED}), performance only",
                "macs_per_sample": str(architecture.MACS),
            },
        )
    )


def _on_noise(task: Task) -> Task:
    """A task on noise, with other noise to calibrate on."""
    other = replace(task, library=_noise_library(CALIBRATION_SEED), identity=drawn("noise", CALIBRATION_SEED))
    return calibrated(replace(task, identity=drawn("noise", NOISE_SEED)), lambda: other)


def _noise_library(seed: int) -> RowLibrary:
    """Seeded noise in the shape of preprocessed images: there is nothing in it to be right about."""

    def read(index: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([seed, index])
        return rng.integers(-124, 132, size=(3, SIZE, SIZE), dtype=np.int16).astype(np.float32)

    return RowLibrary("noise-224", PERFORMANCE_COUNT, PERFORMANCE_COUNT, (3, SIZE, SIZE), read)


# -- official and own -------------------------------------------------------------------------------


def _official(options: Options) -> Task:
    model_path = needed("model.path", options.model_path, "MLPerf's resnet50 ONNX file")
    data_path = needed("data.path", options.data_path, "the ImageNet validation folder with val_map.txt")
    signature = inspect(model_path)
    task = Task(
        model=classifier(model_path, signature, SIZE),
        official=True,
        gate=OFFICIAL_REFERENCE,
        facts={"model_sha256": signature.sha256, "weights": "given by path", "data": str(data_path)},
        **_images("imagenet", images := ImageFolder(data_path)),
    )
    return _on_imagenet(replace(task, scorer=labels.top1(images.labels)), options, data_path)


def _on_imagenet(task: Task, options: Options, data: Path) -> Task:
    """A task on ImageNet, with the images of a list to calibrate on."""

    def calibration() -> Task:
        listed = needed("calibration.list", options.calibration_list, CALIBRATION_FILES)
        images = ListedImages(options.calibration_data or data, listed)
        own = _images("imagenet-calibration" if images.clause else "images of a list", images)
        official = task.official and bool(images.clause)
        return replace(task, scorer=None, overlap=images.clause, official=official, **own)

    return calibrated(task, calibration)


def _images(name: str, images: ImageFolder | ListedImages) -> dict[str, Any]:
    count = len(images)
    return {
        "library": RowLibrary(
            name, count, min(PERFORMANCE_COUNT, count), (3, SIZE, SIZE), images.preprocessed
        ),
        "samples": count,
        "identity": images.identity,
    }


def _own(path: Path, options: Options, cache: Path) -> Task:
    """A model of the user's: its input size says on which set it is run."""
    signature = inspect(path)
    facts = mini_file()
    record = {"model_sha256": signature.sha256, "weights": "given by path"}
    size = image_size(path, signature)
    if size == facts.input_size:
        return drawn_task(classifier(path, signature, size), facts, cache, record)
    model = classifier(path, signature, SIZE)
    if options.data_path is not None:
        images = ImageFolder(options.data_path)
        task = Task(model=model, gate=OFFICIAL_REFERENCE, facts=record, **_images("imagenet", images))
        task = replace(task, scorer=labels.top1(images.labels))
        return _on_imagenet(task, options, options.data_path)
    return _on_noise(
        Task(
            model=model,
            library=_noise_library(NOISE_SEED),
            samples=PERFORMANCE_COUNT,
            facts=record,
            refusal="no images to score on: give --set data.path=FOLDER with val_map.txt",
        )
    )
