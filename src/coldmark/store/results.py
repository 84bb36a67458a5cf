"""Published results as Parquet files, one a round, queried with DuckDB.

A file is written aside and renamed, and read whole into memory before it is queried: who reads while a
round is imported again sees the old table or the new one, never a part.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import platformdirs

from coldmark.core.errors import ConfigError, DataError, did_you_mean
from coldmark.core.published import COLUMNS, IDENTITY, PublishedRun

TABLE = "results"
_SQL_TYPES = {"str": "VARCHAR", "int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN"}
CLOSED = {
    "threads": 2,
    "memory_limit": "400MB",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}
ROW_GROUP = 100_000
LEVEL = 19  # of zstd: the shipped table is written once and read for years


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave: column names and rows."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def default_store() -> Path:
    """Where imported rounds are kept: $COLDMARK_PUBLISHED_DIR, or the user's data folder."""
    given = os.environ.get("COLDMARK_PUBLISHED_DIR")
    return Path(given) if given else Path(platformdirs.user_data_dir("coldmark")) / "published"


def shipped() -> dict[str, Path]:
    """The rounds whose tables come with the package."""
    folder = Path(str(resources.files("coldmark.store") / "data"))
    return {p.stem.removeprefix("published-"): p for p in sorted(folder.glob("published-*.parquet"))}


def imported(store: Path) -> dict[str, Path]:
    """The rounds that were imported here."""
    return {p.stem: p for p in sorted(store.glob("v*.parquet"))} if store.is_dir() else {}


def rounds_known(store: Path) -> dict[str, Path]:
    """Every round that can be queried; an imported one hides the shipped one."""
    return shipped() | imported(store)


def find_round(store: Path, name: str) -> Path:
    """The table of a round. Raises ConfigError with the nearest right name."""
    known = rounds_known(store)
    if name not in known:
        hint = did_you_mean(name, known)
        raise ConfigError(
            f"no results of round {name!r} here",
            where="--round",
            hint=f"{hint}; bring another with: coldmark published import PATH --round {name}",
        )
    return known[name]


@contextmanager
def _held_still(paths: Sequence[Path]) -> Iterator[list[str]]:
    """Copies of tables that nobody renames while they are read: DuckDB opens a file more than once.

    Raises DataError.
    """
    with tempfile.TemporaryDirectory(prefix="coldmark-") as folder:
        copies = [Path(folder) / f"{number}.parquet" for number in range(len(paths))]
        for path, copy in zip(paths, copies, strict=True):
            try:
                shutil.copyfile(path, copy)
            except OSError as error:
                raise DataError(error.strerror or str(error), where=str(path)) from None
        yield [str(copy) for copy in copies]


def open_results(paths: Sequence[Path]) -> duckdb.DuckDBPyConnection:
    """A connection with the table `results` in memory, and nothing else within its reach.

    No file, no extension and no setting can be reached from SQL after this. Raises DataError.
    """
    connection = duckdb.connect(config=CLOSED)  # type: ignore[arg-type]
    columns = ", ".join(COLUMNS)
    try:
        with _held_still(paths) as copies:
            connection.execute(
                f"CREATE TABLE {TABLE} AS SELECT {columns} "  # noqa: S608
                "FROM read_parquet($paths, union_by_name=true)",
                {"paths": copies},
            )
    except (duckdb.Error, DataError) as error:
        connection.close()
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"not a table of results: {_first_line(error)}",
            where=", ".join(map(str, paths)),
            hint="import the round again: coldmark published import PATH --round ROUND --replace",
        ) from None
    lock(connection)
    return connection


def lock(connection: duckdb.DuckDBPyConnection) -> None:
    """Take files, extensions and settings out of SQL's reach."""
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")


def ask(connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()) -> Answer:
    """Run one of our own queries."""
    cursor = connection.execute(sql, list(parameters))
    names = tuple(column[0] for column in cursor.description or ())
    return Answer(names, cursor.fetchall())


def query(connection: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    """Run a user's query: one statement that reads. Raises ConfigError with DuckDB's own words."""
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise ConfigError(
                "one SELECT, please: the results are read-only",
                where="SQL",
                hint="for example: SELECT submitter, count(*) FROM results GROUP BY ALL ORDER BY 2 DESC",
            )
        return ask(connection, sql)
    except duckdb.Error as error:
        raise ConfigError(str(error).strip(), where="SQL", hint=_columns_hint(str(error))) from None


def _columns_hint(message: str) -> str | None:
    if "not found in FROM" in message or "Referenced column" in message:
        return f"columns: {', '.join(COLUMNS)}"
    if "does not exist" in message and "Table" in message:
        return f"the table is called {TABLE}"
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a table, in its order. Raises DataError."""
    connection = open_results([path])
    try:
        return ask(connection, f"SELECT * FROM {TABLE}").dicts()  # noqa: S608
    finally:
        connection.close()


def about(path: Path) -> dict[str, str]:
    """What a table says of itself: source, licence, digest. Raises DataError."""
    connection = duckdb.connect(config=CLOSED)  # type: ignore[arg-type]
    try:
        with _held_still([path]) as copies:
            found = connection.execute("SELECT key, value FROM parquet_kv_metadata(?)", copies).fetchall()
    except duckdb.Error as error:
        raise DataError(f"not a table of results: {_first_line(error)}", where=str(path)) from None
    finally:
        connection.close()
    return {_text(key): _text(value) for key, value in found}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def as_rows(runs: Iterable[PublishedRun]) -> list[dict[str, Any]]:
    """Runs as plain rows."""
    return [{column: getattr(run, column) for column in COLUMNS} for run in runs]


def merge(old: Iterable[dict[str, Any]], new: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The new rows, and the old ones of runs that are not among them, in one order."""
    rows = {tuple(row[c] for c in IDENTITY): row for row in old}
    rows |= {tuple(row[c] for c in IDENTITY): row for row in new}
    return [rows[key] for key in sorted(rows, key=lambda key: tuple(map(str, key)))]


def digest(rows: Iterable[dict[str, Any]]) -> str:
    """sha256 of a table's contents, whatever wrote the file."""
    hashed = hashlib.sha256()
    for row in rows:
        hashed.update(json.dumps([row[c] for c in COLUMNS], ensure_ascii=False).encode())
    return hashed.hexdigest()


def write_table(path: Path, rows: list[dict[str, Any]], facts: dict[str, str]) -> bool:
    """Write a round's table aside and rename it. False: the file already holds just these rows.

    Raises DataError where it cannot be written.
    """
    facts = {**facts, "sha256": digest(rows), "rows": str(len(rows))}
    if path.is_file() and _holds(path, facts):
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as aside:
            written = Path(aside) / "table.parquet"
            _copy(Path(aside) / "rows.json", written, rows, facts)
            written.replace(path)
    except (OSError, duckdb.Error) as error:
        raise DataError(
            f"cannot write: {_first_line(error)}",
            where=str(path),
            hint="set COLDMARK_PUBLISHED_DIR to a folder that can be written",
        ) from None
    return True


def _holds(path: Path, facts: dict[str, str]) -> bool:
    try:
        return about(path).get("sha256") == facts["sha256"]
    except DataError:
        return False


def _copy(lines: Path, written: Path, rows: list[dict[str, Any]], facts: dict[str, str]) -> None:
    """Through a file of JSON lines: the one bulk way in that needs no other library."""
    with lines.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=True) + "\n")
    types = ", ".join(f"{name}: '{_sql_type(kind)}'" for name, kind in COLUMNS.items())
    said = ", ".join(f"{key}: {_quoted(value)}" for key, value in facts.items())
    connection = duckdb.connect(config=CLOSED)  # type: ignore[arg-type]
    try:
        connection.execute(
            f"COPY (SELECT * FROM read_json({_quoted(str(lines))}, format='newline_delimited', "  # noqa: S608
            f"columns={{{types}}})) TO {_quoted(str(written))} (FORMAT parquet, COMPRESSION zstd, "
            f"COMPRESSION_LEVEL {LEVEL}, ROW_GROUP_SIZE {ROW_GROUP}, KV_METADATA {{{said}}})"
        )
    finally:
        connection.close()


def _sql_type(kind: str) -> str:
    return _SQL_TYPES[kind.split(" ")[0]]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def to_csv(answer: Answer) -> str:
    """Comma-separated values with a head line; what is not published is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows(answer.rows)
    return out.getvalue()
