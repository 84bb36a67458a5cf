"""MLPerf's own weights, converted, on Criteo's day 23."""

from __future__ import annotations

import hashlib
from functools import cache as once
from pathlib import Path

import numpy as np

from coldmark.core.errors import ConfigError, DataError
from coldmark.core.sut import Pipeline
from coldmark.workloads.cache import materialise
from coldmark.workloads.dlrm import scores
from coldmark.workloads.dlrm.architecture import Config
from coldmark.workloads.dlrm.criteo import CriteoLog
from coldmark.workloads.dlrm.full import refuse_beyond_memory
from coldmark.workloads.dlrm.graph import build, write
from coldmark.workloads.dlrm.lanes import pipeline, work_facts
from coldmark.workloads.dlrm.pairs import PairLibrary
from coldmark.workloads.dlrm.shape import OFFICIAL_ROWS, partition
from coldmark.workloads.dlrm.weights import LAYERS_NAME, ConvertedWeights
from coldmark.workloads.sources import needed
from coldmark.workloads.task import Gate, Task, gate_ratio

OFFICIAL_AUC = 80.25
OTHER_SHAPE = "the weights have not the shape of MLPerf's model: the target is not theirs"
PAIR_BYTES = 4 * 40


def open_official(
    workload: str, model: Path | None, data: Path | None, samples: int, cache: Path, need_model: bool
) -> Task:
    """The task with the user's converted weights and data. Raises ConfigError or DataError."""
    model_path = needed(
        "model.path",
        model,
        "the folder that `python -m coldmark.workloads.dlrm.convert` made of MLPerf's weights",
    )
    data_path = needed("data.path", data, "the folder with Criteo's preprocessed day 23")
    if samples < 1:
        raise ConfigError(f"{samples} is below 1", where="--set data.samples")
    weights = ConvertedWeights(model_path)
    log = CriteoLog(data_path, weights.config.rows, cache)
    bounds = partition(len(log))
    library = PairLibrary("criteo-day-23", bounds, min(samples, len(bounds) - 1), log.read)
    _refuse_samples_beyond_memory(library)
    sha256 = hashlib.sha256((model_path / LAYERS_NAME).read_bytes()).hexdigest()
    return Task(
        model=_pipeline(weights, sha256, library, cache) if need_model else None,
        library=library,
        samples=library.count,
        scorer=scores.area(bounds, log.clicked),
        official=True,
        gate=official_gate(workload),
        facts={
            "model_sha256": sha256,
            "weights": "given by path",
            "data": str(data_path),
            **work_facts(weights.config, library),
        },
        warnings=() if weights.config == Config(rows=OFFICIAL_ROWS) else (OTHER_SHAPE,),
    )


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


def _pipeline(weights: ConvertedWeights, sha256: str, library: PairLibrary, cache: Path) -> Pipeline:
    config = weights.config
    refuse_beyond_memory(
        config.table_bytes, DataError, str(weights.tables_path), "`--model full --set model.rows=N`"
    )
    layers = cache / "dlrm" / f"layers-{sha256[:16]}.onnx"
    materialise(layers, lambda aside: write(build(config, weights.layer, whole=False), aside))
    return pipeline(config, layers, once(weights.tables), library)
