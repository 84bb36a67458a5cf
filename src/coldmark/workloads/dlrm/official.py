"""MLPerf's own weights, converted, on Criteo's day 23."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache as once
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import ConfigError, DataError
from coldmark.core.sut import Pipeline
from coldmark.workloads.cache import materialise
from coldmark.workloads.dlrm import scores
from coldmark.workloads.dlrm.architecture import Config
from coldmark.workloads.dlrm.criteo import CriteoLog
from coldmark.workloads.dlrm.full import refuse_beyond_memory
from coldmark.workloads.dlrm.graph import build, write
from coldmark.workloads.dlrm.lanes import RECIPE, pipeline, work_facts
from coldmark.workloads.dlrm.pairs import PairLibrary
from coldmark.workloads.dlrm.shape import OFFICIAL_ROWS, partition
from coldmark.workloads.dlrm.weights import LAYERS_NAME, ConvertedWeights
from coldmark.workloads.sources import needed
from coldmark.workloads.task import Gate, Task, calibrated, gate_ratio

OFFICIAL_AUC = 80.25
OTHER_SHAPE = "the weights have not the shape of MLPerf's model: the target is not theirs"
PAIR_BYTES = 4 * 40


def open_official(
    workload: str,
    model: Path | None,
    data: Path | None,
    samples: int,
    cache: Path,
    need_model: bool,
    *,
    calibration: Path | None = None,
) -> Task:
    """The task with the user's converted weights and data. Raises ConfigError or DataError.

    `calibration` is the folder of the other half of day 23, where that lies elsewhere.
    """
    model_path = needed(
        "model.path",
        model,
        "the folder that `python -m coldmark.workloads.dlrm.convert` made of MLPerf's weights",
    )
    data_path = needed("data.path", data, "the folder with Criteo's preprocessed day 23")
    if samples < 1:
        raise ConfigError(f"{samples} is below 1", where="--set data.samples")
    weights = ConvertedWeights(model_path)
    sha256 = hashlib.sha256((model_path / LAYERS_NAME).read_bytes()).hexdigest()
    tables = once(weights.tables)

    def on(log: CriteoLog, where: Path, name: str) -> Task:
        bounds = partition(len(log))
        library = PairLibrary(name, bounds, min(samples, len(bounds) - 1), log.read)
        _refuse_samples_beyond_memory(library)
        return Task(
            model=_pipeline(weights, sha256, tables, library, cache) if need_model else None,
            library=library,
            samples=library.count,
            scorer=scores.area(bounds, log.clicked),
            official=True,
            gate=official_gate(workload),
            recipe=RECIPE,
            facts={
                "model_sha256": sha256,
                "weights": "given by path",
                "data": str(where),
                **work_facts(weights.config, library),
            },
            identity=lambda index: log.identity(int(bounds[index])),
            warnings=() if weights.config == Config(rows=OFFICIAL_ROWS) else (OTHER_SHAPE,),
        )

    def other_half() -> Task:
        where = calibration or data_path
        log = CriteoLog(where, weights.config.rows, cache, calibration=True)
        return on(log, where, "criteo-day-23-calibration")

    log = CriteoLog(data_path, weights.config.rows, cache)
    return calibrated(on(log, data_path, "criteo-day-23"), other_half)


def official_gate(workload: str) -> Gate:
    return Gate(
        metric="AUC",
        unit="%",
        reference=OFFICIAL_AUC,
        ratio=gate_ratio(workload),
        source=f"MLPerf Inference v2.1, {workload}, FP32 reference",
    )


def _refuse_samples_beyond_memory(library: PairLibrary) -> None:
    sizes = library.sizes(np.arange(library.count, dtype=np.int64))
    needed = int(np.sort(sizes)[-library.performance_count :].sum()) * PAIR_BYTES
    refuse_beyond_memory(needed, ConfigError, "--set data.samples", "fewer samples in memory", what="samples")


def _pipeline(
    weights: ConvertedWeights,
    sha256: str,
    tables: Callable[[], NDArray[np.float32]],
    library: PairLibrary,
    cache: Path,
) -> Pipeline:
    config = weights.config
    refuse_beyond_memory(
        config.table_bytes, DataError, str(weights.tables_path), "`--model full --set model.rows=N`"
    )
    layers = cache / "dlrm" / f"layers-{sha256[:16]}.onnx"
    materialise(layers, lambda aside: write(build(config, weights.layer, whole=False), aside))
    return pipeline(config, layers, tables, library)
