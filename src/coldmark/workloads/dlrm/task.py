"""DLRM opened with one of its model sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coldmark.workloads.dlrm.full import open_full
from coldmark.workloads.dlrm.mini import mini_file, on_drawn, open_mini, read_whole
from coldmark.workloads.dlrm.official import open_official
from coldmark.workloads.sources import own_model
from coldmark.workloads.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`--set model.path=...`, `model.rows`, `data.path`, `data.samples`, `calibration.data`."""

    model_path: Path | None = None
    model_rows: int = 100_000  # of `full`: the most rows of a table
    data_path: Path | None = None
    data_samples: int = 204_800  # of `official`: samples in memory at a time
    calibration_data: Path | None = None  # where the second half of day 23 lies elsewhere


def open_task(workload: str, source: str, options: Options, *, cache: Path, need_model: bool = True) -> Task:
    """The task with a model source: `mini`, `full`, `official`, or a path to an ONNX file."""
    if source == "mini":
        return open_mini(workload, cache, need_model)
    if source == "full":
        return open_full(options.model_rows, cache, need_model)
    if source == "official":
        return open_official(
            workload,
            options.model_path,
            options.data_path,
            options.data_samples,
            cache,
            need_model,
            calibration=options.calibration_data,
        )
    path = own_model(source)
    return _own(workload, path, cache)


def _own(workload: str, path: Path, cache: Path) -> Task:
    """A whole model of the user's, run on the evaluation log of `mini`."""
    facts = mini_file()
    whole = read_whole(path, facts.rows)
    record = {"model_sha256": whole.sha256, "weights": "given by path"}
    return on_drawn(workload, whole, whole.parts.config, record, cache)
