"""A 3D-UNet file as a pipeline: what its signature must be, and how a lane is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coldmark.core.errors import DataError
from coldmark.core.nouns import Scenario
from coldmark.core.sut import Compiled, Compute, Network, Pipeline
from coldmark.workloads.onnx_file import Signature
from coldmark.workloads.task import Recipe
from coldmark.workloads.unet3d.cases import CaseLibrary
from coldmark.workloads.unet3d.dice import CLASSES
from coldmark.workloads.unet3d.windows import Call, Segmenter

NAME = "unet3d"
RECIPE = Recipe(methods=("nncf-performance", "nncf-mixed"), samples=200)
"""Without zero points more of the score is left. Of so many cases as many windows are kept."""
LARGE_RECIPE = Recipe(methods=("nncf-performance",), samples=8)
"""Windows of 128 voxels: 8 MB and a second of work each, and memory for all layers of one of them."""
MAX_WINDOW = 512


@dataclass(frozen=True, slots=True)
class WindowModel:
    """A file that labels windows of one size."""

    path: Path
    input: str
    output: str
    window: int  # voxels a side
    batch: int | None  # where the file fixes it


def window_model(path: Path, signature: Signature) -> WindowModel:
    """How the file is called. Raises DataError unless it maps [batch, 1, w, w, w] to [batch, 3, w, w, w]."""
    if len(signature.inputs) != 1 or len(signature.outputs) != 1:
        raise DataError(
            f"{len(signature.inputs)} inputs and {len(signature.outputs)} outputs, expected one each",
            where=str(path),
        )
    (inp,), (out,) = signature.inputs, signature.outputs
    window = inp.shape[-1] if inp.shape else None
    expected = (1, window, window, window)
    if window is None or len(inp.shape) != 5 or inp.shape[1:] != expected or inp.dtype != "float32":
        raise DataError(
            f"input {inp.name!r} is {_text(inp.shape)} {inp.dtype}, expected [batch, 1, w, w, w] float32",
            where=str(path),
        )
    if not 4 <= window <= MAX_WINDOW or window % 4:
        raise DataError(f"windows of {window} voxels, expected a multiple of 4 up to 512", where=str(path))
    given = (CLASSES, window, window, window)
    if len(out.shape) != 5 or any(a not in (None, b) for a, b in zip(out.shape[1:], given, strict=True)):
        raise DataError(
            f"output {out.name!r} is {_text(out.shape)}, expected [batch, {CLASSES}, w, w, w] of logits",
            where=str(path),
        )
    return WindowModel(path, inp.name, out.name, window, inp.shape[0])


def _text(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"


def sizes(model: WindowModel, batch: int) -> tuple[int, ...]:
    """Batches to compile, ascending: powers of two up to `batch`, so that a rest costs little padding."""
    if model.batch is not None:
        return (model.batch,)
    found = [1]
    while found[-1] * 2 < batch:
        found.append(found[-1] * 2)
    return tuple(dict.fromkeys([*found, batch]))


def pipeline(model: WindowModel, library: CaseLibrary) -> Pipeline:
    """Whole cases of `library` through the file; a batch counts windows."""
    side = model.window

    def networks(batch: int) -> tuple[Network, ...]:
        profiles = tuple(((n, 1, side, side, side),) for n in sizes(model, batch))
        return (
            Network(
                name=NAME, path=model.path, inputs=(model.input,), outputs=(model.output,), profiles=profiles
            ),
        )

    def open_lane(compiled: Mapping[str, Compiled], batch: int) -> Compute:
        calls: dict[int, Call] = dict.fromkeys(sizes(model, batch), compiled[NAME])
        return Segmenter(calls, library.volume, side, CLASSES)

    # A window of any size here keeps all threads busy by itself; larger batches were never faster.
    return Pipeline(
        networks=networks,
        open=open_lane,
        batch={Scenario.SINGLE_STREAM: 1, Scenario.OFFLINE: 1},
        size=library.windows,
        batch_by_size=True,
        unit="windows",
    )
