"""The table of results: SQL that only reads, lists, comparisons, and their commands."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Scenario
from coldmark.core.published import COLUMNS
from coldmark.rules.plausibility import deviation
from coldmark.runs.plausible import check_stored, check_tree
from coldmark.store.compare import compare, find_system
from coldmark.store.results import about, ask, find_round, open_results, query, shipped
from published_tree import describe, entry, put, single_stream, small_tree, summary, system

Coldmark = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def results() -> Iterator[duckdb.DuckDBPyConnection]:
    with open_results([shipped()["v2.1"]]) as connection:
        yield connection


def test_the_shipped_table_has_the_whole_round_and_names_its_source(
    results: duckdb.DuckDBPyConnection,
) -> None:
    rows = ask(results, "SELECT division, count(*) FROM results GROUP BY 1 ORDER BY 1").rows
    assert rows == [("closed", 1074), ("network", 16), ("open", 4305)]
    assert ask(results, "SELECT DISTINCT validity, round FROM results").rows == [("VALID", "v2.1")]
    said = about(shipped()["v2.1"])
    assert said["source"] == "mlcommons/inference_results_v2.1@91f7859b8"
    assert "Apache-2.0" in said["licence"]
    assert shipped()["v2.1"].stat().st_size < 500_000


def test_identity_is_unique(results: duckdb.DuckDBPyConnection) -> None:
    sql = (
        "SELECT count(*) FROM (SELECT DISTINCT round, division, submitter, system, benchmark, scenario, run "
        "FROM results)"
    )
    assert ask(results, sql).rows == [(5395,)]


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE results",
        "DELETE FROM results",
        "INSERT INTO results SELECT * FROM results",
        "UPDATE results SET score = 1",
        "CREATE TABLE t AS SELECT 1",
        "SELECT 1; SELECT 2",
        "COPY results TO 'x.csv'",
        "ATTACH 'x.db'",
        "SET threads = 1",
        "PRAGMA database_list",
        "INSTALL httpfs",
        "LOAD httpfs",
        "",
        "nonsense",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/hostname'",
        "SELECT * FROM read_parquet('*.parquet')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_csv('http://localhost:1/x')",
        "SELECT getvariable('x'), * FROM sniff_csv('/etc/hostname')",
        "SELECT nothing FROM results",
        "SELECT * FROM result",
    ],
)
def test_sql_reads_the_table_and_nothing_else(
    results: duckdb.DuckDBPyConnection, sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        query(results, sql)
    assert list(tmp_path.iterdir()) == []
    assert ask(results, "SELECT count(*) FROM results").rows == [(5395,)]


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1", "WITH x AS (SELECT * FROM results) SELECT count(*) FROM x", "FROM results LIMIT 1",
     "DESCRIBE results", "VALUES (1)", "SELECT max(score) FROM results; "],
)  # fmt: skip
def test_every_way_of_reading_is_allowed(results: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert query(results, sql).rows


def test_the_columns_are_the_row(results: duckdb.DuckDBPyConnection) -> None:
    assert query(results, "FROM results LIMIT 1").columns == tuple(COLUMNS)


def test_liquid_over_air_in_the_same_round(results: duckdb.DuckDBPyConnection) -> None:
    ours = find_system(results, "v2.1", "closed", "X660G45L 8x")
    air = find_system(results, "v2.1", "closed", "DGX-A100_A100-SXM-80GBx8_TRT")
    ratios = {(r.benchmark, r.scenario): r.ratio for r in compare(results, "v2.1", ours, air)}
    assert len(ratios) == 16
    assert ratios["resnet50", "Offline"] == pytest.approx(1.036, abs=5e-4)
    assert ratios["bert-99", "Offline"] == pytest.approx(1.035, abs=5e-4)
    assert ratios["dlrm-99", "Server"] == pytest.approx(1.095, abs=5e-4)
    back = {(r.benchmark, r.scenario): r.ratio for r in compare(results, "v2.1", air, ours)}
    assert all(back[key] == pytest.approx(1 / ratio) for key, ratio in ratios.items())


def test_the_better_latency_has_the_larger_ratio(results: duckdb.DuckDBPyConnection) -> None:
    a = find_system(results, "v2.1", "closed", "Nettrix/A100_SXM4_80GBX1_CUSTOM_TRT")
    b = find_system(results, "v2.1", "closed", "Krai/orin-armnn-v22.05-neon")
    latencies = [r for r in compare(results, "v2.1", a, b) if r.lower_is_better]
    assert latencies
    assert all(r.a < r.b and r.ratio > 1 for r in latencies)


@pytest.mark.parametrize(("text", "message"), [("X660G45L", "2 systems"), ("no such thing", "no system")])
def test_a_system_that_is_none_or_several_is_refused(
    results: duckdb.DuckDBPyConnection, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        find_system(results, "v2.1", "closed", text)


def test_an_unknown_round_names_the_nearest_and_the_way_to_bring_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'v2\.1'.*published import PATH --round v2\.2"):
        find_round(tmp_path, "v2.2")


# --- plausibility -----------------------------------------------------------------------------------


def test_no_closed_result_of_the_round_is_implausible(tmp_path: Path) -> None:
    checked = check_stored(tmp_path, "v2.1", "closed")
    assert (checked.runs, checked.checked, checked.findings) == (1074, 1074, ())
    assert {name: round(off, 4) for name, off in checked.worst.items()} == {
        "Offline": 0.0008,
        "Server": 0.0031,
        "MultiStream": 0.0043,
        "SingleStream": 0.0199,
    }


@pytest.mark.parametrize(
    ("scenario", "log"),
    [
        ("Offline", summary(headline="Samples per second: 10000")),
        ("Offline", summary(headline="Samples per second: 1005")),
        ("Server", summary("Server", headline="Scheduled samples per second : 5000",
                           parameters={"target_qps": 500})),
        ("SingleStream", single_stream(20_000_000).replace(": 19999900", ": 1999900")),
    ],
    ids=["ten times", "half a percent", "Server ten times", "SingleStream ten times"],
)  # fmt: skip
def test_a_tampered_result_is_found(tmp_path: Path, scenario: str, log: str) -> None:
    folder = entry(tmp_path, log, scenario=scenario)
    checked = check_tree(tmp_path, "v2.1")
    assert [one.rule for one in checked.findings] == ["result.plausible"]
    assert str(folder.relative_to(tmp_path)) in checked.findings[0].subject


def test_multistream_is_held_against_its_queries_not_its_samples() -> None:
    said = {
        "early_stopping_latency_ms": 1000.0,
        "result_99.00_percentile_latency_ns": 900.0,
        "result_99.00_percentile_per_query_latency_ns": 990.0,
    }
    assert deviation(said.get, Scenario.MULTI_STREAM) == pytest.approx(1000 / 990 - 1)
    del said["result_99.00_percentile_per_query_latency_ns"]
    assert deviation(said.get, Scenario.MULTI_STREAM) == pytest.approx(1000 / 900 - 1)


def test_a_round_without_a_rule_book_is_not_judged(tmp_path: Path) -> None:
    entry(tmp_path, summary(headline="Samples per second: 10000"))
    with pytest.raises(ConfigError, match="no rule book"):
        check_tree(tmp_path, "v4.1")


# --- commands ---------------------------------------------------------------------------------------


@pytest.fixture
def stored(coldmark: Coldmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Coldmark:
    monkeypatch.setenv("COLDMARK_PUBLISHED_DIR", str(tmp_path / "store"))
    return coldmark


def test_import_says_what_it_did_and_a_second_one_changes_nothing(stored: Coldmark, tmp_path: Path) -> None:
    small_tree(tmp_path / "tree")
    done = stored("published", "import", "tree", "--round", "v3.0", "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["runs"], said["changed"], said["findings"]) == (0, 4, True, [])
    again = stored("published", "import", "tree", "--round", "v3.0")
    assert "4 runs of v3.0 (closed 4)" in again.stdout
    assert "unchanged" in again.stdout


def test_import_of_a_tree_with_a_broken_file_imports_the_rest_and_exits_6(
    stored: Coldmark, tmp_path: Path
) -> None:
    small_tree(tmp_path / "tree")
    entry(tmp_path / "tree", b"", benchmark="rnnt")
    done = stored("published", "import", "tree", "--round", "v3.0")
    assert done.returncode == 6
    assert "4 runs" in done.stdout
    assert "/rnnt/Offline/performance/run_1/mlperf_log_summary.txt" in done.stdout


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("import", "tree", "--round", "v21"), 2, "did you mean 'v2.1'"),
        (("import", "absent", "--round", "v2.1"), 6, "no such file"),
        (("show", "nobody"), 2, "no system"),
        (("show", "x", "--round", "v9"), 2, "no results of round"),
        (("list", "--round", "v2.1", "--submitter", "Netrix"), 2, "did you mean 'Nettrix'"),
        (("query", "DROP TABLE results"), 2, "read-only"),
        (("compare", "X660G45L 8x", "nobody"), 2, "no system"),
        (("check", "--round", "v2.1", "--division", "close"), 2, "did you mean 'closed'"),
    ],
)
def test_errors_name_the_nearest_right_thing(
    stored: Coldmark, tmp_path: Path, args: tuple[str, ...], code: int, message: str
) -> None:
    small_tree(tmp_path / "tree")
    done = stored("published", *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_query_as_table_json_and_csv(stored: Coldmark) -> None:
    sql = "SELECT submitter, score, power FROM results WHERE benchmark = 'rnnt' ORDER BY score DESC LIMIT 2"
    rows = json.loads(stored("published", "query", sql, "--json").stdout)
    lines = list(csv.DictReader(io.StringIO(stored("published", "query", sql, "--csv").stdout)))
    assert [row["submitter"] for row in rows] == [line["submitter"] for line in lines]
    assert [row["score"] for row in rows] == [float(line["score"]) for line in lines]
    assert (rows[0]["power"], lines[0]["power"]) == (None, "")
    assert stored("published", "query", sql).stdout.splitlines()[0].split() == ["submitter", "score", "power"]


def test_list_and_show(stored: Coldmark) -> None:
    rounds = json.loads(stored("published", "list", "--json").stdout)
    assert [(row["round"], row["runs"], row["kind"]) for row in rounds] == [("v2.1", 5395, "shipped")]
    systems = json.loads(
        stored("published", "list", "--round", "v2.1", "--submitter", "nettrix", "--json").stdout
    )
    assert {row["system"] for row in systems} == {
        "A100_PCIE_80GBx20_TRT", "A100_SXM4_80GBX1_CUSTOM_TRT", "A100_SXM4_80GBx8_Custom_TRT",
    }  # fmt: skip
    shown = stored("published", "show", "X660G45L 8x")
    assert "X660G45L (8x A100-SXM4-80GB, TensorRT)" in shown.stdout
    assert "2 618 482.46" in shown.stdout


def test_check_exits_3_when_something_does_not_fit(stored: Coldmark, tmp_path: Path) -> None:
    assert stored("published", "check", "--division", "closed").returncode == 0
    describe(tmp_path / "tree", system())
    entry(tmp_path / "tree", summary(headline="Samples per second: 10000"))
    done = stored("published", "check", "tree")
    assert done.returncode == 3
    assert "+900.00%" in done.stdout


def test_a_store_that_cannot_be_written_says_so(stored: Coldmark, tmp_path: Path) -> None:
    small_tree(tmp_path / "tree")
    put(tmp_path / "file", "not a folder")
    done = stored("published", "import", "tree", "--round", "v3.0", "--store", "file/store")
    assert done.returncode == 6
    assert "Traceback" not in done.stderr
