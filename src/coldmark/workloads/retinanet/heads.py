"""An ONNX file as a detector: which of the two forms it has, and how it is run.

Heads (`full`, `mini`, what was made from them): class logits and box deltas of five levels; boxes are decoded
here. Detections (MLPerf's own file): boxes, scores and labels of one image, decoded in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.core.nouns import Scenario
from coldmark.core.sut import (
    Answers,
    Compiled,
    Compute,
    Indices,
    Model,
    Network,
    Pipeline,
    RowSource,
    Tensors,
    TensorSpec,
)
from coldmark.workloads.onnx_file import Port, Signature
from coldmark.workloads.retinanet.anchors import PER_CELL
from coldmark.workloads.retinanet.architecture import FULL, MINI, Plan, output_names
from coldmark.workloads.retinanet.detect import COLUMNS, SCORE_THRESHOLD, Detector
from coldmark.workloads.task import Recipe

DETECTIONS = ("boxes", "scores", "labels")
NETWORK = "detector"

RECIPE = Recipe(methods=("ort-static",))
"""Ranges by the extremes of all samples hold the gate; NNCF's lose 4 % of mAP, mostly in the heads."""
LARGE_RECIPE = Recipe(methods=("nncf-performance",), samples=32)
"""Images of 800 pixels: 8 MB and a second of work each."""

Finish = Callable[[Tensors, Indices], Answers]


def image_side(path: Path, signature: Signature) -> int | None:
    """The side of the square images a model takes, None where open. Raises DataError for anything else."""
    shape = signature.inputs[0].shape if len(signature.inputs) == 1 else ()
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or signature.inputs[0].dtype != "float32":
        raise DataError(
            f"not an object detector: inputs are {_shapes(signature.inputs)}",
            where=str(path),
            hint="one float32 input of shape [batch, 3, side, side] is expected",
        )
    return shape[2]


def gives_detections(signature: Signature) -> bool:
    """Whether the graph itself decodes its boxes, as MLPerf's own file does."""
    return set(DETECTIONS) <= {port.name for port in signature.outputs}


def small_model(path: Path, signature: Signature) -> Model:
    """A file of `mini`'s form, run in batches."""
    _check_heads(path, signature, MINI)
    return Model(
        path=path,
        inputs=(TensorSpec(name=signature.inputs[0].name, shape=(3, MINI.side, MINI.side)),),
        outputs=output_names(),
        finish=Detector(MINI.side, MINI.classes, MINI.cells, MINI.bases).finish,
        finish_is_work=True,
    )


def full_model(path: Path, signature: Signature, library: RowSource) -> Pipeline:
    """A file for 800x800 px in either form, an image at a time: more at once is no faster and takes GBs."""
    side = image_side(path, signature)
    if side not in (FULL.side, None):
        raise DataError(
            f"the input is {side} px wide, expected {FULL.side}",
            where=str(path),
            hint=f"{FULL.side} is MLPerf's size, {MINI.side} that of mini",
        )
    source = signature.inputs[0].name
    if gives_detections(signature):
        return _pipeline(path, source, DETECTIONS, library, finish_detections, alone=True)
    _check_heads(path, signature, FULL)
    finish = Detector(FULL.side, FULL.classes, FULL.cells, FULL.bases).finish
    return _pipeline(path, source, output_names(), library, finish, alone=False)


def _check_heads(path: Path, signature: Signature, plan: Plan) -> None:
    """Raise DataError unless the outputs are heads of this plan."""
    ports = {port.name: port.shape[1:] for port in signature.outputs}
    for name, cells in zip(output_names(), plan.cells * 2, strict=True):
        values = plan.classes if name.startswith("logits") else 4
        wanted = (PER_CELL * values, cells, cells)
        if ports.get(name) != wanted:
            raise DataError(
                f"output {name!r} is {ports.get(name, 'missing')}, expected {wanted} in a batch",
                where=str(path),
                hint=f"heads, or boxes, scores and labels, are read; it has {_shapes(signature.outputs)}",
            )


def _pipeline(
    path: Path, source: str, outputs: tuple[str, ...], library: RowSource, finish: Finish, *, alone: bool
) -> Pipeline:
    """A network over rows of `library`; `alone`: it takes one image at a time whatever the batch."""

    def rows(batch: int) -> int:
        return 1 if alone else batch

    def networks(batch: int) -> tuple[Network, ...]:
        shape = (rows(batch), 3, FULL.side, FULL.side)
        return (Network(name=NETWORK, path=path, inputs=(source,), outputs=outputs, profiles=((shape,),)),)

    def open_lane(compiled: Mapping[str, Compiled], batch: int) -> Compute:
        run, step = compiled[NETWORK], rows(batch)
        images = np.zeros((step, 3, FULL.side, FULL.side), np.float32)

        def compute(indices: Indices) -> Answers:
            answers: list[NDArray[np.uint8]] = []
            for start in range(0, len(indices), step):
                part = indices[start : start + step]
                library.fill(part, [images])
                answers += finish(run(images), part)
            return answers

        return compute

    return Pipeline(networks=networks, open=open_lane, batch=dict.fromkeys(Scenario, 1))


def finish_detections(outputs: Tensors, indices: Indices) -> Answers:
    """Boxes [n, 4] in px, scores [n], labels [n] of one image, best first -> its answer.

    As the reference does, the rows end at the first score below the threshold.
    """
    boxes, scores, labels = (np.asarray(output) for output in outputs)
    low = np.flatnonzero(scores < SCORE_THRESHOLD)
    n = int(low[0]) if len(low) else len(scores)
    rows = np.empty((n, COLUMNS), "<f4")
    rows[:, 0] = indices[0]
    rows[:, 1:5] = boxes.reshape(-1, 4)[:n, [1, 0, 3, 2]] / np.float32(FULL.side)
    rows[:, 5] = scores[:n]
    rows[:, 6] = labels[:n]
    return [rows.reshape(-1).view(np.uint8)]


def _shapes(ports: tuple[Port, ...]) -> str:
    return "; ".join(f"{p.name} {list(p.shape)} {p.dtype}" for p in ports[:12]) or "none"
