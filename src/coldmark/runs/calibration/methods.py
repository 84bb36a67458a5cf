"""Methods that turn a network in FP32 into one in INT8: a name, a line, a function each.

All write a graph of QuantizeLinear and DequantizeLinear (or, the dynamic one, of integer operators) as ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import onnx
from numpy.typing import NDArray

from coldmark.core.catalogue import Catalogue, Entry

Feeds: TypeAlias = Sequence[Mapping[str, NDArray[Any]]]
"""Inputs of a network by name, one mapping a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One network to quantise."""

    source: Path
    target: Path
    feeds: Feeds
    exclude: tuple[str, ...] = ()  # names of nodes that stay in floating point
    keep: tuple[str, ...] = ()  # regular expressions of such names
    transformer: bool = False


Quantise = Callable[[Ask], None]
"""Writes `target`. Raises BackendError where the tool cannot."""


def _entry(target: str, summary: str) -> Entry:
    # NNCF's ONNX side computes with ONNX Runtime as well.
    return Entry(f"coldmark.runs.calibration.{target}", summary, "onnxruntime", "onnxruntime")


METHODS = Catalogue(
    "method",
    {
        "nncf-performance": _entry(
            "nncf_methods:performance", "NNCF, symmetric activations, fast bias correction"
        ),
        "nncf-mixed": _entry("nncf_methods:mixed", "NNCF, asymmetric activations, fast bias correction"),
        "nncf-extremes": _entry("nncf_methods:extremes", "NNCF, symmetric activations, ranges by extremes"),
        "nncf-mixed-bias": _entry(
            "nncf_methods:mixed_bias",
            "NNCF, asymmetric activations, bias corrected layer by layer",
        ),
        "ort-static": _entry("ort_methods:static", "ONNX Runtime's static quantiser, range by extremes"),
        "ort-dynamic": _entry(
            "ort_methods:dynamic",
            "ONNX Runtime's dynamic quantiser: activations scaled as they come",
        ),
    },
)

FIRST = ("nncf-performance", "nncf-mixed")
"""Tried always."""

FURTHER: dict[str, tuple[str, ...]] = {
    "openvino": ("nncf-extremes", "nncf-mixed-bias", "ort-static"),
    "onnxruntime": ("nncf-extremes", "ort-static", "ort-dynamic", "nncf-mixed-bias"),
}
"""By backend: tried where none of the first holds the gate."""


def named(path: Path) -> onnx.ModelProto:
    """A network with its weights, every node of it with a name of its own."""
    model = onnx.load(path)
    taken = {node.name for node in model.graph.node if node.name}
    seen: set[str] = set()
    for at, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            name = f"{node.op_type}_{at}"
            node.name = name if name not in taken else f"{name}_unnamed"
        seen.add(node.name)
    return model
