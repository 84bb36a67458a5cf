"""The held-out set of `mini`: drawn from its seed once, then kept as JPEG bytes in one file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.cache import kept
from coldmark.workloads.resnet50.shapes import draw

VERSION = 1
"""Part of the file's name: a change of `shapes.draw` needs a new one."""


class HeldoutSet:
    """JPEG bytes and labels of the images `draw(seed, 0..count)`.

    `sha256` is over all encoded images in order: JPEG encoders differ, and other bytes are another set.
    """

    def __init__(self, seed: int, count: int, cache: Path) -> None:
        path = cache / "resnet50" / f"heldout-v{VERSION}-{seed}-{count}.npz"
        kept(path, lambda aside: _write(aside, seed, count), lambda file: self._load(file, count))

    def _load(self, path: Path, count: int) -> None:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            self._bytes: NDArray[np.uint8] = data["jpeg"]
            self._ends: NDArray[np.int64] = data["ends"]
            self.labels: NDArray[np.int64] = data["labels"]
        if len(self.labels) != count or len(self._ends) != count or int(self._ends[-1]) != len(self._bytes):
            raise ValueError("the cached set is not whole")
        self.sha256 = hashlib.sha256(self._bytes.tobytes()).hexdigest()

    def jpeg(self, index: int) -> bytes:
        """The encoded image at `index`."""
        start = int(self._ends[index - 1]) if index else 0
        return self._bytes[start : int(self._ends[index])].tobytes()

    def identity(self, index: int) -> str:
        """sha256 of the encoded image."""
        return hashlib.sha256(self.jpeg(index)).hexdigest()


def _write(path: Path, seed: int, count: int) -> None:
    drawn = [draw(seed, index) for index in range(count)]
    with path.open("wb") as file:
        np.savez(
            file,
            jpeg=np.frombuffer(b"".join(image for image, _ in drawn), np.uint8),
            ends=np.cumsum([len(image) for image, _ in drawn]).astype(np.int64),
            labels=np.array([label for _, label in drawn], np.int64),
        )
