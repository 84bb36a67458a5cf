"""ResNet-50 v1.5 with seeded weights, written as ONNX: the `full` model, performance only.

The architecture is the published one: He, Zhang, Ren, Sun, "Deep Residual Learning for Image
Recognition" (2015), table 1, with the stride of a down-sampling block on its 3x3 convolution (v1.5).
25 557 032 parameters at 1 000 classes. The weights are random, so its answers mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from coldmark.workloads.onnx_graph import OnnxGraph, port

STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
"""(blocks, width of the bottleneck, stride of the first block) of each stage."""

EXPANSION = 4
IMAGE_SIZE = 224
CLASSES = 1000
PARAMETERS = 25_557_032
"""Trainable parameters: convolutions, scale and shift of the normalisations, the classifier."""

MACS = 4_089_184_256
"""Multiply-accumulates of the convolutions and the classifier, one image."""

SEED = 20220908


@dataclass
class _Graph(OnnxGraph):
    rng: np.random.Generator

    def conv(self, x: str, name: str, shape: tuple[int, int, int], *, stride: int, scale: float) -> str:
        """Convolution and batch normalisation; `shape` is (out, in, kernel side)."""
        out, inn, side = shape
        spread = np.sqrt(2.0 / (inn * side * side))
        kernel = self.rng.standard_normal((out, inn, side, side), dtype=np.float32) * np.float32(spread)
        pad = side // 2
        y = self.node(
            "Conv",
            [x, self.tensor(f"{name}.weight", kernel)],
            f"{name}.conv",
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[pad] * 4,
        )
        names = [
            self.tensor(f"{name}.scale", np.full(out, scale, np.float32)),
            self.tensor(f"{name}.shift", np.zeros(out, np.float32)),
            self.tensor(f"{name}.mean", np.zeros(out, np.float32)),
            self.tensor(f"{name}.variance", np.ones(out, np.float32)),
        ]
        return self.node("BatchNormalization", [y, *names], f"{name}.norm", epsilon=1e-5)

    def block(self, x: str, name: str, inn: int, width: int, stride: int) -> str:
        """A bottleneck block; the last normalisation is scaled down so that sums stay finite."""
        out = width * EXPANSION
        y = self.node(
            "Relu", [self.conv(x, f"{name}.1", (width, inn, 1), stride=1, scale=1.0)], f"{name}.1.relu"
        )
        y = self.node(
            "Relu", [self.conv(y, f"{name}.2", (width, width, 3), stride=stride, scale=1.0)], f"{name}.2.relu"
        )
        y = self.conv(y, f"{name}.3", (out, width, 1), stride=1, scale=0.25)
        if stride != 1 or inn != out:
            x = self.conv(x, f"{name}.skip", (out, inn, 1), stride=stride, scale=1.0)
        return self.node("Relu", [self.node("Add", [y, x], f"{name}.add")], f"{name}.relu")


def _blocks() -> Iterator[tuple[str, int, int, int]]:
    """(name, input channels, width, stride) of all sixteen blocks."""
    channels = 64
    for stage, (count, width, stride) in enumerate(STAGES, 1):
        for index in range(count):
            yield f"stage{stage}.block{index}", channels, width, stride if index == 0 else 1
            channels = width * EXPANSION


def build(seed: int = SEED) -> onnx.ModelProto:
    """The ONNX model: input `image` [batch, 3, 224, 224] float32, output `logits` [batch, 1000]."""
    g = _Graph(np.random.default_rng(seed))
    x = g.node("Relu", [g.conv("image", "stem", (64, 3, 7), stride=2, scale=1.0)], "stem.relu")
    x = g.node("MaxPool", [x], "stem.pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for name, inn, width, stride in _blocks():
        x = g.block(x, name, inn, width, stride)
    features = STAGES[-1][1] * EXPANSION
    x = g.node("Flatten", [g.node("GlobalAveragePool", [x], "pool")], "flatten")
    dense = g.rng.standard_normal((CLASSES, features), dtype=np.float32) * np.float32(features**-0.5)
    names = [g.tensor("classifier.weight", dense), g.tensor("classifier.bias", np.zeros(CLASSES, np.float32))]
    g.node("Gemm", [x, *names], "logits", transB=1)
    return g.model(
        "resnet50_v1.5_seeded",
        [port("image", "batch", 3, IMAGE_SIZE, IMAGE_SIZE)],
        [port("logits", "batch", CLASSES)],
    )


def trainable_parameters(model: onnx.ModelProto) -> int:
    """Elements of all weights except the running statistics of the normalisations."""
    return sum(
        int(np.prod(w.dims)) for w in model.graph.initializer if not w.name.endswith((".mean", ".variance"))
    )


def write(path: Path, seed: int = SEED) -> None:
    """Build the model, check it and write it; `cache.materialise` is what makes the file whole or absent."""
    model = build(seed)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
