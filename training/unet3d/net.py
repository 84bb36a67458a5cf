"""The network of `mini`, a small 3D-UNet, and its way into the ONNX graph that the package builds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from coldmark.workloads.unet3d import architecture
from coldmark.workloads.unet3d.architecture import Shape


class Unit(nn.Module):
    """3x3x3 convolution without bias, instance normalisation with scale and shift, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.InstanceNorm3d(outputs, eps=architecture.EPSILON, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)))


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(Unit(inputs, outputs, stride), Unit(outputs, outputs))


class MiniUNet(nn.Module):
    """float32 [batch, 1, w, w, w], as `preprocess` gives it, to logits [batch, classes, w, w, w]."""

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.first = block(1, shape.filters[0])
        self.down = nn.ModuleList([block(upper, lower, 2) for upper, lower in shape.levels])
        self.up = nn.ModuleList(
            [nn.ConvTranspose3d(lower, upper, 2, 2) for upper, lower in reversed(shape.levels)]
        )
        self.join = nn.ModuleList([block(2 * upper, upper) for upper, _ in reversed(shape.levels)])
        self.classify = nn.Conv3d(shape.filters[0], shape.classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, volume: Tensor) -> Tensor:
        x = self.first(volume)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat((up(x), skips.pop()), 1))
        logits: Tensor = self.classify(x)
        return logits


def _weights(model: MiniUNet) -> dict[str, NDArray[np.float32]]:
    """Weights under the names that `architecture.build` gives them."""
    found: dict[str, Tensor] = {}

    def take(name: str, pair: nn.Module) -> None:
        assert isinstance(pair, nn.Sequential)
        for number, unit in enumerate(pair, 1):
            assert isinstance(unit, Unit)
            found[f"{name}.{number}.weight"] = unit.conv.weight
            found[f"{name}.{number}.scale"] = unit.norm.weight
            found[f"{name}.{number}.shift"] = unit.norm.bias

    def take_convolution(name: str, convolution: nn.Module) -> None:
        found[f"{name}.weight"] = convolution.get_parameter("weight")
        found[f"{name}.bias"] = convolution.get_parameter("bias")

    take("input_block", model.first)
    for level, down in enumerate(model.down, 1):
        take(f"down{level}", down)
    for step, (up, join) in enumerate(zip(model.up, model.join, strict=True)):
        level = len(model.up) - step
        take_convolution(f"up{level}.up", up)
        take(f"up{level}", join)
    take_convolution("classify", model.classify)
    return {name: value.detach().numpy().astype(np.float32) for name, value in found.items()}


def export(model: MiniUNet, shape: Shape, path: Path) -> None:
    """Write the trained weights into the graph of `architecture.build`.

    Raises ValueError when a weight of the graph has no counterpart or another shape.
    """
    proto = architecture.build(shape)
    weights = _weights(model)
    if {w.name for w in proto.graph.initializer} != weights.keys():
        raise ValueError("the graph and the trained network name their weights differently")
    for tensor in proto.graph.initializer:
        value = np.ascontiguousarray(weights[tensor.name])
        if list(value.shape) != list(tensor.dims):
            raise ValueError(f"{tensor.name} is {list(value.shape)}, the graph has {list(tensor.dims)}")
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    proto.graph.name = "unet3d_mini"
    onnx.checker.check_model(proto, full_check=True)
    onnx.save_model(proto, path)
