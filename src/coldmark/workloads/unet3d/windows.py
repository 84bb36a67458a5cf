"""Whole volumes by overlapping windows: where they lie, how they weigh, how their logits become labels.

As MLPerf v2.1's reference does it (vision/medical_imaging/3d-unet-kits19: base_SUT.py, inference_utils.py):
half-overlapping windows, logits weighted by the cube root of a product of three Gaussians of an eighth of the
window, summed, argmax. The reference divides the sums by the summed weights before argmax; that divisor is
positive and the same for all classes, so argmax is the same without it, and it is left out here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from coldmark.core.sut import Indices, Tensors

SIGMA = 0.125
"""Standard deviation of the Gaussian, as a share of the window's side."""

Start: TypeAlias = tuple[int, int, int]
Values: TypeAlias = NDArray[np.float32]
Call: TypeAlias = Callable[[Values], Tensors]
Read: TypeAlias = Callable[[int], Values]


def starts(shape: Sequence[int], window: int) -> list[Start]:
    """First corners of all windows of a volume of `shape` voxels, in the reference's order."""
    sides = (range(0, side - window + 1, window // 2) for side in shape)
    return [(i, j, k) for i, j, k in product(*sides)]


def window_count(shape: Sequence[int], window: int) -> int:
    """Windows of a volume, without listing them."""
    return int(np.prod([(side - window) // (window // 2) + 1 for side in shape]))


def weights(window: int) -> Values:
    """What a window's voxels weigh, [window] * 3, 1 at most.

    The cube root of the product of three Gaussians is itself such a product, of Gaussians sqrt(3) wider.
    """
    offsets = np.arange(window) - (window - 1) / 2
    line = np.exp(-0.5 * (offsets / (SIGMA * window)) ** 2)
    cube = np.cbrt(line[:, None, None] * line[None, :, None] * line[None, None, :])
    return np.asarray(cube / cube.max(), np.float32)


def labels_of(sums: Values, out: NDArray[np.uint8]) -> None:
    """Index of the greatest along the first axis, the first of equals; `out` has the remaining shape."""
    best = sums[0].copy()
    out[...] = 0
    for index in range(1, len(sums)):
        np.copyto(out, index, where=sums[index] > best)
        np.maximum(best, sums[index], out=best)


class Blend:
    """Weighted sums of one volume's window logits, in a slab one window deep that moves along the depth.

    Windows come in the order of `starts`: once the first axis has moved on, no later window reaches the
    planes left behind, so these become labels and their sums are given up. A volume of 320 x 384 x 384
    voxels then needs 226 MB of sums instead of 566.
    """

    def __init__(self, shape: Sequence[int], weight: Values, slab: Values, scratch: Values) -> None:
        """Lent: `slab` [classes, window, height, width], `scratch` [classes, window, window, window]."""
        self._labels = np.empty(shape, np.uint8)
        self._weight = weight
        self._sums = slab
        self._sums.fill(0)
        self._scratch = scratch
        self._at = 0

    def add(self, start: Start, logits: Values) -> None:
        """Add one window's logits, [classes, window, window, window]."""
        i, j, k = start
        side = len(self._weight)
        if i != self._at:
            self._leave(i - self._at)
        np.multiply(logits, self._weight, out=self._scratch)
        self._sums[:, :, j : j + side, k : k + side] += self._scratch

    def _leave(self, planes: int) -> None:
        labels_of(self._sums[:, :planes], self._labels[self._at : self._at + planes])
        self._sums[:, :-planes] = self._sums[:, planes:].copy()
        self._sums[:, -planes:] = 0
        self._at += planes

    def finish(self) -> NDArray[np.uint8]:
        """Labels of the whole volume, flat, in C order."""
        labels_of(self._sums, self._labels[self._at :])
        return self._labels.reshape(-1)


class Segmenter:
    """One lane: packs windows of the cases it is given into batches, whatever case they belong to.

    `networks` maps a batch size to a network that takes [batch, 1, w, w, w] and gives one output
    [batch, classes, w, w, w]. `read` gives a loaded volume, [depth, height, width].
    """

    def __init__(self, networks: Mapping[int, Call], read: Read, window: int, classes: int) -> None:
        self._networks = dict(sorted(networks.items()))
        self._largest = max(networks)
        self._read = read
        self._window = window
        self._classes = classes
        self._weight = weights(window)
        self._inputs = {n: np.zeros((n, 1, *[window] * 3), np.float32) for n in networks}
        self._scratch = np.empty((classes, *[window] * 3), np.float32)
        self._slab = np.empty(0, np.float32)

    def __call__(self, indices: Indices) -> list[NDArray[np.uint8]]:
        """Labels of each case, flat uint8 of its voxels."""
        volumes = [self._read(int(i)) for i in indices]
        walk = [(case, start) for case, v in enumerate(volumes) for start in starts(v.shape, self._window)]
        answers: list[NDArray[np.uint8]] = []
        blend: Blend | None = None
        for case, start, logits in self._logits(volumes, walk):
            if case == len(answers) and blend is None:
                blend = self._blend(volumes[case].shape)
            elif blend is not None and case > len(answers):
                answers.append(blend.finish())
                blend = self._blend(volumes[case].shape)
            assert blend is not None
            blend.add(start, logits)
        if blend is not None:
            answers.append(blend.finish())
        return answers

    def _logits(
        self, volumes: Sequence[Values], walk: Sequence[tuple[int, Start]]
    ) -> Iterator[tuple[int, Start, Values]]:
        side = self._window
        for first in range(0, len(walk), self._largest):
            part = walk[first : first + self._largest]
            size = next(n for n in self._networks if n >= len(part))
            inputs = self._inputs[size]
            for row, (case, (i, j, k)) in enumerate(part):
                inputs[row, 0] = volumes[case][i : i + side, j : j + side, k : k + side]
            (outputs,) = self._networks[size](inputs)
            for row, (case, start) in enumerate(part):
                yield case, start, outputs[row]

    def _blend(self, shape: Sequence[int]) -> Blend:
        need = self._classes * self._window * shape[1] * shape[2]
        if self._slab.size < need:
            self._slab = np.empty(need, np.float32)
        slab = self._slab[:need].reshape(self._classes, self._window, shape[1], shape[2])
        return Blend(shape, self._weight, slab, self._scratch)
