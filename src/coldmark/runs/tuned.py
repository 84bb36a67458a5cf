"""What was tuned here, put into a run that says nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from coldmark.backends import BACKENDS
from coldmark.backends.build import processors
from coldmark.core.commandline import dotted
from coldmark.core.errors import ColdmarkError
from coldmark.core.nouns import Length
from coldmark.core.record import RunSpec
from coldmark.core.server_rate import ServerRate
from coldmark.core.tuned import UNSCORED, Machine, TunedRecord, TunedUse, command
from coldmark.runs.calibrated import digests, network_paths
from coldmark.runs.execute import version_changes
from coldmark.runs.resolve import open_task, option_groups, resolve
from coldmark.store.tuned import list_tuned
from coldmark.telemetry.inventory import detect
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.task import Task


@cache
def this_machine() -> Machine:
    """What this machine is told from another by."""
    return Machine(
        processor=detect().host_processor_model_name,
        processors=processors(),
        memory_gib=round(psutil.virtual_memory().total / 2**30),
    )


def model_sha256(task: Task) -> str:
    """Digest over the files of a model, weights beside them included; empty where there is none.

    Raises DataError.
    """
    if task.model is None:
        return ""
    paths = network_paths(task.model)
    found, each = hashlib.sha256(), digests(paths)
    for name in sorted(paths, key=lambda name: paths[name]):
        found.update(each[name].encode())
    return found.hexdigest()


def task_options(options: Mapping[str, str], workload: str, backend: str) -> dict[str, str]:
    """The options that change what is computed on, under their full names."""
    return {f"task.{k}": v for k, v in option_groups(options, workload, backend)["task"].items()}


def own_options(options: Mapping[str, str], workload: str, backend: str) -> dict[str, str]:
    """The same as `--set` takes them: `data.path`."""
    return {dotted(k): v for k, v in option_groups(options, workload, backend)["task"].items()}


def kept_for(options: Mapping[str, str], workload: str, backend: str) -> dict[str, str]:
    """The options that a tuning is kept for, under their full names: with others it says nothing of a run.

    They are the task's, the calibration, and the latency bound, which is what a Server rate is searched for.
    """
    groups = option_groups(options, workload, backend)
    found = task_options(options, workload, backend)
    found |= {f"calibration.{k}": v for k, v in groups["calibration"].items()}
    bound = "target_latency_ns"
    return found | ({f"test.{bound}": groups["test"][bound]} if bound in groups["test"] else {})


def with_tuned(spec: RunSpec, root: Path, given: Collection[str]) -> tuple[RunSpec, str]:
    """A run's spec with what was tuned for it, and what is to be said about that (empty: nothing).

    `given` names what the user asked for (`backend`, `precision`): that is never replaced, nor is any option
    in the spec. What was tuned with another model or other software is not used, nor what was tuned with
    options of a backend that this run lacks, nor in a precision that nobody can score and this run does not
    ask for. Raises nothing: a store that cannot be read is said, and the run goes on without it.
    """
    found, said = [], ""
    for record in list_tuned(root):
        if isinstance(record, ColdmarkError):
            said = f"not used: {record.message} ({record.where})"
        elif not _is_for(record, spec, given):
            continue
        elif missing := _missing_flags(record, spec, given):
            flags = ", ".join(missing)
            said = f"not used, tuned with {flags} (id {record.id}): {command('run', record.key)}"
        else:
            found.append(record)
    fresh = []
    for record in found:
        if why := change(record, spec):
            said = f"not used, tuned {record.when[:10]} (id {record.id}): {why}; {_again(record)}"
        else:
            fresh.append(record)
    if not fresh:
        return spec, said
    best = max(fresh, key=lambda r: (_as_tuned(r, spec), _score(r), r.when))
    return _applied(best, spec), ""


def _is_for(record: TunedRecord, spec: RunSpec, given: Collection[str]) -> bool:
    """Whether a record is of this machine and this run, and sets nothing that the user set otherwise."""
    key = record.key
    same = (key.workload, key.scenario, key.suite, key.round, key.model) == (
        spec.workload,
        spec.scenario,
        spec.suite,
        spec.round,
        spec.model,
    )
    if not same or key.machine != this_machine():
        return False
    if "backend" in given and record.best.backend != spec.backend:
        return False
    if "precision" in given and record.best.precision is not spec.precision:
        return False
    return _same_task(record, spec) and _no_flag_differs(record, spec)


def _same_task(record: TunedRecord, spec: RunSpec) -> bool:
    """Whether it was tuned on the data, for the bound and with the calibration that this run has."""
    try:
        kept = kept_for(spec.options, spec.workload, record.best.backend)
    except ColdmarkError:
        return False  # an option that the tuned backend does not have
    flags = _flags(record)
    return {k: v for k, v in record.key.fixed.items() if k not in flags} == kept


def _flags(record: TunedRecord) -> dict[str, str]:
    """What was fixed of how it is computed: backend, precision and the backend's options."""
    fixed = record.key.fixed
    return {k: v for k, v in fixed.items() if k in ("backend", "precision") or k.startswith("backend.")}


def _own(spec: RunSpec, record: TunedRecord) -> dict[str, str]:
    """The run's options of the backend under their full names."""
    groups = option_groups(spec.options, spec.workload, record.best.backend)
    return {f"backend.{k}": v for k, v in groups["backend"].items()}


def _no_flag_differs(record: TunedRecord, spec: RunSpec) -> bool:
    own = _own(spec, record)
    return all(_equal(own[k], v) for k, v in _flags(record).items() if k in own)


def _missing_flags(record: TunedRecord, spec: RunSpec, given: Collection[str]) -> list[str]:
    """Flags it was tuned with that this run must be given to use it, as they are typed.

    A backend or a precision that the search was kept to is what was found, as any that it chose.
    """
    own, flags = _own(spec, record), _flags(record)
    missing = [f"--set {k}={v}" for k, v in flags.items() if k.startswith("backend.") and k not in own]
    if record.accuracy.startswith(UNSCORED) and "precision" not in given:
        missing.append(f"--precision {record.best.precision.value}")
    return missing


def change(record: TunedRecord, spec: RunSpec) -> str:
    """What is no longer as it was when it was tuned; empty where all is."""
    try:
        versions = dict(BACKENDS.load(record.best.backend).versions())
        then = {name: version for name, version in record.software.items() if name in versions}
        if changed := version_changes(then, versions):
            return changed
        used = _applied(record, spec)
        if model_sha256(open_task(resolve(used), cache_dir())) != record.model_sha256:
            return "the model has changed"
    except ColdmarkError as error:
        return error.message
    return ""


def _searched(found: ServerRate, length: Length) -> dict[str, float | None]:
    """The rate to ask for in a run of a length; none for one too short for early stopping to say much."""
    by_length = {Length.OFFICIAL: found.rate_qps or None, Length.SHORT: found.short_qps}
    return {"server_qps": by_length.get(length), "server_bare_rate": found.bare_rate}


def _again(record: TunedRecord) -> str:
    return f"to tune again: {command('tune', record.key)}"


def _score(record: TunedRecord) -> float:
    """Higher is better."""
    return record.value.value if record.value.unit != "s" else 1 / record.value.value


def _as_tuned(record: TunedRecord, spec: RunSpec) -> bool:
    """Whether the backend's options that a run is given are those of the record; else its rates are not."""
    fixed = {k: v for k, v in _flags(record).items() if k.startswith("backend.")}
    then = fixed | record.best.options
    return all(_equal(v, then.get(k)) for k, v in _own(spec, record).items())


def _applied(record: TunedRecord, spec: RunSpec) -> RunSpec:
    """The record's settings below what the user set."""
    own, as_tuned = _own(spec, record), _as_tuned(record, spec)
    settings: dict[str, Any] = {k: v for k, v in record.best.options.items() if k not in own}
    return replace(
        spec,
        backend=record.best.backend,
        precision=record.best.precision,
        options={**spec.options, **settings},
        tuned=TunedUse(
            id=record.id,
            when=record.when,
            settings={
                "backend": record.best.backend,
                "precision": record.best.precision.value,
                **settings,
            },
            expected_qps=record.expected_qps if as_tuned else None,
            **(_searched(record.server, spec.length) if as_tuned and record.server else {}),
        ),
    )


def _equal(given: str, tuned: str | None) -> bool:
    """Whether two values of an option are the same as typed: `1e3` and `1000`, `True` and `true`."""
    if tuned is None or given.lower() == tuned.lower():
        return tuned is not None
    try:
        return float(given) == float(tuned)
    except ValueError:
        return False
