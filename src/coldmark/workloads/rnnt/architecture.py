"""RNN-T as two ONNX graphs, built from weights with the names of MLPerf's own checkpoint.

The architecture is the reference's (MLPerf Inference v2.1, speech_recognition/rnnt): LSTM layers, two frames
stacked into one, more LSTM layers; an LSTM over the symbols said so far; both joined by a linear layer, ReLU
and a linear layer. 45 323 037 parameters at the official size. Two things are arranged for speed, without
changing what is computed:

- the joint's first layer is linear in the sum of both sides, so the encoder's part of it is computed for all
  frames at once, inside the encoder;
- the embedding is looked up as its product with the first LSTM layer's input weights.

`encoder`: features [frames, batch, features] (frames even) and lengths [batch] -> heard [batch, frames/2,
joint]. `decoder`: one step for a batch, with the joint over a window of frames; see `decoder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from coldmark.workloads.onnx_graph import OnnxGraph, port
from coldmark.workloads.rnnt.alphabet import SYMBOLS

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of the network. The defaults are the round's."""

    features: int = 240
    encoder: int = 1024
    pre_layers: int = 2
    post_layers: int = 3
    prediction: int = 320
    prediction_layers: int = 2
    joint: int = 512
    symbols: int = SYMBOLS


def parameter_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights, as PyTorch has them."""
    layers = [
        ("encoder.pre_rnn", shape.features, shape.encoder, shape.pre_layers),
        ("encoder.post_rnn", 2 * shape.encoder, shape.encoder, shape.post_layers),
        ("prediction.dec_rnn", shape.prediction, shape.prediction, shape.prediction_layers),
    ]
    found: dict[str, tuple[int, ...]] = {}
    for name, first, hidden, count in layers:
        for layer in range(count):
            inputs = first if layer == 0 else hidden
            found[f"{name}.lstm.weight_ih_l{layer}"] = (4 * hidden, inputs)
            found[f"{name}.lstm.weight_hh_l{layer}"] = (4 * hidden, hidden)
            found[f"{name}.lstm.bias_ih_l{layer}"] = (4 * hidden,)
            found[f"{name}.lstm.bias_hh_l{layer}"] = (4 * hidden,)
    return found | {
        "prediction.embed.weight": (shape.symbols - 1, shape.prediction),
        "joint.net.0.weight": (shape.joint, shape.encoder + shape.prediction),
        "joint.net.0.bias": (shape.joint,),
        "joint.net.3.weight": (shape.symbols, shape.joint),
        "joint.net.3.bias": (shape.symbols,),
    }


def parameters(shape: Shape) -> int:
    """Weights in all."""
    return sum(int(np.prod(size)) for size in parameter_shapes(shape).values())


def encoder_macs(shape: Shape, frames: int) -> int:
    """Multiply-accumulates of the encoder over so many stacked frames, with the encoder's part of the
    joint."""
    hidden, half = shape.encoder, (frames + 1) // 2
    pre = 4 * hidden * (shape.features + (2 * shape.pre_layers - 1) * hidden)
    post = 4 * hidden * (2 * hidden + (2 * shape.post_layers - 1) * hidden)
    return frames * pre + half * (post + hidden * shape.joint)


def decoder_macs(shape: Shape, frames: int, said: int) -> int:
    """Multiply-accumulates that greedy decoding needs: the prediction network once a symbol and once at the
    start, the joint once a symbol and once a frame (`frames` as the encoder gives them out)."""
    layers = 4 * shape.prediction * shape.prediction * (2 * shape.prediction_layers)
    return (said + 1) * (layers + shape.prediction * shape.joint) + (
        said + frames
    ) * shape.joint * shape.symbols


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    onnx.checker.check_model(model)
    return model


# -- encoder ----------------------------------------------------------------------------------------


def build_encoder(weights: Weights, shape: Shape) -> onnx.ModelProto:
    """Graph `encoder`: `features` [frames, batch, features], frames even, and `lengths` [batch], int64, the
    true frames of each utterance -> `heard` [batch, frames / 2, joint]."""
    g = OnnxGraph()
    x = _lstm_layers(g, "features", weights, "encoder.pre_rnn", shape.pre_layers)
    x = _stack_time(g, _silence_past_end(g, x))
    x = _lstm_layers(g, x, weights, "encoder.post_rnn", shape.post_layers)
    first = weights["joint.net.0.weight"][:, : shape.encoder]
    x = g.node("MatMul", [x, g.tensor("joint.heard.weight", first.T)], "joint.heard.product")
    x = g.node("Add", [x, g.tensor("joint.heard.bias", weights["joint.net.0.bias"])], "joint.heard")
    g.node("Transpose", [x], "heard", perm=[1, 0, 2])
    return _checked(
        g.model(
            "rnnt_encoder",
            [
                port("features", "frames", "batch", shape.features),
                port("lengths", "batch", kind=TensorProto.INT64),
            ],
            [port("heard", "batch", "half", shape.joint)],
        )
    )


def _gates(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """PyTorch's order of gates (input, forget, cell, output) to ONNX's (input, output, forget, cell)."""
    i, f, c, o = np.split(rows, 4)
    return np.concatenate((i, o, f, c))


def _lstm_layers(g: OnnxGraph, x: str, weights: Weights, name: str, layers: int) -> str:
    """[steps, batch, inputs] -> [steps, batch, hidden]."""
    for layer in range(layers):
        part = {
            k: _gates(weights[f"{name}.lstm.{k}_l{layer}"])
            for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        here = f"{name}.{layer}"
        inputs = [
            x,
            g.tensor(f"{here}.W", part["weight_ih"][None]),
            g.tensor(f"{here}.R", part["weight_hh"][None]),
            g.tensor(f"{here}.B", np.concatenate((part["bias_ih"], part["bias_hh"]))[None]),
        ]
        hidden = part["weight_hh"].shape[1]
        g.node("LSTM", inputs, f"{here}.lstm", hidden_size=hidden)
        x = g.node("Squeeze", [f"{here}.lstm", _one(g)], here)
    return x


def _one(g: OnnxGraph) -> str:
    if not any(w.name == "one" for w in g.tensors):
        g.tensor("one", np.array([1], np.int64))
    return "one"


def _silence_past_end(g: OnnxGraph, x: str) -> str:
    """Zeros past each utterance's end, as the reference pads a single utterance before stacking."""
    shape = g.node("Shape", [x], "frames.shape", start=0, end=1)
    count = g.node("Squeeze", [shape], "frames.count")
    start, step = g.tensor("frames.start", np.array([0])), g.tensor("frames.step", np.array([1]))
    place = g.node(
        "Unsqueeze", [g.node("Range", [start, count, step], "frames.range"), _one(g)], "frames.place"
    )
    inside = g.node(
        "Cast", [g.node("Less", [place, "lengths"], "inside")], "inside.float", to=TensorProto.FLOAT
    )
    column = g.node("Unsqueeze", [inside, g.tensor("two", np.array([2]))], "inside.column")
    return g.node("Mul", [x, column], "encoder.pre_rnn.cut")


def _stack_time(g: OnnxGraph, x: str) -> str:
    """[2n, batch, hidden] -> [n, batch, 2 hidden]: frames 2i and 2i + 1 side by side."""
    ends, axis = g.tensor("stack.end", np.array([2**31 - 1])), g.tensor("stack.axis", np.array([0]))
    halves = []
    for place in (0, 1):
        start = g.tensor(f"stack.start{place}", np.array([place]))
        halves.append(
            g.node(
                "Slice",
                [x, start, ends, axis, g.tensor(f"stack.step{place}", np.array([2]))],
                f"stack.{place}",
            )
        )
    return g.node("Concat", halves, "stack", axis=2)


# -- decoder ----------------------------------------------------------------------------------------


def build_decoder(weights: Weights, shape: Shape) -> onnx.ModelProto:
    """Graph `decoder`, one step of greedy decoding for a batch.

    `symbol` [batch], int64, the last label said or the blank's number where nothing was said yet; `state`
    [2 layers, batch, prediction], the hidden and cell state of each layer before that symbol; `heard` [batch,
    window, joint], frames from the encoder -> `logits` [batch, window, symbols], and `next_state`, the state
    after the symbol.
    """
    g = OnnxGraph()
    layers = shape.prediction_layers
    parts = [f"state.{i}" for i in range(2 * layers)]
    g.split("state", parts, "state.parts", axis=0)
    axis = g.tensor("zero", np.array([0]))
    states = [g.node("Squeeze", [part, axis], f"{part}.rows") for part in parts]
    after: list[str] = []
    x = ""
    for layer in range(layers):
        gates = _cell_gates(g, weights, shape, layer, x, states[2 * layer])
        x, cell = _cell(g, gates, states[2 * layer + 1], f"cell.{layer}")
        after += [x, cell]
    rows = [g.node("Unsqueeze", [name, axis], f"{name}.row") for name in after]
    g.node("Concat", rows, "next_state", axis=0)
    _joint(g, x, weights, shape)
    return _checked(
        g.model(
            "rnnt_decoder",
            [
                port("symbol", "batch", kind=TensorProto.INT64),
                port("state", 2 * layers, "batch", shape.prediction),
                port("heard", "batch", "window", shape.joint),
            ],
            [
                port("logits", "batch", "window", shape.symbols),
                port("next_state", 2 * layers, "batch", shape.prediction),
            ],
        )
    )


def _cell_gates(g: OnnxGraph, weights: Weights, shape: Shape, layer: int, x: str, hidden: str) -> str:
    """The four gates [batch, 4 prediction] before their functions, in PyTorch's order."""
    part = {
        k: weights[f"prediction.dec_rnn.lstm.{k}_l{layer}"]
        for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    bias = part["bias_ih"] + part["bias_hh"]
    if layer == 0:
        said = weights["prediction.embed.weight"] @ part["weight_ih"].T
        nothing = np.zeros((1, said.shape[1]), np.float32)  # the reference feeds zeros before the first label
        table = g.tensor("said", np.concatenate((said, nothing)) + bias)
        looked_up = g.node("Gather", [table, "symbol"], "said.row", axis=0)
        product = g.node("MatMul", [hidden, g.tensor("R.0", part["weight_hh"].T)], "gates.0.product")
        return g.node("Add", [product, looked_up], "gates.0")
    both = g.node("Concat", [x, hidden], f"inputs.{layer}", axis=1)
    matrix = np.concatenate((part["weight_ih"], part["weight_hh"]), axis=1).T
    product = g.node("MatMul", [both, g.tensor(f"WR.{layer}", matrix)], f"gates.{layer}.product")
    return g.node("Add", [product, g.tensor(f"B.{layer}", bias)], f"gates.{layer}")


def _cell(g: OnnxGraph, gates: str, cell: str, name: str) -> tuple[str, str]:
    """An LSTM cell's hidden and cell state after its gates."""
    parts = [f"{name}.{gate}" for gate in ("in", "forget", "new", "out")]
    g.split(gates, parts, f"{name}.gates", axis=1)
    entry, keep, new, out = parts
    kept = g.node("Mul", [g.node("Sigmoid", [keep], f"{keep}.open"), cell], f"{name}.kept")
    added = g.node(
        "Mul",
        [g.node("Sigmoid", [entry], f"{entry}.open"), g.node("Tanh", [new], f"{new}.value")],
        f"{name}.added",
    )
    after = g.node("Add", [kept, added], f"{name}.c")
    shown = g.node("Tanh", [after], f"{name}.c.value")
    return g.node("Mul", [g.node("Sigmoid", [out], f"{out}.open"), shown], f"{name}.h"), after


def _joint(g: OnnxGraph, x: str, weights: Weights, shape: Shape) -> None:
    first = weights["joint.net.0.weight"][:, shape.encoder :]
    said = g.node("MatMul", [x, g.tensor("joint.said.weight", first.T)], "joint.said")
    both = g.node("Add", ["heard", g.node("Unsqueeze", [said, _one(g)], "joint.said.column")], "joint.both")
    active = g.node("Relu", [both], "joint.active")
    last = g.tensor("joint.last.weight", weights["joint.net.3.weight"].T)
    product = g.node("MatMul", [active, last], "joint.product")
    g.node("Add", [product, g.tensor("joint.last.bias", weights["joint.net.3.bias"])], "logits")


# -- seeded weights ---------------------------------------------------------------------------------

SEED = 20220908

_LSTM_GAIN = 2.5  # keeps five layers of random weights awake
_HEARD_GAIN, _SAID_GAIN = 10.0, 12.0  # both sides of the joint weigh in
_BLANK_BIAS = 1.0
"""Found by trial: with it the seeded network says about as many labels a second as the official transcripts
have; the figures are in docs/explanation/workload-rnnt.md."""


def seeded(shape: Shape, seed: int = SEED) -> dict[str, NDArray[np.float32]]:
    """Random weights by name: performance only.

    Plain random weights say nothing for seconds and then thirty labels at a frame, which is no fair load for
    a decoder. So one unit of the encoder changes its sign with every frame, one of the prediction network
    with every label, and the joint lets a label pass only where both agree: at most one a frame.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[np.float32]] = {}
    for name, size in parameter_shapes(shape).items():
        if len(size) == 1:
            found[name] = np.zeros(size, np.float32)
            continue
        gain = _LSTM_GAIN if "lstm" in name else 1.0
        found[name] = rng.standard_normal(size, np.float32) * np.float32(gain * size[-1] ** -0.5)
    found["joint.net.0.weight"][:, : shape.encoder] *= np.float32(_HEARD_GAIN)
    found["joint.net.0.weight"][:, shape.encoder :] *= np.float32(_SAID_GAIN)
    found["joint.net.3.bias"][-1] = _BLANK_BIAS
    _alternate(found, f"encoder.post_rnn.lstm.{{}}_l{shape.post_layers - 1}", shape.encoder)
    _alternate(found, f"prediction.dec_rnn.lstm.{{}}_l{shape.prediction_layers - 1}", shape.prediction)
    _agree(found, shape.encoder)
    return found


def _alternate(weights: dict[str, NDArray[np.float32]], name: str, hidden: int) -> None:
    """Make unit 0 of a layer go to and fro between -0.76 and 0.76, a change a step, whatever comes in."""
    gates = np.arange(4) * hidden  # unit 0's rows: input, forget, cell, output
    for kind in ("weight_ih", "weight_hh"):
        weights[name.format(kind)][gates] = 0.0
    weights[name.format("bias_ih")][gates] = (10.0, -10.0, 5.0, 10.0)
    weights[name.format("weight_hh")][gates[2], 0] = -20.0


def _agree(weights: dict[str, NDArray[np.float32]], said: int) -> None:
    """Let two units of the joint raise the blank where unit 0 of both sides differ.

    `said` is the column at which the prediction network's side of the joint begins.
    """
    first, last = weights["joint.net.0.weight"], weights["joint.net.3.weight"]
    for unit, sign in ((0, 20.0), (1, -20.0)):
        first[unit] = 0.0
        first[unit, 0], first[unit, said] = sign, -sign
        last[:, unit] = 0.0
        last[-1, unit] = 20.0
