"""A test that can no longer become VALID is stopped, with the reason; one that still can is not."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.core.codec import dump_json
from coldmark.core.errors import Doomed
from coldmark.core.nouns import Length, Mode, Scenario, State, Suite
from coldmark.core.record import RunSpec
from coldmark.core.settings import SourcedSettings, TestSettings
from coldmark.loadgen.log import DETAIL, parse_detail
from coldmark.loadgen.outstanding import Dated, HarnessFault
from coldmark.loadgen.progress import FILE_NAME, Phase, read_progress
from coldmark.loadgen.supervise import ChildResult, supervise
from coldmark.rules.book import load_book
from coldmark.runs.doom import Ages, Doom, watch_for
from coldmark.runs.resolve import resolve
from coldmark.stats.early_stopping import min_queries, most_over
from coldmark.store.rundir import read_record


@given(queries=st.integers(1, 300_000), percentile=st.sampled_from([0.9, 0.97, 0.99]))
def test_most_over_is_the_inverse_of_min_queries(queries: int, percentile: float) -> None:
    over = most_over(queries, percentile)
    assert over < 0 or min_queries(over, percentile) <= queries
    assert min_queries(over + 1, percentile) > queries


@pytest.mark.parametrize(("queries", "over"), [(458, -1), (459, 0), (661, 0), (662, 1), (12571, 100)])
def test_most_over_by_the_published_table(queries: int, over: int) -> None:
    assert most_over(queries, 0.99) == over


def doom(folder: Path, scenario: Scenario, **changes: Any) -> Doom:
    settings: dict[str, Any] = {
        "scenario": scenario,
        "mode": Mode.PERFORMANCE,
        "min_duration_ms": 60_000,
        "min_query_count": 459,
        "qsl_rng_seed": 1,
        "sample_index_rng_seed": 2,
        "schedule_rng_seed": 3,
        "performance_sample_count": 10,
        "target_qps": 100.0,
    }
    if scenario is Scenario.SERVER:
        settings |= {"target_latency_ns": 15_000_000, "target_latency_percentile": 0.99}
    else:
        settings |= {"target_latency_percentile": {"SingleStream": 0.9, "MultiStream": 0.99}.get(scenario)}
    if scenario is Scenario.MULTI_STREAM:
        settings["samples_per_query"] = 8
    if scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM):
        settings |= {"target_qps": None, "expected_latency_ns": 10_000_000}
    (folder / "settings.json").write_text(
        dump_json(SourcedSettings(settings=TestSettings(**(settings | changes)), sources={}))
    )
    suite = Suite.DATACENTER if scenario in (Scenario.SERVER, Scenario.OFFLINE) else Suite.EDGE
    return Doom(folder, load_book("v2.1").rule("resnet50", suite, scenario))


def counters(**values: int) -> dict[str, int]:
    none = dict.fromkeys(("queries", "issued", "completed", "expected", "over"), 0)
    return {"phase": Phase.RUNNING, **none, **values}


# -- what is certain, and what is forecast -------------------------------------------------------------


def test_a_server_test_is_stopped_when_no_more_queries_can_save_it(tmp_path: Path) -> None:
    watch = doom(tmp_path, Scenario.SERVER)
    assert watch.most_queries == 6310  # 6 000 and four times their square root
    assert min_queries(watch.bearable, 0.99) <= 6310 < min_queries(watch.bearable + 1, 0.99)
    watch.check(counters(completed=900, over=watch.bearable), 9)
    with pytest.raises(Doomed, match=f"{watch.bearable + 1} of 900 queries took longer than 15 ms"):
        watch.check(counters(completed=900, over=watch.bearable + 1), 9)


def test_an_overloaded_server_test_is_stopped_when_its_queries_are_late_and_not_when_answered(
    tmp_path: Path,
) -> None:
    changes = {"target_qps": 50.0, "min_query_count": 270_336, "target_latency_ns": 130_000_000}
    watch = doom(tmp_path, Scenario.SERVER, min_duration_ms=600_000, **changes)
    assert watch.bearable == 2583

    def look(fifth: int) -> None:
        """50 queries/s come, 2 samples/s are answered, all of them late."""
        done = fifth * 2 // 5
        watch.check(counters(queries=10 * fifth, issued=10 * fifth, completed=done, over=done), fifth / 5)

    for fifth in range(1, 5 * 51):
        look(fifth)
    with pytest.raises(Doomed, match=r"259\d of 259\d queries took .* \(248\d of them have no answer yet\)"):
        [look(fifth) for fifth in range(5 * 51, 5 * 53)]


def test_no_query_is_late_before_its_bound_is_over_between_two_looks(tmp_path: Path) -> None:
    watch = doom(tmp_path, Scenario.SERVER, target_latency_ns=1_000_000_000)
    watch.check(counters(issued=3000), 0.9)
    watch.check(counters(issued=3000), 1.8)
    watch.check(
        counters(issued=3000), 99.0
    )  # kept waiting: it may have read the counters right after the last
    watch.check(counters(issued=3000, completed=3000), 99.1)
    again = doom(tmp_path, Scenario.SERVER, target_latency_ns=1_000_000_000)
    again.check(counters(issued=3000), 0.9)
    again.check(counters(issued=3000), 1.9)
    with pytest.raises(Doomed, match=r"after 2 s 3000 of 3000 .* \(3000 of them have no answer yet\)"):
        again.check(counters(issued=3000), 2.0)


def test_an_answer_being_counted_is_not_late_twice(tmp_path: Path) -> None:
    watch = doom(tmp_path, Scenario.SERVER)
    late = watch.bearable
    watch.check(counters(issued=late), 1.0)
    watch.check(counters(issued=late), 1.2)
    watch.check(counters(issued=late), 1.4)
    watch.check(counters(issued=late, over=late), 1.6)  # counted as late, not yet as completed
    watch.check(counters(issued=late, over=late, completed=late), 1.8)


@given(
    answered=st.lists(st.floats(0, 3), min_size=1, max_size=300),
    looks=st.lists(st.floats(0.01, 1), min_size=1, max_size=40),
    seed=st.integers(0, 99),
)
def test_no_more_are_called_late_than_are(answered: list[float], looks: list[float], seed: int) -> None:
    """Queries come 100 a second, each answered after its time; what each look read lies some time back."""
    draw, ages, bound = random.Random(seed), Ages(), 0.5
    came = [i / 100 for i in range(len(answered))]
    before = 0.0
    for at in itertools.accumulate(looks):
        read = draw.uniform(before, at)
        done = [(c, a) for c, a in zip(came, answered, strict=True) if c + a <= read]
        over = sum(a > bound for _, a in done)
        found = ages.late(
            counters(issued=sum(c <= read for c in came), completed=len(done), over=over), at, bound
        )
        truly = over + sum(c + bound <= read < c + a for c, a in zip(came, answered, strict=True))
        assert over <= sum(found) <= truly
        before = at


@pytest.mark.parametrize(
    ("scenario", "changes", "words"),
    [
        (Scenario.SERVER, {"min_query_count": 1, "target_qps": 2.0}, "a higher --target-qps"),
        (Scenario.SERVER, {"min_query_count": 1, "target_qps": 2.0, "max_query_count": 9000}, "--target-qps"),
        (Scenario.SERVER, {"max_query_count": 458}, "max_query_count"),
        (
            Scenario.SERVER,
            {"max_query_count": 5690},
            "ends it at 5690 queries, and at least 5690 .*\n.*none;",
        ),
        (Scenario.SERVER, {"max_query_count": 9000, "min_query_count": 9000}, "at least 9000 will come"),
        (Scenario.MULTI_STREAM, {"max_query_count": 661}, "at most 661 .* 662 are the least"),
        (Scenario.SINGLE_STREAM, {"max_duration_ms": 59_000}, "ends it after 59 s"),
        (Scenario.SERVER, {"max_duration_ms": 59_000}, "ends it after 59 s"),
    ],
)
def test_a_test_of_too_few_queries_or_too_little_time_is_stopped_at_once(
    scenario: Scenario, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    watch = doom(tmp_path, scenario, **changes)
    with pytest.raises(Doomed, match=words) as stop:
        watch.check(counters(completed=1), 0.1)
    assert "--go-on" in str(stop.value)
    assert stop.value.exit_code == 3


def test_just_queries_enough_are_enough(tmp_path: Path) -> None:
    # 5 690 come almost surely, and LoadGen calls it an error when its largest number is reached.
    doom(tmp_path, Scenario.SERVER, max_query_count=5691).check(counters(completed=1), 0.1)
    doom(tmp_path, Scenario.MULTI_STREAM, max_query_count=662, min_query_count=662).check(counters(), 0.1)


def test_an_offline_test_that_will_end_too_soon_is_stopped(tmp_path: Path) -> None:
    watch = doom(tmp_path, Scenario.OFFLINE)
    watch.check(counters(completed=1000, expected=6600), 1)  # a seventh done: no forecast yet
    watch.check(counters(completed=3000, expected=6600), 25)  # 55 s in all: within a tenth of the minute
    with pytest.raises(Doomed, match=r"--target-qps 165 or auto"):
        watch.check(counters(completed=3000, expected=6600), 20)


def test_a_stream_that_will_run_out_of_queries_is_stopped(tmp_path: Path) -> None:
    watch = doom(tmp_path, Scenario.SINGLE_STREAM)
    assert watch.most_queries == 12_000  # two minutes' worth of 10 ms
    watch.check(counters(queries=3000, completed=3000), 5)  # a quarter: no forecast yet
    watch.check(counters(queries=4000, completed=4000), 20)  # all in 60 s
    with pytest.raises(Doomed, match=r"gone in 30 s, and 60 s are the least\n.*expected_latency_ns=2250000"):
        watch.check(counters(queries=4000, completed=4000), 10)


def test_a_stream_that_its_largest_number_ends_too_soon_is_told_so(tmp_path: Path) -> None:
    watch = doom(tmp_path, Scenario.SINGLE_STREAM, max_query_count=4000)
    watch.check(counters(queries=2000, completed=2000), 30)  # all in 60 s
    with pytest.raises(Doomed, match=r"the 4000 of test\.max_query_count are gone in 40 s") as stop:
        watch.check(counters(queries=2000, completed=2000), 20)
    assert "a higher test.max_query_count, or none" in str(stop.value)
    assert "expected_latency_ns" not in str(stop.value)


def test_with_equal_issue_a_stream_has_whole_passes(tmp_path: Path) -> None:
    passes: dict[str, Any] = {
        "sample_concatenate_permutation": True,
        "performance_sample_count": 42,
        "min_query_count": 64,
        "expected_latency_ns": 2_000_000_000,
    }
    watch = doom(tmp_path, Scenario.SINGLE_STREAM, **passes)
    assert watch.most_queries == 84  # 60 in two minutes, 64 at the least
    watch.check(counters(queries=30, completed=30), 20)  # all in 56 s, where 64 would take 43
    with pytest.raises(Doomed, match=r"are gone in 28 s, .*\n.*expected_latency_ns=500000000 or none"):
        watch.check(counters(queries=30, completed=30), 10)  # a third of a second each: 1.5 times as much
    with pytest.raises(Doomed, match="at most 83 queries will be issued, and 84 are the least"):
        doom(tmp_path, Scenario.SINGLE_STREAM, max_query_count=83, **passes).check(counters(), 0.1)
    doom(tmp_path, Scenario.SINGLE_STREAM, max_query_count=84, **passes).check(counters(), 0.1)


def test_a_stream_too_slow_for_its_longest_duration_is_stopped(tmp_path: Path) -> None:
    watch = doom(tmp_path, Scenario.MULTI_STREAM, max_duration_ms=100_000, min_query_count=662)
    watch.check(counters(queries=20, completed=160), 20)  # a fifth of the time: no forecast yet
    watch.check(counters(queries=200, completed=1600), 35)  # 571 in all: within a fifth of 662
    with pytest.raises(Doomed, match="286 fit into the 100 s"):
        watch.check(counters(queries=100, completed=800), 35)


def test_an_accuracy_test_is_never_doomed(tmp_path: Path) -> None:
    doom(tmp_path, Scenario.SERVER, mode=Mode.ACCURACY).check(counters(over=10**6), 5)


def spec(**changes: Any) -> RunSpec:
    values: dict[str, Any] = {
        "workload": "resnet50",
        "scenario": Scenario.SERVER,
        "suite": Suite.DATACENTER,
        "backend": "null",
        "modes": (Mode.PERFORMANCE,),
        "target_qps": 500.0,
    }
    return RunSpec(**(values | changes))


def test_smoke_runs_accuracy_tests_and_those_told_to_go_on_are_not_watched(tmp_path: Path) -> None:
    def watched(mode: Mode = Mode.PERFORMANCE, **changes: Any) -> bool:
        return watch_for(resolve(spec(**changes)), mode, tmp_path) is not None

    assert watched()
    assert watched(length=Length.OFFICIAL)
    assert not watched(length=Length.SMOKE)
    assert not watched(Mode.ACCURACY)
    assert not watched(options={"harness.go_on": "true"})


@pytest.mark.parametrize("phase", [Phase.WARMING, Phase.CLOSING])
def test_nothing_is_judged_before_or_after_loadgen_has_the_clock(phase: Phase, tmp_path: Path) -> None:
    doom(tmp_path, Scenario.SERVER)
    watch = watch_for(resolve(spec()), Mode.PERFORMANCE, tmp_path)
    assert watch is not None
    watch(counters(phase=phase, over=10**6, running_ns=1))
    with pytest.raises(Doomed):
        watch(counters(over=10**6, running_ns=1))


# -- the table that knows when ---------------------------------------------------------------------------


def test_ids_are_late_by_their_own_time_whatever_their_order() -> None:
    table = Dated(20_000_000)
    table.add([8, 16])
    time.sleep(0.03)
    table.add([24])
    assert len(table) == 3
    assert table.take([24]) == 0
    assert table.take([16, 8]) == 2
    assert len(table) == 0


@pytest.mark.parametrize("ids", [[9], [8, 8], [8, 9]])
def test_unknown_and_repeated_ids_are_refused(ids: list[int]) -> None:
    table = Dated(10**9)
    table.add([8, 16])
    with pytest.raises(HarnessFault, match="outstanding"):
        table.take(ids)
    with pytest.raises(HarnessFault, match="twice"):
        table.add([16])


# -- the real LoadGen --------------------------------------------------------------------------------------


def watched(folder: Path, scenario: Scenario, answer_s: float, *how: str, **changes: Any) -> ChildResult:
    """A child whose SUT takes so long for each sample, watched."""
    watch = doom(folder, scenario, **changes)

    def look(found: Any) -> None:
        if found["phase"] == Phase.RUNNING:
            watch.check(found, (time.monotonic_ns() - found["running_ns"]) * 1e-9)

    child = str(Path(__file__).with_name("slow_child.py"))
    argv = [sys.executable, child, str(folder), str(answer_s), *how]
    return supervise(argv, folder, stall_s=30, on_progress=look)


SOON = {"min_duration_ms": 1000, "min_query_count": 1000}


@pytest.mark.loadgen
@pytest.mark.parametrize(
    ("scenario", "answer_s", "changes", "words"),
    [
        (Scenario.SERVER, 0.012, {"target_latency_ns": 5_000_000}, "took longer than 5 ms"),
        (Scenario.OFFLINE, 0.001, {"target_qps": 30.0}, "answered in"),
        (Scenario.SINGLE_STREAM, 0.001, {"expected_latency_ns": 100_000_000}, "are gone in"),
        (Scenario.MULTI_STREAM, 0.05, SOON | {"max_duration_ms": 8000}, "fit into"),
    ],
)
def test_a_doomed_test_is_stopped_with_its_reason(
    scenario: Scenario, answer_s: float, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    result = watched(tmp_path, scenario, answer_s, **changes)
    assert result.state is State.STOPPED, result.outcome
    assert words in result.error["message"]
    assert json.loads((tmp_path / "outcome.json").read_text())["state"] == "stopped"
    assert not parse_detail(tmp_path / DETAIL).valid
    found = read_progress(tmp_path / FILE_NAME)
    assert found is not None
    assert found["completed"] > 0


@pytest.mark.loadgen
def test_an_overloaded_model_is_stopped_before_it_has_answered_what_is_late(tmp_path: Path) -> None:
    result = watched(tmp_path, Scenario.SERVER, 0.5, "queued", target_latency_ns=130_000_000)
    assert result.state is State.STOPPED, result.outcome
    assert "have no answer yet" in result.error["message"]
    found = read_progress(tmp_path / FILE_NAME)
    assert found is not None
    assert found["completed"] < 10  # 48 must be late, which at two a second takes 24 s


@pytest.mark.loadgen
@pytest.mark.parametrize(("answer_s", "bound_ns", "late"), [(0.006, 5_000_000, True), (0, 10**11, False)])
def test_what_is_late_by_our_clock_is_late_by_loadgens(
    answer_s: float, bound_ns: int, late: bool, tmp_path: Path
) -> None:
    doom(tmp_path, Scenario.SERVER, min_duration_ms=100, min_query_count=40, target_latency_ns=bound_ns)
    child = str(Path(__file__).with_name("slow_child.py"))
    result = supervise([sys.executable, child, str(tmp_path), str(answer_s)], tmp_path, stall_s=30)
    assert result.state is State.COMPLETE, result.error
    found, log = read_progress(tmp_path / FILE_NAME), parse_detail(tmp_path / DETAIL)
    assert found is not None
    assert found["over"] == (found["queries"] if late else 0)
    assert (log.number("result_min_latency_ns") or 0) >= bound_ns if late else not log.errors


NULL_SERVER = ("--scenario", "Server", "--backend", "null", "--mode", "performance", "--target-qps", "500")
HOPELESS = (
    *NULL_SERVER,
    *("--set", "test.target_latency_ns=1", "--set", "harness.bare_s=0.1"),
    *("--set", "telemetry.baseline_s=0", "--set", "telemetry.cooldown_s=0"),
)


@pytest.mark.loadgen
def test_a_stopped_run_leaves_a_record_and_is_not_resumed(
    coldmark: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = coldmark("run", "resnet50", *HOPELESS)
    assert done.returncode == 3, done.stderr
    assert "stopped early: after" in done.stderr
    assert "a --target-qps below 500; --go-on" in done.stderr
    path = next((tmp_path / "runs").iterdir())
    record = read_record(path)
    assert record.state is State.STOPPED
    assert record.verdict == "INCOMPLETE"
    assert "took longer than 1e-06 ms" in record.reason
    shown = coldmark("runs", "show", path.name)
    assert "STOPPED: stopped early" in shown.stdout
    again = coldmark("runs", "resume", path.name)
    assert again.returncode == 2
    assert "cannot become VALID" in again.stderr
    assert "--target-qps below 500" in again.stderr


@pytest.mark.loadgen
def test_told_to_go_on_it_comes_to_its_own_end(
    coldmark: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = coldmark("run", "resnet50", *HOPELESS, "--go-on", "--set", "test.min_duration_ms=2000", "--json")
    assert done.returncode == 3, done.stderr
    record = json.loads(done.stdout)
    assert (record["state"], record["verdict"]) == ("complete", "INVALID")
    assert record["spec"]["options"]["harness.go_on"] == "true"
