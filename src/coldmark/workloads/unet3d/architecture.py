"""3D-UNet with seeded weights, written as ONNX: the `full` model, performance only.

The architecture is the one that MLPerf took for KiTS19: Isensee et al., "nnU-Net" (2018), as the reference
of MLPerf Training has it (image_segmentation, instance normalisation with scale and shift, ReLU). An input
block, one halving block a level and one more at the bottom, each of two 3x3x3 convolutions; on the way up a
transposed 2x2x2 convolution, the skip beside it, two 3x3x3 convolutions; three classes by a 1x1x1
convolution. 31 190 243 parameters; 477 G multiply-accumulates a window of 128 voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from coldmark.workloads.onnx_graph import OnnxGraph, port

SEED = 20191013
EPSILON = 1e-5
"""Added to the variance by the instance normalisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What makes one 3D-UNet differ from another. The defaults are the official one."""

    filters: tuple[int, ...] = (
        32,
        64,
        128,
        256,
        320,
    )  # channels of each level; the bottom has the last again
    window: int = 128  # voxels a side of the input, a multiple of 2 ** len(filters)
    classes: int = 3

    @property
    def levels(self) -> list[tuple[int, int]]:
        """(input, output) channels of each halving block, the bottom among them."""
        outputs = (*self.filters[1:], self.filters[-1])
        return list(zip(self.filters, outputs, strict=True))


OFFICIAL = Shape()


def parameters(shape: Shape) -> int:
    """Weights, biases, scales and shifts, from the shapes alone."""
    first, total = shape.filters[0], 0
    for inputs, outputs in [(1, first), *shape.levels]:
        total += 27 * outputs * (inputs + outputs) + 4 * outputs
    for outputs, inputs in shape.levels:
        total += 8 * inputs * outputs + outputs  # transposed convolution with bias
        total += 27 * outputs * (2 * outputs + outputs) + 4 * outputs
    return total + shape.classes * (first + 1)


def macs(shape: Shape) -> int:
    """Multiply-accumulates of the convolutions of one window."""
    side, first = shape.window, shape.filters[0]
    total = side**3 * (27 * first * (1 + first) + shape.classes * first)
    for level, (upper, lower) in enumerate(shape.levels, 1):
        fine, coarse = (side >> (level - 1)) ** 3, (side >> level) ** 3
        total += coarse * 27 * lower * (upper + lower)  # halving block
        total += fine * lower * upper  # each fine voxel takes one tap of the transposed convolution
        total += fine * 27 * upper * (2 * upper + upper)  # block after the skip
    return total


@dataclass
class _Graph(OnnxGraph):
    rng: np.random.Generator

    def normal(self, name: str, shape: tuple[int, ...], inputs: int) -> str:
        """He's initialisation: variance 2 / (values that one output sums)."""
        spread = np.float32(np.sqrt(2.0 / inputs))
        return self.tensor(name, self.rng.standard_normal(shape, dtype=np.float32) * spread)

    def unit(self, x: str, name: str, inputs: int, outputs: int, stride: int = 1) -> str:
        """3x3x3 convolution without bias, instance normalisation, ReLU."""
        kernel = self.normal(f"{name}.weight", (outputs, inputs, 3, 3, 3), 27 * inputs)
        y = self.node(
            "Conv", [x, kernel], f"{name}.conv", kernel_shape=[3] * 3, strides=[stride] * 3, pads=[1] * 6
        )
        affine = [
            self.tensor(f"{name}.scale", np.ones(outputs, np.float32)),
            self.tensor(f"{name}.shift", np.zeros(outputs, np.float32)),
        ]
        y = self.node("InstanceNormalization", [y, *affine], f"{name}.norm", epsilon=EPSILON)
        return self.node("Relu", [y], f"{name}.relu")

    def block(self, x: str, name: str, inputs: int, outputs: int, stride: int = 1) -> str:
        x = self.unit(x, f"{name}.1", inputs, outputs, stride)
        return self.unit(x, f"{name}.2", outputs, outputs)

    def up(self, x: str, skip: str, name: str, inputs: int, outputs: int) -> str:
        """Transposed convolution that doubles each side, the skip beside it, a block."""
        kernel = self.normal(f"{name}.up.weight", (inputs, outputs, 2, 2, 2), inputs)
        bias = self.tensor(f"{name}.up.bias", np.zeros(outputs, np.float32))
        x = self.node("ConvTranspose", [x, kernel, bias], f"{name}.up", kernel_shape=[2] * 3, strides=[2] * 3)
        x = self.node("Concat", [x, skip], f"{name}.concat", axis=1)
        return self.block(x, name, 2 * outputs, outputs)


def build(shape: Shape = OFFICIAL, seed: int = SEED) -> onnx.ModelProto:
    """The ONNX model: `input` [batch, 1, w, w, w] float32 to `output` [batch, classes, w, w, w], logits."""
    g = _Graph(np.random.default_rng(seed))
    first, side = shape.filters[0], shape.window
    x = g.block("input", "input_block", 1, first)
    skips = []
    for level, (upper, lower) in enumerate(shape.levels, 1):
        skips.append((x, upper, lower))
        x = g.block(x, f"down{level}", upper, lower, stride=2)
    for level in range(len(skips), 0, -1):
        skip, upper, lower = skips[level - 1]
        x = g.up(x, skip, f"up{level}", lower, upper)
    kernel = g.normal("classify.weight", (shape.classes, first, 1, 1, 1), first)
    bias = g.tensor("classify.bias", np.zeros(shape.classes, np.float32))
    g.node("Conv", [x, kernel, bias], "output", kernel_shape=[1] * 3)
    return g.model(
        "unet3d_seeded",
        [port("input", "batch", 1, side, side, side)],
        [port("output", "batch", shape.classes, side, side, side)],
    )


def write(path: Path, shape: Shape = OFFICIAL, seed: int = SEED) -> None:
    """Build the model, check it and write it; `cache.materialise` is what makes the file whole or absent."""
    model = build(shape, seed)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
