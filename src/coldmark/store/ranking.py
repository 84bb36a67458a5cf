"""Places among published results: who is first, in what, among whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import duckdb

from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.core.nouns import Scenario, Suite
from coldmark.rules.book import RuleBook, load_book, rounds
from coldmark.store.pool import Pool
from coldmark.store.results import ask


class Per(StrEnum):
    """What a rate is divided by."""

    SYSTEM = "system"
    ACCELERATOR = "accelerator"
    CORE = "processor core"


_DIVISOR = {Per.SYSTEM: "1", Per.ACCELERATOR: "accelerators", Per.CORE: "cores"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is ranked, and among whom."""

    round: str
    division: str = "closed"
    suite: str = ""  # "" is each
    benchmarks: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    pool: Pool = field(default_factory=Pool)
    per: Per = Per.SYSTEM

    def words(self) -> str:
        """The pool in words, as every ranking prints it."""
        said = [self.round, f"{self.division} division", *([self.suite] if self.suite else [])]
        said.append(f"status {' or '.join(self.statuses)}" if self.statuses else "any status")
        said.append(self.pool.text or "all systems")
        if self.per is not Per.SYSTEM:
            said.append(f"per {self.per}")
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class Entry:
    """A published result with its place in its task. `value` is the score, divided as asked."""

    place: int
    value: float
    gap: float  # value / first - 1; the first has 0
    row: dict[str, Any]

    @property
    def system(self) -> tuple[str, str]:
        return self.row["submitter"], self.row["system"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One benchmark-scenario of a suite, ranked; `size` runs compete in it."""

    suite: str
    benchmark: str
    scenario: str
    metric: str
    unit: str
    lower_is_better: bool
    size: int
    entries: tuple[Entry, ...]

    @property
    def firsts(self) -> list[Entry]:
        """Who shares the first place."""
        return [entry for entry in self.entries if entry.place == 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A question's answer: its tasks, and what of the pool could not be ranked."""

    question: Question
    tasks: tuple[Task, ...]
    runs: int  # in the pool, ranked or not
    invalid: int  # left out: LoadGen called them INVALID
    uncounted: int  # left out: nothing published to divide by
    latencies: int  # left out: a latency is not divided

    def firsts(self) -> dict[tuple[str, str], list[Task]]:
        """First places per submitter and system, most first."""
        found: dict[tuple[str, str], list[Task]] = {}
        for task in self.tasks:
            for entry in task.firsts:
                found.setdefault(entry.system, []).append(task)
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


_RANK = """
WITH pool AS (
  SELECT *, score / {divisor} AS value FROM results
  WHERE round = ? AND division = ? AND {conditions} AND ({pool})
), valid AS (
  -- Rounds before v1.0 have up to five Server runs of one entry; the worst of them is its result.
  SELECT *, row_number() OVER (
    PARTITION BY submitter, system, benchmark, scenario
    ORDER BY CASE WHEN lower_is_better THEN -score ELSE score END, run) AS nth
  FROM pool WHERE validity = 'VALID' AND value IS NOT NULL AND isfinite(value)
    AND NOT (lower_is_better AND {divided})
)
SELECT {columns}, suites.name AS task_suite, rank() OVER task AS place,
  first_value(value) OVER task AS best, count(*) OVER (PARTITION BY
    suites.name, benchmark, scenario, unit, metric) AS size
FROM valid JOIN (VALUES ('datacenter'), ('edge'), ('')) suites(name)
  ON CASE WHEN suites.name = '' THEN suite = '' ELSE contains(suite, suites.name) END
WHERE nth = 1 AND (? = '' OR suites.name = ?)
WINDOW task AS (PARTITION BY suites.name, benchmark, scenario, unit, metric
  ORDER BY CASE WHEN lower_is_better THEN value ELSE -value END)
QUALIFY ? = '' OR (submitter = ? AND system = ?)
ORDER BY task_suite, benchmark, scenario, unit, place, submitter, system
"""

_FEW = "submitter, system, benchmark, scenario, metric, unit, lower_is_better, value"
"""What is needed where only places are asked for: a window over all columns costs ten times as much."""

_COUNTS = """
SELECT count(*), count(*) FILTER (validity <> 'VALID'),
  count(*) FILTER (validity = 'VALID' AND NOT (lower_is_better AND {divided})
    AND (score / {divisor} IS NULL OR NOT isfinite(score / {divisor}))),
  count(*) FILTER (validity = 'VALID' AND lower_is_better AND {divided})
FROM results WHERE round = ? AND division = ? AND {conditions} AND ({pool})
  AND (? = '' OR contains(suite, ?))
"""


def rank(connection: duckdb.DuckDBPyConnection, question: Question) -> Ranking:
    """The places of every task asked for. Raises ConfigError for an unknown benchmark or scenario."""
    question = _named(connection, question)
    parts, before, both = _parts(question)
    rows = ask(connection, _RANK.format(**parts), [*before, *both, "", "", ""]).dicts()
    counts = ask(connection, _COUNTS.format(**parts), [*before, *both]).rows[0]
    return Ranking(
        question=question,
        tasks=tuple(_tasks(rows, question.round)),
        runs=counts[0],
        invalid=counts[1],
        uncounted=counts[2],
        latencies=counts[3],
    )


def places(
    connection: duckdb.DuckDBPyConnection, question: Question, submitter: str, system: str
) -> list[Task]:
    """The tasks of one system with its own entry only; places and sizes are those among all.

    The question's names must be the table's own.
    """
    parts, before, both = _parts(question)
    sql = _RANK.format(**{**parts, "columns": _FEW})
    rows = ask(connection, sql, [*before, *both, submitter, submitter, system]).dicts()
    return list(_tasks(rows, question.round))


def _parts(question: Question) -> tuple[dict[str, str], list[Any], list[Any]]:
    """The parts of the statements, and the parameters before and after them."""
    conditions, values = _conditions(question)
    parts = {
        "columns": "valid.*",
        "divisor": f"nullif({_DIVISOR[question.per]}, 0)",
        "divided": "false" if question.per is Per.SYSTEM else "true",
        "conditions": conditions,
        "pool": question.pool.sql,
    }
    before = [question.round, question.division, *values, *question.pool.parameters]
    return parts, before, [question.suite, question.suite]


def _conditions(question: Question) -> tuple[str, list[Any]]:
    """Conditions on benchmark, scenario and status, their values as parameters."""
    parts, values = ["true"], []
    for column, wanted in (
        ("benchmark", question.benchmarks),
        ("scenario", question.scenarios),
        ("status", question.statuses),
    ):
        if wanted:
            parts.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            values += list(wanted)
    return " AND ".join(parts), values


def _named(connection: duckdb.DuckDBPyConnection, question: Question) -> Question:
    """The question with every name as the table spells it."""
    found: dict[str, tuple[str, ...]] = {}
    for name, column in (("benchmarks", "benchmark"), ("scenarios", "scenario"), ("statuses", "status")):
        known = distinct(connection, column)
        asked: Sequence[str] = getattr(question, name)
        found[name] = tuple(choose(column, text, known, official=_official(question.round)) for text in asked)
    divisions = distinct(connection, "division")
    suites = [*distinct(connection, "suite"), "datacenter", "edge"]
    return Question(
        round=question.round,
        division=choose("division", question.division, divisions),
        suite=choose("suite", question.suite, {s for s in suites if "," not in s and s})
        if question.suite
        else "",
        pool=question.pool,
        per=question.per,
        **found,
    )


def distinct(connection: duckdb.DuckDBPyConnection, column: str) -> list[str]:
    """The values of a column."""
    return [row[0] for row in ask(connection, f"SELECT DISTINCT {column} FROM results ORDER BY 1").rows]  # noqa: S608


def _official(round_: str) -> dict[str, str]:
    """The round's own names of its benchmarks, where they differ from ours."""
    book = _book(round_)
    return {b.official_name: name for name, b in book.benchmarks.items()} if book else {}


def choose(kind: str, text: str, known: Iterable[str], *, official: dict[str, str] | None = None) -> str:
    """A name as the table spells it, in whatever letter case. Raises ConfigError with the nearest."""
    names = {_fold(name): name for name in known}
    wanted = _fold((official or {}).get(text.lower(), text))
    if wanted not in names:
        hint = did_you_mean(text, names.values())
        raise ConfigError(f"no {kind} {text!r} in this round", where=f"--{kind}", hint=hint)
    return names[wanted]


def _fold(text: str) -> str:
    return text.lower().replace("-", "").replace("_", "").replace(" ", "")


def _book(round_: str) -> RuleBook | None:
    return load_book(round_) if round_ in rounds() else None


def _tasks(rows: list[dict[str, Any]], round_: str) -> Iterable[Task]:
    """Rows in order of task and place, as tasks; a suite has the scenarios its rule book gives it."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = tuple(
            row[c] for c in ("task_suite", "benchmark", "scenario", "metric", "unit", "lower_is_better")
        )
        groups.setdefault(key, []).append(row)
    book = _book(round_)
    for (suite, benchmark, scenario, metric, unit, lower), group in groups.items():
        if _belongs(book, suite, benchmark, scenario):
            yield Task(
                suite=suite,
                benchmark=benchmark,
                scenario=scenario,
                metric=metric,
                unit=unit,
                lower_is_better=lower,
                size=group[0]["size"],
                entries=tuple(_entries(group)),
            )


def _belongs(book: RuleBook | None, suite: str, benchmark: str, scenario: str) -> bool:
    if book is None or benchmark not in book.benchmarks or not suite:
        return True
    try:
        entry = book.benchmarks[benchmark]
        return not entry.suites or Scenario(scenario) in entry.scenarios(Suite(suite))  # v0.5 has no suites
    except ValueError:
        return True


def _entries(group: list[dict[str, Any]]) -> Iterable[Entry]:
    for row in group:
        gap = row["value"] / row["best"] - 1
        yield Entry(place=row["place"], value=row["value"], gap=gap, row=row)


def systems_of(connection: duckdb.DuckDBPyConnection, question: Question) -> list[tuple[str, str]]:
    """Submitter and system of every entry of the round's division."""
    sql = "SELECT DISTINCT submitter, system FROM results WHERE round = ? AND division = ? ORDER BY ALL"
    return [
        (row[0], row[1]) for row in ask(connection, sql, [question.round, question.division.lower()]).rows
    ]
