"""From waveform to stacked log mel energies, as the reference computes them.

Pre-emphasis, Hann window, power spectrum, mel filters (Slaney's scale and normalisation), logarithm, three
frames side by side, each feature brought to mean 0 and deviation 1 over the utterance. Constants: MLPerf
Inference v2.1, speech_recognition/rnnt, configs/rnnt.toml and parts/features.py.

Everything is one pass of array code an utterance, in one thread: a BLAS product would start a second pool of
threads beside the network's, and the mel filters are sparse anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft, sparse

PREEMPHASIS = 0.97
DITHER_POWER = 1e-5**2
"""The reference adds the square of its dither to the power instead of dithering at random."""

LOG_FLOOR = 1e-20
DEVIATION_FLOOR = 1e-5
SPLICE = 3
"""Frames side by side, and the step to the next."""

FULL_SCALE = np.float32(1 / 32768)


@dataclass(frozen=True)
class FrontEnd:
    """What is computed from a waveform of `rate` samples a second. The defaults are the reference's."""

    rate: int = 16_000
    transform: int = 512  # samples of a Fourier transform
    mels: int = 80

    @property
    def window(self) -> int:
        """Samples of a frame: 20 ms."""
        return self.rate // 50

    @property
    def hop(self) -> int:
        """Samples from frame to frame: 10 ms."""
        return self.rate // 100

    @property
    def width(self) -> int:
        """Features of a stacked frame."""
        return self.mels * SPLICE

    @property
    def shortest(self) -> int:
        """Samples of the shortest waveform: two stacked frames, or there is no deviation to divide by."""
        return SPLICE * self.hop + 1

    def frames(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Stacked frames of waveforms of so many samples."""
        single = (samples + self.hop - 1) // self.hop
        return (single + SPLICE - 1) // SPLICE

    @cached_property
    def _tables(self) -> tuple[NDArray[np.float32], Any]:
        hann = np.hanning(self.window).astype(np.float32)
        return hann, sparse.csr_array(mel_filters(self.rate, self.transform, self.mels))

    def __call__(self, waveform: NDArray[np.int16], out: NDArray[np.float32]) -> int:
        """Write the features of 16-bit samples [n] into the first rows of out [>= frames, width].

        Returns the stacked frames written. n is at least `shortest`.
        """
        hann, filters = self._tables
        x = waveform.astype(np.float32)
        x *= FULL_SCALE
        x[1:] -= np.float32(PREEMPHASIS) * x[:-1]
        # A frame stands around a multiple of the hop; the reference mirrors the waveform at its ends.
        side = self.window // 2
        mirrored = np.concatenate((x[side:0:-1], x, x[-2 : -side - 2 : -1]))
        framed = sliding_window_view(mirrored, self.window)[:: self.hop] * hann
        power = _power(fft.rfft(framed, self.transform))
        power += np.float32(DITHER_POWER)
        mel = filters @ power.T
        mel += np.float32(LOG_FLOOR)
        np.log(mel, out=mel)
        return _stack(mel, int(self.frames(np.array(len(x)))), out)


def _power(spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Squared magnitude; same shape."""
    power: NDArray[np.float32] = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    return power


def _stack(mel: NDArray[np.float32], rows: int, out: NDArray[np.float32]) -> int:
    """Energies [mels, frames] to normalised rows [rows, 3 * mels] of out; beyond the last frame are zeros."""
    mels, frames = mel.shape
    padded = np.zeros((mels, rows * SPLICE), np.float32)
    kept = min(frames, rows * SPLICE)
    padded[:, :kept] = mel[:, :kept]
    stacked = padded.reshape(mels, rows, SPLICE)
    stacked -= stacked.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.einsum("mrs,mrs->ms", stacked, stacked) / np.float32(rows - 1))
    stacked /= (spread + np.float32(DEVIATION_FLOOR))[:, None, :]
    out[:rows].reshape(rows, SPLICE, mels)[...] = stacked.transpose(1, 2, 0)
    return rows


# -- Slaney's mel scale: linear below 1 kHz, logarithmic above (Auditory Toolbox, 1998) ---------------

_LINEAR_HZ = 200 / 3
_BEND_HZ = 1000.0
_BEND_MEL = _BEND_HZ / _LINEAR_HZ
_STEP = np.log(6.4) / 27


def _to_mel(hertz: float) -> float:
    return hertz / _LINEAR_HZ if hertz < _BEND_HZ else _BEND_MEL + float(np.log(hertz / _BEND_HZ)) / _STEP


def _to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(
        mel < _BEND_MEL, mel * _LINEAR_HZ, _BEND_HZ * np.exp(_STEP * (np.maximum(mel, _BEND_MEL) - _BEND_MEL))
    )


def mel_filters(rate: int, transform: int, mels: int) -> NDArray[np.float32]:
    """Triangular filters of equal area [mels, transform / 2 + 1] from 0 to half the rate."""
    bins = np.fft.rfftfreq(transform, 1 / rate)
    edges = _to_hertz(np.linspace(0.0, _to_mel(rate / 2), mels + 2))
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (edges[2:] - edges[:-2]))[:, None], np.float32)
