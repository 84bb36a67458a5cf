"""Two published systems, benchmark by benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.store.results import ask


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemName:
    """A system of a round, as it is found."""

    division: str
    submitter: str
    system: str
    system_name: str
    accelerator: str
    accelerators: int | None

    @property
    def label(self) -> str:
        return f"{self.submitter}/{self.system}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One benchmark-scenario of both. `ratio` > 1: A is better, whether the score is a rate or a latency."""

    benchmark: str
    scenario: str
    unit: str
    lower_is_better: bool
    a: float
    b: float
    ratio: float


_COLUMNS = "division, submitter, system, system_name, accelerator, accelerators"


def find_system(connection: duckdb.DuckDBPyConnection, round_: str, division: str, text: str) -> SystemName:
    """The one system that `text` means: its folder, SUBMITTER/FOLDER, or words that only it has.

    Raises ConfigError with the candidates where there are none or several.
    """
    sql = f"SELECT DISTINCT {_COLUMNS} FROM results WHERE round = ? AND division = ? ORDER BY ALL"  # noqa: S608
    known = [SystemName(**row) for row in ask(connection, sql, [round_, division]).dicts()]
    wanted = text.lower()
    exact = [s for s in known if wanted in (s.system.lower(), s.label.lower(), s.system_name.lower())]
    words = wanted.replace("/", " ").split()
    near = exact or [s for s in known if all(word in _searched(s) for word in words)]
    if len(near) == 1:
        return near[0]
    if near:
        listed = ", ".join(s.label for s in near[:8]) + (" …" if len(near) > 8 else "")
        raise ConfigError(f"{len(near)} systems have {text!r}", where="SYSTEM", hint=f"which of: {listed}")
    names = [s.system for s in known] + [s.label for s in known]
    raise ConfigError(
        f"no system {text!r} in the {division} division of {round_}",
        where="SYSTEM",
        hint=did_you_mean(text, names) if known else None,
    )


def _searched(system: SystemName) -> str:
    return f"{system.label} {system.system_name} {system.accelerator}".lower()


_PAIRS = """
SELECT a.benchmark, a.scenario, a.unit, a.lower_is_better, a.score AS a, b.score AS b,
  CASE WHEN a.lower_is_better THEN b.score / a.score ELSE a.score / b.score END AS ratio
FROM results a JOIN results b
  ON a.round = b.round AND a.benchmark = b.benchmark AND a.scenario = b.scenario AND a.run = b.run
  AND a.unit = b.unit AND a.metric = b.metric
WHERE a.round = ? AND a.validity = 'VALID' AND b.validity = 'VALID' AND a.run = 1
  AND a.division = ? AND a.submitter = ? AND a.system = ?
  AND b.division = ? AND b.submitter = ? AND b.system = ?
ORDER BY 1, 2
"""


def compare(connection: duckdb.DuckDBPyConnection, round_: str, a: SystemName, b: SystemName) -> list[Ratio]:
    """The ratios of everything both have published."""
    values: list[Any] = [round_]
    for system in (a, b):
        values += [system.division, system.submitter, system.system]
    return [Ratio(**row) for row in ask(connection, _PAIRS, values).dicts()]
