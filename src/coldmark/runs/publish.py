"""Import a results tree: every performance run becomes a row, or a finding that says why not."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from coldmark.core.errors import DataError
from coldmark.core.imported import Imported, finding
from coldmark.core.nouns import Finding, Severity
from coldmark.core.published import PublishedRun
from coldmark.loadgen.dialects import load_dialects
from coldmark.loadgen.power_log import compact
from coldmark.loadgen.published_log import parse_accuracy_text, parse_detail, parse_summary
from coldmark.runs.published_files import DIVISIONS, ENDS, Kind, Place, place, wanted
from coldmark.runs.published_rows import (
    EntryFiles,
    Naming,
    RowMaker,
    RunFiles,
    measure_power,
)
from coldmark.store.published_system import PublishedSystem, parse_system
from coldmark.store.results import as_rows, merge, read_rows, rounds_known, write_table
from coldmark.store.tree import MAX_FILE_BYTES, TreeFile, anchored, read_tree

Scope = tuple[str, str]
Entry = tuple[Scope, tuple[str, str, str]]


@dataclass(slots=True)
class _Gathered:
    """What a tree's files said, before they are put together."""

    runs: dict[tuple[Entry, int], RunFiles] = field(default_factory=dict)
    entries: dict[Entry, EntryFiles] = field(default_factory=dict)
    systems: dict[tuple[Scope, str], PublishedSystem] = field(default_factory=dict)


def import_tree(path: Path, round_: str, store: Path, *, source: str = "", replace: bool = False) -> Imported:
    """Read a tree and put its runs into the round's table in `store`.

    Rows of runs that the tree does not have stay, unless `replace`. Raises DataError where the tree holds
    nothing to import, ConfigError for an unknown round.
    """
    begun = time.perf_counter()
    found = read_runs(path, round_, source=source)
    if not found.rows:
        raise DataError(
            "no performance run in it that can be read",
            where=str(path),
            hint=_first_error(found.findings)
            or "a results tree has DIVISION/SUBMITTER/results/SYSTEM/BENCHMARK/SCENARIO/performance/run_1",
        )
    known = rounds_known(store)
    old = read_rows(known[round_]) if round_ in known and not replace else []
    rows = merge(old, as_rows(found.rows))
    path_of_table = store / f"{round_}.parquet"
    sources = sorted({str(row["source"]) for row in rows})
    facts = {"round": round_, "source": "; ".join(sources), "licence": "Apache-2.0 (data of MLCommons)"}
    if known.get(round_) == path_of_table or rows != old:
        found.changed = write_table(path_of_table, rows, facts)
    found.table = str(rounds_known(store)[round_])
    found.total = len(rows)
    found.seconds = time.perf_counter() - begun
    return found


def _first_error(findings: list[Finding]) -> str:
    for one in findings:
        if one.severity is Severity.ERROR:
            return f"{one.subject}: expected {one.expected}, found {one.found}"
    return ""


def read_runs(path: Path, round_: str, *, source: str = "") -> Imported:
    """The runs of a tree. Raises ConfigError for an unknown round, DataError for no tree at all."""
    dialects = load_dialects()
    maker = RowMaker(dialects.require_round(round_), dialects)
    gathered, files = _Gathered(), Counter[str]()
    for one in read_tree(path, wanted, ENDS):
        if isinstance(one, Finding):
            maker.findings.append(one)
            files["not read"] += 1
        elif (at := place(one.path)) is not None:
            files[at.kind.value] += 1
            _take(gathered, at, one, maker)
    rows = list(_assemble(gathered, maker, source or path.name, path))
    return Imported(rows=rows, findings=maker.findings, files=dict(files))


def _take(gathered: _Gathered, at: Place, file: TreeFile, maker: RowMaker) -> None:
    entry: Entry = (at.scope, at.entry)
    if at.kind is Kind.SYSTEM:
        system = parse_system(file.data, file.path, maker.dialects.statuses)
        maker.findings += system.findings
        gathered.systems[at.scope, at.entry[0]] = system
    elif at.kind is Kind.ASTRAY:
        layout = "results/SYSTEM/BENCHMARK/SCENARIO/performance/run_N"
        maker.findings.append(finding("published.layout", file.path, layout, "another place"))
    elif at.kind is Kind.ACCURACY:
        _take_accuracy(gathered, entry, file, maker)
    else:
        _take_run_file(gathered, entry, at, file, maker)


def _take_accuracy(gathered: _Gathered, entry: Entry, file: TreeFile, maker: RowMaker) -> None:
    accuracy = parse_accuracy_text(file.data, maker.dialects)
    if accuracy is None:
        said = "an empty file" if not file.data.strip() else "none that is known"
        maker.findings.append(
            finding("published.accuracy", file.path, "a line with a metric", said, Severity.NOTE)
        )
    gathered.entries[entry] = EntryFiles(accuracy)


def _take_run_file(gathered: _Gathered, entry: Entry, at: Place, file: TreeFile, maker: RowMaker) -> None:
    run = gathered.runs.setdefault((entry, at.run), RunFiles())
    if at.kind is Kind.SUMMARY:
        if run.summary is not None:
            maker.findings.append(finding("published.twice", file.path, "one file of this name", "another"))
        run.path, run.summary = file.path, parse_summary(file.data, maker.dialects)
    elif at.kind is Kind.DETAIL:
        run.detail_path, run.detail = file.path, parse_detail(file.data, maker.dialects)
    else:
        run.spl_path, run.spl = file.path, file.data
        # In a sorted tree the marks are known by now, and the meter's log need not be kept.
        if run.detail is not None and "power_end" in run.detail.values:
            measure_power(run)
        else:
            run.spl = compact(file.data)


def _assemble(gathered: _Gathered, maker: RowMaker, source: str, root: Path) -> Iterator[PublishedRun]:
    for (entry, number), files in sorted(gathered.runs.items()):
        scope, (system_name, folder, scenario_folder) = entry
        shared = gathered.entries.get(entry, EntryFiles())
        system = _system(gathered, scope, system_name, maker, root)
        naming = Naming(
            round=maker.round,
            division=scope[0] or system.division,
            submitter=scope[1] or system.submitter,
            system=system_name,
            benchmark=maker.dialects.benchmark(folder),
            scenario=maker.dialects.scenario(scenario_folder),
            run=number,
            source=source,
        )
        if files.summary is None and files.detail is None:
            maker.findings.append(finding("published.result", files.spl_path, "a performance log", "none"))
            continue
        if problem := _unnamed(naming, scenario_folder):
            maker.findings.append(finding("published.layout", files.path or files.detail_path, *problem))
            continue
        if files.spl:
            measure_power(files)
        if (row := maker.row(naming, files, shared, system)) is not None:
            yield row


def _unnamed(naming: Naming, scenario_folder: str) -> tuple[str, str] | None:
    """What of a run's identity its place does not say, as expected and found."""
    if not naming.scenario:
        return "a scenario's folder", scenario_folder
    if naming.division not in DIVISIONS:
        return f"a division above the submitter: {', '.join(DIVISIONS)}", naming.division or "none"
    if not naming.submitter:
        return "a submitter above results", "none"
    return None


def _system(gathered: _Gathered, scope: Scope, name: str, maker: RowMaker, root: Path) -> PublishedSystem:
    """A system's description: from the tree, or from beside it where the tree is a part of a checkout."""
    found = gathered.systems.get((scope, name))
    if found is None:
        found = _beside(root, scope, name, maker)
        gathered.systems[scope, name] = found
    return found


def _beside(root: Path, scope: Scope, name: str, maker: RowMaker) -> PublishedSystem:
    path = "/".join([*filter(None, scope), "systems", f"{name}.json"])
    above = anchored(root) if root.is_dir() else ""
    if all(scope) and above.startswith("/".join(scope) + "/"):
        deep = above.rstrip("/").count("/") - 1
        file = root.resolve().parents[deep - 1] / "systems" / f"{name}.json" if deep else None
        if file is not None and file.is_file() and file.stat().st_size <= MAX_FILE_BYTES:
            system = parse_system(file.read_bytes(), path, maker.dialects.statuses)
            maker.findings += system.findings
            return system
    maker.findings.append(finding("published.system", path, "a description", "no file", Severity.NOTE))
    return PublishedSystem()
