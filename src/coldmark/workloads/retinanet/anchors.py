"""Anchors and the box coder of RetinaNet, as torchvision and MLPerf's reference define them.

Anchors of a level: three sizes (base, base * 2^(1/3), base * 2^(2/3), rounded down) times three ratios of
height to width, ratio by ratio; corners rounded to whole px around the cell's upper left corner, cells row
by row, step = image side // cells in a row. Source: Lin et al., "Focal Loss for Dense Object Detection"
(2017), section 4, and mlcommons/training, single_stage_detector/ssd.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RATIOS = (0.5, 1.0, 2.0)
OCTAVES = 3
PER_CELL = len(RATIOS) * OCTAVES
MAX_LOG_SIZE = math.log(1000.0 / 16)
"""Largest logarithm of a size over its anchor's that is decoded."""

Boxes = NDArray[np.float32]  # [n, 4]: xmin, ymin, xmax, ymax [px]


def cell_anchors(base: int) -> Boxes:
    """The nine anchors of a cell around 0, [9, 4]."""
    sizes = np.array([int(base * 2.0 ** (k / OCTAVES)) for k in range(OCTAVES)], np.float32)
    height_by_ratio = np.sqrt(np.array(RATIOS, np.float32))
    heights = (height_by_ratio[:, None] * sizes).ravel()
    widths = ((1 / height_by_ratio)[:, None] * sizes).ravel()
    corners: Boxes = np.stack((-widths, -heights, widths, heights), axis=1)
    return np.asarray(np.rint(corners / np.float32(2)), np.float32)


def level_anchors(side: int, cells: int, base: int) -> Boxes:
    """Anchors of a square level with `cells` cells a row, [cells * cells * 9, 4], cell by cell."""
    steps = np.arange(cells, dtype=np.float32) * (side // cells)
    y, x = np.meshgrid(steps, steps, indexing="ij")
    corners = np.stack((x, y, x, y), axis=-1).reshape(-1, 1, 4)
    return np.asarray((corners + cell_anchors(base)).reshape(-1, 4), dtype=np.float32)


def all_anchors(side: int, cells: Sequence[int], bases: Sequence[int]) -> Boxes:
    """Anchors of all levels, finest first."""
    return np.concatenate([level_anchors(side, n, base) for n, base in zip(cells, bases, strict=True)])


def decode(deltas: NDArray[np.float32], anchors: Boxes, side: int) -> Boxes:
    """Boxes [n, 4] from deltas [n, 4] (shift over size, logarithm of size over size), cut at the image."""
    size = anchors[:, 2:] - anchors[:, :2]
    middle = anchors[:, :2] + np.float32(0.5) * size + deltas[:, :2] * size
    half = np.float32(0.5) * np.exp(np.minimum(deltas[:, 2:], np.float32(MAX_LOG_SIZE))) * size
    return np.asarray(np.clip(np.concatenate((middle - half, middle + half), axis=1), 0, side), np.float32)


def encode(boxes: Boxes, anchors: Boxes) -> NDArray[np.float32]:
    """Deltas [n, 4] that `decode` turns into these boxes at these anchors."""
    size, wanted = anchors[:, 2:] - anchors[:, :2], boxes[:, 2:] - boxes[:, :2]
    apart = boxes[:, :2] + wanted / 2 - (anchors[:, :2] + size / 2)
    return np.concatenate((apart / size, np.log(wanted / size)), axis=1).astype(np.float32)
