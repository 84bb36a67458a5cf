"""Which layers quantisation hurts: the noise each adds to what goes through it.

A layer's output in the quantised network differs from that in FP32 by the noise that came in and by what the
layer adds itself. Ranked is the difference of the noise-to-signal ratios at its output and at its input, so
that a layer is not blamed for those before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
from numpy.typing import NDArray

from coldmark.backends.signal_stack import kept_signal_stack
from coldmark.runs.calibration.methods import Feeds, named

SAMPLES = 16
GROUP = 24
"""Layers looked at in one pass: all their outputs are in memory together."""


def ranked(source: Path, quantised: Path, feeds: Feeds) -> list[tuple[float, str]]:
    """Noise that each quantised layer adds, and its name; worst first."""
    layers = _layers(named(source), onnx.load(quantised, load_external_data=False))
    found: list[tuple[float, str]] = []
    few = feeds[:: max(1, len(feeds) // SAMPLES)][:SAMPLES]
    for at in range(0, len(layers), GROUP):
        part = layers[at : at + GROUP]
        wanted = sorted({name for _, entry, exit_ in part for name in (*entry, exit_)})
        noise = _noise(source, quantised, wanted, few)
        for node, entry, exit_ in part:
            came = max((noise.get(name, 0.0) for name in entry), default=0.0)
            found.append((max(0.0, noise.get(exit_, 0.0) - came), node))
    return sorted(found, reverse=True)


def _layers(source: onnx.ModelProto, quantised: onnx.ModelProto) -> list[tuple[str, tuple[str, ...], str]]:
    """Quantised nodes: (name, tensors that come in, tensor that goes out)."""
    made = {output: node.op_type for node in quantised.graph.node for output in node.output}
    still = {node.name: node for node in quantised.graph.node}
    computed = {output for node in source.graph.node for output in node.output}
    return [
        (node.name, tuple(name for name in node.input if name in computed), node.output[0])
        for node in source.graph.node
        if (other := still.get(node.name)) is not None
        and any(made.get(name) == "DequantizeLinear" for name in other.input)
    ]


def _noise(source: Path, quantised: Path, wanted: Sequence[str], feeds: Feeds) -> dict[str, float]:
    """Noise-to-signal ratio of each tensor over some inputs."""
    clean, noisy = _compiled(source, wanted), _compiled(quantised, wanted)
    common = [name for name in wanted if name in clean[1] and name in noisy[1]]
    power, error = dict.fromkeys(common, 0.0), dict.fromkeys(common, 0.0)
    for feed in feeds:
        one, other = _run(clean, common, feed), _run(noisy, common, feed)
        for name in common:
            power[name] += float(np.sum(np.square(one[name], dtype=np.float64)))
            error[name] += float(np.sum(np.square(one[name] - other[name], dtype=np.float64)))
    return {name: error[name] / power[name] if power[name] > 0 else 0.0 for name in common}


def _compiled(path: Path, wanted: Sequence[str]) -> tuple[Any, set[str]]:
    core = ov.Core()
    graph = core.read_model(str(path))
    known = {name for op in graph.get_ops() for port in op.outputs() for name in port.names}
    there = {name for name in wanted if name in known}
    graph.add_outputs(sorted(there))
    with kept_signal_stack():
        return core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}), there


def _run(
    compiled: tuple[Any, set[str]], wanted: Sequence[str], feed: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    found = compiled[0](dict(feed))
    return {name: np.asarray(found[name]) for name in wanted}
