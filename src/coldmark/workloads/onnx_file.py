"""Reading an ONNX file's signature, as a stranger's file: bounded, whole, nothing outside its folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError

from coldmark.core.errors import DataError

MAX_BYTES = 2 * 1024**3 - 1
"""Protobuf's own limit."""

LARGE_BYTES = 256 * 1024 * 1024
"""Beyond this a model is checked from its file, not from memory."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: its name, its dimensions (None where open), its element type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Signature:
    """What goes in and out of a model file."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    sha256: str


def inspect(path: Path) -> Signature:
    """The signature of an ONNX file.

    Raises DataError when it is missing, truncated, not ONNX, or points at files outside its folder.
    """
    digest = _digest(path)
    try:
        model = onnx.load_model_from_string(path.read_bytes())
        for tensor in model.graph.initializer:
            _stay_inside(tensor, path)
        signature = _signature(model, digest)
        if any(t.external_data for t in model.graph.initializer) or path.stat().st_size > LARGE_BYTES:
            del model  # or the weights would be in memory three times over
            onnx.checker.check_model(str(path))
        else:
            onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, TypeError) as error:
        first = str(error).strip().splitlines()
        raise DataError(
            f"not a whole ONNX model: {first[0] if first else type(error).__name__}",
            where=str(path),
            hint="is the file truncated, or another format?",
        ) from None
    return signature


def _signature(model: onnx.ModelProto, digest: str) -> Signature:
    weights = {w.name for w in model.graph.initializer}
    return Signature(
        inputs=tuple(_port(p) for p in model.graph.input if p.name not in weights),
        outputs=tuple(_port(p) for p in model.graph.output),
        sha256=digest,
    )


def _digest(path: Path) -> str:
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise DataError(f"{size} bytes is no ONNX model", where=str(path))
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read the model: {error.strerror}", where=str(path)) from None


def _stay_inside(tensor: onnx.TensorProto, path: Path) -> None:
    for entry in tensor.external_data:
        if entry.key != "location":
            continue
        location = PurePosixPath(entry.value)
        if location.is_absolute() or ".." in location.parts:
            raise DataError(
                f"weights of {tensor.name!r} lie outside the model's folder: {entry.value!r}", where=str(path)
            )


def _port(info: onnx.ValueInfoProto) -> Port:
    kind = info.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    return Port(info.name, shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name)
