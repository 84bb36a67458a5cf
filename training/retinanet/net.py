"""The network of `mini` in PyTorch, for training; its folded weights go into coldmark's own ONNX builder."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from coldmark.workloads.retinanet.anchors import PER_CELL
from coldmark.workloads.retinanet.architecture import (
    EXPANSION,
    LEVELS,
    MEAN,
    PRIOR,
    STD,
    Plan,
    block_names,
)


def key(name: str) -> str:
    """A module's key: PyTorch allows no dots in it."""
    return name.replace(".", "_")


class RetinaNet(nn.Module):
    """uint8 [n, side, side, 3] to logits [n, anchors, classes] and deltas [n, anchors, 4].

    One module a convolution, called as the builder calls it.
    """

    def __init__(self, plan: Plan, generator: torch.Generator) -> None:
        super().__init__()
        self.plan = plan
        self.convs = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        p = plan.pyramid
        self._add("stem", plan.stem, 3, 7, stride=2, norm=True)
        for name, inn, width, stride in block_names(plan):
            self._add(f"{name}.1", width, inn, 1, norm=True)
            self._add(f"{name}.2", width, width, 3, stride=stride, groups=plan.groups, norm=True)
            self._add(f"{name}.3", width * EXPANSION, width, 1, norm=True)
            if stride != 1 or inn != width * EXPANSION:
                self._add(f"{name}.skip", width * EXPANSION, inn, 1, stride=stride, norm=True)
        for level, (_, width) in zip(LEVELS, plan.stages[-3:], strict=False):
            self._add(f"pyramid.inner{level}", p, width * EXPANSION, 1)
            self._add(f"pyramid.layer{level}", p, p, 3)
        self._add("pyramid.p6", p, p, 3, stride=2)
        self._add("pyramid.p7", p, p, 3, stride=2)
        for kind, values in (("logits", plan.classes), ("deltas", 4)):
            for index in range(plan.towers):
                self._add(f"head.{kind}.{index}", p, p, 3)
            self._add(f"head.{kind}.last", PER_CELL * values, p, 3)
        self._initialise(generator)

    def _add(
        self,
        name: str,
        out: int,
        inn: int,
        side: int,
        *,
        stride: int = 1,
        groups: int = 1,
        norm: bool = False,
    ) -> None:
        self.convs[key(name)] = nn.Conv2d(inn, out, side, stride, side // 2, groups=groups, bias=not norm)
        if norm:
            self.norms[key(name)] = nn.BatchNorm2d(out)

    def _initialise(self, generator: torch.Generator) -> None:
        """Redraw every weight from `generator`, so that no global random state matters."""
        for name, conv in self.convs.items():
            assert isinstance(conv, nn.Conv2d)
            if name.endswith("last"):
                nn.init.normal_(conv.weight, std=0.01, generator=generator)
            else:
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
                if name.startswith("pyramid"):
                    with torch.no_grad():
                        conv.weight.mul_(0.7)  # no rectifier before the sum
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            if name.endswith("_3") and name.startswith("stage"):
                norm = self.norms[name]
                assert isinstance(norm, nn.BatchNorm2d)
                nn.init.constant_(norm.weight, 0.2)  # a block starts near its shortcut: learns sooner
        last = self.convs["head_logits_last"]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, -float(np.log((1 - PRIOR) / PRIOR)))

    def _conv(self, x: Tensor, name: str) -> Tensor:
        y: Tensor = self.convs[key(name)](x)
        if key(name) in self.norms:
            y = self.norms[key(name)](y)
        return y

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images.permute(0, 3, 1, 2).float() / 255
        x = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
        x = nn.functional.max_pool2d(torch.relu(self._conv(x, "stem")), 3, 2, 1)
        ends: dict[str, Tensor] = {}
        for name, _, _, _ in block_names(self.plan):
            y = torch.relu(self._conv(x, f"{name}.1"))
            y = self._conv(torch.relu(self._conv(y, f"{name}.2")), f"{name}.3")
            x = torch.relu(y + (self._conv(x, f"{name}.skip") if key(f"{name}.skip") in self.convs else x))
            ends[name.split(".")[0]] = x
        levels = self._pyramid(list(ends.values())[-3:])
        return self._head(levels, "logits", self.plan.classes), self._head(levels, "deltas", 4)

    def _pyramid(self, features: list[Tensor]) -> list[Tensor]:
        above, levels = None, []
        for level, x in reversed(list(zip(LEVELS, features, strict=False))):
            y = self._conv(x, f"pyramid.inner{level}")
            above = y if above is None else y + nn.functional.interpolate(above, scale_factor=2.0)
            levels.insert(0, self._conv(above, f"pyramid.layer{level}"))
        levels.append(self._conv(levels[-1], "pyramid.p6"))
        levels.append(self._conv(torch.relu(levels[-1]), "pyramid.p7"))
        return levels

    def _head(self, levels: list[Tensor], kind: str, values: int) -> Tensor:
        outputs = []
        for x in levels:
            for index in range(self.plan.towers):
                x = torch.relu(self._conv(x, f"head.{kind}.{index}"))
            y = self._conv(x, f"head.{kind}.last")
            n, _, h, w = y.shape
            y = y.view(n, PER_CELL, values, h, w).permute(0, 3, 4, 1, 2)
            outputs.append(y.reshape(n, h * w * PER_CELL, values))
        return torch.cat(outputs, 1)

    def fold(self) -> None:
        """Merge the normalisations into the convolutions, in place: from then on they stay as they are."""
        self.eval()
        for name in list(self.norms):
            conv, norm = self.convs[name], self.norms[name]
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            self.convs[name] = fuse_conv_bn_eval(conv, norm)
        self.norms = nn.ModuleDict()

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Weights of the folded network by the builder's names."""
        found: dict[str, NDArray[np.float32]] = {}
        for name, conv in self.convs.items():
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            dotted = name.replace("_", ".")
            found[f"{dotted}.weight"] = conv.weight.detach().numpy()
            found[f"{dotted}.bias"] = conv.bias.detach().numpy()
        return found
