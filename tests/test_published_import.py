"""Importing a results tree: every file is a row or a finding, and nothing leaves its place."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import random
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coldmark.core.errors import ConfigError, DataError
from coldmark.core.imported import Imported
from coldmark.loadgen.published_log import HEAD_BYTES, TAIL_BYTES
from coldmark.runs.publish import import_tree, read_runs
from coldmark.store import tree
from coldmark.store.published_system import count, parse_system, suites
from coldmark.store.results import ask, imported, open_results, read_rows
from published_tree import (
    describe,
    entry,
    multi_stream,
    put,
    server,
    single_stream,
    small_tree,
    summary,
    system,
)


def rules(found: Imported) -> list[str]:
    return sorted(one.rule for one in found.findings)


def by_system(found: Imported) -> dict[tuple[str, str], Any]:
    return {(row.system, row.scenario): row for row in found.rows}


def pack(folder: Path, path: Path, *, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            tar.add(file, arcname=str(file.relative_to(folder)))
    return path


def test_a_tree_becomes_rows_with_what_its_files_say(tmp_path: Path) -> None:
    found = read_runs(small_tree(tmp_path), "v2.1", source="ours")
    rows = by_system(found)
    assert rules(found) == []
    assert len(rows) == 4
    one = rows["one", "Offline"]
    assert (one.score, one.unit, one.lower_is_better, one.validity) == (1000.0, "samples/s", False, "VALID")
    assert (one.division, one.submitter, one.suite, one.benchmark) == (
        "closed",
        "Acme",
        "datacenter",
        "resnet50",
    )
    assert (one.accelerators, one.nodes, one.cores, one.processor) == (8, 1, 64, "CPU X")
    assert (one.accuracy, one.accuracy_metric, one.source) == (76.072, "acc", "ours")
    assert one.path == "closed/Acme/results/one/resnet50/Offline/performance/run_1/mlperf_log_summary.txt"
    assert one.deviation == pytest.approx(0.0, abs=1e-9)
    cpu = rows["cpu", "SingleStream"]
    assert (cpu.accelerator, cpu.accelerators, cpu.suite) == ("", 0, "datacenter,edge")
    assert (cpu.score, cpu.lower_is_better, cpu.queries) == (2.0, True, 300000)


@pytest.mark.parametrize("name", ["t.tar", "t.tar.gz", "t.tar.xz", "t.tar.bz2"])
def test_an_archive_gives_what_its_folder_gives(tmp_path: Path, name: str) -> None:
    folder = small_tree(tmp_path / "tree")
    mode = {"tar": "w", "gz": "w:gz", "xz": "w:xz", "bz2": "w:bz2"}[name.rsplit(".", 1)[-1]]
    archive = pack(folder, tmp_path / name, mode=mode)
    assert read_runs(archive, "v2.1", source="x").rows == read_runs(folder, "v2.1", source="x").rows


@pytest.mark.parametrize(
    "part", ["closed", "closed/Acme", "closed/Acme/results", "closed/Acme/results/one/resnet50"]
)
def test_a_part_of_a_checkout_keeps_its_names(tmp_path: Path, part: str) -> None:
    small_tree(tmp_path)
    found = read_runs(tmp_path / part, "v2.1")
    one = by_system(found)["one", "Offline"]
    assert (one.division, one.submitter, one.system_name, one.accelerators) == (
        "closed",
        "Acme",
        "Acme One",
        8,
    )
    assert one.path.startswith("closed/Acme/results/one/")


def test_an_archive_of_one_submitter_takes_its_division_from_the_systems(tmp_path: Path) -> None:
    folder = small_tree(tmp_path / "tree")
    found = read_runs(pack(folder / "closed/Acme", tmp_path / "t.tar"), "v2.1")
    assert {(row.division, row.submitter) for row in found.rows} == {("closed", "Acme")}


def test_without_a_division_a_run_is_a_finding(tmp_path: Path) -> None:
    entry(tmp_path / "tree", summary())
    found = read_runs(pack(tmp_path / "tree/closed/Acme", tmp_path / "t.tar"), "v2.1")
    assert found.rows == []
    assert "published.layout" in rules(found)


def test_an_absent_description_is_absent_not_invalid(tmp_path: Path) -> None:
    entry(tmp_path, summary())
    found = read_runs(tmp_path, "v2.1")
    row = found.rows[0]
    assert (row.validity, row.accelerator, row.accelerators, row.suite) == ("VALID", "", None, "")
    assert [(one.rule, one.severity.value) for one in found.findings] == [("published.system", "note")]


def test_another_scenario_in_a_folder_is_an_inferred_result(tmp_path: Path) -> None:
    describe(tmp_path, system(system_type="edge"))
    entry(tmp_path, single_stream(), scenario="offline")
    entry(tmp_path, single_stream(), scenario="singlestream")
    entry(tmp_path, single_stream(), scenario="multistream")
    rows = by_system(read_runs(tmp_path, "v2.1"))
    assert [
        (rows["one", s].inferred, rows["one", s].score) for s in ("Offline", "SingleStream", "MultiStream")
    ] == [
        (True, 500.1),
        (False, 2.0),
        (True, 24.0),
    ]
    assert rows["one", "Offline"].logged_scenario == "SingleStream"


def test_tests_of_v6_under_results_and_ranging_are_no_results(tmp_path: Path) -> None:
    folder = entry(tmp_path, summary())
    put(folder.parents[1] / "TEST01/performance/run_1/mlperf_log_summary.txt", summary())
    put(folder.parent / "ranging/mlperf_log_summary.txt", summary())
    found = read_runs(tmp_path, "v6.0")
    assert len(found.rows) == 1
    assert rules(found) == ["published.system"]


def test_a_log_outside_the_layout_is_a_finding(tmp_path: Path) -> None:
    entry(tmp_path, summary())
    put(
        tmp_path
        / "closed/Acme/results/one/resnet50/Offline/Offline/performance/run_1/mlperf_log_summary.txt",
        "x",
    )
    assert "published.layout" in rules(read_runs(tmp_path, "v2.1"))


def test_invalid_results_are_rows_that_say_so(tmp_path: Path) -> None:
    entry(tmp_path, summary(verdict="INVALID"))
    assert read_runs(tmp_path, "v2.1").rows[0].validity == "INVALID"


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "published.result"),
        (summary().encode()[:120], "published.result"),
        (summary().encode()[:220], "published.verdict"),
        (b"\x00\xff\xfe garbage" * 50, "published.result"),
        (summary(headline="").encode(), "published.result"),
        (summary(headline="Samples per second: 0").encode(), "published.result"),
        (summary("Burst").encode(), "published.result"),
        (server().encode(), "published.result"),
    ],
    ids=[
        "empty",
        "cut early",
        "cut late",
        "garbage",
        "no headline",
        "zero",
        "odd scenario",
        "no such inference",
    ],
)
def test_a_log_without_a_result_is_a_finding_and_the_rest_is_imported(
    tmp_path: Path, data: bytes, rule: str
) -> None:
    small_tree(tmp_path)
    entry(tmp_path, data, benchmark="rnnt")
    found = read_runs(tmp_path, "v2.1")
    assert len(found.rows) == 4
    errors = [one for one in found.errors if one.rule == rule]
    assert len(errors) == 1
    assert "/rnnt/" in errors[0].subject


def test_the_detail_log_stands_in_for_a_broken_summary(tmp_path: Path) -> None:
    entry(tmp_path, b"")
    line = ':::MLLOG {"key": "%s", "value": %s, "time_ms": 1.0, "metadata": {}}\n'
    said = {
        "effective_scenario": '"Offline"',
        "result_validity": '"VALID"',
        "result_samples_per_second": "77.5",
    }
    entry(tmp_path, "".join(line % pair for pair in said.items()), name="mlperf_log_detail.txt")
    assert read_runs(tmp_path, "v2.1").rows[0].score == 77.5


def test_two_logs_of_a_run_that_disagree_are_a_finding(tmp_path: Path) -> None:
    entry(tmp_path, summary())
    line = ':::MLLOG {"key": "result_samples_per_second", "value": 10000, "time_ms": 1.0, "metadata": {}}\n'
    entry(tmp_path, line, name="mlperf_log_detail.txt")
    found = read_runs(tmp_path, "v2.1")
    assert [one.subject.rsplit("/", 1)[-1] for one in found.errors] == ["mlperf_log_summary.txt:7"]
    assert "published.two_logs" in rules(found)


def test_a_long_detail_log_is_read_at_both_ends(tmp_path: Path) -> None:
    line = ':::MLLOG {"key": "%s", "value": %s, "time_ms": 1.0, "metadata": {}}\n'
    filler = line % ("tick", '"' + "x" * 300 + '"') * 1000
    head = line % ("effective_scenario", '"Offline"')
    tail = line % ("result_samples_per_second", "5") + line % ("result_validity", '"VALID"')
    entry(tmp_path / "tree", head + filler + tail, name="mlperf_log_detail.txt")
    archive = pack(tmp_path / "tree", tmp_path / "t.tar.xz", mode="w:xz")
    for source in (tmp_path / "tree", archive):
        found = read_runs(source, "v2.1")
        assert [row.score for row in found.rows] == [5.0]
        assert found.errors == []


def test_the_two_ends_of_a_long_log_never_make_one_line(tmp_path: Path) -> None:
    cut = b':::MLLOG {"key": "result_samples_per_second", "value": 1'
    rest = b'9, "time_ms": 1.0, "metadata": {}}\n'
    data = b"x" * (HEAD_BYTES - len(cut) - 1) + b"\n" + cut + b"y" * 1000 + rest.ljust(TAIL_BYTES, b"\n")
    entry(tmp_path, data, name="mlperf_log_detail.txt")
    entry(tmp_path, summary(headline="Samples per second: 1000"))
    assert read_runs(tmp_path, "v2.1").rows[0].score == 1000.0
    assert read_runs(tmp_path, "v2.1").errors == []


METER = "".join(f"Time,07-22-2022 03:20:{s:02d}.500,Watts,200.0,Volts,1\n" for s in range(30))


def test_a_query_inferred_for_multistream_has_the_energy_of_eight(tmp_path: Path) -> None:
    line = ':::MLLOG {"key": "%s", "value": %s, "time_ms": 1.0, "metadata": {}}\n'
    marks = {"power_begin": '"07-22-2022 03:20:00.000"', "power_end": '"07-22-2022 03:20:10.000"'}
    for scenario in ("SingleStream", "MultiStream", "Offline"):
        entry(tmp_path, single_stream(), scenario=scenario)
        entry(tmp_path, "".join(line % pair for pair in marks.items()), scenario=scenario,
              name="mlperf_log_detail.txt")  # fmt: skip
        entry(tmp_path, METER, scenario=scenario, name="spl.txt")
    rows = by_system(read_runs(tmp_path, "v2.1"))
    single = rows["one", "SingleStream"].power
    assert rows["one", "MultiStream"].power == pytest.approx(8 * single)
    assert (rows["one", "Offline"].power, rows["one", "Offline"].power_unit) == (200.0, "W")


def test_power_is_recomputed_between_the_marks(tmp_path: Path) -> None:
    entry(tmp_path, single_stream(), scenario="SingleStream")
    line = ':::MLLOG {"key": "%s", "value": %s, "time_ms": 1.0, "metadata": {}}\n'
    marks = {"power_begin": '"07-22-2022 03:20:00.000"', "power_end": '"07-22-2022 03:20:10.000"'}
    said = "".join(line % pair for pair in {**marks, "result_query_count": "300000"}.items())
    entry(tmp_path, said, scenario="SingleStream", name="mlperf_log_detail.txt")
    meter = "".join(f"Time,07-22-2022 03:20:{s:02d}.500,Watts,200.0,Volts,1\n" for s in range(30))
    entry(tmp_path, meter, scenario="SingleStream", name="spl.txt")
    row = read_runs(tmp_path, "v2.1").rows[0]
    # 200 W for 10 s over 300 000 queries.
    assert (row.power_submission, row.power_unit, row.power_window) == (True, "J/query", "marks")
    assert row.power == pytest.approx(200.0 * 10 / 300_000)


def test_power_without_marks_is_an_estimate_that_says_so(tmp_path: Path) -> None:
    log = summary(
        headline="Samples per second: 100",
        stats="Max latency (ns)                : 10000000000",
        parameters={"samples_per_query": 1000},
    )
    entry(tmp_path, log)
    watts = [50] * 10 + [300] * 10 + [50] * 10
    meter = "".join(f"Time,07-22-2022 03:20:{s:02d}.500,Watts,{w}.0,V,1\n" for s, w in enumerate(watts))
    entry(tmp_path, meter, name="spl.txt")
    row = read_runs(tmp_path, "v2.1").rows[0]
    assert (row.power, row.power_unit, row.power_window) == (300.0, "W", "busiest")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(8, 8), ("8", 8), (" 8 ", 8), ("4 (big); 4 (LITTLE)", 8), ("10 (8 performance and 2 efficiency)", 10),
     ("6 (4 big; 2 LITTLE)", 6), (0, 0), ("0", 0), (2.0, 2), ("", None), ("(8,4)", None), ("N/A", None),
     ("eight", None), (None, None), (True, None), (-1, None), (1.5, None), (float("nan"), None),
     ("٣", None), ("9" * 30, None), (10**30, None), ([8], None)],
)  # fmt: skip
def test_counts_as_submitters_write_them(value: Any, expected: int | None) -> None:
    assert count(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("datacenter", "datacenter"), ("edge,datacenter", "datacenter,edge"),
     ("Edge, Datacenter", "datacenter,edge"),
     ("", ""), ("mobile", "")],
)  # fmt: skip
def test_suites_in_one_order(text: str, expected: str) -> None:
    assert suites(text) == expected


@pytest.mark.parametrize("value", ["", "(8,4)", "N/A"])
def test_a_count_of_accelerators_that_is_no_number_is_not_published(value: str) -> None:
    parsed = parse_system(system(accelerators_per_node=value).encode(), "s.json", {})
    assert parsed.columns["accelerators_per_node"] is None
    assert parsed.columns["accelerators"] is None
    assert len(parsed.findings) == (1 if value == "(8,4)" else 0)
    alone = system(accelerators_per_node=value, accelerator_model_name="-")
    assert parse_system(alone.encode(), "s.json", {}).columns["accelerators"] == (None if "(" in value else 0)


@pytest.mark.parametrize(
    ("data", "problem"),
    [(b"", "an empty file"), (b"{", "Expecting"), (b"[]", "a list"), (b"null", "NoneType"),
     (b"[" * 100_000, "recursion"), (b"{} {}", "Extra data")],
)  # fmt: skip
def test_a_broken_description_is_a_finding_and_its_runs_are_rows(
    tmp_path: Path, data: bytes, problem: str
) -> None:
    describe(tmp_path, data)
    entry(tmp_path, summary())
    found = read_runs(tmp_path, "v2.1")
    assert [row.score for row in found.rows] == [1000.0]
    assert len(found.errors) == 1
    assert problem in found.errors[0].found


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbf" + system().encode(), system().replace("\n", "\r\n").encode(),
             system(system_name="Größe").encode("utf-8")],
)  # fmt: skip
def test_marks_and_line_ends_do_not_break_a_description(tmp_path: Path, data: bytes) -> None:
    describe(tmp_path, data)
    entry(tmp_path, summary())
    found = read_runs(tmp_path, "v2.1")
    assert found.rows[0].accelerators == 8
    assert found.findings == []


def test_a_description_that_is_not_utf8_is_read_and_noted(tmp_path: Path) -> None:
    describe(tmp_path, system(system_name="Gr?sse").replace("?", "ö").encode("latin-1"))
    entry(tmp_path, summary())
    found = read_runs(tmp_path, "v2.1")
    assert found.rows[0].system_name == "Grösse"
    assert [one.severity.value for one in found.findings] == ["note"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [("available", "available"), ("Preview", "preview"), ("RDI", "rdi"),
     ("Research, Development, or Internal", "rdi"), ("on-premise", "on-premise")],
)  # fmt: skip
def test_statuses_of_all_rounds(tmp_path: Path, status: str, expected: str) -> None:
    describe(tmp_path, system(status=status))
    entry(tmp_path, summary())
    assert read_runs(tmp_path, "v2.1").rows[0].status == expected


# --- hostile archives -------------------------------------------------------------------------------


def member(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return path


LOG = "closed/Acme/results/one/resnet50/Offline/performance/run_1/mlperf_log_summary.txt"
GOOD = member(LOG, summary().encode())


@pytest.mark.parametrize(
    "bad",
    [
        member("../../" + LOG, summary().encode()),
        member("closed/../../../etc/systems/x.json", b"{}"),
        member("/" + LOG, summary().encode()),
        member(LOG.replace("one", "two"), type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member(LOG.replace("one", "two"), type=tarfile.LNKTYPE, linkname=LOG),
        member(LOG.replace("one", "two"), type=tarfile.CHRTYPE),
        member(LOG.replace("one", "two"), type=tarfile.FIFOTYPE),
    ],
    ids=["parent", "parent inside", "absolute", "symlink", "hard link", "device", "fifo"],
)
def test_an_entry_that_is_no_plain_file_of_its_tree_is_refused(
    tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes]
) -> None:
    found = read_runs(archive(tmp_path / "t.tar", bad, GOOD), "v2.1")
    assert [row.system for row in found.rows] == ["one"]
    assert [one.rule for one in found.errors] == ["published.path"]


def test_nothing_is_written_where_an_archive_is_read(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    read_runs(archive(inside / "t.tar", member("../" + LOG, b"x"), GOOD), "v2.1")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["inside", "t.tar"]


def test_a_file_beyond_the_bound_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_FILE_BYTES", 2000)
    big = member(LOG.replace("one", "two"), summary().encode() + b" " * 4000)
    found = read_runs(archive(tmp_path / "t.tar", big, GOOD), "v2.1")
    assert [row.system for row in found.rows] == ["one"]
    assert [one.rule for one in found.errors] == ["published.size"]


def test_a_bomb_is_refused_by_what_it_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_TOTAL_BYTES", 1 << 20)
    path = tmp_path / "t.tar.xz"
    plain = archive(tmp_path / "t.tar", member("zeros", b"\0" * (2 << 20)), GOOD)
    path.write_bytes(lzma.compress(plain.read_bytes(), preset=0))
    with pytest.raises(DataError, match="unpacks to more than"):
        read_runs(path, "v2.1")


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_MEMBERS", 3)
    with pytest.raises(DataError, match="more than 3 entries"):
        read_runs(archive(tmp_path / "t.tar", *[member(f"f{n}") for n in range(5)]), "v2.1")


def test_a_header_that_claims_gigabytes_is_not_believed(tmp_path: Path) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.XHDTYPE, 7 << 30
    path = tmp_path / "t.tar"
    whole = 512 + -(-len(GOOD[1]) // 512) * 512  # the good entry's header and its padded data
    path.write_bytes(archive(path, GOOD).read_bytes()[:whole] + info.tobuf() + b"\0" * 2048)
    found = read_runs(path, "v2.1")
    assert found.errors[-1].rule == "published.archive"
    assert "at once" in found.errors[-1].found


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_truncated_archive_gives_what_came_before_the_end(tmp_path: Path, keep: float) -> None:
    members = [member(LOG.replace("one", f"s{n}"), summary().encode()) for n in range(20)]
    whole = archive(tmp_path / "t.tar", *members).read_bytes()
    path = tmp_path / "t.tar.gz"
    packed = gzip.compress(whole)
    path.write_bytes(packed[: int(len(packed) * keep)])
    found = read_runs(path, "v2.1")
    assert "published.archive" in rules(found)
    assert len(found.rows) < 20


@pytest.mark.parametrize(
    "data", [b"", b"no archive at all", b"\x1f\x8bnot gzip", b"\xfd7zXZ\x00broken", b"\0" * 5000]
)
def test_what_is_no_archive_is_an_error_with_its_name(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path / "t.tar", data)
    with pytest.raises(DataError, match=r"t\.tar"):
        import_tree(path, "v2.1", tmp_path / "store")


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    small_tree(tmp_path / "tree")
    secret = put(tmp_path / "secret.txt", summary(headline="Samples per second: 7777"))
    folder = tmp_path / "tree" / LOG.replace("one", "linked")
    folder.parent.mkdir(parents=True)
    folder.symlink_to(secret)
    found = read_runs(tmp_path / "tree", "v2.1")
    assert 7777 not in {row.score for row in found.rows}
    assert [one.rule for one in found.errors] == ["published.file"]


def test_a_pipe_in_a_folder_does_not_hang_the_import(tmp_path: Path) -> None:
    small_tree(tmp_path)
    path = tmp_path / LOG.replace("one", "piped")
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert len(read_runs(tmp_path, "v2.1").rows) == 4


# --- the store --------------------------------------------------------------------------------------


def test_importing_twice_changes_nothing(tmp_path: Path) -> None:
    folder, store = small_tree(tmp_path / "tree"), tmp_path / "store"
    first = import_tree(folder, "v3.0", store)
    written = Path(first.table).read_bytes(), Path(first.table).stat().st_mtime_ns
    second = import_tree(folder, "v3.0", store)
    assert (first.changed, second.changed) == (True, False)
    assert (Path(second.table).read_bytes(), Path(second.table).stat().st_mtime_ns) == written
    assert [p.name for p in store.iterdir()] == ["v3.0.parquet"]


def test_an_import_replaces_its_own_runs_and_keeps_the_others(tmp_path: Path) -> None:
    store = tmp_path / "store"
    import_tree(small_tree(tmp_path / "a"), "v3.0", store)
    entry(tmp_path / "b", summary(headline="Samples per second: 1234"))
    describe(tmp_path / "b", system())
    found = import_tree(tmp_path / "b", "v3.0", store)
    scores = sorted(row["score"] for row in read_rows(Path(found.table)))
    assert scores == [2.0, 500.0, 600.0, 1234.0]
    replaced = import_tree(tmp_path / "b", "v3.0", store, replace=True)
    assert [row["score"] for row in read_rows(Path(replaced.table))] == [1234.0]


def test_a_round_with_a_shipped_table_is_added_to(tmp_path: Path) -> None:
    describe(tmp_path / "a", system())
    entry(tmp_path / "a", summary())
    found = import_tree(tmp_path / "a", "v2.1", tmp_path / "store")
    assert found.total == 5395 + 1
    assert imported(tmp_path / "store").keys() == {"v2.1"}


def test_nothing_to_import_is_an_error_and_leaves_the_store_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no performance run"):
        import_tree(tmp_path / "empty", "v2.1", tmp_path / "store")
    with pytest.raises(DataError, match="no such file"):
        import_tree(tmp_path / "absent", "v2.1", tmp_path / "store")
    with pytest.raises(ConfigError, match=r"did you mean 'v2\.1'"):
        import_tree(tmp_path / "empty", "v21", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_round_is_imported_again_while_others_read(tmp_path: Path) -> None:
    store = tmp_path / "store"
    small_tree(tmp_path / "a")
    small_tree(tmp_path / "b")
    for n in range(40):
        entry(tmp_path / "b", summary(), system=f"s{n}")
    table = Path(import_tree(tmp_path / "a", "v3.0", store, replace=True).table)
    seen: set[int] = set()
    failed: list[Exception] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                with open_results([table]) as connection:
                    seen.add(ask(connection, "SELECT count(*) FROM results").rows[0][0])
        except (DataError, duckdb.Error) as error:
            failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(6):
        import_tree(tmp_path / ("b" if turn % 2 == 0 else "a"), "v3.0", store, replace=True)
    stop.set()
    reader.join()
    assert failed == []
    assert seen <= {4, 44}


def test_a_table_that_is_swapped_all_the_time_is_always_read_whole(tmp_path: Path) -> None:
    small_tree(tmp_path / "a")
    small_tree(tmp_path / "b")
    for n in range(200):
        entry(tmp_path / "b", summary(), system=f"s{n}")
    tables = [
        Path(import_tree(tmp_path / name, "v3.0", tmp_path / f"store-{name}").table) for name in ("a", "b")
    ]
    table = tmp_path / "v3.0.parquet"
    os.link(tables[0], table)
    stop = threading.Event()

    def swap() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            os.link(tables[turn % 2], tmp_path / "aside")
            (tmp_path / "aside").replace(table)

    writer = threading.Thread(target=swap)
    writer.start()
    try:
        sizes = {len(read_rows(table)) for _ in range(30)}
    finally:
        stop.set()
        writer.join()
    assert sizes <= {4, 204}


def test_a_table_is_written_aside_and_renamed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    table = Path(import_tree(small_tree(tmp_path / "a"), "v3.0", store).table)
    before = table.read_bytes()
    with table.open("rb") as reader:
        entry(tmp_path / "a", summary(), system="another")
        assert import_tree(tmp_path / "a", "v3.0", store).changed
        assert reader.read() == before
    assert table.read_bytes() != before


def test_two_reimports_at_once_leave_a_whole_table(tmp_path: Path) -> None:
    folder, store = small_tree(tmp_path / "tree"), tmp_path / "store"
    workers = [
        threading.Thread(target=lambda: import_tree(folder, "v3.0", store, replace=True)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(read_rows(store / "v3.0.parquet")) == 4


def test_a_table_that_is_broken_names_its_file(tmp_path: Path) -> None:
    path = put(tmp_path / "v3.0.parquet", b"PAR1 broken")
    with pytest.raises(DataError, match=r"v3\.0\.parquet"):
        read_rows(path)


# --- the property -----------------------------------------------------------------------------------

LOGS = (
    summary().encode(),
    server().encode(),
    single_stream().encode(),
    multi_stream().encode(),
    system().encode(),
)


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    seed = draw(st.integers(0, 2**32 - 1))
    ways = ["cut", "swap", "put", "drop", "repeat", "line"]
    kinds = draw(st.lists(st.sampled_from(ways), min_size=1, max_size=4))

    def mutate(data: bytes) -> bytes:
        dice = random.Random(seed)
        for kind in kinds:
            a, b = sorted((dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)))
            if kind == "cut":
                data = data[:a]
            elif kind == "swap":
                data = data[b:] + data[a:b] + data[:a]
            elif kind == "put":
                data = data[:a] + dice.randbytes(dice.randrange(20)) + data[a:]
            elif kind == "drop":
                data = data[:a] + data[b:]
            elif kind == "repeat":
                data = data[:b] + data[a:]
            else:
                lines = data.splitlines(keepends=True)
                dice.shuffle(lines)
                data = b"".join(lines)
        return data

    return mutate


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mutate=mutations(), scenario=st.sampled_from(["Offline", "server", "singlestream", "MultiStream", "odd"])
)
def test_mutated_trees_never_crash_and_every_log_is_a_row_or_a_finding(
    tmp_path_factory: pytest.TempPathFactory, mutate: Callable[[bytes], bytes], scenario: str
) -> None:
    root = tmp_path_factory.mktemp("mutated")
    for number, log in enumerate(LOGS[:4]):
        entry(root, mutate(log), system=f"s{number}", scenario=scenario)
        describe(root, mutate(LOGS[4]), name=f"s{number}")
    for source in (root, pack(root, root.with_suffix(".tar"))):
        found = read_runs(source, "v2.1")
        rows = {row.path for row in found.rows}
        told = {one.subject.rsplit(":", 1)[0] for one in found.findings} | {
            one.subject for one in found.findings
        }
        for number in range(4):
            path = (
                f"closed/Acme/results/s{number}/resnet50/{scenario}/performance/run_1/mlperf_log_summary.txt"
            )
            assert path in rows or path in told
            name = f"closed/Acme/systems/s{number}.json"
            described = any(
                row.system == f"s{number}" and row.system_name == "Acme One" for row in found.rows
            )
            assert described or name in told or path not in rows or _says_nothing(root / name)
        assert found.files["performance summaries"] == 4


def _says_nothing(path: Path) -> bool:
    """A mutated description may still be JSON, of other words."""
    try:
        json.loads(path.read_bytes().decode("utf-8-sig", "replace"))
    except ValueError:
        return False
    return True


def test_a_folder_that_cannot_be_listed_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_tree(tmp_path)
    scan = tree.os.scandir  # type: ignore[attr-defined]

    def refuse(path: str) -> Any:
        if path.endswith("/Best"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(tree.os, "scandir", refuse)  # type: ignore[attr-defined]
    found = read_runs(tmp_path, "v2.1")
    assert len(found.rows) == 3
    assert [(one.rule, one.subject.rsplit("/", 1)[-1]) for one in found.errors] == [
        ("published.file", "Best")
    ]
