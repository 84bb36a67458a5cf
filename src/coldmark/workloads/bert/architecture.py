"""BERT with a question answering head, written as ONNX: the graph of every size, and `full`'s seeded weights.

The architecture is the published one: Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep
Bidirectional Transformers for Language Understanding" (2018), with normalisation after each sum and the
head of its section 4.2: two scores a piece, for beginning and end of the answer. BERT-Large has
334 094 338 parameters in this form (no pooler). Batch and sequence stay open; the decomposed forms of
attention and GELU are those that OpenVINO and ONNX Runtime know how to fuse.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from coldmark.workloads.onnx_graph import OnnxGraph, port

INPUTS = ("input_ids", "input_mask", "segment_ids")
OUTPUTS = ("output_start_logits", "output_end_logits")
"""Names as MLPerf's own ONNX file has them."""

SEED = 20220908
EPSILON = 1e-12
BLOCKED = -10000.0  # added to the attention to padding, as BERT does
PAGE = 4096  # weights begin at pages, so that a backend can map them

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The sizes of a BERT."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int

    def macs(self, sequence: int) -> int:
        """Multiply-accumulates of the matrix products over one sequence of so many pieces."""
        dense = 4 * self.hidden**2 + 2 * self.hidden * self.intermediate
        attention = 2 * sequence * self.hidden
        return sequence * (self.layers * (dense + attention) + 2 * self.hidden)


LARGE = Config(layers=24, hidden=1024, heads=16, intermediate=4096, vocabulary=30522, positions=512)


@dataclass
class _Graph(OnnxGraph):
    """Nodes in order, the shapes of trained weights, and constants."""

    config: Config
    shapes: dict[str, Shape] = field(default_factory=dict)

    def constant(self, name: str, value: Any, dtype: type = np.float32) -> str:
        """A value that is stored once, however often it is asked for."""
        if all(t.name != name for t in self.tensors):
            self.tensor(name, np.array(value, dtype))
        return name

    def weight(self, name: str, *shape: int) -> str:
        self.shapes[name] = shape
        return name

    def dense(self, x: str, name: str, inn: int, out: int) -> str:
        product = self.node("MatMul", [x, self.weight(f"{name}.weight", inn, out)], f"{name}.product")
        return self.node("Add", [product, self.weight(f"{name}.bias", out)], f"{name}.sum")

    def norm(self, x: str, name: str) -> str:
        width = self.config.hidden
        names = [self.weight(f"{name}.scale", width), self.weight(f"{name}.shift", width)]
        return self.node("LayerNormalization", [x, *names], name, axis=-1, epsilon=EPSILON)

    def embed(self) -> str:
        """Sum of word, position and segment vectors, normalised; [batch, sequence, hidden]."""
        c = self.config
        word = self.node(
            "Gather", [self.weight("word.table", c.vocabulary, c.hidden), "input_ids"], "word.rows"
        )
        segment = self.node("Gather", [self.weight("segment.table", 2, c.hidden), "segment_ids"], "seg.rows")
        size = self.node("Shape", ["input_ids"], "size")
        end = self.node("Slice", [size, self.number("one"), self.number("two")], "size.sequence")
        table = self.weight("position.table", c.positions, c.hidden)
        place = self.node("Slice", [table, self.number("zero"), end, self.number("zero")], "position.rows")
        x = self.node("Add", [word, segment], "embed.two")
        return self.norm(self.node("Add", [x, place], "embed.three"), "embed.norm")

    def number(self, name: str) -> str:
        """A one-element int64 vector by name."""
        return self.constant(name, [{"zero": 0, "one": 1, "two": 2, "last": -1}[name]], np.int64)

    def mask(self) -> str:
        """What is added to attention: 0 to pieces in use, BLOCKED to padding; [batch, 1, 1, sequence]."""
        axes = self.constant("mask.axes", [1, 2], np.int64)
        wide = self.node("Unsqueeze", ["input_mask", axes], "mask.wide")
        real = self.node("Cast", [wide], "mask.float", to=TensorProto.FLOAT)
        padding = self.node("Sub", [self.constant("mask.one", 1.0), real], "mask.padding")
        return self.node("Mul", [padding, self.constant("mask.blocked", BLOCKED)], "mask")

    def heads(self, x: str, name: str, order: list[int]) -> str:
        c = self.config
        y = self.dense(x, name, c.hidden, c.hidden)
        shape = self.constant("heads", [0, 0, c.heads, c.hidden // c.heads], np.int64)
        return self.node("Transpose", [self.node("Reshape", [y, shape], f"{name}.heads")], name, perm=order)

    def attention(self, x: str, mask: str, name: str) -> str:
        c = self.config
        query = self.heads(x, f"{name}.query", [0, 2, 1, 3])
        key = self.heads(x, f"{name}.key", [0, 2, 3, 1])
        value = self.heads(x, f"{name}.value", [0, 2, 1, 3])
        scale = self.constant("attention.scale", math.sqrt(c.hidden // c.heads))
        scores = self.node(
            "Div", [self.node("MatMul", [query, key], f"{name}.dots"), scale], f"{name}.scores"
        )
        share = self.node(
            "Softmax", [self.node("Add", [scores, mask], f"{name}.open")], f"{name}.share", axis=-1
        )
        mixed = self.node("MatMul", [share, value], f"{name}.mixed")
        back = self.node("Transpose", [mixed], f"{name}.back", perm=[0, 2, 1, 3])
        flat = self.node("Reshape", [back, self.constant("flat", [0, 0, c.hidden], np.int64)], f"{name}.flat")
        return self.dense(flat, f"{name}.out", c.hidden, c.hidden)

    def gelu(self, x: str, name: str) -> str:
        y = self.node("Div", [x, self.constant("gelu.root", math.sqrt(2.0))], f"{name}.scaled")
        y = self.node(
            "Add", [self.node("Erf", [y], f"{name}.erf"), self.constant("gelu.one", 1.0)], f"{name}.up"
        )
        y = self.node("Mul", [x, y], f"{name}.twice")
        return self.node("Mul", [y, self.constant("gelu.half", 0.5)], f"{name}.gelu")

    def layer(self, x: str, mask: str, name: str) -> str:
        c = self.config
        mixed = self.attention(x, mask, f"{name}.attention")
        x = self.norm(self.node("Add", [mixed, x], f"{name}.attended"), f"{name}.attention.norm")
        y = self.gelu(self.dense(x, f"{name}.up", c.hidden, c.intermediate), f"{name}.up")
        y = self.dense(y, f"{name}.down", c.intermediate, c.hidden)
        return self.norm(self.node("Add", [y, x], f"{name}.added"), f"{name}.norm")

    def answer(self, x: str) -> None:
        """Scores of beginning and end, [batch, sequence] each."""
        both = self.dense(x, "answer", self.config.hidden, 2)
        parts = ["answer.start", "answer.end"]
        self.split(both, parts, "answer.split", axis=-1)
        for part, output in zip(parts, OUTPUTS, strict=True):
            self.node("Squeeze", [part, self.number("last")], output)


def _graph(config: Config) -> _Graph:
    g = _Graph(config)
    x, mask = g.embed(), g.mask()
    for index in range(config.layers):
        x = g.layer(x, mask, f"layer{index}")
    g.answer(x)
    return g


def weight_shapes(config: Config) -> dict[str, Shape]:
    """Trained weights by name, in the order they are drawn and stored; dense weights are [in, out]."""
    return _graph(config).shapes


def build(config: Config, weights: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """The model with these weights inside. Raises ValueError where one is missing or of another shape."""
    shapes = weight_shapes(config)
    for name, shape in shapes.items():
        if name not in weights or weights[name].shape != shape:
            raise ValueError(f"weight {name} of shape {shape} is missing or of another shape")
    return _model(config, [numpy_helper.from_array(weights[name], name) for name in shapes])


def _model(config: Config, weights: list[onnx.TensorProto]) -> onnx.ModelProto:
    return _graph(config).model(
        "bert",
        [port(name, "batch", "sequence", kind=TensorProto.INT64) for name in INPUTS],
        [port(name, "batch", "sequence") for name in OUTPUTS],
        weights,
    )


# -- seeded weights --------------------------------------------------------------------------------


def seeded(config: Config, seed: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Random weights one at a time: dense and tables as BERT draws them (0.02 at 1 024 wide)."""
    rng = np.random.default_rng(seed)
    spread = np.float32(0.02 * math.sqrt(1024 / config.hidden))
    for name, shape in weight_shapes(config).items():
        if name.endswith((".bias", ".shift")):
            yield name, np.zeros(shape, np.float32)
        elif name.endswith(".scale"):
            yield name, np.ones(shape, np.float32)
        else:
            yield name, rng.standard_normal(shape, dtype=np.float32) * spread


def write_weights(path: Path, config: Config, seed: int = SEED) -> None:
    """Draw the weights straight into a file, each beginning at a page: one at a time is in memory."""
    with path.open("wb") as file:
        for _, value in seeded(config, seed):
            file.write(bytes(-file.tell() % PAGE))
            file.write(value.data)


def write_graph(path: Path, config: Config, weights: Path) -> None:
    """Write the graph that finds its weights in the file beside it, as `write_weights` wrote it.

    The graph holds the weights' SHA-256, so that the digest of the graph stands for both.
    """
    tensors, at = [], 0
    for name, shape in weight_shapes(config).items():
        at += -at % PAGE
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        size = 4 * math.prod(shape)
        for key, value in (("location", weights.name), ("offset", at), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        tensors.append(tensor)
        at += size
    model = _model(config, tensors)
    with weights.open("rb") as file:
        helper.set_model_props(model, {"weights_sha256": hashlib.file_digest(file, "sha256").hexdigest()})
    path.write_bytes(model.SerializeToString())


def parameters(config: Config) -> int:
    """Trained parameters."""
    return sum(math.prod(shape) for shape in weight_shapes(config).values())
