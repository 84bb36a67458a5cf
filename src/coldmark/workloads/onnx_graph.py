"""Writing an ONNX graph node by node: what the workloads' own architectures share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8


@dataclass(kw_only=True)
class OnnxGraph:
    """Nodes and tensors in the order they are added. Every node is named after its output."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)

    def tensor(self, name: str, value: NDArray[Any]) -> str:
        """A weight or constant, stored in the graph; its name."""
        self.tensors.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """An operator with one output; its name."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def split(self, x: str, parts: Sequence[str], name: str, axis: int) -> None:
        """`x` in equal parts along an axis."""
        self.nodes.append(helper.make_node("Split", [x], parts, name=name, axis=axis))

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        weights: Iterable[onnx.TensorProto] = (),
    ) -> onnx.ModelProto:
        """The model of what was added; `weights` that are stored elsewhere come before its own tensors."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, [*weights, *self.tensors])
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, producer_name="coldmark", opset_imports=opset, ir_version=IR_VERSION)


def port(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """An input or output; dimensions that are named stay open."""
    return helper.make_tensor_value_info(name, kind, shape)
