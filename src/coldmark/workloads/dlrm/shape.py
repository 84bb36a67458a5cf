"""The shape of the recommendation task: what a pair and a sample hold, and how long samples are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DENSE = 13
TABLES = 26

OFFICIAL_ROWS = (
    *(39_884_406, 39_043, 17_289, 7_420, 20_263, 3, 7_120, 1_543, 63, 38_532_951, 2_953_546, 403_346, 10),
    *(2_208, 11_938, 155, 4, 976, 14, 39_979_771, 25_641_295, 39_664_984, 585_935, 12_972, 108, 36),
)
"""Rows of each table of MLPerf's model (Criteo Terabyte, ids modulo 40 million).

Source: MLPerf Inference v2.1, recommendation/dlrm/pytorch/python/main.py.
"""

SAMPLE_PAIRS = (100,) * 2 + (200,) * 12 + (300,) * 2 + (400, 500, 600, 700)
"""Twenty equally likely numbers of user-item pairs of a sample; 270 on average.

Source: MLPerf Inference v2.1, recommendation/dlrm/pytorch/tools/dist_quantile.txt.
"""

PARTITION_SEED = 123
"""Of the reference's partition of day 23 into samples (its option --numpy-rand-seed)."""


def partition(pairs: int) -> NDArray[np.int64]:
    """Bounds [samples + 1] that cut a log of `pairs` into samples as the reference does.

    89 137 319 pairs give MLPerf's 330 067 samples; the last may be short. Raises ValueError for an empty log.
    """
    if pairs < 1:
        raise ValueError("an empty log has no samples")
    # The reference draws from the legacy generator; its stream is frozen for good.
    choice = np.random.RandomState(PARTITION_SEED).randint(
        0, len(SAMPLE_PAIRS), pairs // min(SAMPLE_PAIRS) + 1
    )
    ends = np.cumsum(np.array(SAMPLE_PAIRS, np.int64)[choice])
    inside = ends[: np.searchsorted(ends, pairs)]
    return np.concatenate(([0], inside, [pairs])).astype(np.int64)


def sample_sizes(seed: int, count: int) -> NDArray[np.int64]:
    """Pairs of `count` samples, drawn from the official distribution."""
    return np.array(SAMPLE_PAIRS, np.int64)[np.random.default_rng(seed).integers(0, len(SAMPLE_PAIRS), count)]


def log_counts(counts: NDArray[np.integer]) -> NDArray[np.float32]:
    """What the model takes for counts: the logarithm of one more, as the reference computes it."""
    return np.asarray(np.log(counts.astype(np.float32) + np.float32(1)), np.float32)
