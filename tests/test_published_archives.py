"""The published archives themselves, where they lie beside this checkout: same figures, same facts."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from coldmark.core.imported import Imported
from coldmark.core.published import COLUMNS
from coldmark.runs.publish import import_tree, read_runs
from coldmark.store.ranking import Question, rank
from coldmark.store.results import open_results, read_rows, shipped

SOURCE = "mlcommons/inference_results_v2.1@91f7859b8"
SUMMARIES = "mlperf-inference-v2.1-summaries.tar.xz"
NETTRIX = "mlperf-inference-v2.1-closed-nettrix.tar.xz"


@pytest.fixture(scope="module")
def archives(shared: Path) -> Path:
    return shared / "published"


@pytest.fixture(scope="module")
def store(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store into which both archives were imported, from nothing."""
    folder = tmp_path_factory.mktemp("store")
    import_tree(archives / SUMMARIES, "v2.1", folder, source=SOURCE, replace=True)
    import_tree(archives / NETTRIX, "v2.1", folder, source=SOURCE)
    return folder


@pytest.fixture(scope="module")
def nettrix(archives: Path) -> Imported:
    return read_runs(archives / NETTRIX, "v2.1", source=SOURCE)


def test_the_shipped_table_is_what_the_archives_give(store: Path) -> None:
    ours, theirs = read_rows(shipped()["v2.1"]), read_rows(store / "v2.1.parquet")
    assert len(ours) == 5395
    assert ours == theirs


def test_all_of_the_summaries_are_read_and_nothing_is_amiss(archives: Path) -> None:
    found = read_runs(archives / SUMMARIES, "v2.1")
    assert Counter(row.division for row in found.rows) == {"closed": 1074, "open": 4305, "network": 16}
    assert all(row.validity == "VALID" for row in found.rows)
    assert found.errors == []
    assert found.files["performance summaries"] == len(found.rows) == 5395
    closed = [one for one in found.findings if one.subject.startswith("closed/")]
    assert closed == []


def test_the_figures_come_from_a_fresh_import(store: Path) -> None:
    with open_results([store / "v2.1.parquet"]) as connection:
        ranking = rank(connection, Question(round="v2.1", suite="datacenter"))
    tasks = {(t.benchmark, t.scenario): t for t in ranking.tasks}
    assert (tasks["resnet50", "Offline"].size, tasks["resnet50", "Offline"].entries[0].value) == (61, 679915)
    assert (tasks["dlrm-99", "Server"].size, tasks["dlrm-99", "Server"].entries[0].value) == (29, 2618482.46)


RESULTS = {
    "Offline": ("result_samples_per_second", 1.0),
    "Server": ("result_scheduled_samples_per_sec", 1.0),
    "SingleStream": ("early_stopping_latency_ss", 1e-6),
    "MultiStream": ("early_stopping_latency_ms", 1e-6),
}
FIELDS = {
    "queries": "result_query_count",
    "samples_per_query": "effective_samples_per_query",
    "min_duration_ms": "effective_min_duration_ms",
    "min_query_count": "effective_min_query_count",
    "target_latency_ns": "effective_target_latency_ns",
}


def details(path: Path) -> dict[str, dict[str, Any]]:
    """Every performance detail log of an archive, read the plain way: all lines, as JSON."""
    logs: dict[str, dict[str, Any]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            if "/results/" in member.name and member.name.endswith("performance/run_1/mlperf_log_detail.txt"):
                file = tar.extractfile(member)
                assert file is not None
                entries = [json.loads(line.removeprefix(b":::MLLOG ")) for line in file if line.strip()]
                logs[member.name] = {entry["key"]: entry["value"] for entry in entries}
    return logs


def test_a_whole_submission_agrees_with_its_own_detail_logs(archives: Path, nettrix: Imported) -> None:
    logs = details(archives / NETTRIX)
    assert len(nettrix.rows) == len(logs) == 40
    assert nettrix.findings == []
    for row in nettrix.rows:
        log = logs[row.path.replace("summary", "detail")]
        key, scale = RESULTS[row.scenario]
        assert row.score == pytest.approx(log[key] * scale, rel=1e-5), row.path
        assert row.validity == log["result_validity"]
        assert row.logged_scenario == log["effective_scenario"]
        for column, name in FIELDS.items():
            assert getattr(row, column) == log[name], (row.path, column)
        worst = log.get("result_max_query_latency_ns", log["result_max_latency_ns"])
        assert row.max_latency_ns == worst
        assert row.target_qps == pytest.approx(log["effective_target_qps"], rel=1e-5)


def test_summaries_alone_and_with_detail_logs_say_the_same(archives: Path, nettrix: Imported) -> None:
    alone = {row.key: row for row in read_runs(archives / SUMMARIES, "v2.1", source=SOURCE).rows}
    for row in nettrix.rows:
        for column in COLUMNS:
            if column != "queries":  # a Server or Offline summary does not count them
                assert getattr(row, column) == getattr(alone[row.key], column), (row.path, column)
