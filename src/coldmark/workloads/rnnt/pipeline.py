"""Waveform to labels: features, encoder and greedy decoding of a batch, as one lane does it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.core.nouns import Scenario
from coldmark.core.sut import Answers, Compiled, Indices, Network, Pipeline
from coldmark.workloads.onnx_file import Port, Signature, inspect
from coldmark.workloads.rnnt.alphabet import LABEL, SYMBOLS
from coldmark.workloads.rnnt.decode import Greedy
from coldmark.workloads.rnnt.features import FrontEnd
from coldmark.workloads.rnnt.library import AudioLibrary
from coldmark.workloads.task import Recipe

BATCH = {Scenario.SINGLE_STREAM: 1, Scenario.MULTI_STREAM: 8, Scenario.SERVER: 8, Scenario.OFFLINE: 32}

WINDOW = 8
"""Encoder frames the decoder looks ahead (half a second): labels are closer together in speech."""

LENGTHS = 32
"""Lengths to which batches are padded: 5 % of the official set's frames are padding, with 8 lengths 17 %."""

RECIPE = Recipe(skip=("decoder",), methods=("nncf-mixed", "ort-dynamic"))
"""NNCF leaves LSTMs as they are; ONNX Runtime's dynamic quantiser makes integer ones, which OpenVINO runs no
faster than in FP32. A step of the decoder is too small to gain by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphs:
    """The two graphs of a model and their sizes."""

    encoder: Path
    decoder: Path
    features: int
    joint: int
    state: tuple[int, int]  # states of the prediction network and their width
    sha256: str  # of the encoder, then of the decoder


def open_graphs(encoder: Path, decoder: Path) -> Graphs:
    """Inspect both files. Raises DataError when they are no encoder and decoder, or not of one model."""
    first, second = inspect(encoder), inspect(decoder)
    features, _ = _ports(encoder, first, ("features", "lengths"), ("heard",))
    _, state, heard = _ports(decoder, second, ("symbol", "state", "heard"), ("logits", "next_state"))
    width, joint = features.shape[-1], first.outputs[0].shape[-1]
    logits = second.outputs[0].shape
    fixed = (width, joint, state.shape[0], state.shape[-1])
    if any(not size for size in fixed) or len(features.shape) != 3 or len(state.shape) != 3:
        raise DataError("features, state and joint need fixed sizes", where=str(encoder))
    if heard.shape[-1] != joint or logits[-1] != SYMBOLS:
        raise DataError(
            f"joins {heard.shape[-1]} wide to {logits[-1]} symbols; "
            f"the encoder gives {joint}, the alphabet has {SYMBOLS}",
            where=str(decoder),
            hint="are encoder and decoder of one model?",
        )
    return Graphs(
        encoder=encoder,
        decoder=decoder,
        features=int(width or 0),
        joint=int(joint or 0),
        state=(int(state.shape[0] or 0), int(state.shape[-1] or 0)),
        sha256=f"{first.sha256} {second.sha256}",
    )


def _ports(
    path: Path, signature: Signature, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> tuple[Port, ...]:
    """The inputs, in this order. Raises DataError where names differ."""
    have = {port.name: port for port in signature.inputs}
    if set(have) != set(inputs) or tuple(p.name for p in signature.outputs) != outputs:
        given = ", ".join([*sorted(have), *(port.name for port in signature.outputs)])
        raise DataError(
            f"has inputs and outputs {given}; expected {', '.join((*inputs, *outputs))}",
            where=str(path),
            hint="the two graphs are described in docs/how-to/official-rnnt.md",
        )
    return tuple(have[name] for name in inputs)


def decoder_sizes(batch: int) -> tuple[int, ...]:
    """Batch sizes of a decoding step, ascending: fine, because a batch shrinks as its utterances end."""
    return tuple(sorted({batch, *(2**power for power in range(batch.bit_length()) if 2**power < batch)}))


def encoder_sizes(batch: int) -> tuple[int, ...]:
    """Batch sizes of the encoder, ascending: fine where load decides, coarse where only the last is not full.

    The fewer the shapes, the more of them are warm before the clock starts.
    """
    return tuple(size for size in decoder_sizes(batch) if batch <= 8 or size in (8, batch))


def padded_lengths(longest: int) -> tuple[int, ...]:
    """Even numbers of frames to which batches are padded, ascending; the last holds `longest`."""
    step = -(-longest // (2 * LENGTHS)) * 2
    return tuple(range(step, longest + step, step))


def pipeline(graphs: Graphs, front_end: FrontEnd, library: AudioLibrary, longest: int) -> Pipeline:
    """The pipeline over a library whose longest utterance has `longest` stacked frames."""
    if graphs.features != front_end.width:
        raise DataError(
            f"takes {graphs.features} features, this data gives {front_end.width}",
            where=str(graphs.encoder),
            hint="is it the model of another source?",
        )
    lengths = padded_lengths(longest)

    def networks(batch: int) -> tuple[Network, ...]:
        parts, width = graphs.state
        return (
            Network(
                name="encoder",
                path=graphs.encoder,
                inputs=("features", "lengths"),
                outputs=("heard",),
                profiles=tuple(
                    ((t, n, graphs.features), (n,)) for n in encoder_sizes(batch) for t in lengths
                ),
                dynamic=True,
            ),
            Network(
                name="decoder",
                path=graphs.decoder,
                inputs=("symbol", "state", "heard"),
                outputs=("logits", "next_state"),
                profiles=tuple(
                    ((n,), (parts, n, width), (n, WINDOW, graphs.joint)) for n in decoder_sizes(batch)
                ),
            ),
        )

    def lane(compiled: Mapping[str, Compiled], batch: int) -> Recogniser:
        return Recogniser(graphs, front_end, library, compiled, batch, lengths)

    return Pipeline(networks=networks, open=lane, batch=BATCH, size=library.size)


class Recogniser:
    """One lane: its own buffers, its own decoder."""

    def __init__(
        self,
        graphs: Graphs,
        front_end: FrontEnd,
        library: AudioLibrary,
        compiled: Mapping[str, Compiled],
        batch: int,
        lengths: Sequence[int],
    ) -> None:
        self._front_end = front_end
        self._library = library
        self._encoder = compiled["encoder"]
        self._sizes, self._lengths = encoder_sizes(batch), lengths
        self._features = np.zeros(lengths[-1] * batch * graphs.features, np.float32)
        self._greedy = Greedy(compiled["decoder"], decoder_sizes(batch), WINDOW, graphs.state, graphs.joint)

    def __call__(self, indices: Indices) -> Answers:
        """Labels of each utterance, little-endian int64."""
        waveforms = [self._library.waveform(index) for index in indices.tolist()]
        frames = self._front_end.frames(np.array([len(w) for w in waveforms], np.int64))
        heard = self._encode(waveforms, frames)
        said = self._greedy(heard, (frames + 1) // 2)
        return [labels.astype(LABEL).view(np.uint8) for labels in said]

    def _encode(
        self, waveforms: Sequence[NDArray[np.int16]], frames: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """[n, frames / 2, joint], with room for padding in both."""
        size = self._sizes[bisect_left(self._sizes, len(waveforms))]
        length = self._lengths[bisect_left(self._lengths, int(frames.max()))]
        shape = (length, size, self._front_end.width)
        features = self._features[: shape[0] * shape[1] * shape[2]].reshape(shape)
        for place, waveform in enumerate(waveforms):
            self._front_end(waveform, features[:, place])
        ends = np.zeros(size, np.int64)
        ends[: len(frames)] = frames
        (heard,) = self._encoder(features, ends)
        return heard
