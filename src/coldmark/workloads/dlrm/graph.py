"""The ONNX graph of a DLRM: whole, or its layers alone, with the looked-up rows as an input.

Whole models are what is shipped and exchanged. Runs use the layers: rows are looked up outside, so that
tables are held once for all lanes, may outgrow what an ONNX file can hold, and cost no compile time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from coldmark.core.errors import DataError
from coldmark.workloads.dlrm.architecture import Config, Weights
from coldmark.workloads.onnx_graph import OnnxGraph, port

DENSE_INPUT = "dense"  # log of counts plus one, float32 [pairs, 13]
CATEGORY_INPUT = "category"  # int32 [pairs, 26], of a whole model
ROWS = "rows"  # float32 [pairs, 26, dimension]: input of the layers, inner value of a whole model
OUTPUT = "probability"  # float32 [pairs, 1]
TABLES_NAME = "tables"  # float32 [rows of all tables, dimension]
STARTS_NAME = "starts"  # int32 [26], first row of each table


@dataclass
class _Graph(OnnxGraph):
    config: Config
    weights: Weights

    def mlp(self, x: str, part: str, last: str, output: str) -> str:
        """Fully connected layers with ReLU between; the last one ends in `last` and is called `output`."""
        names = [name for name, _, _ in self.config.layers if name.startswith(part)]
        for name in names:
            wanted = [self.tensor(f"{name}.{k}", self.weights(f"{name}.{k}")) for k in ("weight", "bias")]
            x = self.node("Gemm", [x, *wanted], f"{name}.out", transB=1)
            ends = name == names[-1]
            x = self.node(last if ends else "Relu", [x], output if ends else f"{name}.relu")
        return x

    def lookup(self) -> None:
        """Rows of all tables from their concatenation, by category plus the table's first row."""
        tables = [self.weights(f"emb_l.{t}.weight") for t in range(len(self.config.rows))]
        starts = self.tensor(STARTS_NAME, self.config.starts.astype(np.int32))
        ids = self.node("Add", [CATEGORY_INPUT, starts], "ids")
        self.node("Gather", [self.tensor(TABLES_NAME, np.concatenate(tables)), ids], ROWS, axis=0)

    def interaction(self, x: str) -> str:
        """The bottom output followed by the inner products below the diagonal, row by row."""
        features = len(self.config.rows) + 1
        row, column = np.tril_indices(features, -1)
        first = self.node("Unsqueeze", [x, self.tensor("axis", np.array([1]))], "bottom.feature")
        all_of = self.node("Concat", [first, ROWS], "features", axis=1)
        turned = self.node("Transpose", [all_of], "features.turned", perm=[0, 2, 1])
        dots = self.node("MatMul", [all_of, turned], "dots")
        flat = self.node(
            "Reshape", [dots, self.tensor("flat", np.array([0, features * features]))], "dots.flat"
        )
        below = self.tensor("below", row * features + column)
        met = self.node("Gather", [flat, below], "dots.below", axis=1)
        return self.node("Concat", [x, met], "met", axis=1)


def build(config: Config, weights: Weights, *, whole: bool) -> onnx.ModelProto:
    """A whole model (`dense`, `category`), or its layers (`dense`, `rows`); output `probability`."""
    g, tables = _Graph(config, weights), len(config.rows)
    if whole:
        g.lookup()
        looked_up = port(CATEGORY_INPUT, "pairs", tables, kind=TensorProto.INT32)
    else:
        looked_up = port(ROWS, "pairs", tables, config.dimension)
    bottom = g.mlp(DENSE_INPUT, "bot_l", "Relu", "bottom")
    g.mlp(g.interaction(bottom), "top_l", "Sigmoid", OUTPUT)
    model = g.model("dlrm", [port(DENSE_INPUT, "pairs", config.dense), looked_up], [port(OUTPUT, "pairs", 1)])
    onnx.checker.check_model(model)
    return model


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write a model; `cache.materialise` is what makes the file whole or absent."""
    path.write_bytes(model.SerializeToString(deterministic=True))


@dataclass(frozen=True, slots=True)
class Split:
    """A whole model taken apart."""

    layers: onnx.ModelProto
    tables: NDArray[np.float32]  # [rows of all tables, dimension]
    config: Config


def split(model: onnx.ModelProto, path: Path) -> Split:
    """Take a whole model apart: what it looks up, and the rest with `rows` as an input.

    Raises DataError where the model does not look its rows up from one constant table by `category`.
    """
    constants = {c.name: c for c in model.graph.initializer}
    inputs = {p.name for p in model.graph.input} - set(constants)
    gather = next((n for n in model.graph.node if list(n.output) == [ROWS] and n.op_type == "Gather"), None)
    if (
        inputs != {DENSE_INPUT, CATEGORY_INPUT}
        or gather is None
        or not constants.keys()
        >= {
            TABLES_NAME,
            STARTS_NAME,
        }
    ):
        raise DataError(
            f"not a recommendation model of coldmark's form: inputs {sorted(inputs)}",
            where=str(path),
            hint=f"expected: inputs {DENSE_INPUT}, {CATEGORY_INPUT}, and {ROWS} gathered from {TABLES_NAME}",
        )
    tables = numpy_helper.to_array(constants[TABLES_NAME])
    starts = numpy_helper.to_array(constants[STARTS_NAME]).astype(np.int64)
    rows = tuple(np.diff(starts, append=len(tables)).tolist()) if starts.ndim == 1 else ()
    if tables.ndim != 2 or tables.dtype != np.float32 or not rows or starts[0] != 0 or min(rows) < 1:
        raise DataError("its tables and their first rows do not fit each other", where=str(path))
    layers = _without_lookup(model, tables.shape[1], len(rows))
    return Split(
        layers, tables, Config(rows=rows, bottom=_widths(constants, "bot_l"), top=_widths(constants, "top_l"))
    )


def _widths(constants: Mapping[str, onnx.TensorProto], part: str) -> tuple[int, ...]:
    """Outputs of a network's layers, by the shapes of its weights."""
    found = (
        (int(n.split(".")[1]), c.dims[0])
        for n, c in constants.items()
        if n.startswith(part) and n.endswith("bias")
    )
    return tuple(width for _, width in sorted(found))


def _without_lookup(model: onnx.ModelProto, dimension: int, tables: int) -> onnx.ModelProto:
    layers = onnx.ModelProto()
    layers.CopyFrom(model)
    graph = layers.graph
    for group, gone in (
        (graph.node, {ROWS, "ids"}),
        (graph.initializer, {TABLES_NAME, STARTS_NAME}),
        (graph.input, {CATEGORY_INPUT}),
    ):
        kept = [entry for entry in group if (getattr(entry, "name", "")) not in gone]
        del group[:]
        group.extend(kept)  # type: ignore[arg-type]
    graph.input.append(port(ROWS, "pairs", tables, dimension))
    return layers
