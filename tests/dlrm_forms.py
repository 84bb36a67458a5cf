"""Tiny models and data of the official forms, and a DLRM in plain numpy to hold ours against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from coldmark.core.sut import Pipeline, Tensors
from coldmark.workloads.dlrm.architecture import Config, Weights, seeded
from coldmark.workloads.dlrm.lanes import NETWORK, pipeline
from coldmark.workloads.dlrm.pairs import Columns, PairLibrary, PairSource

TINY = Config(rows=(3, *range(5, 30)), bottom=(8, 4), top=(16, 1))
"""26 tables of dimension 4."""


def numpy_dlrm(
    config: Config, weights: Weights, dense: NDArray[Any], category: NDArray[Any]
) -> NDArray[np.float64]:
    """Probabilities [n], written down as the paper has it."""
    x = dense.astype(np.float64)
    for name in [n for n, _, _ in config.layers if n.startswith("bot_l")]:
        x = np.maximum(x @ weights(f"{name}.weight").T + weights(f"{name}.bias"), 0)
    features = [x, *(weights(f"emb_l.{t}.weight")[ids] for t, ids in enumerate(category.T))]
    dots = [(features[i] * features[j]).sum(axis=1) for i in range(len(features)) for j in range(i)]
    y = np.concatenate([x, np.stack(dots, axis=1)], axis=1)
    *hidden, last = [n for n, _, _ in config.layers if n.startswith("top_l")]
    for name in hidden:
        y = np.maximum(y @ weights(f"{name}.weight").T + weights(f"{name}.bias"), 0)
    return np.asarray(1 / (1 + np.exp(-(y @ weights(f"{last}.weight")[0] + weights(f"{last}.bias")[0]))))


def tiny_columns(pairs: int, config: Config = TINY) -> Columns:
    rng = np.random.default_rng(4)
    return (
        rng.random((pairs, config.dense), dtype=np.float32) * 3,
        rng.integers(0, np.array(config.rows), (pairs, len(config.rows)), dtype=np.int32),
        (rng.random(pairs) < 0.4).astype(np.float32),
    )


def tiny_library(bounds: list[int], config: Config = TINY) -> PairLibrary:
    columns = tiny_columns(bounds[-1], config)

    def read(begin: int, end: int) -> Columns:
        dense, category, click = columns
        return dense[begin:end], category[begin:end], click[begin:end]

    return PairLibrary("tiny", np.array(bounds), len(bounds) - 1, read)


def concatenated(config: Config, weights: Weights) -> NDArray[np.float32]:
    return np.concatenate([weights(f"emb_l.{t}.weight") for t in range(len(config.rows))])


def tiny_pipeline(layers: Path, library: PairSource, config: Config = TINY) -> Pipeline:
    return pipeline(config, layers, lambda: concatenated(config, seeded(config)), library)


class Session:
    """A network as a lane has it, by ONNX Runtime; it holds its caller to the profiles."""

    def __init__(self, made: Pipeline, batch: int) -> None:
        (self._network,) = made.networks(batch)
        self._session = ort.InferenceSession(str(self._network.path))

    def __call__(self, *inputs: NDArray[Any]) -> Tensors:
        assert tuple(i.shape for i in inputs) in self._network.profiles
        assert all(i.flags.c_contiguous for i in inputs)
        found: Tensors = self._session.run(
            list(self._network.outputs), dict(zip(self._network.inputs, inputs, strict=True))
        )
        return found

    @property
    def by_name(self) -> Mapping[str, Session]:
        return {NETWORK: self}


def official_rows(pairs: int, config: Config = TINY) -> NDArray[np.int32]:
    """Clicks, counts and categories [pairs, 40] as MLPerf's reference stores them."""
    rng = np.random.default_rng(5)
    return np.concatenate(
        [
            (rng.random((pairs, 1)) < 0.3).astype(np.int32),
            rng.integers(0, 100, (pairs, 13), dtype=np.int32),
            rng.integers(0, np.array(config.rows), (pairs, 26), dtype=np.int32),
        ],
        axis=1,
    )


def write_bin(folder: Path, rows: NDArray[np.int32]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "terabyte_processed_test.bin").write_bytes(rows.astype("<i4").tobytes())
    return folder


def state_of(config: Config = TINY) -> dict[str, NDArray[np.float32]]:
    """All weights by the names of MLPerf's checkpoint."""
    weights = seeded(config)
    names = [f"emb_l.{t}.weight" for t in range(len(config.rows))]
    names += [f"{name}.{kind}" for name, _, _ in config.layers for kind in ("weight", "bias")]
    return {name: weights(name) for name in names}


def write_checkpoint_onnx(path: Path, config: Config = TINY) -> Path:
    """An ONNX file whose constants bear the checkpoint's names, the tables in files beside it."""
    constants = []
    for name, value in state_of(config).items():
        constants.append(onnx.numpy_helper.from_array(value, name))
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    ports = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in ("x", "y")]
    graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=100)
    return path
