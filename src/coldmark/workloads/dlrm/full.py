"""MLPerf's own architecture with seeded weights, tables cut to what memory holds: performance only."""

from __future__ import annotations

import hashlib
from functools import cache as once
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from coldmark.core.errors import ConfigError, DataError
from coldmark.workloads.cache import materialise
from coldmark.workloads.dlrm import architecture
from coldmark.workloads.dlrm.architecture import Config, seeded
from coldmark.workloads.dlrm.graph import build, write
from coldmark.workloads.dlrm.lanes import RECIPE, pipeline, work_facts
from coldmark.workloads.dlrm.pairs import Columns, WindowLibrary
from coldmark.workloads.dlrm.shape import OFFICIAL_ROWS, log_counts, sample_sizes
from coldmark.workloads.sources import SEEDED
from coldmark.workloads.task import Task, calibrated, drawn

PERFORMANCE_COUNT = 204_800  # the round's own number of samples in memory
NOISE_SEED = 26
CALIBRATION_SEED = 27
CALIBRATION_COUNT = 474  # samples: 128 000 pairs or so
CALIBRATION_POOL = 131_101  # pairs
POOL = 1_000_003  # pairs that samples are windows of: 160 MB; prime, so that windows spread evenly
VERSION = 1
MEMORY_SHARE = 0.8  # of what is available now: the rest is for layers, lanes and the system


def open_full(rows: int, cache: Path, need_model: bool, *, config: Config | None = None) -> Task:
    """The task with tables of at most `rows` rows. Raises ConfigError where they do not fit in memory."""
    if rows < 1:
        raise ConfigError(f"{rows} is below 1", where="--set model.rows")
    config = config or architecture.full_config(rows)
    refuse_beyond_memory(config.table_bytes, ConfigError, "--set model.rows", "fewer rows a table")
    layers: Path | None = None
    tables = once(lambda: seeded_tables(config))
    if need_model:
        widths = hashlib.sha256(repr(config.layers).encode()).hexdigest()[:12]
        layers = cache / "dlrm" / f"full-layers-v{VERSION}-{widths}-{architecture.SEED}.onnx"
        materialise(layers, lambda aside: write(build(config, seeded(config), whole=False), aside))
    cut = sum(config.rows) < sum(OFFICIAL_ROWS)

    def on(library: WindowLibrary, seed: int) -> Task:
        return Task(
            model=pipeline(config, layers, tables, library) if layers else None,
            library=library,
            samples=library.count,
            refusal=SEEDED,
            recipe=RECIPE,
            facts={
                "weights": f"seeded random (seed {architecture.SEED}), performance only",
                "rows": f"{sum(config.rows)} of {sum(OFFICIAL_ROWS)}: no table longer than {rows}"
                if cut
                else "all",
                "most_rows": str(rows),
                "samples_are": f"windows of {library.pool} seeded pairs",
                **work_facts(config, library),
            },
            identity=drawn("pairs", seed),
        )

    return calibrated(
        on(noise_library(config), NOISE_SEED),
        lambda: on(
            noise_library(config, CALIBRATION_COUNT, CALIBRATION_POOL, CALIBRATION_SEED), CALIBRATION_SEED
        ),
    )


def refuse_beyond_memory(
    needed: int, kind: type[ConfigError] | type[DataError], where: str, way_out: str, what: str = "tables"
) -> None:
    """Raise `kind` with the numbers where `needed` bytes do not fit in what memory is available now."""
    room = int(psutil.virtual_memory().available * MEMORY_SHARE)
    if needed > room:
        raise kind(
            f"the {what} need {needed / 1e9:.1f} GB of memory, {room / 1e9:.1f} GB can be had",
            where=where,
            hint=f"{way_out}, or a machine with more memory",
        )


def seeded_tables(config: Config) -> NDArray[np.float32]:
    """All tables one after another, written in place: they may fill most of the memory."""
    tables = np.empty((sum(config.rows), config.dimension), np.float32)
    weights = seeded(config)
    for t, (start, rows) in enumerate(zip(config.starts.tolist(), config.rows, strict=True)):
        tables[start : start + rows] = weights(f"emb_l.{t}.weight")
    return tables


def noise_library(
    config: Config, count: int = PERFORMANCE_COUNT, pool: int = POOL, seed: int = NOISE_SEED
) -> WindowLibrary:
    """Seeded pairs with evenly drawn categories, the hardest case for a cache: nothing to be right about."""

    def make() -> Columns:
        rng = np.random.default_rng(seed)
        counts = rng.integers(0, 100, (pool, config.dense), dtype=np.int32)
        category = rng.integers(0, np.array(config.rows), (pool, len(config.rows)), dtype=np.int32)
        return log_counts(counts), category, (rng.random(pool) < 0.03).astype(np.float32)

    return WindowLibrary("noise-pairs", sample_sizes(seed, count), make, pool)
