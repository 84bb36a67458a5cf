"""Recorded or spoken audio in memory: 16-bit samples, an array an utterance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import RunError
from coldmark.core.sut import Indices

Read = Callable[[int], NDArray[np.int16]]
"""Sample index -> the waveform, [samples]. Raises DataError."""


class AudioLibrary:
    """Waveforms of unequal length. `samples` holds the length of each, known before any is loaded."""

    def __init__(self, name: str, samples: NDArray[np.int64], performance_count: int, read: Read) -> None:
        self.name = name
        self.count = len(samples)
        self.performance_count = performance_count
        self.samples = samples
        self._read = read
        self._loaded: dict[int, NDArray[np.int16]] = {}

    def load(self, indices: Indices) -> None:
        for index in np.unique(indices).tolist():
            if index not in self._loaded:
                self._loaded[index] = self._read(index)

    def unload(self, indices: Indices) -> None:
        for index in np.unique(indices).tolist():
            self._loaded.pop(index, None)

    def waveform(self, index: int) -> NDArray[np.int16]:
        """A loaded waveform, [samples]."""
        try:
            return self._loaded[index]
        except KeyError:
            raise RunError(f"sample {index} was issued but never loaded") from None

    def size(self, indices: Indices) -> NDArray[np.int64]:
        """Samples of each utterance."""
        sizes: NDArray[np.int64] = self.samples[indices]
        return sizes
