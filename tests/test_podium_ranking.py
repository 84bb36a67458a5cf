"""Places, ties, pools and their sizes; the figures of v2.1; a claim's readings; an own run among them."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Length, Provenance, Scenario, State, Suite
from coldmark.core.published import PublishedRun
from coldmark.core.record import Metric, RunRecord, RunSpec
from coldmark.core.system import System
from coldmark.report.standing import standing_json, standing_text
from coldmark.store.claim import ClaimReport, find_claim, shipped_claims, widest
from coldmark.store.pool import parse_pool
from coldmark.store.ranking import Per, Question, Task, rank
from coldmark.store.readings import check_claim
from coldmark.store.results import as_rows, open_results, shipped, write_table
from coldmark.store.rundir import RunDir
from coldmark.store.standing import find_own, place_value, standings

Coldmark = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def results() -> Iterator[duckdb.DuckDBPyConnection]:
    with open_results([shipped()["v2.1"]]) as connection:
        yield connection


def task(
    connection: duckdb.DuckDBPyConnection, benchmark: str, scenario: str, suite: str, **more: object
) -> Task:
    question = Question(
        round="v2.1",
        suite=suite,
        benchmarks=(benchmark,),
        scenarios=(scenario,),
        **more,  # type: ignore[arg-type]
    )
    (found,) = rank(connection, question).tasks
    return found


# --- the figures ------------------------------------------------------------------------------------


def test_resnet50_offline_has_61_entries_and_the_x640_first(results: duckdb.DuckDBPyConnection) -> None:
    found = task(results, "resnet50", "Offline", "datacenter")
    first = found.entries[0]
    assert (found.size, first.place, first.value, first.gap) == (61, 1, 679915.0, 0.0)
    assert first.system == ("Nettrix", "A100_PCIE_80GBx20_TRT")
    assert (first.row["accelerator"], first.row["accelerators"]) == ("NVIDIA A100-PCIe-80GB", 20)


@pytest.mark.parametrize("benchmark", ["dlrm-99", "dlrm-99.9"])
def test_dlrm_server_has_29_entries_and_the_x660_first(
    results: duckdb.DuckDBPyConnection, benchmark: str
) -> None:
    found = task(results, benchmark, "Server", "datacenter")
    first = found.entries[0]
    assert (found.size, first.value) == (29, 2618482.46)
    assert first.system == ("Nettrix", "A100_SXM4_80GBx8_Custom_TRT")
    assert first.row["accelerators"] == 8


def test_a_suite_has_the_tasks_of_its_rule_book(results: duckdb.DuckDBPyConnection) -> None:
    found = rank(results, Question(round="v2.1"))
    assert sum(t.suite == "datacenter" for t in found.tasks) == 16
    assert sum(t.suite == "edge" for t in found.tasks) == 14
    assert found.runs == 1074


@pytest.fixture(scope="module")
def article(results: duckdb.DuckDBPyConnection) -> ClaimReport:
    return check_claim(results, find_claim("article-2022-09-09"))


def test_the_claim_of_13_is_found_as_8_and_4_and_1(article: ClaimReport) -> None:
    x660, x640 = article.subjects
    reading = next(r for r in x660.holding if r.rule.words() == "same chip and form")
    assert set(reading.pools.values()) == {'accelerator ~ "A100-SXM"'}
    assert sorted(reading.firsts["datacenter"]) == [
        "3d-unet-99 Offline", "3d-unet-99.9 Offline", "dlrm-99 Server", "dlrm-99.9 Server",
        "resnet50 Offline", "retinanet Server", "rnnt Offline", "rnnt Server",
    ]  # fmt: skip
    assert sorted(reading.firsts["edge"]) == [
        "bert-99 SingleStream", "retinanet MultiStream", "retinanet Offline", "rnnt SingleStream",
    ]  # fmt: skip
    assert reading.tasks == {"datacenter": 16, "edge": 14}
    overall = next(r for r in x640.holding if r.rule.words() == "all systems")
    assert (overall.firsts, overall.pools) == (
        {"datacenter": ["resnet50 Offline"]}, {"A100_PCIE_80GBx20_TRT": ""},
    )  # fmt: skip
    assert reading.count + overall.count == 13
    assert article.holds


def test_over_all_systems_the_claim_fails_with_2_and_2(article: ClaimReport) -> None:
    reading = next(r for r in article.subjects[0].readings if r.rule.words() == "all systems")
    assert not reading.holds
    assert {suite: len(tasks) for suite, tasks in reading.firsts.items()} == {"datacenter": 2, "edge": 2}


def test_one_rule_for_all_subjects_is_told_apart_from_a_pool_for_each(article: ClaimReport) -> None:
    assert [rule.words() for rule in widest(article.uniform)] == ["same chip and form"]
    assert all(score.holds for score in article.scores)


def test_of_how_many_is_part_of_a_claim(results: duckdb.DuckDBPyConnection) -> None:
    claim = find_claim("article-2022-09-09")
    fewer = replace(claim.subjects[0], tasks={"datacenter": 15})
    assert (
        check_claim(results, replace(claim, subjects=(fewer,), scores=(), total=None)).subjects[0].holding
        == []
    )


def test_a_wrong_claim_fails(results: duckdb.DuckDBPyConnection) -> None:
    claim = find_claim("article-2022-09-09")
    greedy = replace(claim.subjects[1], firsts={"datacenter": 7})
    report = check_claim(results, replace(claim, subjects=(greedy,), scores=(), total=7))
    assert not report.holds
    assert (
        check_claim(results, replace(claim, subjects=(claim.subjects[1],), scores=(), total=2)).adds_up
        is False
    )
    wrong = replace(claim.scores[0], score=700_000.0)
    assert not check_claim(
        results, replace(claim, subjects=claim.subjects[1:], scores=(wrong,), total=None)
    ).holds


SUBJECT = 'title="x"\nround="v2.1"\n[[subjects]]\nname="a"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = 1", "missing key|claim"),
        ('titel = "x"', "unknown key 'titel'|missing"),
        (SUBJECT + 'systems="x"\nfirsts={cellar=1}', "no suite 'cellar'"),
        (SUBJECT + 'systems="sistem = b"\nfirsts={any=1}', "did you mean 'system'"),
        (SUBJECT + 'systems="system = b"\nfirsts={any=1}', "no system of v2.1"),
        ("= no toml", "not TOML"),
    ],
)  # fmt: skip
def test_a_claim_file_that_cannot_be_meant_is_refused(
    results: duckdb.DuckDBPyConnection, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "claim.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        check_claim(results, find_claim(str(path)))


def test_an_unknown_claim_names_the_shipped_ones() -> None:
    assert "article-2022-09-09" in shipped_claims()
    with pytest.raises(ConfigError, match="did you mean 'article-2022-09-09'"):
        find_claim("article-2022")


# --- laws -------------------------------------------------------------------------------------------


def run(system: str, score: float, **more: object) -> PublishedRun:
    """A row with what a ranking needs."""
    said: dict[str, object] = {
        "round": "v3.0", "division": "closed", "submitter": "S", "system": system, "system_name": system,
        "suite": "datacenter", "benchmark": "resnet50", "scenario": "Offline", "run": 1, "score": score,
        "unit": "samples/s", "metric": "rate", "lower_is_better": False, "validity": "VALID",
        "inferred": False, "logged_scenario": "Offline", "path": system, "source": "test",
    }  # fmt: skip
    return PublishedRun(**{**said, **more})  # type: ignore[arg-type]


def places(folder: Path, runs: list[PublishedRun], **question: object) -> list[tuple[str, int]]:
    path = folder / "t.parquet"
    write_table(path, as_rows(runs), {})
    with open_results([path]) as connection:
        ranking = rank(connection, Question(round="v3.0", **question))  # type: ignore[arg-type]
        return [(e.row["system"], e.place) for t in ranking.tasks for e in t.entries]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scores=st.lists(st.integers(1, 6), min_size=1, max_size=9), lower=st.booleans())
def test_a_place_is_one_more_than_the_number_of_better_results(
    tmp_path: Path, scores: list[int], lower: bool
) -> None:
    runs = [run(f"s{n}", float(score), lower_is_better=lower) for n, score in enumerate(scores)]
    for system, place in places(tmp_path, runs):
        mine = scores[int(system[1:])]
        better = sum(score < mine if lower else score > mine for score in scores)
        assert place == better + 1


def test_equal_results_share_a_place_and_the_next_is_skipped(tmp_path: Path) -> None:
    runs = [run("a", 5), run("b", 7), run("c", 7), run("d", 1)]
    assert places(tmp_path, runs) == [("b", 1), ("c", 1), ("a", 3), ("d", 4)]


def test_of_a_latency_the_lowest_is_first(tmp_path: Path) -> None:
    more = {"lower_is_better": True, "unit": "ms", "scenario": "SingleStream", "suite": "edge"}
    assert places(tmp_path, [run("a", 5, **more), run("b", 3, **more)]) == [("b", 1), ("a", 2)]


def test_invalid_runs_have_no_place_and_units_are_never_mixed(tmp_path: Path) -> None:
    runs = [run("a", 5), run("b", 9, validity="INVALID"), run("c", 7, unit="tokens/s", metric="token_rate")]
    assert sorted(places(tmp_path, runs)) == [("a", 1), ("c", 1)]


def test_of_several_runs_of_one_entry_the_worst_is_its_result(tmp_path: Path) -> None:
    runs = [run("a", 5, run=1), run("a", 3, run=2), run("b", 4)]
    assert places(tmp_path, runs) == [("b", 1), ("a", 2)]


def test_a_system_of_both_suites_has_a_place_in_each(tmp_path: Path) -> None:
    runs = [run("a", 5, suite="datacenter,edge"), run("b", 7), run("c", 9, suite="edge")]
    assert places(tmp_path, runs, suite="datacenter") == [("b", 1), ("a", 2)]
    assert places(tmp_path, runs, suite="edge") == [("c", 1), ("a", 2)]


def test_per_accelerator_divides_and_leaves_out_what_cannot_be(tmp_path: Path) -> None:
    runs = [
        run("a", 80, accelerators=8),
        run("b", 12, accelerators=1),
        run("c", 500),
        run("d", 9, accelerators=0),
    ]
    assert places(tmp_path, runs, per=Per.ACCELERATOR) == [("b", 1), ("a", 2)]
    latency = run("e", 1, accelerators=1, lower_is_better=True, unit="ms")
    assert places(tmp_path, [latency], per=Per.ACCELERATOR) == []


@settings(max_examples=20)
@given(value=st.floats(1, 1e6, allow_nan=False))
def test_a_value_stands_between_its_neighbours(value: float) -> None:
    with open_results([shipped()["v2.1"]]) as connection:
        found = task(connection, "resnet50", "Offline", "datacenter")
    placed = place_value(found, value)
    assert placed.place == 1 + sum(entry.value > value for entry in found.entries)
    assert placed.above is None or placed.above.value > value
    assert placed.below is None or placed.below.value <= value
    assert placed.of == 62


def test_a_value_equal_to_a_published_one_shares_its_place(results: duckdb.DuckDBPyConnection) -> None:
    placed = place_value(task(results, "resnet50", "Offline", "datacenter"), 679_585.0)
    assert (placed.place, placed.of) == (2, 62)
    assert placed.above is not None
    assert placed.below is not None
    assert (placed.above.value, placed.below.value) == (679_915.0, 679_585.0)


def test_the_pool_is_said_and_its_size_counted(results: duckdb.DuckDBPyConnection) -> None:
    pool = parse_pool('accelerator ~ "A100-SXM" and not power_submission')
    ranking = rank(results, Question(round="v2.1", suite="datacenter", statuses=("available",), pool=pool))
    assert ranking.question.words() == (
        "v2.1, closed division, datacenter, status available, "
        'accelerator ~ "A100-SXM" and not power_submission'
    )
    assert all(t.size == len(t.entries) for t in ranking.tasks)
    assert all("A100-SXM" in e.row["accelerator"] for t in ranking.tasks for e in t.entries)


# --- an own run -------------------------------------------------------------------------------------


def own(root: Path, value: float = 40_000.0, scenario: Scenario = Scenario.OFFLINE, **changes: object) -> str:
    """A record as `coldmark run` leaves it."""
    unit, name = ("samples/s", "rate") if scenario is Scenario.OFFLINE else ("ms", "latency_p90")
    spec = RunSpec(workload="resnet50", scenario=scenario, suite=Suite.EDGE, length=Length.SMOKE)
    said: dict[str, object] = {
        "run_id": "20260901T120000-test-1a2b",
        "state": State.COMPLETE,
        "spec": spec,
        "verdict": "VALID",
        "metric": Metric(name=name, value=value, unit=unit),
    }
    record = RunRecord(**{**said, **changes})  # type: ignore[arg-type]
    made = RunDir.create(root, record.run_id)
    made.write("record.json", record)
    made.write(
        "system.json",
        System(accelerators_per_node="0", host_processors_per_node="2", host_processor_core_count="16"),
    )
    made.release()
    return record.run_id


def test_an_own_run_is_placed_and_never_mixed_unlabelled(
    results: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    run_id = own(tmp_path)
    mine = find_own(tmp_path, run_id)
    assert mine.label == "measured here, unverified"
    assert mine.caveats[0].startswith("smoke length")
    assert (mine.accelerators, mine.cores) == (0, 32)
    whole, like, per_accelerator, per_core, like_per_core = standings(results, mine, Question(round="v2.1"))
    found = task(results, "resnet50", "Offline", "edge")
    assert whole.placed is not None
    assert (whole.placed.place, whole.placed.of) == (
        1 + sum(e.value > 40_000 for e in found.entries),
        found.size + 1,
    )
    assert whole.placed.above is not None
    assert whole.placed.below is not None
    assert whole.placed.above.value > 40_000 >= whole.placed.below.value
    assert whole.placed.below.row["source"].startswith("mlcommons/")
    assert like.task is not None
    assert all(e.row["accelerators"] == 0 for e in like.task.entries)
    assert (per_accelerator.placed, per_accelerator.reason) == (None, "this machine has no accelerator")
    assert (per_core.value, like_per_core.value) == (1250.0, 1250.0)


def test_a_simulated_run_is_placed_under_its_own_name(
    results: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """A record of the twin is never called measured, as text or as JSON."""
    mine = find_own(tmp_path, own(tmp_path, provenance=Provenance.SIMULATED))
    assert mine.label == "SIMULATED, not measured"
    assert any("server twin" in said for said in mine.caveats)
    found = standings(results, mine, Question(round="v2.1"))
    text = standing_text(mine, found)
    assert "measured here" not in text
    assert "SIMULATED, not measured" in next(line for line in text.splitlines() if line.startswith("  here"))
    said = standing_json(mine, found)
    assert (said["provenance"], said["label"]) == ("simulated", "SIMULATED, not measured")


def test_the_pool_asked_for_narrows_every_reading(results: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    question = Question(round="v2.1", pool=parse_pool("submitter = Krai"))
    whole, like, *_ = standings(results, find_own(tmp_path, own(tmp_path)), question)
    assert whole.task is not None
    assert like.task is not None
    assert {e.row["submitter"] for e in whole.task.entries} == {"Krai"}
    assert like.task.entries
    assert {e.row["accelerators"] for e in like.task.entries} == {0}
    assert like.ranking.question.pool.text == "(submitter = Krai) and accelerators = 0"


def test_a_latency_is_placed_but_not_divided(results: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    mine = find_own(tmp_path, own(tmp_path, 0.1, Scenario.SINGLE_STREAM))
    whole, _, per_accelerator, per_core, _ = standings(results, mine, Question(round="v2.1"))
    assert whole.placed is not None
    assert (whole.placed.place, whole.placed.above) == (1, None)
    assert {per_accelerator.reason, per_core.reason} == {"a latency is not divided"}


@pytest.mark.parametrize(
    ("question", "where"),
    [
        ({"scenarios": ("Server",)}, "--scenario"),
        ({"benchmarks": ("rnnt",)}, "--benchmark"),
        ({"suite": "datacenter"}, "--suite"),
        ({"round": "v3.0"}, "--round"),
    ],
)
def test_a_run_is_not_placed_in_another_task(
    results: duckdb.DuckDBPyConnection, tmp_path: Path, question: dict[str, object], where: str
) -> None:
    mine = find_own(tmp_path, own(tmp_path))
    with pytest.raises(ConfigError) as caught:
        standings(results, mine, Question(**{"round": "v2.1", **question}))  # type: ignore[arg-type]
    assert caught.value.where == where


def test_a_run_without_a_result_has_no_place(tmp_path: Path) -> None:
    run_id = own(tmp_path, metric=None, state=State.FAILED, verdict="INCOMPLETE")
    with pytest.raises(ConfigError, match="no result to place"):
        find_own(tmp_path, run_id)


# --- the command ------------------------------------------------------------------------------------


@pytest.fixture
def podium(coldmark: Coldmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Coldmark:
    monkeypatch.setenv("COLDMARK_PUBLISHED_DIR", str(tmp_path / "store"))
    return lambda *args: coldmark("podium", *args)


def test_the_podium_prints_its_pool_and_its_size(podium: Coldmark) -> None:
    text = podium("--benchmark", "resnet", "--scenario", "offline", "--suite", "datacenter").stdout
    assert text.startswith("pool: v2.1, closed division, datacenter, any status, all systems\n")
    assert "resnet50 Offline (datacenter): samples/s, higher is better, among 61" in text
    assert "1      679 915" in text
    assert "rdi" in text


def test_the_podium_as_json(podium: Coldmark) -> None:
    said = json.loads(podium("--suite", "datacenter", "--pool", 'accelerator ~ "A100-SXM"', "--json").stdout)
    assert said["pool"]["expression"] == 'accelerator ~ "A100-SXM"'
    assert len(said["tasks"]) == 16
    firsts = {(one["submitter"], one["system"]): one["firsts"] for one in said["firsts"]}
    assert firsts["Nettrix", "A100_SXM4_80GBx8_Custom_TRT"] == 8
    assert all(math.isfinite(e["score"]) for t in said["tasks"] for e in t["entries"])


def test_a_submitter_is_shown_among_all_its_rivals(podium: Coldmark) -> None:
    text = podium("--submitter", "Nettrix", "--suite", "datacenter").stdout
    assert "1 of 61" in text
    assert "2 of 29" in text
    assert "  2       2           Nettrix    A100_SXM4_80GBx8_Custom_TRT" in text


def test_the_claim_as_text_says_where_it_holds_and_where_it_fails(podium: Coldmark) -> None:
    done = podium("claim", "article-2022-09-09")
    assert done.returncode == 0
    assert 'pool: accelerator ~ "A100-SXM"' in done.stdout
    assert "fails  all systems: 2 of 16 datacenter, 2 of 14 edge" in done.stdout
    assert "8 + 4 + 1 = 13 adds up" in done.stdout


def test_a_claim_that_fails_exits_3(podium: Coldmark, tmp_path: Path) -> None:
    (tmp_path / "bold.toml").write_text(
        'title = "bold"\nround = "v2.1"\n[[subjects]]\nname = "X640"\nfirsts = { datacenter = 16 }\n'
        "systems = 'system = A100_PCIE_80GBx20_TRT'\n"
    )
    done = podium("claim", "bold.toml")
    assert done.returncode == 3
    assert "holds in 0 of" in done.stdout
    assert "the claim FAILS" in done.stdout


def test_an_own_run_on_the_command_line(podium: Coldmark, tmp_path: Path) -> None:
    own(tmp_path / "runs")
    text = podium("--run", "1a2b").stdout
    assert "measured here, unverified: 40 000 samples/s" in text
    assert "smoke length (8 s), not the round's; the mini model, far less work a sample" in text
    assert "above (" in text
    assert "here" in text
    said = json.loads(podium("--run", "1a2b", "--json").stdout)
    assert (said["label"], said["provenance"], said["length"]) == (
        "measured here, unverified",
        "measured",
        "smoke",
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--benchmark", "resnet5"), "did you mean 'resnet50'"),
        (("--scenario", "ofline"), "did you mean 'Offline'"),
        (("--round", "v2.2"), "did you mean 'v2.1'"),
        (("--division", "close"), "did you mean 'closed'"),
        (("--status", "availabel"), "did you mean 'available'"),
        (("--suite", "edg"), "did you mean 'edge'"),
        (("--submitter", "Netrix"), "did you mean 'Nettrix'"),
        (("--pool", "acelerators = 8"), "did you mean 'accelerators'"),
        (("--pool", "x'; DROP TABLE results; --"), "--pool"),
        (("--per-core", "--per-accelerator"), "not both"),
        (("--run", "nothing"), "no run 'nothing'"),
        (("--run", "x", "--submitter", "Nettrix"), "do not go together"),
        (("claim", "nothing.toml"), "no claim"),
    ],
)
def test_what_cannot_be_meant_exits_2_with_the_nearest(
    podium: Coldmark, args: tuple[str, ...], message: str
) -> None:
    done = podium(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
