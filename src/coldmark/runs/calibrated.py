"""A task with its networks replaced by quantised ones: how `--precision int8` finds what it runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from coldmark.core.calibration import CHOICE, WHOLE, Calibration, CalibrationOptions
from coldmark.core.commandline import command_line
from coldmark.core.errors import ConfigError, DataError
from coldmark.core.nouns import Precision
from coldmark.core.record import RunSpec
from coldmark.core.sut import Model, Network, Pipeline
from coldmark.store.calibrations import (
    find_calibration,
    list_calibrations,
    network_file,
    present,
    read_calibration,
)
from coldmark.store.rundir import sha256
from coldmark.workloads.task import Task, gate_ratio


def network_paths(model: Model | Pipeline) -> dict[str, Path]:
    """The files of a model by network."""
    if isinstance(model, Model):
        return {WHOLE: model.path}
    return {network.name: network.path for network in model.networks(1)}


def digests(paths: Mapping[str, Path]) -> dict[str, str]:
    """sha256 of each network, weights that lie beside it included. Raises DataError."""
    return {name: _digest(path) for name, path in paths.items()}


def _digest(path: Path) -> str:
    import onnx

    parts = [sha256(path)]
    graph = onnx.load(path, load_external_data=False).graph
    for location in sorted(
        {e.value for t in graph.initializer for e in t.external_data if e.key == "location"}
    ):
        beside = path.parent / location
        if not beside.is_file() or beside.parent != path.parent:
            raise DataError(f"weights {location!r} do not lie beside the model", where=str(path))
        parts.append(sha256(beside))
    return parts[0] if len(parts) == 1 else hashlib.sha256(" ".join(parts).encode()).hexdigest()


def replaced(model: Model | Pipeline, files: Mapping[str, Path]) -> Model | Pipeline:
    """The model with these networks' files instead of its own."""
    if isinstance(model, Model):
        return replace(model, path=files.get(WHOLE, model.path))
    own = model.networks

    def networks(batch: int) -> tuple[Network, ...]:
        return tuple(replace(n, path=files.get(n.name, n.path)) for n in own(batch))

    return replace(model, networks=networks)


def demanded_ratio(workload: str, task: Task) -> float:
    """The share of the FP32 reference that must be held."""
    return task.gate.ratio if task.gate else gate_ratio(workload)


def with_calibration(task: Task, spec: RunSpec, options: CalibrationOptions, cache: Path) -> Task:
    """The task in INT8. Raises ConfigError where there is no calibration, DataError where it is damaged."""
    if task.model is None:
        raise ConfigError(f"the {spec.backend} backend has no int8", where="--precision")
    models = digests(network_paths(task.model))
    found = find_calibration(cache, options.id) if options.id else _matching(task, spec, models, cache)
    if found.models != models:
        raise ConfigError(
            f"calibration {found.id} is of another model ({found.workload}, {found.model})",
            where="--set calibration.id",
            hint=f"coldmark calibrate --list; or make one: {command(spec)}",
        )
    if found.quantisation is None:
        instead = found.chosen.precision if found.chosen else Precision.FP32
        raise ConfigError(
            f"calibration {found.id} found no INT8 that holds the gate of {found.workload}: {found.reason}",
            where="--precision int8",
            hint=f"--precision {instead}, or calibrate in another way: {command(spec)} --method NAME",
        )
    if options.content not in ("", found.quantisation.content):
        raise ConfigError(
            f"calibration {found.id} was made anew since this began, and its networks are others now",
            where="--set calibration.content",
            hint="start a new run",
        )
    files = {name: network_file(cache, found.id, name) for name in found.quantisation.networks}
    doubts = task.warnings + tuple(_doubts(found, task, spec))
    official = task.official and found.quantisation.official
    if official is not task.official:
        doubts += (f"calibration {found.id} is of a list that is none of MLPerf's for this data set",)
    if found.quantisation.overlap:
        doubts += (f"calibrated on samples that are scored on too, as {found.quantisation.overlap}",)
    return replace(
        task,
        model=replaced(task.model, files),
        quantised=found.quantisation,
        warnings=doubts,
        official=official,
    )


def _doubts(found: Calibration, task: Task, spec: RunSpec) -> Iterator[str]:
    """What a calibration was not made for; only one that was asked for by its id can have any."""
    ratio = demanded_ratio(spec.workload, task)
    if found.backend != spec.backend:
        yield f"calibration {found.id} was made and judged on {found.backend}, not on {spec.backend}"
    if judgeable(task) and found.aim is None:
        yield f"calibration {found.id} was never judged: whether it holds the gate is not known"
    elif found.ratio < ratio:
        yield f"calibration {found.id} was judged by {100 * found.ratio:g} % of FP32, not {100 * ratio:g} %"


def judgeable(task: Task) -> bool:
    """Whether the answers of this model on this data can be held against a gate."""
    return task.gate is not None and not task.refusal


def _matching(task: Task, spec: RunSpec, models: Mapping[str, str], cache: Path) -> Calibration:
    """The newest calibration of this model and backend for the gate demanded, or for a stricter one.

    One that was never judged only counts where this task cannot be judged either. Where a stricter one found
    no INT8, one for this gate may.
    """
    ratio = demanded_ratio(spec.workload, task)
    fits = [
        (c.quantisation is not None, c.ratio == ratio, c.made, name)
        for name, c in list_calibrations(cache)
        if isinstance(c, Calibration)
        and (c.models, c.backend) == (models, spec.backend)
        and (c.ratio == ratio or (c.ratio > ratio and c.quantisation is not None))
        and (c.aim is not None or not judgeable(task))
    ]
    if not fits:
        raise ConfigError(
            f"no calibration of {spec.workload} ({spec.model}) for {spec.backend}",
            where="--precision int8",
            hint=f"make one: {command(spec)}",
        )
    newest = max(fits)[-1]
    return present(read_calibration(cache, newest), newest)


def command(spec: RunSpec) -> str:
    """The command that makes what is missing."""
    owned = ("model.", "data.", "vocab.", "calibration.")
    return command_line(
        "calibrate",
        spec.workload,
        model=spec.model,
        backend=spec.backend if spec.backend != "openvino" else None,
        options={k: v for k, v in spec.options.items() if k.startswith(owned) and k not in CHOICE},
    )
