"""Check a submission's tree against the rule book of its round."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.core.nouns import Length, Severity, Suite
from coldmark.core.submission import CheckedTree, TreeFinding, TreeResult
from coldmark.rules.book import LengthRule, RuleBook, load_book, load_length
from coldmark.rules.submission_book import SubmissionBook
from coldmark.submission.entry_rules import EntryCase, EntryFound, check_entry
from coldmark.submission.findings import Findings
from coldmark.submission.manifest import Manifest, check_claims, check_files, read_manifest
from coldmark.submission.name_rules import check_loose, check_names, read_mapping
from coldmark.submission.place import Entry, find_benchmark, scenarios_of, submission_of
from coldmark.submission.system_rules import check_system, is_network, read_system
from coldmark.submission.tree import Tree, open_tree, walk

PARALLEL_FROM = 2000
"""Files from which a second process pays for its start."""
WAITING = 64
"""Units that wait for a process at most."""

OnProgress = Callable[[int, int, str], None]
"""(bytes done, bytes in all, what was done last)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A model of a system: what one process checks at a time."""

    round: str
    tree: Tree
    division: str
    submitter: str
    system: str
    model: str
    suites: tuple[Suite, ...]
    network: bool
    length: Length | None
    full_logs: str
    bytes: int
    benchmark: str = ""  # where a manifest says what the model's folder means
    digests: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class UnitFound:
    """What a unit came to."""

    findings: list[TreeFinding]
    dropped: int
    results: list[TreeResult]
    entries: int
    crcs: list[tuple[int, str, bool]]  # performance log's crc, its entry, inferred


def check_tree(
    root: Path,
    round_: str,
    *,
    submitter: str = "",
    processes: int = 0,
    full_logs: Path | None = None,
    on_progress: OnProgress | None = None,
) -> CheckedTree:
    """Check all submissions of a tree, or one submitter's.

    `processes` 0: two where the tree is large. `full_logs`: a folder laid out as the tree that holds whole
    accuracy logs. Raises ConfigError for a round whose trees are not read or an unknown submitter, DataError
    where there is no tree.
    """
    begun = time.perf_counter()
    book = load_book(round_)
    part = submission_of(book)
    findings = Findings()
    tree = open_tree(root, findings)
    lengths: set[str] = set()
    units = _units(tree, book, submitter, findings, lengths, str(full_logs or ""))
    found = list(_run(units, tree, processes, on_progress))
    results = [r for one in found for r in one.results]
    for one in found:
        findings.kept += one.findings
        findings.dropped += one.dropped
    _check_copies(found, findings, part)
    return CheckedTree(
        root=str(root),
        round=round_,
        results=tuple(sorted(results, key=lambda r: r.path)),
        findings=tuple(sorted(findings.kept, key=lambda f: (f.file, f.line, f.rule, f.expected))),
        dropped=findings.dropped,
        entries=sum(one.entries for one in found),
        files=tree.files,
        bytes=tree.bytes,
        seconds=time.perf_counter() - begun,
        lengths=tuple(sorted(lengths)),
    )


# -- what there is to check ---------------------------------------------------------------------------


def _units(
    tree: Tree, book: RuleBook, submitter: str, findings: Findings, lengths: set[str], full_logs: str
) -> Iterator[Unit]:
    part = submission_of(book)
    found = [(d, s) for d in _divisions(tree, part, findings) for s in tree.below(d)]
    names = sorted({s for _, s in found})
    if submitter and submitter not in names:
        raise ConfigError(
            f"no submitter {submitter!r}", where="--submitter", hint=did_you_mean(submitter, names)
        )
    if not found:
        expected = " | ".join(f"{d}/SUBMITTER/results" for d in part.divisions)
        findings.add("", "tree.divisions", expected, "none of them", part.clause)
    for division, name in found:
        if not submitter or name == submitter:
            walk(tree, f"{division}/{name}", findings)
            yield from _submitter(tree, book, division, name, findings, lengths, full_logs)
            tree.drop(f"{division}/{name}")


def _divisions(tree: Tree, part: SubmissionBook, findings: Findings) -> list[str]:
    folders = tree.below("")
    check_loose(tree, "", part, findings)
    for name in folders:
        if name not in part.divisions and name not in part.ignored_folders:
            expected = " | ".join(part.divisions)
            findings.add(name, "tree.division", expected, name, part.clause)
    found = [name for name in folders if name in part.divisions]
    for name in found:
        walk(tree, name, findings, deep=False)
        check_loose(tree, name, part, findings)
    return found


def _submitter(
    tree: Tree,
    book: RuleBook,
    division: str,
    submitter: str,
    findings: Findings,
    lengths: set[str],
    full_logs: str,
) -> Iterator[Unit]:
    above = f"{division}/{submitter}"
    part = submission_of(book)
    manifest = read_manifest(tree, above, findings)
    if manifest is not None:
        lengths.add(manifest.length.value)
        check_claims(above, manifest, division, findings, book.round)
        check_files(tree, above, manifest, findings)
    if tree.get(f"{above}/results") is None:
        findings.add(above, "tree.results", "a folder results", "none", part.clause, Severity.WARNING)
        return
    _check_unused(tree, above, part, findings)
    check_names(tree, above, part, findings)
    mapping = read_mapping(tree, above, part, findings)
    if manifest is not None:
        mapping |= manifest.models
    models: set[str] = set()
    for system in tree.below(f"{above}/results"):
        for unit in _system(tree, book, division, submitter, system, findings, manifest, full_logs, mapping):
            models.add(unit.model)
            yield unit
    _check_code(tree, above, models, part, findings)


def _check_code(tree: Tree, above: str, models: set[str], part: SubmissionBook, findings: Findings) -> None:
    """Code for each model. An archive without any code is one that was published without it."""
    clause = part.folders["code"].clause if "code" in part.folders else part.clause
    if tree.get(f"{above}/code") is None:
        findings.add(f"{above}/code", "code.folder", "the code of the runs", "none", clause, Severity.WARNING)
        return
    for model in sorted(models):
        path = f"{above}/code/{model}"
        if tree.get(path) is None and not tree.has(path):
            findings.add(path, "code.model", "a folder", "none", clause)


def _check_unused(tree: Tree, above: str, part: SubmissionBook, findings: Findings) -> None:
    """Descriptions and measurements of systems that have no results."""
    systems = set(tree.below(f"{above}/results"))
    for kind in ("measurements", "compliance"):
        for name in tree.below(f"{above}/{kind}"):
            if name not in systems:
                path = f"{above}/{kind}/{name}"
                findings.add(path, "tree.unused", "results of it", "none", part.clause, Severity.NOTE)


def _system(
    tree: Tree,
    book: RuleBook,
    division: str,
    submitter: str,
    system: str,
    findings: Findings,
    manifest: Manifest | None,
    full_logs: str,
    mapping: dict[str, str],
) -> Iterator[Unit]:
    above, part = f"{division}/{submitter}", submission_of(book)
    path = f"{above}/systems/{system}.json"
    text = read_system(tree, path, findings, part.clause)
    suites: tuple[Suite, ...] = ()
    network = False
    if text is not None:
        power = any(f.endswith("/performance/power") for f in tree.under(f"{above}/results/{system}"))
        suites = check_system(text, path, part, findings, division=division, submitter=submitter, power=power)
        network = is_network(text.data, part)
    short = manifest.length if manifest and manifest.length is not Length.OFFICIAL else None
    for model in tree.below(f"{above}/results/{system}"):
        tops = [f"{above}/{kind}/{system}/{model}" for kind in ("results", "measurements", "compliance")]
        mine = tree.part(*tops)
        for shared in (f"{above}/measurements", f"{above}/measurements/{system}"):
            if shared in tree.folders:  # documents of power may lie there
                mine.folders[shared] = tree.folders[shared]
        yield Unit(
            round=book.round,
            tree=mine,
            division=division,
            submitter=submitter,
            system=system,
            model=model,
            suites=suites,
            network=network,
            length=short if division == "open" else None,
            full_logs=full_logs,
            bytes=sum(sum(f.files.values()) for f in mine.folders.values()),
            benchmark=mapping.get(model, ""),
            digests={f"{above}/{k}": v for k, v in manifest.full_accuracy_logs.items()} if manifest else {},
        )


# -- one unit ---------------------------------------------------------------------------------------


def check_unit(unit: Unit) -> UnitFound:
    """All rules on a model of a system."""
    book = load_book(unit.round)
    part = submission_of(book)
    closed = unit.division in part.closed_divisions
    findings = Findings()
    found: list[EntryFound] = []
    where = f"{unit.division}/{unit.submitter}/results/{unit.system}/{unit.model}"
    benchmark = find_benchmark(book, unit.benchmark or unit.model, closed=closed)
    if benchmark is None:
        known = ", ".join(b.official_name for b in book.benchmarks.values())
        findings.add(where, "tree.model", known, unit.model, f"{part.clause}; models")
        return UnitFound(findings.kept, findings.dropped, [], 0, [])
    length: LengthRule | None = load_length(unit.length) if unit.length else None
    entries = 0
    needed = scenarios_of(benchmark, unit.suites)
    if unit.suites and not needed:
        expected = f"a benchmark of {' and '.join(unit.suites)}"
        findings.add(where, "tree.suite", expected, benchmark.official_name, part.clause)
    crcs: list[tuple[int, str, bool]] = []
    for folder in unit.tree.below(where):
        entries += 1
        entry = Entry(
            division=unit.division,
            submitter=unit.submitter,
            system=unit.system,
            model=unit.model,
            scenario=folder,
        )
        one = check_entry(
            EntryCase(
                tree=unit.tree,
                entry=entry,
                book=book,
                benchmark=benchmark,
                suites=unit.suites,
                closed=closed,
                findings=findings,
                network=unit.network,
                length=length,
                full_logs=unit.full_logs,
                digests=unit.digests,
            )
        )
        found.append(one)
        if closed and one.scenario is not None and unit.suites and one.scenario not in needed:
            expected = " | ".join(sorted(needed))
            findings.add(entry.path, "tree.scenario", expected, one.scenario, part.clause)
        if one.run_crc:
            crcs.append((one.run_crc, entry.path, one.inferred))
    if closed:
        have = {one.scenario for one in found}
        for missing in sorted(needed - have):
            findings.add(
                where, "tree.required", f"{missing} in {' and '.join(unit.suites)}", "none", part.clause
            )
    results = [one.result for one in found if one.valid and one.result is not None]
    return UnitFound(findings.kept, findings.dropped, results, entries, crcs)


def _check_copies(found: Iterable[UnitFound], findings: Findings, part: SubmissionBook) -> None:
    """One run's log does not stand for two systems, or for two scenarios that none is inferred from."""
    places: dict[int, list[tuple[str, bool]]] = defaultdict(list)
    for one in found:
        for crc, path, inferred in one.crcs:
            places[crc].append((path, inferred))
    for same in places.values():
        own = sorted(path for path, inferred in same if not inferred)
        systems = {tuple(path.split("/")[:4]) for path in own}
        if len(systems) > 1:
            expected = f"a run of its own, not that of {own[0]}"
            for path in own[1:]:
                findings.add(path, "log.copy", expected, "the same log", part.clause, Severity.WARNING)


# -- in one process or several ------------------------------------------------------------------------


def _run(
    units: Iterator[Unit], tree: Tree, processes: int, on_progress: OnProgress | None
) -> Iterator[UnitFound]:
    """Check units as the walk finds them: it goes on while the first are checked."""
    done = 0
    for unit, found in _spread(units, tree, processes):
        done += unit.bytes
        if on_progress:
            on_progress(done, tree.bytes, f"{unit.division}/{unit.submitter}/{unit.system}/{unit.model}")
        yield found


def _spread(units: Iterator[Unit], tree: Tree, processes: int) -> Iterator[tuple[Unit, UnitFound]]:
    """Units over processes; how many wait is bounded, so that memory is."""
    held = list[Unit]()  # until the walk, submitter by submitter, has shown how large the tree is
    if not processes:
        while tree.files < PARALLEL_FROM and (unit := next(units, None)) is not None:
            held.append(unit)
        processes = min(2, os.cpu_count() or 1) if tree.files >= PARALLEL_FROM else 1
    if processes == 1:
        for unit in chain(held, units):
            yield unit, check_unit(unit)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        going: dict[Future[UnitFound], Unit] = {}
        for unit in chain(held, units):
            going[pool.submit(check_unit, unit)] = unit
            if len(going) >= WAITING:
                yield from _collect(going)
        while going:
            yield from _collect(going)


def _collect(going: dict[Future[UnitFound], Unit]) -> Iterator[tuple[Unit, UnitFound]]:
    done, _ = wait(going, return_when=FIRST_COMPLETED)
    for future in done:
        yield going.pop(future), future.result()
