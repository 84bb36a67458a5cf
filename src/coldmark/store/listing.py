"""What published results are here: rounds, systems, and all a system has published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from coldmark.store.compare import SystemName
from coldmark.store.ranking import choose, distinct
from coldmark.store.results import Answer, about, ask, imported, shipped


def list_rounds(store: Path) -> Answer:
    """Each table: its round, its rows, where it is from. A shipped one that is hidden is listed too."""
    here, ours = imported(store), shipped()
    rows: list[tuple[Any, ...]] = []
    for kind, tables in (("imported", here), ("shipped", ours)):
        for name, path in tables.items():
            said = about(path)
            used = "no: the imported one is" if kind == "shipped" and name in here else "yes"
            rows.append((name, int(said.get("rows", 0)), kind, used, said.get("source", ""), str(path)))
    return Answer(("round", "runs", "kind", "used", "source", "path"), sorted(rows))


def list_systems(
    connection: duckdb.DuckDBPyConnection, round_: str, division: str = "", submitter: str = ""
) -> Answer:
    """The systems of a round. Raises ConfigError for an unknown division or submitter."""
    conditions, values = ["round = ?"], [round_]
    for column, text in (("division", division), ("submitter", submitter)):
        if text:
            conditions.append(f"{column} = ?")
            values.append(choose(column, text, distinct(connection, column)))
    columns = (
        "division, submitter, system, system_name, suite, status, accelerator, accelerators, nodes, "
        "processor, cores, count(*) AS runs"
    )
    where = " AND ".join(conditions)
    sql = f"SELECT {columns} FROM results WHERE {where} GROUP BY ALL ORDER BY ALL"  # noqa: S608
    return ask(connection, sql, values)


def system_results(connection: duckdb.DuckDBPyConnection, round_: str, system: SystemName) -> Answer:
    """Every run of a system, with all its columns."""
    sql = (
        "SELECT * FROM results WHERE round = ? AND division = ? AND submitter = ? AND system = ? "
        "ORDER BY benchmark, scenario, run"
    )
    return ask(connection, sql, [round_, system.division, system.submitter, system.system])
