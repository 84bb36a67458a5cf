"""From scanned values to what windows of one size can walk over: the official preprocessing's last steps.

Constants and the rule of padding and cropping as in MLPerf v2.1, vision/medical_imaging/3d-unet-kits19
(global_vars.py, preprocess.py). Official data comes preprocessed; what is drawn here goes through the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MEAN, SPREAD = 101.0, 76.9
LOWEST, HIGHEST = -79.0, 304.0
PADDING = -2.2
"""What is put around a volume, in normalised units."""


def normalise(values: NDArray[Any]) -> NDArray[np.float32]:
    """Clip, then (value - mean) / spread; any shape."""
    clipped = np.clip(values.astype(np.float32), np.float32(LOWEST), np.float32(HIGHEST))
    return (clipped - np.float32(MEAN)) / np.float32(SPREAD)


def fitted_side(side: int, window: int) -> int:
    """A side [voxels] after `fit`: a whole number of half windows, at least one window."""
    half = window // 2
    side = max(side, window)
    rest = side % half
    return side - rest if rest < half // 2 else side - rest + half


def fit(volume: NDArray[Any], window: int, padding: float) -> NDArray[Any]:
    """Pad or crop each side of [depth, height, width] to `fitted_side`, evenly at both ends.

    A side shorter than the window is first widened by its edge values; what is added later is `padding`.
    """
    short = [max(0, window - n) for n in volume.shape]
    volume = np.pad(volume, [(s // 2, s - s // 2) for s in short], mode="edge")
    change = [fitted_side(n, window) - n for n in volume.shape]
    cut = [max(0, -c) for c in change]
    add = [max(0, c) for c in change]
    volume = volume[tuple(slice(c // 2, n - (c - c // 2)) for c, n in zip(cut, volume.shape, strict=True))]
    return np.pad(volume, [(a // 2, a - a // 2) for a in add], constant_values=padding)
