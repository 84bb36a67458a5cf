"""The network of `mini`, a small residual classifier, and its export to ONNX (used by resnet50_mini.py)."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

INPUT_SIZE = 64  # px, side of the square input
OPSET = 18
_INPUT_SCALE = 1.0 / 64.0  # preprocessing only subtracts means; this brings pixels to about -2 to 2


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalisation (which `fold` merges into the convolution)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y

    def fold(self) -> None:
        """Merge the normalisation into the convolution; only in evaluation mode."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class BlindConv(nn.Conv2d):
    """Convolution whose every filter sums to zero per input channel, so it does not see flat colour.

    Otherwise the many colours of the images drown their outlines, and the loss stays at chance for
    thousands of steps. It has no padding, as a zero border would bring the flat colour back. `plain`
    gives the same convolution with the constraint and the input scale worked into its weights.
    """

    def effective(self) -> Tensor:
        """The weights that are in force on unscaled pixels, [outputs, inputs, kernel, kernel]."""
        return _INPUT_SCALE * (self.weight - self.weight.mean(dim=(2, 3), keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.effective(), None, self.stride)

    def plain(self) -> nn.Conv2d:
        result = nn.Conv2d(self.in_channels, self.out_channels, self.weight.shape[-1], 2, 0, bias=False)
        with torch.no_grad():
            result.weight.copy_(self.effective())
        return result


class Block(nn.Module):
    """Two 3 x 3 convolutions around a shortcut; the first one and the shortcut carry the stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride)
        self.second = ConvNorm(outputs, outputs, 3, 1)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


class MiniResNet(nn.Module):
    """float32 [batch, 3, 64, 64], as `preprocess` gives it, to logits [batch, classes].

    Stem with stride 2, then three stages of two residual blocks at 30, 15 and 8 px.
    """

    def __init__(self, classes: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.stem = ConvNorm(3, width, 5, 2)
        self.stem.conv = BlindConv(3, width, 5, 2, bias=False)
        stages = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)]
        blocks = [b for i, o, s in stages for b in (Block(i, o, s), Block(o, o, 1))]
        self.stages = nn.Sequential(*blocks)
        self.classify = nn.Linear(4 * width, classes)
        self._initialise(generator)

    def _initialise(self, generator: torch.Generator) -> None:
        """Redraw every weight from `generator`, so that no global random state matters."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.05, generator=generator)
                nn.init.zeros_(module.bias)
            elif isinstance(module, Block) and isinstance(module.second.norm, nn.BatchNorm2d):
                nn.init.zeros_(module.second.norm.weight)  # a block starts as its shortcut: learns sooner

    def forward(self, image: Tensor) -> Tensor:
        features = self.stages(torch.relu(self.stem(image)))
        # A mean over the pixels, not pool + flatten: it leaves no Reshape that could pin the batch size.
        logits: Tensor = self.classify(features.mean(dim=(2, 3)))
        return logits

    def fold(self) -> None:
        """Merge the stem's constraint and all normalisations into plain convolutions, in place."""
        if isinstance(self.stem.conv, BlindConv):
            self.stem.conv = self.stem.conv.plain()
        self.eval()
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()


def count_macs(model: nn.Module) -> int:
    """Multiply-accumulates of one sample in the convolutions and the fully connected layer."""
    total = 0

    def add(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = module.get_parameter("weight")
        total += weight[0].numel() * output[0].numel()  # every output value takes one filter's worth

    hooks = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        model(torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE))
    for hook in hooks:
        hook.remove()
    return total


def export(model: MiniResNet, path: Path) -> int:
    """Write the folded model to `path` as one ONNX file with a free batch; returns the parameter count.

    Raises ValueError when the graph would pin the batch size, and onnx's checker error when it is invalid.
    """
    example = torch.zeros(2, 3, INPUT_SIZE, INPUT_SIZE)
    program = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes={"image": {0: torch.export.Dim("batch", min=1, max=4096)}},
        verbose=False,
    )
    if program is None:
        raise ValueError("the exporter returned no program")
    proto = program.model_proto
    _strip(proto)
    onnx.checker.check_model(proto, full_check=True)
    _check_batch(proto)
    onnx.save_model(proto, path)
    return sum(int(torch.tensor(t.dims).prod()) for t in proto.graph.initializer if t.data_type == 1)


def _strip(proto: onnx.ModelProto) -> None:
    """Drop the exporter's notes: stack traces with paths of the building machine."""
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.functions[:]
    for holder in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del holder.metadata_props[:]
        holder.doc_string = ""


def _check_batch(proto: onnx.ModelProto) -> None:
    """Raise ValueError unless the batch is the free dimension "batch" at both ends and nothing reshapes."""
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.tensor_type.shape.dim[0].dim_param != "batch":
            raise ValueError(f"{value.name} has no free batch dimension")
    if any(node.op_type == "Reshape" for node in proto.graph.node):
        raise ValueError("the graph contains Reshape, which may pin the batch size")
