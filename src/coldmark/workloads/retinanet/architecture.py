"""RetinaNet with a ResNeXt and feature pyramid backbone, written as ONNX from a plan of its sizes.

`FULL` is MLPerf's: ResNeXt-50 32x4d, 800x800 px, 264 classes, 37 128 876 parameters; its weights are seeded,
so its answers mean nothing. `MINI` is the small sibling of the same form, whose weights were trained.
Sources: Xie et al., "Aggregated Residual Transformations for Deep Neural Networks" (2016), table 1; Lin et
al., "Focal Loss for Dense Object Detection" (2017); mlcommons/training, single_stage_detector/ssd (pyramid
levels 3 to 7, the last two from level 5's output).

The outputs are the heads as the convolutions leave them, [batch, 9 * classes or 9 * 4, cells, cells] a level:
decoding (`detect`) finds the few scores that count wherever they lie, so nothing is transposed or joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from coldmark.workloads.onnx_graph import OnnxGraph, port
from coldmark.workloads.retinanet.anchors import PER_CELL

EXPANSION = 2
"""Channels out of a block over the width of its grouped convolution."""

LEVELS = (3, 4, 5, 6, 7)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the normalisation, which is the graph's first step: its input is red, green, blue in 0 to 1."""

PRIOR = 0.01
"""Score of every class before training (Lin et al., section 4.1)."""

LAST_SPREAD = 0.003
"""Of the heads' last weights: so that some hundreds to thousands of candidates pass, as with real images."""

SEED = 20220908

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The sizes of a RetinaNet."""

    side: int  # px of the square input
    classes: int
    bases: tuple[int, ...]  # px, smallest anchor size of each level
    stem: int  # channels
    stages: tuple[tuple[int, int], ...]  # (blocks, width of the grouped convolution); all but the first halve
    groups: int
    pyramid: int  # channels of pyramid and heads
    towers: int = 4  # convolutions before each head's last
    folded: bool = False  # normalisations merged into convolutions, which then have biases

    @property
    def cells(self) -> tuple[int, ...]:
        """Cells in a row of each level."""
        sides, side = [], self.side
        for _ in range(LEVELS[-1]):
            side = (side + 1) // 2
            sides.append(side)
        return tuple(sides[level - 1] for level in LEVELS)


FULL = Plan(
    side=800,
    classes=264,
    bases=(32, 64, 128, 256, 512),
    stem=64,
    stages=((3, 128), (4, 256), (6, 512), (3, 1024)),
    groups=32,
    pyramid=256,
)

MINI = Plan(
    side=128,
    classes=12,
    bases=(12, 24, 48, 96, 192),
    stem=24,
    stages=((1, 24), (2, 48), (2, 96), (1, 192)),
    groups=8,
    pyramid=48,
    folded=True,
)


def block_names(plan: Plan) -> Iterator[tuple[str, int, int, int]]:
    """(name, channels in, width, stride) of every residual block."""
    channels = plan.stem
    for stage, (count, width) in enumerate(plan.stages, 1):
        for index in range(count):
            yield f"stage{stage}.block{index}", channels, width, 2 if stage > 1 and index == 0 else 1
            channels = width * EXPANSION


def output_names() -> tuple[str, ...]:
    """The outputs in order: class logits of all levels, then box deltas of all levels."""
    return (*(f"logits{level}" for level in LEVELS), *(f"deltas{level}" for level in LEVELS))


@dataclass
class _Graph(OnnxGraph):
    plan: Plan
    draw: np.random.Generator
    given: Weights | None
    known: set[str] = field(default_factory=set)

    def weight(self, name: str, value: NDArray[Any]) -> str:
        """A weight by name: the given one, or else `value`. Heads share theirs over the levels."""
        if name not in self.known:
            self.known.add(name)
            if self.given is not None:
                if self.given[name].shape != value.shape:
                    raise ValueError(f"{name} is {self.given[name].shape}, not {value.shape}")
                value = np.ascontiguousarray(self.given[name], np.float32)
            self.tensor(name, value)
        return name

    def conv(
        self,
        x: str,
        name: str,
        shape: tuple[int, int, int],
        *,
        at: str = "",
        stride: int = 1,
        groups: int = 1,
        spread: float | None = None,
        bias: NDArray[np.float32] | None = None,
    ) -> str:
        """A convolution; `shape` is (out, in, kernel side), `at` tells uses of shared weights apart.

        It has a bias when one is given, or else in its place a normalisation follows.
        """
        out, inn, side = shape
        spread = (2.0 / (inn // groups * side * side)) ** 0.5 if spread is None else spread
        random = np.zeros((out, inn // groups, side, side), np.float32)
        if self.given is None and f"{name}.weight" not in self.known:
            random = self.draw.standard_normal(random.shape, dtype=np.float32) * np.float32(spread)
        inputs = [x, self.weight(f"{name}.weight", random)]
        if bias is None and self.plan.folded:
            bias = np.zeros(out, np.float32)
        if bias is not None:
            inputs.append(self.weight(f"{name}.bias", bias))
        return self.node(
            "Conv",
            inputs,
            f"{name}{at}.conv",
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[side // 2] * 4,
            group=groups,
        )

    def normed(
        self, x: str, name: str, shape: tuple[int, int, int], *, scale: float = 1.0, **more: int
    ) -> str:
        """A convolution without bias and its normalisation."""
        y = self.conv(x, name, shape, **more)  # type: ignore[arg-type]
        if self.plan.folded:
            return y
        parts = (("scale", scale), ("shift", 0.0), ("mean", 0.0), ("variance", 1.0))
        names = [self.weight(f"{name}.{p}", np.full(shape[0], v, np.float32)) for p, v in parts]
        return self.node("BatchNormalization", [y, *names], f"{name}.norm", epsilon=1e-5)

    def relu(self, x: str) -> str:
        return self.node("Relu", [x], f"{x}.relu")

    def block(self, x: str, name: str, inn: int, width: int, stride: int) -> str:
        """A bottleneck block; its last normalisation is scaled down so that sums stay finite."""
        out = width * EXPANSION
        y = self.relu(self.normed(x, f"{name}.1", (width, inn, 1)))
        y = self.relu(self.normed(y, f"{name}.2", (width, width, 3), stride=stride, groups=self.plan.groups))
        y = self.normed(y, f"{name}.3", (out, width, 1), scale=0.25)
        if stride != 1 or inn != out:
            x = self.normed(x, f"{name}.skip", (out, inn, 1), stride=stride)
        return self.relu(self.node("Add", [y, x], f"{name}.add"))

    def backbone(self, x: str) -> list[str]:
        """Outputs of the last three stages, at 1/8, 1/16 and 1/32 of the side."""
        ends: dict[str, str] = {}
        x = self.relu(self.normed(x, "stem", (self.plan.stem, 3, 7), stride=2))
        x = self.node("MaxPool", [x], "stem.pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        for name, inn, width, stride in block_names(self.plan):
            x = self.block(x, name, inn, width, stride)
            ends[name.split(".")[0]] = x
        return list(ends.values())[-3:]

    def pyramid(self, features: list[str]) -> list[str]:
        """Levels 3 to 7. Each coarser level is doubled to the side of the next and added."""
        p, even = self.plan.pyramid, np.zeros(self.plan.pyramid, np.float32)
        widths = [width * EXPANSION for _, width in self.plan.stages[-3:]]
        above, levels = "", []
        for level, x, inn in reversed(list(zip(LEVELS, features, widths, strict=False))):
            spread = inn**-0.5
            y = self.conv(x, f"pyramid.inner{level}", (p, inn, 1), bias=even, spread=spread)
            if above:
                y = self.node("Add", [y, self._doubled(above, level)], f"pyramid.add{level}")
            above = y
            spread = (9 * p) ** -0.5
            levels.append(self.conv(y, f"pyramid.layer{level}", (p, p, 3), bias=even, spread=spread))
        levels.reverse()
        six = self.conv(levels[-1], "pyramid.p6", (p, p, 3), stride=2, bias=even)
        seven = self.conv(self.relu(six), "pyramid.p7", (p, p, 3), stride=2, bias=even)
        return [*levels, six, seven]

    def _doubled(self, x: str, level: int) -> str:
        return self.node(
            "Resize",
            [x, "", self.tensor(f"pyramid.scale{level}", np.array([1, 1, 2, 2], np.float32))],
            f"pyramid.up{level}",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def head(self, x: str, name: str, level: int, channels: int, last: dict[str, Any]) -> str:
        p, even = self.plan.pyramid, np.zeros(self.plan.pyramid, np.float32)
        for index in range(self.plan.towers):
            x = self.relu(self.conv(x, f"{name}.{index}", (p, p, 3), at=f".{level}", bias=even))
        return self.conv(x, f"{name}.last", (channels, p, 3), at=f".{level}", **last)


def build(plan: Plan, weights: Weights | None = None, *, seed: int = SEED) -> onnx.ModelProto:
    """The ONNX model: input `image` [batch, 3, side, side] float32, outputs as `output_names` says.

    With `weights` None they are drawn from `seed`. Raises KeyError or ValueError for weights that do not fit.
    """
    g = _Graph(plan, np.random.default_rng(seed), weights)
    mean, std = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    x = g.node("Sub", ["image", g.tensor("input.mean", mean)], "input.centred")
    x = g.node("Div", [x, g.tensor("input.std", std)], "input.scaled")
    levels = g.pyramid(g.backbone(x))
    prior = np.full(PER_CELL * plan.classes, -np.log((1 - PRIOR) / PRIOR), np.float32)
    zero = np.zeros(PER_CELL * 4, np.float32)
    kinds: tuple[tuple[str, int, dict[str, Any]], ...] = (
        ("logits", plan.classes, {"spread": LAST_SPREAD, "bias": prior}),
        ("deltas", 4, {"spread": LAST_SPREAD, "bias": zero}),
    )
    outputs = []
    for kind, values, last in kinds:
        for level, y, cells in zip(LEVELS, levels, plan.cells, strict=True):
            end = g.head(y, f"head.{kind}", level, PER_CELL * values, last)
            g.node("Identity", [end], f"{kind}{level}")
            outputs.append(port(f"{kind}{level}", "batch", PER_CELL * values, cells, cells))
    return g.model("retinanet", [port("image", "batch", 3, plan.side, plan.side)], outputs)


def write(path: Path, plan: Plan = FULL) -> None:
    """Write `build(plan)` to a file."""
    onnx.save_model(build(plan), path)
