"""Synthetic utterances as sample libraries: the held-out set of `mini`, and speech-like audio for `full`."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.cache import kept
from coldmark.workloads.rnnt.synthesis import draw

VERSION = 1
"""Part of the file's name: a change of `synthesis.draw` needs a new one."""


class SpokenSet:
    """Lengths and texts of the utterances `draw(seed, 0..count)`; waveforms are drawn when they are loaded.

    `sha256` is over all waveforms in order.
    """

    def __init__(self, seed: int, count: int, cache: Path) -> None:
        self.seed = seed
        path = cache / "rnnt" / f"spoken-v{VERSION}-{seed}-{count}.npz"
        kept(path, lambda aside: _write(aside, seed, count), lambda file: self._load(file, count))

    def _load(self, path: Path, count: int) -> None:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            self.samples: NDArray[np.int64] = data["samples"]
            self.texts = data["texts"].tobytes().decode("ascii").split("\n")
            self.sha256 = data["sha256"].tobytes().hex()
        if len(self.samples) != count or len(self.texts) != count:
            raise ValueError("the cached set is not whole")

    def waveform(self, index: int) -> NDArray[np.int16]:
        return draw(self.seed, index)[0]


def _write(path: Path, seed: int, count: int) -> None:
    samples, texts, digest = [], [], hashlib.sha256()
    for index in range(count):
        waveform, text = draw(seed, index)
        samples.append(len(waveform))
        texts.append(text)
        digest.update(waveform.astype("<i2").tobytes())
    with path.open("wb") as file:
        np.savez(
            file,
            samples=np.array(samples, np.int64),
            texts=np.frombuffer("\n".join(texts).encode("ascii"), np.uint8),
            sha256=np.frombuffer(digest.digest(), np.uint8),
        )


# fmt: off
QUANTILES_S = (
    1.45, 2.33, 2.69, 2.94, 3.27, 3.62, 3.98, 4.36, 4.72, 5.07, 5.54,
    6.05, 6.59, 7.12, 7.74, 8.42, 9.18, 10.01, 10.89, 12.29, 14.99,
)
# fmt: on
"""Durations of the official set in steps of 5 %: the 2 513 utterances of dev-clean up to 15 s, from the
manifest in MLPerf's repository (v2.1, speech_recognition/rnnt/dev-clean-wav.json), mean 6.25 s."""

TAPE_S = 120


class Tape:
    """Utterances of the official durations, cut from two minutes of synthetic speech at 16 kHz.

    There is no transcript: what a network with random weights makes of them means nothing.
    """

    def __init__(self, seed: int, count: int, rate: int = 16_000) -> None:
        self._seed, self._rate = seed, rate
        steps = (np.arange(count) + 0.5) / count
        seconds = np.interp(steps, np.linspace(0, 1, len(QUANTILES_S)), QUANTILES_S)
        rng = np.random.default_rng(seed)
        self.samples: NDArray[np.int64] = (rng.permutation(seconds) * rate).astype(np.int64)
        self._starts = rng.integers(0, TAPE_S * rate - self.samples.max(), count)

    @cached_property
    def _tape(self) -> NDArray[np.int16]:
        parts: list[NDArray[np.int16]] = []
        have, index = 0, 0
        while have < TAPE_S * self._rate:
            parts.append(draw(self._seed, index, self._rate)[0])
            have, index = have + len(parts[-1]), index + 1
        return np.concatenate(parts)[: TAPE_S * self._rate]

    def waveform(self, index: int) -> NDArray[np.int16]:
        start = int(self._starts[index])
        return self._tape[start : start + int(self.samples[index])].copy()
