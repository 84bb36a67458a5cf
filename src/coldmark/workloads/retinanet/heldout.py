"""The held-out set of `mini`: annotations are kept in one small file, images are drawn when loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.cache import kept
from coldmark.workloads.retinanet.mean_ap import Truth
from coldmark.workloads.retinanet.preprocess import from_pixels
from coldmark.workloads.retinanet.scenes import CLASSES, SIDE, draw
from coldmark.workloads.retinanet.score import Images

VERSION = 2
"""Part of the file's name: a change of `scenes.draw` needs a new one."""


class HeldoutSet:
    """Boxes and labels of the scenes `draw(seed, 0..count)`.

    `sha256` is over all pixels, boxes and labels in order: other pixels are another set.
    """

    def __init__(self, seed: int, count: int, cache: Path) -> None:
        self._seed = seed
        path = cache / "retinanet" / f"heldout-v{VERSION}-{seed}-{count}.npz"
        kept(path, lambda aside: _write(aside, seed, count), lambda file: self._load(file, count))

    def _load(self, path: Path, count: int) -> None:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            image, label, corners = data["image"], data["label"], data["corners"]
            self.sha256 = str(data["sha256"])
        if not len(image) == len(label) == len(corners) or (len(image) and image.max() >= count):
            raise ValueError("the cached set is not whole")
        boxes = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)
        self.truth = Truth(image, label, boxes.astype(np.float64), np.zeros(len(image), np.bool_))
        sides = np.full(count, SIDE)
        self.images = Images(sides, sides, np.arange(count), len(CLASSES))

    def preprocessed(self, index: int) -> NDArray[np.float32]:
        """The scene at `index`, [3, SIDE, SIDE] in 0 to 1."""
        return from_pixels(draw(self._seed, index).image, SIDE)


def _write(path: Path, seed: int, count: int) -> None:
    digest = hashlib.sha256()
    boxes, labels = [], []
    for index in range(count):
        scene = draw(seed, index)
        for part in (scene.image, scene.boxes, scene.labels):
            digest.update(part.tobytes())
        boxes.append(scene.boxes)
        labels.append(scene.labels)
    with path.open("wb") as file:
        np.savez(
            file,
            image=np.repeat(np.arange(count), [len(part) for part in labels]),
            label=np.concatenate(labels),
            corners=np.concatenate(boxes),
            sha256=np.array(digest.hexdigest()),
        )
