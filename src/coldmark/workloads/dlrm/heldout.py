"""The logs of `mini`: which seeds they have, and the evaluation set, drawn once and kept in one file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.cache import kept
from coldmark.workloads.dlrm import clicks
from coldmark.workloads.dlrm.pairs import Columns, PairLibrary
from coldmark.workloads.dlrm.shape import log_counts, sample_sizes

VERSION = 1
"""Part of the file's name: a change of `clicks.draw` needs a new one."""

CALIBRATION_SAMPLES = 474  # 128 000 pairs or so, as many as in MLPerf's calibration set


class HeldoutLog:
    """A drawn log of samples. `sha256` is over counts, categories and clicks in order."""

    def __init__(self, seed: int, count: int, cache: Path) -> None:
        path = cache / "dlrm" / f"clicks-v{VERSION}-{seed}-{count}.npz"
        self.name = f"clicks-{seed}"
        sizes = sample_sizes(seed, count)
        self.bounds = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        kept(path, lambda aside: _write(aside, seed, count), self._load)

    def _load(self, path: Path) -> None:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            self._counts: NDArray[np.uint16] = data["counts"]
            self._category: NDArray[np.uint16] = data["category"]
            self.clicked: NDArray[np.bool_] = data["clicked"]
        if not len(self._counts) == len(self._category) == len(self.clicked) == self.bounds[-1]:
            raise ValueError("the cached log is not whole")
        digest = hashlib.sha256()
        for column in (self._counts, self._category, self.clicked):
            digest.update(np.ascontiguousarray(column).data)
        self.sha256 = digest.hexdigest()

    def read(self, begin: int, end: int) -> Columns:
        return (
            log_counts(self._counts[begin:end]),
            self._category[begin:end].astype(np.int32),
            self.clicked[begin:end].astype(np.float32),
        )

    def library(self) -> PairLibrary:
        """All samples of the log; all of them fit in memory."""
        return PairLibrary(self.name, self.bounds, len(self.bounds) - 1, self.read)


def calibration_log(count: int, cache: Path) -> HeldoutLog:
    """Samples for calibrating lower precisions: from a log of their own."""
    return HeldoutLog(clicks.CALIBRATION_SEED, count, cache)


def _write(path: Path, seed: int, count: int) -> None:
    drawn = clicks.draw_samples(seed, count)
    with path.open("wb") as file:
        np.savez(
            file,
            counts=np.concatenate([p.dense for p in drawn]).astype(np.uint16),
            category=np.concatenate([p.category for p in drawn]).astype(np.uint16),
            clicked=np.concatenate([p.click for p in drawn]) > 0,
        )
