"""The sets of drawn cases: one seed each, so that no case is in two of them."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.unet3d import preprocess, volumes
from coldmark.workloads.unet3d.cases import CaseLibrary, Shape3

WINDOW = 32  # voxels a side
PERFORMANCE_COUNT = 42  # the round's own number of samples in memory
CALIBRATION_COUNT = 200
SEEDS = {"training": 190_001, "validation": 190_002, "heldout": 190_003, "calibration": 190_004}
"""A set takes the indices from 0 of its seed."""


def shapes(seed: int, count: int) -> list[Shape3]:
    """Preprocessed shapes of the cases 0 to count - 1 of a seed, without drawing them."""
    fitted = ([preprocess.fitted_side(n, WINDOW) for n in volumes.sides(seed, i)] for i in range(count))
    return [(d, h, w) for d, h, w in fitted]


def volume(seed: int, index: int) -> NDArray[np.float32]:
    """A drawn case, preprocessed, [depth, height, width]."""
    drawn, _ = volumes.draw(seed, index)
    return preprocess.fit(preprocess.normalise(drawn), WINDOW, preprocess.PADDING)


def labels(seed: int, index: int) -> NDArray[np.uint8]:
    """Its labels, of the same shape."""
    return preprocess.fit(volumes.draw(seed, index)[1], WINDOW, 0)


def library(seed: int, count: int) -> CaseLibrary:
    """The cases 0 to count - 1 of a seed, drawn when they are loaded."""
    return CaseLibrary(
        f"volumes-{seed}", PERFORMANCE_COUNT, shapes(seed, count), WINDOW, lambda index: volume(seed, index)
    )


def calibration() -> CaseLibrary:
    """Cases for the calibration of lower precisions: never trained on, never scored."""
    return library(SEEDS["calibration"], CALIBRATION_COUNT)


def digest(seed: int, count: int) -> str:
    """SHA-256 over values and labels of the first cases of a seed, as drawn."""
    found = hashlib.sha256()
    for index in range(count):
        for array in volumes.draw(seed, index):
            found.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()
