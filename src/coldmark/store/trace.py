"""A run's telemetry on disk: Parquet segments while it runs, one table when it has ended.

    telemetry/
      channels.json     the channels, constants and the clock; written first
      segment-*.parquet t_ns, channel (its number), value: what a killed run leaves
      trace.parquet     t_s, channel, unit, value: in place of the segments
      marks.json        what began when

A row is a value that was there; missing values have no row. t is the monotonic clock since sampling began.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from coldmark.core.codec import dump_json, from_plain, read_json
from coldmark.core.errors import DataError
from coldmark.core.trace import Array, Channel, Mark, Series, Trace
from coldmark.store.results import CLOSED
from coldmark.store.rundir import write_whole

FOLDER = "telemetry"
CHANNELS, MARKS, TRACE, SEGMENTS = "channels.json", "marks.json", "trace.parquet", "segment-*.parquet"
_COPY = "(FORMAT parquet, COMPRESSION zstd)"
_MOST_ROWS = 200_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a trace is of. `begin_ns` is the monotonic clock's, `begin_unix_ns` the wall clock's, at t = 0."""

    begin_ns: int
    begin_unix_ns: int
    channels: tuple[Channel, ...]
    constants: dict[str, float] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


def newest_trace(run_dir: Path) -> Path:
    """The folder of a run's last trace: each attempt at a run has its own. Raises DataError."""
    folders = sorted(run_dir.glob(f"{FOLDER}*"))
    if not folders:
        raise DataError(
            "this run has no telemetry", where=str(run_dir), hint="it was not sampled, or simulated"
        )
    return folders[-1]


class TraceWriter:
    """Segments of one run. DuckDB writes them with one thread, into memory of its own."""

    def __init__(self, folder: Path, header: Header) -> None:
        self.folder, self.header = folder, header
        self._number = {c.name: i for i, c in enumerate(header.channels)}
        self._count = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(error.strerror or str(error), where=str(folder)) from None
        write_whole(folder / CHANNELS, dump_json(header))
        self._db = _connect()

    def write(self, parts: Iterable[tuple[Sequence[Channel], NDArray[np.int64], Array]]) -> None:
        """Add rows: channels [c], times [n] ns, values [n, c]. Raises DataError."""
        times, numbers, values = [], [], []
        for channels, t_ns, value in parts:
            there = ~np.isnan(value)
            row, column = np.nonzero(there)
            times.append(t_ns[row] - self.header.begin_ns)
            known = np.array([self._number[c.name] for c in channels], np.uint16)
            numbers.append(known[column])
            values.append(value[there])
        rows: dict[str, NDArray[Any]] = {
            "t_ns": np.concatenate(times),
            "channel": np.concatenate(numbers),
            "value": np.concatenate(values),
        }
        if not len(rows["t_ns"]):
            return
        self._count += 1
        self._db.register("rows", rows)
        path = self.folder / f"segment-{self._count:06d}.parquet"
        _copy(self._db, "SELECT * FROM rows", path)
        self._db.unregister("rows")

    def finish(self, marks: Sequence[Mark]) -> None:
        """Put the segments together in one table and write the marks. Raises DataError."""
        write_whole(self.folder / MARKS, dump_json({"marks": list(marks)}))
        segments = sorted(self.folder.glob(SEGMENTS))
        if segments:
            self._db.register("names", _names(self.header.channels))
            select = (
                "SELECT t_ns / 1e9 AS t_s, n.name AS channel, n.unit AS unit, value "  # noqa: S608
                f"FROM {_reader(segments)} s JOIN names n ON n.number = s.channel ORDER BY n.number, t_ns"
            )
            _copy(self._db, select, self.folder / TRACE)
            for segment in segments:
                segment.unlink()
        self._db.close()


def _connect() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={**CLOSED, "threads": 1})  # type: ignore[dict-item]


def _names(channels: Sequence[Channel]) -> dict[str, NDArray[Any]]:
    return {
        "number": np.arange(len(channels), dtype=np.uint16),
        "name": np.array([c.name for c in channels], dtype=object),
        "unit": np.array([c.unit for c in channels], dtype=object),
    }


def _reader(paths: Sequence[Path]) -> str:
    listed = ", ".join(_quoted(p) for p in paths)
    return f"read_parquet([{listed}])"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _copy(db: duckdb.DuckDBPyConnection, select: str, path: Path) -> None:
    """A query's rows as a Parquet file, written aside and renamed."""
    aside = path.with_name(f".{path.name}.part")
    try:
        db.execute(f"COPY ({select}) TO {_quoted(aside)} {_COPY}")
        aside.replace(path)
    except (duckdb.Error, OSError) as error:
        raise DataError(f"cannot write: {error}", where=str(path)) from None


def read_header(folder: Path) -> Header:
    """The header of a trace. Raises DataError where there is none, ConfigError where it is no header."""
    path = folder / CHANNELS
    if not path.is_file():
        raise DataError("no telemetry was recorded here", where=str(folder))
    return from_plain(read_json(path), Header, where=str(path))


def read_trace(folder: Path) -> Trace:
    """A run's trace; of a killed run what its segments hold. Raises DataError."""
    header = read_header(folder)
    whole, segments = folder / TRACE, sorted(folder.glob(SEGMENTS))
    if whole.is_file():
        found = _columns("channel, t_s, value", [whole], whole)
    elif segments:
        found = _columns("channel, t_ns / 1e9 AS t_s, value", segments, folder)
        known = [c.name for c in header.channels]
        found["channel"] = np.array([known[i] if i < len(known) else "" for i in found["channel"]], object)
    else:
        found = {"channel": np.array([], object), "t_s": np.array([]), "value": np.array([])}
    names = found["channel"].astype(str)
    order = np.argsort(names, kind="stable")
    names, t, v = names[order], found["t_s"][order], found["value"][order]
    series = {}
    for channel in header.channels:
        a, b = np.searchsorted(names, channel.name, "left"), np.searchsorted(names, channel.name, "right")
        series[channel.name] = Series(
            channel=channel, t_s=np.asarray(t[a:b], float), value=np.asarray(v[a:b], float)
        )
    return Trace(
        series=series,
        marks=_marks(folder),
        constants=header.constants,
        begin_unix_s=header.begin_unix_ns / 1e9,
    )


def _columns(columns: str, paths: Sequence[Path], where: Path) -> dict[str, NDArray[Any]]:
    """Columns of Parquet files, by channel and time. Raises DataError."""
    select = f"SELECT {columns} FROM {_reader(paths)} ORDER BY channel, t_s"  # noqa: S608 - paths are quoted
    try:
        with _connect() as db:
            count = db.execute(f"SELECT count(*) FROM {_reader(paths)}").fetchone()  # noqa: S608
            if count and count[0] > _MOST_ROWS:
                raise DataError(f"{count[0]} rows are more than is read", where=str(where))
            return db.execute(select).fetchnumpy()
    except duckdb.Error as error:
        text = str(error).splitlines()[0]
        raise DataError(f"not a trace: {text}", where=str(where)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marks:
    marks: tuple[Mark, ...]


def _marks(folder: Path) -> tuple[Mark, ...]:
    path = folder / MARKS
    return from_plain(read_json(path), _Marks, where=str(path)).marks if path.is_file() else ()


def export_csv(trace: Trace, path: Path) -> int:
    """One row a reading: t_s, unix_s, channel, unit, value. Returns their number. Raises DataError."""
    aside, n = path.with_name(f".{path.name}.part"), 0
    try:
        with aside.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["t_s", "unix_s", "channel", "unit", "value"])
            for name, s in trace.series.items():
                for t, v in zip(s.t_s.tolist(), s.value.tolist(), strict=True):
                    out.writerow([f"{t:.6f}", f"{trace.begin_unix_s + t:.6f}", name, s.channel.unit, repr(v)])
                n += len(s.t_s)
        aside.replace(path)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=str(path)) from None
    return n


def export_parquet(trace: Trace, path: Path) -> int:
    """The same as Parquet. Returns the number of rows. Raises DataError."""
    lengths = [len(s.t_s) for s in trace.series.values()]
    names = np.array([s.channel.name for s in trace.series.values()], object)
    units = np.array([s.channel.unit for s in trace.series.values()], object)
    t = np.concatenate([s.t_s for s in trace.series.values()]) if lengths else np.array([])
    rows = {
        "t_s": t,
        "unix_s": trace.begin_unix_s + t,
        "channel": np.repeat(names, lengths),
        "unit": np.repeat(units, lengths),
        "value": np.concatenate([s.value for s in trace.series.values()]) if lengths else np.array([]),
    }
    if not len(t):
        raise DataError("the trace is empty", where=str(path))
    with _connect() as db:
        db.register("rows", rows)
        _copy(db, "SELECT * FROM rows", path)
    return len(t)
