"""DLRM opened with one of its model sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coldmark.workloads.dlrm.full import open_full
from coldmark.workloads.dlrm.lanes import work_facts
from coldmark.workloads.dlrm.mini import heldout, mini_file, mini_gate, open_mini, read_whole
from coldmark.workloads.dlrm.official import open_official
from coldmark.workloads.sources import own_model
from coldmark.workloads.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`--set model.path=...`, `--set data.path=...`, `--set model.rows=...`, `--set data.samples=...`."""

    model_path: Path | None = None
    model_rows: int = 100_000  # of `full`: the most rows of a table
    data_path: Path | None = None
    data_samples: int = 204_800  # of `official`: samples in memory at a time


def open_task(workload: str, source: str, options: Options, *, cache: Path, need_model: bool = True) -> Task:
    """The task with a model source: `mini`, `full`, `official`, or a path to an ONNX file."""
    if source == "mini":
        return open_mini(workload, cache, need_model)
    if source == "full":
        return open_full(options.model_rows, cache, need_model)
    if source == "official":
        return open_official(
            workload, options.model_path, options.data_path, options.data_samples, cache, need_model
        )
    path = own_model(source)
    return _own(workload, path, cache)


def _own(workload: str, path: Path, cache: Path) -> Task:
    """A whole model of the user's, run on the evaluation log of `mini`."""
    facts = mini_file()
    whole = read_whole(path, facts.rows)
    data = heldout(facts, cache)
    return Task(
        model=whole.over(data["library"], cache),
        gate=mini_gate(workload, facts),
        facts={
            "model_sha256": whole.sha256,
            "weights": "given by path",
            **work_facts(whole.parts.config, data["library"]),
        },
        **data,
    )
