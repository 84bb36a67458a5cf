"""Bad input: no bytes of a log, a text or a tree make the checker crash, hang or leave the tree."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import submission_tree
from coldmark.core.errors import ConfigError, DataError
from coldmark.core.nouns import Severity
from coldmark.loadgen.log import parse_detail
from coldmark.rules.book import load_book, rounds
from coldmark.submission import check
from coldmark.submission import tree as trees
from coldmark.submission.check import check_tree
from coldmark.submission.findings import MAX_FINDINGS, Findings, shown
from coldmark.submission.place import read_rounds
from coldmark.submission.scan import MAX_LINES_KEPT, DetailLog, scan_detail
from coldmark.submission.texts import as_number, parse_accuracy, parse_conf, parse_hashes, read_object
from coldmark.submission.tree import Tree, Unreadable, open_tree, read_text, walk

PART = load_book("v2.1").submission
assert PART is not None


def scanned(folder: Path, data: bytes) -> DetailLog:
    (folder / "log").write_bytes(data)
    return scan_detail(Tree(root=str(folder)), "log")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("input")


@given(st.binary(max_size=400))
def test_no_bytes_make_the_scanner_crash(folder: Path, data: bytes) -> None:
    for text in (data, b":::MLLOG " + data, submission_tree.entry("a", 1).encode() + data):
        scanned(folder, text)


@given(st.text(max_size=200))
def test_no_text_makes_the_parsers_crash(folder: Path, text: str) -> None:
    assert PART is not None
    assert PART.accuracy_log is not None
    parse_conf(text)
    parse_hashes(text, PART.accuracy_log.hash_pattern)
    as_number(text)
    assert shown(text).isprintable()
    for how in PART.accuracy_text.values():
        parse_accuracy(text, how)
    (folder / "a.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    for read in (read_text, read_object):
        with suppress(Unreadable):
            read(Tree(root=str(folder)), "a.json")


SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.text(max_size=20),
    st.floats(allow_nan=False, allow_infinity=False),
)
KEYS = st.sampled_from(["result_a", "effective_b", "sut_name", "other"])


@given(st.lists(st.tuples(KEYS, SCALARS, st.booleans()), min_size=1, max_size=30))
def test_the_scanner_agrees_with_the_parser_of_our_own_runs(
    folder: Path, rows: list[tuple[str, object, bool]]
) -> None:
    text = "".join(submission_tree.entry(key, value, error=error) for key, value, error in rows)
    mine = scanned(folder, text.encode())
    theirs = parse_detail(folder / "log")
    assert mine.entries == len(rows)
    assert [e.line for e in mine.errors] == [e.line for e in theirs.errors][:20]
    for key in {key for key, _, _ in rows if key != "other"}:
        first = next(value for name, value, _ in rows if name == key)
        assert mine.values[key] == first
        assert mine.lines[key] == next(at for at, row in enumerate(rows, 1) if row[0] == key)


LINE = st.one_of(
    st.binary(max_size=50).filter(lambda b: b"\n" not in b),
    st.sampled_from([submission_tree.entry("effective_a", 1).encode().rstrip(b"\n"), b"", b":::MLLOG {}"]),
)


@given(st.lists(LINE, max_size=30))
def test_every_line_is_an_entry_a_problem_or_blank(folder: Path, lines: list[bytes]) -> None:
    found = scanned(folder, b"\n".join(lines))
    blank = sum(not line.strip() for line in lines)
    broken = [p for p in found.problems if p.key == "log.line"]
    assert min(len(lines) - blank - found.entries, MAX_LINES_KEPT) == len(broken)
    assert all(lines[p.line - 1][:4].decode("utf-8", "replace")[:1] == p.text[:1] for p in broken)


def test_bytes_that_are_no_text_are_found_in_a_value_that_nobody_reads(folder: Path) -> None:
    line = submission_tree.entry("other", "text").encode().replace(b"text", b"te\xfft")
    assert [p.line for p in scanned(folder, line).problems] == [1, 0]  # the line, and no entry at all


def test_copies_of_a_log_are_told_by_what_they_say(folder: Path) -> None:
    log = "".join(submission_tree.entry(f"result_{n}", n) for n in range(3))
    assert scanned(folder, log.encode()).crc == scanned(folder, log.replace("pid", "p1d").encode()).crc != 0
    other = log.replace('"value": 2', '"value": 3')
    assert scanned(folder, other.encode()).crc != scanned(folder, log.encode()).crc
    assert scanned(folder, b"nothing\n" * 3).crc == 0


def test_a_line_without_end_is_not_held_in_memory(folder: Path) -> None:
    with (folder / "long").open("wb") as file:
        file.truncate(40 << 20)
    with pytest.raises(Unreadable, match="32 MiB"):
        scan_detail(Tree(root=str(folder)), "long")


def test_a_huge_text_and_a_huge_log_are_findings(tmp_path: Path) -> None:
    root = submission_tree.submission(tmp_path / "tree")
    top = root / "closed" / submission_tree.SUBMITTER
    log = "results/acme-center/resnet50/Server/performance/run_1/mlperf_log_detail.txt"
    for name in ("systems/acme-edge.json", log):
        with (top / name).open("r+b") as file:
            file.truncate(2 << 30)  # sparse: no disk is filled
    found = check_tree(root, "v2.1")
    texts = [f.found for f in found.findings if f.severity is Severity.ERROR]
    assert any("larger than 16777216 bytes" in text for text in texts)
    assert any("larger than 1024 MiB" in text for text in texts)


def test_nothing_outside_of_the_tree_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    tree = Tree(root=str(tmp_path / "tree"))
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to(secret)
    with pytest.raises(Unreadable):
        read_text(tree, "link")
    os.mkfifo(tmp_path / "tree/pipe")
    with pytest.raises(Unreadable):  # and nobody waits for a writer
        read_text(tree, "pipe")


def test_a_tree_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MAX_FILES", 50)
    root = submission_tree.submission(tmp_path / "tree")
    with pytest.raises(DataError, match="more than 50 files"):
        check_tree(root, "v2.1")


def test_a_folder_that_cannot_be_read_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    findings = Findings()
    tree = open_tree(tmp_path, findings)
    (tmp_path / "closed").rmdir()
    walk(tree, "closed", findings)
    assert [f.rule for f in findings.kept] == ["tree.readable"]


def test_findings_are_bounded_in_number_and_length() -> None:
    findings = Findings()
    for _ in range(MAX_FINDINGS + 5):
        findings.add("a\x1b[31m", "rule", "x" * 1000, "y\n", "clause")
    assert (len(findings.kept), findings.dropped) == (MAX_FINDINGS, 5)
    one = findings.kept[0]
    assert one.file == r"a\x1b[31m"
    assert len(one.expected) <= 301
    assert one.found == r"y\n"


@pytest.mark.parametrize("name", rounds())
def test_every_round_is_read_or_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "closed/Acme/results/one/resnet50/Offline").mkdir(parents=True)
    if name not in read_rounds():
        with pytest.raises(ConfigError, match=f"trees of {name} are not read: .*(shape|need)"):
            check_tree(tmp_path, name)
        return
    found = check_tree(tmp_path, name)
    assert not found.accepted
    assert any(f.rule == "system.file" for f in found.findings)


def test_the_round_of_the_published_tree_is_read() -> None:
    assert "v2.1" in read_rounds()


# -- a bounded fuzz over whole trees --------------------------------------------------------------------

KINDS = ("flip", "cut", "double", "zero", "swap", "json", "drop")


def broken(data: bytes, kind: str, at: float, rng: random.Random) -> bytes:
    place = int(at * len(data))
    if kind == "flip":
        return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
    if kind == "cut":
        return data[:place]
    if kind == "double":
        return data + data[:place]
    if kind == "zero":
        return data[:place] + b"\0" * 64 + data[place:]
    if kind == "swap":
        lines = data.splitlines(keepends=True)
        rng.shuffle(lines)
        return b"".join(lines)
    if kind == "json":
        return json.dumps([None, {}, [1], "x", 10**30][rng.randrange(5)]).encode()
    return b"".join(line for line in data.splitlines(keepends=True) if rng.random() > 0.2)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    root = submission_tree.submission(tmp_path_factory.mktemp("fuzz"))
    return root, sorted(p for p in root.rglob("*") if p.is_file() and "code" not in p.parts)


@settings(max_examples=80)
@given(st.integers(0, 10**6), st.sampled_from(KINDS), st.floats(0, 1), st.randoms(use_true_random=False))
def test_no_broken_file_makes_the_check_crash(
    fuzzed: tuple[Path, list[Path]], which: int, kind: str, at: float, rng: random.Random
) -> None:
    root, files = fuzzed
    path = files[which % len(files)]
    whole = path.read_bytes()
    try:
        path.write_bytes(broken(whole, kind, at, rng))
        found = check_tree(root, "v2.1")
        assert all(f.clause and f.rule for f in found.findings)
        if path.name == "mlperf_log_detail.txt" and kind in ("cut", "zero", "json") and 0.01 < at < 0.98:
            assert not found.accepted
    finally:
        path.write_bytes(whole)


class Inline(Executor):
    """Stands for a pool of processes: computes at once, and counts."""

    started: ClassVar[list[int]] = []

    def __init__(self, count: int, **_: object) -> None:
        self.started.append(count)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_a_round_of_many_small_submitters_is_checked_by_two_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = submission_tree.submission(tmp_path / "tree")
    first = root / "closed" / submission_tree.SUBMITTER
    shutil.copytree(first, first.with_name("Zenith"))
    monkeypatch.setattr(check, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(check.os, "cpu_count", lambda: 4)
    alone = check_tree(root, "v2.1", processes=1)
    assert not Inline.started
    monkeypatch.setattr(check, "PARALLEL_FROM", alone.files * 2)
    check_tree(root, "v2.1")
    assert not Inline.started  # too small for a second process
    monkeypatch.setattr(check, "PARALLEL_FROM", alone.files * 3 // 4)  # more than the first submitter has
    found = check_tree(root, "v2.1")
    assert Inline.started == [2]
    assert found.findings == alone.findings
    assert found.results == alone.results
