"""DLRM: its widths, what it holds and costs, and seeded weights.

The architecture is the published one: Naumov et al., "Deep Learning Recommendation Model for
Personalization and Recommendation Systems" (2019), with MLPerf's widths for Criteo Terabyte. Weights bear
the names of MLPerf's checkpoint: `bot_l.<n>`, `emb_l.<table>.weight`, `top_l.<n>`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.dlrm.shape import DENSE, OFFICIAL_ROWS

SEED = 20220908

Weights = Callable[[str], NDArray[np.float32]]
"""Name of a weight -> the weight. Raises DataError where it is missing or of another shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Widths of a DLRM. `bottom` ends in the dimension of the tables, `top` in 1."""

    rows: tuple[int, ...]
    bottom: tuple[int, ...] = (512, 256, 128)
    top: tuple[int, ...] = (1024, 1024, 512, 256, 1)
    dense: int = DENSE

    @property
    def dimension(self) -> int:
        return self.bottom[-1]

    @property
    def dots(self) -> int:
        """Inner products of different features: tables and the bottom network's output."""
        return (len(self.rows) + 1) * len(self.rows) // 2

    @property
    def top_input(self) -> int:
        return self.dimension + self.dots

    @property
    def starts(self) -> NDArray[np.int64]:
        """First row of each table in the concatenation of all, [tables]."""
        return np.concatenate(([0], np.cumsum(self.rows)[:-1])).astype(np.int64)

    @property
    def layers(self) -> tuple[tuple[str, int, int], ...]:
        """(name, inputs, outputs) of all fully connected layers; the name counts activations too."""
        return tuple(
            (f"{part}.{2 * n}", inn, out)
            for part, widths in (
                ("bot_l", (self.dense, *self.bottom)),
                ("top_l", (self.top_input, *self.top)),
            )
            for n, (inn, out) in enumerate(pairwise(widths))
        )

    @property
    def parameters(self) -> int:
        return sum(self.rows) * self.dimension + sum((inn + 1) * out for _, inn, out in self.layers)

    @property
    def macs_per_pair(self) -> int:
        """Multiply-accumulates of one pair: layers, and each needed inner product once."""
        return sum(inn * out for _, inn, out in self.layers) + self.dots * self.dimension

    @property
    def table_bytes(self) -> int:
        return sum(self.rows) * self.dimension * 4


def full_config(cap: int) -> Config:
    """MLPerf's model with no table longer than `cap` rows."""
    return Config(rows=tuple(min(rows, cap) for rows in OFFICIAL_ROWS))


def shape_of(config: Config, name: str) -> tuple[int, ...]:
    """The shape of a weight by its name."""
    part, number, kind = name.split(".")
    if part == "emb_l":
        return (config.rows[int(number)], config.dimension)
    _, inn, out = next(layer for layer in config.layers if layer[0] == f"{part}.{number}")
    return (out, inn) if kind == "weight" else (out,)


def seeded(config: Config, seed: int = SEED) -> Weights:
    """Random weights that keep the size of activations: a weight depends on the seed and its name only."""

    def weight(name: str) -> NDArray[np.float32]:
        shape = shape_of(config, name)
        rng = np.random.default_rng([seed, *name.encode()])
        if name.startswith("emb_l"):
            spread = config.dimension**-0.5  # inner products of two rows are then about 1
        elif name.endswith("bias"):
            spread = 0.01
        else:
            spread = (2.0 / shape[1]) ** 0.5
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(spread)

    return weight
