"""An ONNX file as an answerer of questions: its signature, the shapes it is called with, and its lanes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import ConfigError, DataError
from coldmark.core.nouns import Scenario
from coldmark.core.sut import Answers, Compiled, Compute, Indices, Network, Pipeline
from coldmark.workloads.bert import answers
from coldmark.workloads.bert.samples import FeatureLibrary, Packer
from coldmark.workloads.onnx_file import LARGE_BYTES, Port, Signature
from coldmark.workloads.task import Recipe

NAME = "bert"
KINDS = (("input_ids",), ("input_mask", "attention_mask"), ("segment_ids", "token_type_ids"))
"""Inputs by their names in MLPerf's FP32 file, and in its INT8 file."""

SMALL_BATCHES = {
    Scenario.SINGLE_STREAM: 1,
    Scenario.MULTI_STREAM: 8,
    Scenario.SERVER: 8,
    Scenario.OFFLINE: 16,
}
RECIPE = Recipe(transformer=True, methods=("nncf-mixed", "nncf-performance"))
"""Without the places that attention needs, one sequence in thirty begins its answer elsewhere."""
LARGE_RECIPE = replace(RECIPE, methods=("nncf-mixed",), samples=32)
"""Fewer sequences: a BERT-Large takes long to go through."""
LARGE_BATCHES = dict.fromkeys(Scenario, 1)  # a sequence of BERT-Large fills the cores alone
MOST_PROFILES = 6  # beyond this one compilation with open shapes serves them all


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A model file that takes sequences up to a length: names of its ends, and what it leaves open."""

    path: Path
    inputs: tuple[str, ...]  # ids, mask, segments
    outputs: tuple[str, str]  # scores of beginning and end
    dtype: type[np.signedinteger[Any]]
    batch: int | None  # fixed number of rows, where the file has one
    sequence: int
    open_length: bool  # shorter sequences than `sequence` can be computed
    large: bool  # weights that should be in memory once


def reader(path: Path, signature: Signature, sequence: int, *, large: bool = False) -> Reader:
    """The model as a reader of sequences of this length. Raises DataError for another kind of model.

    `large` says that the weights, which may lie beside the file, should be in memory once.
    """
    ports = [_port(path, signature, names) for names in KINDS]
    outputs = tuple(_score(path, signature, word) for word in ("start", "end"))
    shapes = {p.shape for p in ports}
    (shape,) = shapes if len(shapes) == 1 else ((),)
    if len(shape) != 2 or shape[1] not in (None, sequence):
        raise DataError(
            f"inputs are {_shapes(signature.inputs)}, expected [batch, {sequence}] each",
            where=str(path),
            hint="is it the model of another workload or source?",
        )
    return Reader(
        path=path,
        inputs=tuple(p.name for p in ports),
        outputs=(outputs[0].name, outputs[1].name),
        dtype=np.int64 if ports[0].dtype == "int64" else np.int32,
        batch=shape[0],
        sequence=sequence,
        open_length=shape[1] is None,
        large=large or path.stat().st_size > LARGE_BYTES,
    )


def _port(path: Path, signature: Signature, names: tuple[str, ...]) -> Port:
    for port in signature.inputs:
        if port.name in names and port.dtype in ("int64", "int32"):
            return port
    raise DataError(
        f"no input {names[0]!r} of whole numbers: inputs are {_shapes(signature.inputs)}",
        where=str(path),
        hint="a BERT takes input_ids, input_mask and segment_ids of shape [batch, sequence]",
    )


def _score(path: Path, signature: Signature, word: str) -> Port:
    for port in signature.outputs:
        if word in port.name and len(port.shape) == 2 and port.dtype == "float32":
            return port
    raise DataError(
        f"no output scores the {word} of an answer: outputs are {_shapes(signature.outputs)}",
        where=str(path),
        hint="output_start_logits and output_end_logits of shape [batch, sequence] are expected",
    )


def _shapes(ports: tuple[Port, ...]) -> str:
    return "; ".join(f"{p.name} {list(p.shape)} {p.dtype}" for p in ports) or "none"


def buckets(sequence: int) -> tuple[int, ...]:
    """Lengths that sequences are filled up to where they are not padded: 64 to 384, or 32 to 128."""
    step = max(32, sequence // 6)
    return (*range(step, sequence, step), sequence)


def bucketed(length: NDArray[np.int64], sequence: int) -> NDArray[np.int64]:
    """The bucket of each length."""
    lengths = np.array(buckets(sequence))
    return np.asarray(lengths[np.searchsorted(lengths, length)], np.int64)


def pipeline(file: Reader, library: FeatureLibrary, *, padded: bool) -> Pipeline:
    """How the model answers samples, filled up to the full sequence or to buckets.

    Raises ConfigError where the file's own length is fixed and buckets are asked for.
    """
    if not padded and not file.open_length:
        raise ConfigError(
            f"this model computes sequences of {file.sequence} only",
            where="--set data.lengths=buckets",
            hint="use data.lengths=padded, or a model whose sequence dimension is open",
        )
    lengths = (file.sequence,) if padded else buckets(file.sequence)

    def networks(batch: int) -> tuple[Network, ...]:
        shapes = [(rows, length) for rows in _rows(file, batch) for length in lengths]
        return (
            Network(
                name=NAME,
                path=file.path,
                inputs=file.inputs,
                outputs=file.outputs,
                profiles=tuple((shape,) * 3 for shape in shapes),
                dynamic=len(shapes) > (1 if file.large else MOST_PROFILES),
            ),
        )

    def lane(compiled: Mapping[str, Compiled], batch: int) -> Compute:
        return _Lane(compiled[NAME], library, file, batch, lengths)

    return Pipeline(
        networks=networks,
        open=lane,
        batch=LARGE_BATCHES if file.large else SMALL_BATCHES,
        size=None if padded else library.features.length.__getitem__,
    )


def _rows(file: Reader, batch: int) -> tuple[int, ...]:
    """Batch sizes to compute: powers of two up to the batch, or what the file fixes."""
    if file.batch is not None:
        return (file.batch,)
    powers = [1]
    while powers[-1] * 2 < batch:
        powers.append(powers[-1] * 2)
    return tuple(dict.fromkeys((*powers, batch)))


class _Lane:
    """Computes batches: packs, calls the network, and encodes what it says of the real pieces' places."""

    def __init__(
        self, call: Compiled, library: FeatureLibrary, file: Reader, batch: int, lengths: tuple[int, ...]
    ) -> None:
        self._call = call
        self._packer = Packer(library, file.dtype)
        self._length = library.features.length
        self._rows = np.array(_rows(file, batch))
        self._lengths = np.array(lengths)

    def __call__(self, indices: Indices) -> Answers:
        most = int(self._rows[-1])
        if len(indices) <= most:
            return self._answer(indices)
        parts = [self._answer(indices[at : at + most]) for at in range(0, len(indices), most)]
        return [row for part in parts for row in part]

    def _answer(self, indices: Indices) -> Answers:
        n = len(indices)
        rows = int(self._rows[np.searchsorted(self._rows, n)])
        length = int(self._lengths[np.searchsorted(self._lengths, self._length[indices].max())])
        start, end = self._call(*self._packer.pack(indices, rows, length))
        return answers.encode(start[:n], end[:n])
