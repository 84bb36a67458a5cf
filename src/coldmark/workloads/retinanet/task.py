"""RetinaNet opened with one of its model sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.core.sut import RowSource
from coldmark.workloads.cache import materialise
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.retinanet.architecture import FULL, MINI, SEED
from coldmark.workloads.retinanet.heads import full_model, gives_detections, image_side, small_model
from coldmark.workloads.retinanet.mini import heldout, mini_file, mini_gate, open_mini
from coldmark.workloads.retinanet.openimages import OpenImages
from coldmark.workloads.retinanet.preprocess import from_pixels
from coldmark.workloads.retinanet.scenes import draw
from coldmark.workloads.retinanet.score import mean_ap_scorer
from coldmark.workloads.retinanet.sizes import macs
from coldmark.workloads.rows import RowLibrary
from coldmark.workloads.sources import SEEDED, needed, own_model
from coldmark.workloads.task import Gate, Task, gate_ratio

PERFORMANCE_COUNT = 64  # the round's own number of samples in memory
SCENE_SEED = 640_800  # of the images that `full` is run on

OFFICIAL_REFERENCE = 37.55  # %, mAP


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`--set model.path=...` and `--set data.path=...`."""

    model_path: Path | None = None
    data_path: Path | None = None


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

    library = _scene_library()
    model, sha256 = None, ""
    if need_model:
        path = materialise(cache / "retinanet" / f"full-v1-{SEED}.onnx", architecture.write)
        signature = inspect(path)
        model, sha256 = full_model(path, signature, library), signature.sha256
    return Task(
        model=model,
        library=library,
        samples=PERFORMANCE_COUNT,
        refusal=SEEDED,
        facts={
            "model_sha256": sha256,
            "weights": f"seeded random (seed {SEED}), performance only",
            "macs_per_sample": str(macs(FULL)),
        },
    )


def _scene_library() -> RowLibrary:
    """Drawn scenes, enlarged: noise would leave random heads alike everywhere, and decoding idle."""

    def read(index: int) -> NDArray[np.float32]:
        return from_pixels(draw(SCENE_SEED, index).image, FULL.side)

    return RowLibrary("scenes-800", PERFORMANCE_COUNT, PERFORMANCE_COUNT, (3, FULL.side, FULL.side), read)


# -- official and own -------------------------------------------------------------------------------


def _official(workload: str, options: Options) -> Task:
    model_path = needed("model.path", options.model_path, "MLPerf's retinanet ONNX file")
    data_path = needed(
        "data.path", options.data_path, "the OpenImages folder with annotations and validation/data"
    )
    signature = inspect(model_path)
    data = _openimages(data_path)
    return Task(
        model=full_model(model_path, signature, data["library"]),
        official=gives_detections(signature),
        gate=_official_gate(workload),
        facts={
            "model_sha256": signature.sha256,
            "weights": "given by path",
            "data": str(data_path),
            "macs_per_sample": str(macs(FULL)),
        },
        **data,
    )


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
    }


def _own(workload: str, path: Path, options: Options, cache: Path) -> Task:
    """A model of the user's: its input size says on which set it is run."""
    signature = inspect(path)
    record = {"model_sha256": signature.sha256, "weights": "given by path"}
    if image_side(path, signature) == MINI.side:
        facts = mini_file()
        held = facts.heldout
        return Task(
            model=small_model(path, signature),
            gate=mini_gate(workload, facts),
            facts=record,
            **heldout(held.heldout_seed, held.heldout_count, cache, held.heldout_sha256),
        )
    if options.data_path is not None:
        data = _openimages(options.data_path)
        model = full_model(path, signature, data["library"])
        return Task(model=model, gate=_official_gate(workload), facts=record, **data)
    library: RowSource = _scene_library()
    return Task(
        model=full_model(path, signature, library),
        library=library,
        samples=PERFORMANCE_COUNT,
        facts=record,
        refusal="no images to score on: give --set data.path=FOLDER with annotations/openimages-mlperf.json",
    )
