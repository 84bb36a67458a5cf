"""Make `tables.npy` and `layers.npz` of MLPerf's DLRM weights, once.

    python -m coldmark.workloads.dlrm.convert tb00_40M.pt FOLDER

Takes the PyTorch checkpoint (weights only: nothing in it is executed; needs torch) or an ONNX file whose
constants bear the checkpoint's names. Tables are copied a block at a time, so memory stays small.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from coldmark.core.errors import ColdmarkError, DataError, SetupError
from coldmark.workloads.dlrm.weights import LAYERS_NAME, PICKLED, TABLES_NAME
from coldmark.workloads.onnx_file import MAX_BYTES

BLOCK = 1 << 16  # rows copied at a time


def convert(source: Path, folder: Path) -> None:
    """Write both files into `folder`, each aside and then renamed. Raises DataError or SetupError."""
    if not source.is_file():
        raise DataError("no such file", where=str(source))
    weights = _checkpoint(source) if source.suffix in PICKLED else _constants(source)
    count = 0
    while f"emb_l.{count}.weight" in weights:
        count += 1
    if not count:
        raise DataError("holds no emb_l.0.weight", where=str(source), hint="is it MLPerf's DLRM?")
    folder.mkdir(parents=True, exist_ok=True)
    tables = [weights[f"emb_l.{t}.weight"] for t in range(count)]
    _write_tables(folder / TABLES_NAME, tables, str(source))
    layers = {
        name: np.array(value, np.float32)
        for name, value in weights.items()
        if name.startswith(("bot_l.", "top_l."))
    }
    aside = folder / f".{LAYERS_NAME}"
    with aside.open("wb") as file:
        np.savez(file, allow_pickle=False, rows=np.array([len(t) for t in tables], np.int64), **layers)
    aside.replace(folder / LAYERS_NAME)


def _write_tables(path: Path, tables: list[NDArray[np.float32]], where: str) -> None:
    if any(t.ndim != 2 or t.shape[1] != tables[0].shape[1] for t in tables):
        raise DataError("its tables are not of one dimension", where=where)
    aside = path.with_name(f".{path.name}")
    total = sum(len(t) for t in tables), tables[0].shape[1]
    out = np.lib.format.open_memmap(aside, "w+", np.float32, total)
    begin = 0
    for table in tables:
        for row in range(0, len(table), BLOCK):
            block = table[row : row + BLOCK]
            out[begin : begin + len(block)] = block
            begin += len(block)
    out.flush()
    aside.replace(path)


def _checkpoint(path: Path) -> Mapping[str, Any]:
    """The state of a PyTorch checkpoint, tensors only, left on disk where its format allows."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        raise SetupError(
            "reading a PyTorch checkpoint needs torch", where=str(path), hint="pip install torch"
        ) from None
    try:
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # written before PyTorch 1.6: cannot stay on disk
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - whatever a stranger's pickle makes torch raise
        first = str(error).strip().splitlines()
        raise DataError(
            f"not a checkpoint of weights alone: {first[0] if first else type(error).__name__}",
            where=str(path),
        ) from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    return {name: value.numpy() for name, value in state.items() if hasattr(value, "numpy")}


def _constants(path: Path) -> Mapping[str, NDArray[np.float32]]:
    """The constants of an ONNX file; those in files beside it stay on disk."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError("larger than an ONNX file can be", where=str(path))
        model = onnx.load_model(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise DataError(f"not a whole ONNX model: {error}", where=str(path)) from None
    return {c.name: _constant(c, path) for c in model.graph.initializer}


def _constant(tensor: onnx.TensorProto, path: Path) -> NDArray[np.float32]:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return onnx.numpy_helper.to_array(tensor)
    entry = {e.key: e.value for e in tensor.external_data}
    location = PurePosixPath(entry.get("location", ""))
    if location.is_absolute() or ".." in location.parts:
        raise DataError(
            f"weights of {tensor.name!r} lie outside the model's folder: {location}", where=str(path)
        )
    file = path.parent / location
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    try:
        return np.memmap(file, dtype, "r", int(entry.get("offset", 0)), tuple(tensor.dims))
    except (OSError, ValueError) as error:
        raise DataError(f"the weights of {tensor.name!r} cannot be read: {error}", where=str(file)) from None


def main() -> int:
    """Convert from the command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m coldmark.workloads.dlrm.convert")
    parser.add_argument("source", type=Path, help="MLPerf's checkpoint (.pt) or ONNX file")
    parser.add_argument("folder", type=Path, help="where the two files go")
    args = parser.parse_args()
    try:
        convert(args.source, args.folder)
    except ColdmarkError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
