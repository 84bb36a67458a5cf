"""Check published results against the other fields of their own logs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coldmark.core.errors import ConfigError
from coldmark.core.imported import Checked
from coldmark.core.nouns import Finding, Scenario, Severity
from coldmark.rules.book import RuleBook, load_book, rounds
from coldmark.rules.plausibility import allowed
from coldmark.runs.publish import read_runs
from coldmark.store.ranking import choose
from coldmark.store.results import as_rows, find_round, read_rows


def check_stored(store: Path, round_: str, division: str = "", submitter: str = "") -> Checked:
    """The stored results of a round. Raises ConfigError where the round has no tolerances."""
    return _check(read_rows(find_round(store, round_)), round_, division, submitter)


def check_tree(path: Path, round_: str, division: str = "", submitter: str = "") -> Checked:
    """The results of a tree, without importing it; what could not be read is among the findings."""
    found = read_runs(path, round_)
    return _check(as_rows(found.rows), round_, division, submitter, found.errors)


def _book(round_: str) -> RuleBook:
    measured = [name for name in rounds() if load_book(name).tolerances.measured]
    if round_ not in measured:
        raise ConfigError(
            f"no rule book says what is plausible in {round_}",
            where="--round",
            hint=f"measured: {', '.join(measured)}; the column `deviation` is stored for every round",
        )
    return load_book(round_)


def _check(
    rows: list[dict[str, Any]], round_: str, division: str, submitter: str, errors: Iterable[Finding] = ()
) -> Checked:
    book = _book(round_)
    for column, text in (("division", division), ("submitter", submitter)):
        if text:
            name = choose(column, text, {row[column] for row in rows})
            rows = [row for row in rows if row[column] == name]
    worst: dict[str, float] = {}
    findings = list(errors)
    checked = 0
    for row in rows:
        if row["deviation"] is None:
            continue
        checked += 1
        logged = Scenario(row["logged_scenario"])
        worst[logged.value] = max(worst.get(logged.value, 0.0), abs(row["deviation"]))
        limit = allowed(book.tolerances, logged, row["queries"])
        if abs(row["deviation"]) > limit:
            findings.append(_finding(row, limit, book.tolerances.clause))
    return Checked(
        round=round_,
        runs=len(rows),
        checked=checked,
        worst=worst,
        tolerances={s: allowed(book.tolerances, Scenario(s), None) for s in worst},
        findings=tuple(findings),
        clause=book.tolerances.clause,
    )


def _finding(row: dict[str, Any], limit: float, clause: str) -> Finding:
    return Finding(
        rule="result.plausible",
        severity=Severity.WARNING,
        subject=row["path"],
        expected=f"within {limit:.1%} of what the log's other fields give",
        found=f"{row['deviation']:+.2%}",
        clause=clause,
    )
