"""An ONNX file as a classifier of square images: its input's side, its output, how its answers are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coldmark.core.errors import DataError
from coldmark.core.sut import Model, TensorSpec
from coldmark.workloads.onnx_file import Port, Signature
from coldmark.workloads.resnet50 import labels


def image_size(path: Path, signature: Signature) -> int | None:
    """The side of the square images a model takes. Raises DataError for anything else."""
    shape = signature.inputs[0].shape if len(signature.inputs) == 1 else ()
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or signature.inputs[0].dtype != "float32":
        raise DataError(
            f"not an image classifier: inputs are {_shapes(signature.inputs)}",
            where=str(path),
            hint="one float32 input of shape [batch, 3, side, side] is expected",
        )
    return shape[2]


def classifier(path: Path, signature: Signature, size: int) -> Model:
    """The model as a classifier of images of this side. Raises DataError for another shape."""
    found = image_size(path, signature)
    if found not in (size, None):
        raise DataError(
            f"input shape {_shapes(signature.inputs)}, expected [batch, 3, {size}, {size}]",
            where=str(path),
            hint="is it the model of another workload or source?",
        )
    output, finish = _output(path, signature)
    return Model(
        path=path,
        inputs=(TensorSpec(name=signature.inputs[0].name, shape=(3, size, size)),),
        outputs=(output.name,),
        finish=finish,
    )


def _output(path: Path, signature: Signature) -> tuple[Port, Any]:
    """Which output names the class, and how it is read.

    MLPerf's own file has labels and scores over 1 001 classes, the first being background.
    """
    for port in signature.outputs:
        if len(port.shape) == 2 and port.dtype == "float32" and port.shape[1]:
            background = port.shape[1] == 1001
            return port, labels.finish_scores_background if background else labels.finish_scores
    for port in signature.outputs:
        if len(port.shape) == 1 and port.dtype in ("int64", "int32"):
            return port, labels.finish_labels_background
    raise DataError(
        f"no output looks like class scores: {_shapes(signature.outputs)}",
        where=str(path),
        hint="an output of shape [batch, classes] is expected",
    )


def _shapes(ports: tuple[Port, ...]) -> str:
    return "; ".join(f"{p.name} {list(p.shape)} {p.dtype}" for p in ports) or "none"
