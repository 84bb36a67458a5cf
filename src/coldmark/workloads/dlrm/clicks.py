"""Click logs with known click probabilities: the task of `mini`.

Pairs look like Criteo's: 13 counts and 26 categories, most of them rare. Behind them stands a fixed
model: every category has a leaning and a latent vector, a click's log-odds is the sum of leanings, of
inner products of latent vectors of some tables, of humps, steps and products of the counts, and of
latent directions times counts. The click itself is drawn, so that not even the true log-odds sort all
clicks from all others: their AUC is the best possible.

A draw depends only on (seed, index): no platform's exp, log or pow stands between the random bits and
the features. The label alone passes through exp, in double precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.dlrm.shape import DENSE, OFFICIAL_ROWS, TABLES, sample_sizes

MOST_ROWS = 1000
ROWS = tuple(min(rows, MOST_ROWS) for rows in OFFICIAL_ROWS)
"""Categories of each table: the official counts, capped."""

WORLD_SEED = 610_000
FACTORS = 4  # length of a latent vector
MEETINGS = 16  # pairs of tables whose latent vectors meet in an inner product
LEANING = 0.27  # standard deviation of one table's leaning, in log-odds
MEETING = 0.23  # of one inner product
SLOPE = 0.3  # of one table's latent direction times a count
BASE = -2.4  # log-odds without anything
MAX_SEED_WORD = 2**32 - 1

TRAINING_SEED = 610_001
VALIDATION_SEED = 610_002  # for choices made during development, so that evaluation pairs stay unseen
CALIBRATION_SEED = 610_003
EVALUATION_SEED = 610_004
"""A log is its seed; chunks of different seeds share no pair."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """n user-item pairs."""

    dense: NDArray[np.int32]  # counts, [n, 13], at least 0
    category: NDArray[np.int32]  # [n, 26], each in 0 to ROWS - 1
    click: NDArray[np.float32]  # 0 or 1, [n]
    log_odds: NDArray[np.float64]  # true ones, [n]: unknown to a model


@dataclass(frozen=True, slots=True)
class _World:
    leaning: tuple[NDArray[np.float64], ...]  # a table: [rows]
    latent: tuple[NDArray[np.float64], ...]  # a table: [rows, FACTORS]
    meetings: NDArray[np.int64]  # [MEETINGS, 2], tables
    slopes: NDArray[np.int64]  # [DENSE], the table whose first latent direction turns this count's effect
    strength: NDArray[np.float64]  # [DENSE], of the count's own effect
    place: NDArray[np.float64]  # [DENSE], where its hump or step lies
    scale: NDArray[np.float64]  # [DENSE], the count's median, about


@cache
def _world() -> _World:
    rng = np.random.default_rng(WORLD_SEED)
    pairs = np.array([(a, b) for a in range(TABLES) for b in range(a)])
    return _World(
        leaning=tuple(rng.standard_normal(rows) * LEANING for rows in ROWS),
        latent=tuple(rng.standard_normal((rows, FACTORS)) for rows in ROWS),
        meetings=pairs[rng.choice(len(pairs), MEETINGS, replace=False)],
        slopes=rng.choice(TABLES, DENSE, replace=False),
        strength=rng.uniform(0.5, 1.5, DENSE) * rng.choice([-1.0, 1.0], DENSE),
        place=rng.uniform(0.25, 0.75, DENSE),
        scale=np.floor(rng.uniform(2, 60, DENSE)),
    )


def draw(seed: int, index: int, pairs: int) -> Pairs:
    """Chunk `index` of the log with this seed: `pairs` user-item pairs.

    Another number of pairs is another chunk, not a part of it. Raises ValueError when seed or index is
    outside 0 to MAX_SEED_WORD.
    """
    if not (0 <= seed <= MAX_SEED_WORD and 0 <= index <= MAX_SEED_WORD):
        raise ValueError(f"seed and index must lie in 0 to {MAX_SEED_WORD}, got {seed} and {index}")
    world = _world()
    rng = np.random.default_rng([seed, index])
    place = rng.random((pairs, TABLES))
    place *= place  # squares crowd near 0: small ids are common, as in real logs
    category = (place * ROWS).astype(np.int32)
    share = rng.random((pairs, DENSE))
    dense = (world.scale * share / (1.01 - share)).astype(np.int32)
    log_odds = _log_odds(world, dense, category)
    click = rng.random(pairs) * (1.0 + np.exp(-log_odds)) < 1.0
    return Pairs(dense, category, click.astype(np.float32), log_odds)


def draw_samples(seed: int, count: int) -> list[Pairs]:
    """Samples 0 to count - 1 of a seed: sample i is chunk i of its log."""
    sizes = sample_sizes(seed, count).tolist()
    return [draw(seed, index, size) for index, size in enumerate(sizes)]


def _log_odds(world: _World, dense: NDArray[np.int32], category: NDArray[np.int32]) -> NDArray[np.float64]:
    latent = [table[category[:, t]] for t, table in enumerate(world.latent)]
    total = np.full(len(dense), BASE)
    for t, table in enumerate(world.leaning):
        total += table[category[:, t]]
    for a, b in world.meetings:
        total += MEETING * FACTORS**-0.5 * (latent[a] * latent[b]).sum(axis=1)
    level = dense / (dense + world.scale)  # 0 to 1, a half at the median
    total += _own_effects(world, level)
    for j, t in enumerate(world.slopes):
        total += SLOPE * (2.0 * level[:, j] - 1.0) * latent[t][:, 0]
    return total


def _own_effects(world: _World, level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Humps, steps, slopes in turn, and products of neighbours; log-odds [n]."""
    away = level - world.place
    effect = np.empty_like(level)
    effect[:, 0::3] = 1.0 - 6.0 * np.abs(away[:, 0::3])
    effect[:, 1::3] = np.where(away[:, 1::3] > 0.0, 0.6, -0.6)
    effect[:, 2::3] = 2.0 * away[:, 2::3]
    products = 2.5 * away[:, :-1:2] * away[:, 1::2]
    return np.asarray((effect * world.strength).sum(axis=1) * 0.3 + products.sum(axis=1))
