"""An own run among the published ones: the run's record, placed in the published ranking."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from coldmark.core.codec import from_plain, read_json
from coldmark.core.errors import ConfigError, DataError
from coldmark.core.nouns import Length, Provenance
from coldmark.core.record import Metric, RunRecord
from coldmark.core.system import System
from coldmark.rules.book import load_length
from coldmark.store.pool import parse_pool
from coldmark.store.published_system import count
from coldmark.store.ranking import Entry, Per, Question, Ranking, Task, rank
from coldmark.store.rundir import find_run, read_record

UNVERIFIED = "measured here, unverified"
SIMULATED = "SIMULATED, not measured"
"""How an own run is called wherever it stands beside published results; one of the twin is no measurement."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a value that is not in a ranking would stand in it, between its neighbours."""

    place: int
    of: int  # the ranked results and this one
    gap: float
    above: Entry | None
    below: Entry | None


def place_value(task: Task, value: float) -> Placed:
    """The place `value` would have. Equal values share a place, as they do in the ranking."""
    better = [e for e in task.entries if (e.value < value if task.lower_is_better else e.value > value)]
    rest = task.entries[len(better) :]
    return Placed(
        place=len(better) + 1,
        of=task.size + 1,
        gap=value / task.entries[0].value - 1,
        above=better[-1] if better else None,
        below=rest[0] if rest else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The own run in one reading of the ranking; `placed` is None where `reason` says why."""

    ranking: Ranking
    value: float | None
    unit: str
    task: Task | None = None
    placed: Placed | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRun:
    """A run of this machine with everything that keeps it apart from a published result."""

    record: RunRecord
    metric: Metric
    label: str
    caveats: tuple[str, ...]
    accelerators: int | None
    cores: int | None


def find_own(root: Path, run_id: str) -> OwnRun:
    """An own run with a result. Raises ConfigError for an unknown run or one without a result."""
    path = find_run(root, run_id)
    record = read_record(path)
    if record.metric is None:
        raise ConfigError(
            f"run {record.run_id} has no result to place ({record.state.value}, {record.verdict})",
            where="--run",
            hint="see: coldmark runs show " + record.run_id,
        )
    accelerators, cores = _size(path / "system.json")
    return OwnRun(
        record=record,
        metric=record.metric,
        label=SIMULATED if record.provenance is Provenance.SIMULATED else UNVERIFIED,
        caveats=tuple(_caveats(record)),
        accelerators=accelerators,
        cores=cores,
    )


def _size(path: Path) -> tuple[int | None, int | None]:
    """Accelerators and processor cores of the machine as its run describes it."""
    try:
        system = from_plain(read_json(path), System, where=str(path))
    except (DataError, ConfigError):
        return None, None
    nodes = count(system.number_of_nodes) or 1
    per_node, sockets = count(system.accelerators_per_node), count(system.host_processors_per_node)
    cores = count(system.host_processor_core_count)
    return (
        None if per_node is None else per_node * nodes,
        None if sockets is None or cores is None else sockets * cores * nodes or None,
    )


_MODELS = {
    "mini": "the mini model, far less work a sample than MLPerf's: its place flatters it",
    "full": "the full model, MLPerf's architecture without its weights",
}
"""What each model of ours is beside the official one."""


def _caveats(record: RunRecord) -> list[str]:
    """Why this number and a published one are not the same kind of number."""
    said = []
    if record.spec.length is not Length.OFFICIAL:
        least = load_length(record.spec.length).min_duration_ms
        lasts = f" ({least / 1000:g} s)" if least else ""
        said.append(f"{record.spec.length} length{lasts}, not the round's")
    if record.provenance is Provenance.SIMULATED:
        said.append("from a server twin: no model was run, and its interval (twin.json) belongs to it")
    elif record.spec.model != "official":
        said.append(_MODELS.get(record.spec.model, "a model of your own, not MLPerf's"))
    if record.verdict != "VALID":
        said.append(record.verdict)
    if record.accuracy is None or not record.accuracy.passed:
        said.append("accuracy not shown")
    return said


def question_of(own: OwnRun, question: Question) -> Question:
    """The question asked, narrowed to the run's own task. Raises ConfigError where they differ."""
    spec = own.record.spec
    if question.round != spec.round:
        raise ConfigError(
            f"the run follows {spec.round}", where="--round", hint=f"leave it out, or: --round {spec.round}"
        )
    for name, mine, asked in (
        ("benchmark", spec.workload, question.benchmarks),
        ("scenario", spec.scenario.value, question.scenarios),
        ("suite", spec.suite.value, (question.suite,) if question.suite else ()),
    ):
        if asked and mine.lower() not in {text.lower() for text in asked}:
            raise ConfigError(
                f"the run is {mine}", where=f"--{name}", hint="leave it out: the run says what it is"
            )
    return replace(
        question, suite=spec.suite.value, benchmarks=(spec.workload,), scenarios=(spec.scenario.value,)
    )


def standings(connection: duckdb.DuckDBPyConnection, own: OwnRun, question: Question) -> list[Standing]:
    """The run's place as a whole, per accelerator and per core; without accelerators, among its like too."""
    asked = question_of(own, question)
    pools = [asked]
    if own.accelerators == 0:
        text = f"({asked.pool.text}) and accelerators = 0" if asked.pool.text else "accelerators = 0"
        pools.append(replace(asked, pool=parse_pool(text)))
    found = [_standing(connection, own, replace(pool, per=Per.SYSTEM)) for pool in pools]
    found.append(_standing(connection, own, replace(asked, per=Per.ACCELERATOR)))
    found += [_standing(connection, own, replace(pool, per=Per.CORE)) for pool in pools]
    return found


def _standing(connection: duckdb.DuckDBPyConnection, own: OwnRun, question: Question) -> Standing:
    ranking = rank(connection, question)
    # A task of another unit (tokens, or streams of an old round) is another task.
    tasks = [t for t in ranking.tasks if (t.unit, t.metric) == (own.metric.unit, own.metric.name)]
    divisor = {Per.SYSTEM: 1, Per.ACCELERATOR: own.accelerators, Per.CORE: own.cores}[question.per]
    unit = own.metric.unit + ("" if question.per is Per.SYSTEM else f" per {question.per}")
    if question.per is not Per.SYSTEM and own.metric.unit == "ms":
        return Standing(ranking=ranking, value=None, unit=unit, reason="a latency is not divided")
    if not divisor:
        what = "accelerator" if question.per is Per.ACCELERATOR else "known number of cores"
        return Standing(ranking=ranking, value=None, unit=unit, reason=f"this machine has no {what}")
    value = own.metric.value / divisor
    if not tasks:
        return Standing(ranking=ranking, value=value, unit=unit, reason="nobody is in this pool")
    return Standing(
        ranking=ranking, value=value, unit=unit, task=tasks[0], placed=place_value(tasks[0], value)
    )
