"""A tiny 3D-UNet task of the official form: a model file, cases, the folder of preprocessed cases."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from coldmark.workloads.cache import cache_dir
from coldmark.workloads.task import Task, find_workload
from coldmark.workloads.unet3d.task import Options

WINDOW = 8
SHAPES = [(8, 8, 8), (12, 8, 16), (8, 12, 8), (16, 12, 12)]


def open_unet(source: str, workload: str = "3d-unet-99", **options: Any) -> Task:
    return find_workload(workload).open(source, Options(**options), cache=cache_dir())


def write_model(path: Path, *, window: int = WINDOW, classes: int = 3, batch: int | str = "n") -> Path:
    """A segmenter by brightness: class k scores 2 k x - k^2, so the nearest whole number wins."""
    steps = np.arange(classes, dtype=np.float32)
    weights_ = [
        numpy_helper.from_array(2 * steps.reshape(-1, 1, 1, 1, 1), "slope"),
        numpy_helper.from_array(-steps * steps, "offset"),
    ]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "slope", "offset"], ["output"], kernel_shape=[1, 1, 1])],
        "nearest",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 1, window, window, window])],
        [
            helper.make_tensor_value_info(
                "output", TensorProto.FLOAT, [batch, classes, window, window, window]
            )
        ],
        weights_,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


Pair = tuple[NDArray[np.float32], NDArray[np.uint8]]


def case(index: int) -> Pair:
    """A volume [1, d, h, w] that its brightness gives away, and its labels; case 1 has some voxels wrong."""
    rng = np.random.default_rng(index)
    labels = rng.integers(0, 3, (1, *SHAPES[index]), dtype=np.uint8)
    image = labels + rng.uniform(-0.3, 0.3, labels.shape).astype(np.float32)
    if index == 1:
        image[0, :3] = 2.0
    return image.astype(np.float32), labels


def write_folder(folder: Path, *, plain: bool = False) -> Path:
    """What preprocess.py writes, or the same as plain arrays."""
    folder.mkdir(exist_ok=True)
    names = [f"case_{i:05d}" for i in (3, 0, 12, 400)]
    for index, name in enumerate(names):
        image, labels = case(index)
        if plain:
            np.save(folder / f"{name}.npy", image)
            np.save(folder / f"{name}.label.npy", labels)
        else:
            (folder / f"{name}.pkl").write_bytes(pickle.dumps([image, labels]))
    if plain:
        (folder / "inference_cases.json").write_text(json.dumps(names))
        return folder
    about = {
        name: {
            "original_affine": np.eye(4),
            "reshaped_affine": np.eye(4),
            "zoom_factor": np.ones(3),
            "case": name,
            "image_shape": (1, *SHAPES[index]),
        }
        for index, name in enumerate(names)
    }
    (folder / "preprocessed_files.pkl").write_bytes(pickle.dumps({"file_list": names, "cases": about}))
    return folder


def nearest(x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The tiny model without a file."""
    steps = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1, 1)
    return [2 * steps * x - steps * steps]


def many_cases(folder: Path, count: int = 44) -> dict[str, str]:
    """A folder of more cases than the round keeps loaded, and the flags that name it."""
    folder.mkdir()
    about: dict[str, Any] = {}
    for index in range(count):
        image, labels = case(index % len(SHAPES))
        name = f"case_{index:05d}"
        (folder / f"{name}.pkl").write_bytes(pickle.dumps([image, labels]))
        about[name] = {"image_shape": image.shape}
    listing = {"file_list": list(about), "cases": about}
    (folder / "preprocessed_files.pkl").write_bytes(pickle.dumps(listing))
    return {"data.path": str(folder), "model.path": str(write_model(folder / "unet.onnx"))}
