"""MLPerf's checkpoint to the two ONNX graphs that run here.

    python -m coldmark.workloads.rnnt.convert rnnt.pt FOLDER

Needs PyTorch, here and nowhere else. The checkpoint is a pickle: it is loaded weights-only, so that nothing
in it is executed, or not at all.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from coldmark.core.errors import ColdmarkError, DataError, SetupError
from coldmark.workloads.cache import materialise
from coldmark.workloads.rnnt.architecture import Shape, build_decoder, build_encoder, parameter_shapes

_NOT_WEIGHTS = "audio_preprocessor."  # tables of the front end, which coldmark computes itself


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """The checkpoint's tensors by name. Raises DataError for what is no checkpoint of tensors."""
    try:
        import torch
    except ImportError:
        raise SetupError(
            "the checkpoint is in PyTorch's own format",
            where=str(path),
            hint="pip install 'coldmark[training]'",
        ) from None
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        first = str(error).strip().splitlines()
        raise DataError(
            f"no checkpoint that can be loaded weights-only: {first[0] if first else type(error).__name__}",
            where=str(path),
            hint="give encoder.onnx and decoder.onnx made elsewhere (docs/how-to/official-rnnt.md)",
        ) from None
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping):
        raise DataError("holds no state_dict", where=str(path))
    return {str(name): tensor for name, tensor in state.items()}


def weights_of(state: Mapping[str, Any], shape: Shape, where: str) -> dict[str, NDArray[np.float32]]:
    """A checkpoint's tensors as weights. Raises DataError where one is missing, unknown or of another
    shape."""
    wanted = parameter_shapes(shape)
    found = {
        name.replace("joint_net", "joint.net"): tensor
        for name, tensor in state.items()
        if not name.startswith(_NOT_WEIGHTS)
    }
    for name in sorted(set(wanted) ^ set(found)):
        raise DataError(f"weight {name!r} is {'missing' if name in wanted else 'unknown'}", where=where)
    weights = {name: np.asarray(found[name], np.float32) for name in wanted}
    for name, size in wanted.items():
        if weights[name].shape != size:
            raise DataError(f"weight {name!r} is {weights[name].shape}, expected {size}", where=where)
    return weights


def convert(checkpoint: Path, folder: Path, shape: Shape | None = None) -> None:
    """Write encoder.onnx and decoder.onnx into `folder`. Files that are there are left alone: raises
    DataError."""
    shape = shape or Shape()
    weights = weights_of(read_checkpoint(checkpoint), shape, str(checkpoint))
    for name, build in (("encoder.onnx", build_encoder), ("decoder.onnx", build_decoder)):
        path = folder / name
        if path.exists():
            raise DataError("is there already", where=str(path), hint="name an empty folder")
        materialise(path, partial(_write, build(weights, shape)))


def _write(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString())


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description="MLPerf's RNN-T checkpoint to encoder.onnx and decoder.onnx."
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    try:
        convert(args.checkpoint, args.folder)
    except ColdmarkError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"{args.folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
