"""What is kept of a tuning, and when a run uses it: not against the user, not on another machine or model."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from coldmark.cli.main import cli
from coldmark.cli.tune import make_tune_spec
from coldmark.core.calibration import Aim, Calibration, Candidate, Quantisation
from coldmark.core.codec import dump_json, from_plain, to_plain
from coldmark.core.errors import BackendError, ColdmarkError, ConfigError, DataError, Interrupted
from coldmark.core.nouns import Length, Measurement, Mode, Precision, Provenance, Scenario, State, Suite
from coldmark.core.record import Metric, RunRecord, RunSpec
from coldmark.core.server_rate import ServerRate
from coldmark.core.settings import SourcedSettings, TestSettings
from coldmark.core.suite import SuiteEntry, SuiteSpec
from coldmark.core.sut import Model
from coldmark.core.tuned import UNSCORED, Configuration, Trial, TunedKey, TunedRecord, TunedUse, command
from coldmark.report.suite import SuiteRow, suite_text
from coldmark.report.text import demo_text
from coldmark.report.text import tuned_text as run_line
from coldmark.report.tune import tuned_table, tuned_text
from coldmark.report.tune_suite import tuning_foot, tuning_table
from coldmark.runs import tuned as tuned_module
from coldmark.runs.rate import fill_open
from coldmark.runs.resolve import base_settings, open_task, resolve
from coldmark.runs.suite import plan_suite
from coldmark.runs.tuned import model_sha256, this_machine, with_tuned
from coldmark.runs.tuning import make
from coldmark.runs.tuning.child import scorer
from coldmark.runs.tuning.gate import Gates
from coldmark.runs.tuning.make import NoneHolds, TuneSpec, plan_tune, tune_key
from coldmark.runs.tuning.space import ROWS_BATCH, request_for
from coldmark.runs.tuning.space import text as space_value
from coldmark.runs.tuning.suite import plan_suite_tuning
from coldmark.store.tuned import find_tuned, forget_tuned, list_tuned, tuned_id, write_tuned
from coldmark.workloads.cache import cache_dir

BF16 = {"backend.batch": "16", "backend.streams": "2", "backend.threads": "2"}


def spec(**changes: Any) -> RunSpec:
    return replace(RunSpec(workload="resnet50", scenario=Scenario.OFFLINE, suite=Suite.EDGE), **changes)


@pytest.fixture(scope="module")
def sha() -> str:
    return model_sha256(open_task(resolve(spec()), cache_dir()))


@pytest.fixture
def record(sha: str) -> TunedRecord:
    key = TunedKey(
        machine=this_machine(),
        workload="resnet50",
        scenario=Scenario.OFFLINE,
        suite=Suite.EDGE,
        round="v2.1",
        model="mini",
    )
    return made(key, sha)


def made(key: TunedKey, sha: str, **changes: Any) -> TunedRecord:
    best = Configuration(backend="openvino", precision=Precision.FP32, options=dict(BF16))
    found = TunedRecord(
        id=tuned_id(key),
        key=key,
        model_sha256=sha,
        software=dict(resolve(spec()).backend.versions()),
        best=best,
        outcome="win",
        value=Measurement(value=200.0, unit="samples/s", low=190.0, high=210.0, n=12),
        default=Configuration(backend="openvino", precision=Precision.FP32),
        default_value=Measurement(value=100.0, unit="samples/s", low=99.0, high=101.0, n=12),
        ratio=Measurement(value=2.0, unit="", low=1.9, high=2.1, n=12),
        accuracy="FP32 is the reference of the gate",
        expected_qps=200.0,
        trials=(
            Trial(configuration=best, state="complete", value=200.0, relative=2.0, slices=3, started_s=1.0),
            Trial(configuration=best, state="failed", reason="out of memory"),
        ),
        seed=7,
        when="2026-11-23T12:00:00+00:00",
        load_average=(0.5, 0.5, 0.5),
    )
    return replace(found, **changes)


def test_what_is_written_is_read_again(tmp_path: Path, record: TunedRecord) -> None:
    path = write_tuned(tmp_path, record)
    assert find_tuned(tmp_path, record.id[:4]) == record
    assert list_tuned(tmp_path) == [record]
    assert [p.name for p in path.parent.iterdir()] == [f"{record.id}.json"]  # nothing is left aside
    assert from_plain(to_plain(record), TunedRecord, where="test") == record
    assert forget_tuned(tmp_path, record.id) == record.id
    assert list_tuned(tmp_path) == []


def test_tuning_the_same_again_replaces_it(tmp_path: Path, record: TunedRecord) -> None:
    write_tuned(tmp_path, record)
    write_tuned(tmp_path, replace(record, seed=8))
    assert [r.seed for r in list_tuned(tmp_path) if isinstance(r, TunedRecord)] == [8]


def test_a_suite_says_once_what_was_tuned_and_is_not_used(tmp_path: Path, record: TunedRecord) -> None:
    write_tuned(tmp_path, replace(record, software={**record.software, "openvino": "2020.1"}))
    suite = SuiteSpec(suite=Suite.EDGE, only=("resnet50",), length=Length.SMOKE)
    lines = {line.entry.name: line for line in plan_suite(suite, tmp_path, "test")}
    why = lines["resnet50/Offline"].unused
    assert "not used, tuned 2026-11-23" in why
    assert "openvino was 2020.1" in why
    assert [name for name, line in lines.items() if line.unused] == ["resnet50/Offline"]
    rows = [
        SuiteRow(entry=line.entry, record=None, least_s=1, taken_s=0, unused="tune again")
        for line in lines.values()
    ]
    text = suite_text(suite, "test", rows, None)
    assert text.count("tune again") == 1
    assert f"{', '.join(lines)}: tune again" in text
    assert plan_suite(replace(suite, untuned=True), tmp_path, "test")[0].unused == ""


@pytest.mark.parametrize("wrong", ["", "zz", "../x"])
def test_an_id_that_is_none_is_refused(tmp_path: Path, record: TunedRecord, wrong: str) -> None:
    write_tuned(tmp_path, record)
    with pytest.raises(ConfigError, match="nothing tuned has the id"):
        forget_tuned(tmp_path, wrong)


def test_a_damaged_file_is_said_and_harms_nothing(tmp_path: Path, record: TunedRecord) -> None:
    path = write_tuned(tmp_path, record)
    for text in ("{", '{"id": 3}', dump_json(replace(record, key=replace(record.key, model="full")))):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError):
            find_tuned(tmp_path, record.id)
        (listed,) = list_tuned(tmp_path)
        assert isinstance(listed, ColdmarkError)
        used, said = with_tuned(spec(), tmp_path, ())
        assert used == spec()
        assert "not used" in said
        assert "unreadable" in tuned_table([listed])


def test_a_run_that_says_nothing_takes_all_of_it(tmp_path: Path, record: TunedRecord) -> None:
    write_tuned(tmp_path, replace(record, best=replace(record.best, precision=Precision.BF16)))
    used, said = with_tuned(spec(), tmp_path, ())
    assert said == ""
    assert (used.backend, used.precision, used.options) == ("openvino", Precision.BF16, BF16)
    assert used.tuned is not None
    assert (used.tuned.id, used.tuned.expected_qps) == (record.id, 200.0)
    line = run_line(used)
    assert "batch 16, streams 2" in line
    assert f"tuned 2026-11-23, id {record.id}" in line


def test_what_the_user_says_always_wins(tmp_path: Path, record: TunedRecord) -> None:
    write_tuned(tmp_path, record)
    asked = spec(options={"batch": "4"})
    used, _ = with_tuned(asked, tmp_path, ())
    assert used.options == {"batch": "4", "backend.streams": "2", "backend.threads": "2"}
    assert used.tuned is not None
    assert "backend.batch" not in used.tuned.settings
    assert used.tuned.expected_qps is None  # that rate was another configuration's
    resolve(used)
    for changes, given in (
        ({"precision": Precision.BF16}, ("precision",)),
        ({"backend": "onnxruntime"}, ("backend",)),
    ):
        other = spec(**changes)
        assert with_tuned(other, tmp_path, given) == (other, "")


@pytest.mark.parametrize(
    "changes",
    [
        {"scenario": Scenario.SERVER},
        {"suite": Suite.DATACENTER},
        {"model": "full"},
        {"round": "v3.0"},
        {"workload": "retinanet"},
        {"options": {"data.path": "elsewhere"}},
    ],
)
def test_a_tuning_of_something_else_is_not_used(
    tmp_path: Path, record: TunedRecord, changes: dict[str, Any]
) -> None:
    write_tuned(tmp_path, record)
    assert with_tuned(spec(**changes), tmp_path, ())[0] == spec(**changes)


def test_a_tuning_of_another_machine_is_not_used(tmp_path: Path, record: TunedRecord) -> None:
    key = replace(
        record.key, machine=replace(record.key.machine, processors=record.key.machine.processors + 1)
    )
    write_tuned(tmp_path, replace(record, key=key, id=tuned_id(key)))
    assert with_tuned(spec(), tmp_path, ()) == (spec(), "")


def test_other_software_is_said_and_not_used(tmp_path: Path, record: TunedRecord) -> None:
    write_tuned(tmp_path, replace(record, software={"openvino": "1.0"}))
    used, said = with_tuned(spec(), tmp_path, ())
    assert used == spec()
    assert "openvino was 1.0, is" in said
    assert "coldmark tune resnet50 --scenario Offline" in said


def test_another_model_is_said_and_not_used(tmp_path: Path, record: TunedRecord) -> None:
    write_tuned(tmp_path, replace(record, model_sha256="0" * 64))
    used, said = with_tuned(spec(), tmp_path, ())
    assert used == spec()
    assert "the model has changed" in said


def test_what_was_fixed_when_tuning_must_be_so_in_the_run(tmp_path: Path, record: TunedRecord) -> None:
    key = replace(record.key, fixed={"backend.batch": "16"})
    write_tuned(tmp_path, replace(record, key=key, id=tuned_id(key)))
    used, said = with_tuned(spec(), tmp_path, ())
    assert used == spec()
    assert "not used, tuned with --set backend.batch=16" in said
    assert "coldmark run resnet50 --scenario Offline --set backend.batch=16" in said
    asked = spec(options={"backend.batch": "16"})
    assert with_tuned(asked, tmp_path, ())[0].tuned is not None
    other = spec(options={"batch": "4"})  # the user's own choice: nothing is to be said
    assert with_tuned(other, tmp_path, ()) == (other, "")


def test_of_several_tunings_the_one_with_the_runs_own_options_is_used(
    tmp_path: Path, record: TunedRecord
) -> None:
    write_tuned(tmp_path, record)  # batch 16
    key = replace(record.key, fixed={"backend.batch": "8"})
    best = replace(record.best, options=BF16 | {"backend.batch": "8"})
    slower = replace(record, best=best, value=replace(record.value, value=150.0), expected_qps=150.0)
    write_tuned(tmp_path, replace(slower, key=key, id=tuned_id(key)))
    used, _ = with_tuned(spec(options={"batch": "8"}), tmp_path, ())
    assert used.tuned is not None
    assert (used.tuned.id, used.tuned.expected_qps) == (tuned_id(key), 150.0)


def test_a_tuning_kept_to_one_precision_is_used_where_the_run_names_none(
    tmp_path: Path, record: TunedRecord
) -> None:
    key = replace(record.key, fixed={"precision": "bf16"})
    best = replace(record.best, precision=Precision.BF16)
    bf16 = replace(record, key=key, id=tuned_id(key), best=best)
    write_tuned(tmp_path, bf16)
    used, said = with_tuned(spec(), tmp_path, ())
    assert (used.precision, said) == (Precision.BF16, "")
    assert with_tuned(spec(), tmp_path, ("precision",)) == (spec(), "")  # FP32 was asked for
    asked = spec(precision=Precision.BF16)
    assert with_tuned(asked, tmp_path, ("precision",))[0].tuned is not None

    write_tuned(tmp_path, replace(bf16, accuracy=f"{UNSCORED}; accuracy cannot be scored: no answers"))
    used, said = with_tuned(spec(), tmp_path, ())
    assert used == spec()
    assert "not used, tuned with --precision bf16" in said
    assert with_tuned(asked, tmp_path, ("precision",))[0].tuned is not None


def test_a_tuning_under_another_latency_bound_is_not_used(
    tmp_path: Path, record: TunedRecord, sha: str
) -> None:
    bound = {"test.target_latency_ns": "60000000"}
    asked = flags(scenario="Server", sets=("test.target_latency_ns=60000000",))
    open_, closed = make_tune_spec("resnet50", asked), make_tune_spec("resnet50", flags(scenario="Server"))
    assert tune_key(open_).fixed == bound
    assert tuned_id(tune_key(open_)) != tuned_id(tune_key(closed))  # neither replaces the other
    run, own = replace(closed.run), replace(open_.run)
    for key, fits, other in ((tune_key(open_), own, run), (tune_key(closed), run, own)):
        path = write_tuned(tmp_path, made(key, sha, server=SEARCHED))
        assert with_tuned(other, tmp_path, ()) == (other, "")
        assert with_tuned(fits, tmp_path, ())[0].tuned is not None
        path.unlink()
    plan = resolve(own)
    assert request_for(plan, open_task(plan, cache_dir())).limit_s == pytest.approx(0.06)


def test_a_calibration_that_was_given_is_part_of_what_is_tuned(tmp_path: Path, record: TunedRecord) -> None:
    asked = make_tune_spec("resnet50", flags(precision="int8", sets=("calibration.id=ab",)))
    assert tune_key(asked).fixed == {"calibration.id": "ab", "precision": "int8"}
    best = replace(record.best, precision=Precision.INT8)
    write_tuned(tmp_path, replace(record, key=tune_key(asked), id=tuned_id(tune_key(asked)), best=best))
    other = replace(asked.run, options={"calibration.id": "cd"})
    assert with_tuned(other, tmp_path, ("precision",)) == (other, "")


def test_the_tuned_value_given_again_changes_nothing(tmp_path: Path, record: TunedRecord) -> None:
    write_tuned(tmp_path, replace(record, server=SEARCHED))
    again = spec(options={"batch": "16", "backend.threads": "02"}, length=Length.OFFICIAL)
    used, _ = with_tuned(again, tmp_path, ())
    assert used.tuned is not None
    assert (used.tuned.expected_qps, used.tuned.server_qps) == (200.0, 60.0)
    assert "backend.batch" not in used.tuned.settings  # that one is the user's


def test_of_several_that_fit_the_fastest_is_used(tmp_path: Path, record: TunedRecord) -> None:
    write_tuned(tmp_path, record)
    key = replace(record.key, fixed={"precision": "fp32"})
    slow = replace(record.best, options={"backend.batch": "1"})
    value = replace(record.value, value=50.0)
    write_tuned(tmp_path, replace(record, key=key, id=tuned_id(key), best=slow, value=value))
    assert with_tuned(spec(), tmp_path, ())[0].options == BF16


def test_a_suite_runs_tuned_unless_told_not_to(tmp_path: Path, record: TunedRecord) -> None:
    write_tuned(tmp_path, record)
    seen: list[RunSpec] = []

    def resolved(run: RunSpec) -> Any:
        seen.append(run)
        return resolve(run)

    only = SuiteSpec(suite=Suite.EDGE, only=("resnet50/Offline",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coldmark.runs.suite.resolve", resolved)
        for suite in (
            only,
            replace(only, untuned=True),
            replace(only, given=("precision",), precision=Precision.BF16),
        ):
            plan_suite(suite, tmp_path, "s")
    assert [bool(run.tuned) for run in seen] == [True, False, False]
    assert seen[0].options == BF16


def server_key(record: TunedRecord) -> TunedKey:
    return replace(record.key, scenario=Scenario.SERVER, suite=Suite.DATACENTER)


def test_a_server_without_a_rate_is_tuned_again_where_there_is_more_time(
    tmp_path: Path, record: TunedRecord, sha: str
) -> None:
    suite = SuiteSpec(suite=Suite.DATACENTER, only=("resnet50/Server",))
    write_tuned(tmp_path, made(server_key(record), sha, server=None, budget_s=60.0))
    for budget_s, passed_over in ((60.0, True), (360.0, False)):
        template = TuneSpec(run=spec(), budget_s=budget_s)
        (line,) = plan_suite_tuning(suite, template, tmp_path, again=False)
        assert line.was_there is passed_over
    assert "not found: coldmark tune --show" in tuning_table(
        [replace(line, record=find_tuned(tmp_path, tuned_id(server_key(record))))]
    )
    write_tuned(tmp_path, made(server_key(record), sha, server=SEARCHED, budget_s=60.0))
    (line,) = plan_suite_tuning(suite, template, tmp_path, again=False)
    assert line.was_there


@pytest.mark.parametrize(
    ("error", "code"), [(NoneHolds("no rate meets 15 ms", ()), 3), (DataError("broken"), 5)]
)
def test_a_suite_in_which_nothing_holds_is_a_verdict_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def failing(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr("coldmark.runs.tuning.suite.tune", failing)
    monkeypatch.setattr("coldmark.runs.tuning.suite.plan_tune", lambda *args, **kwargs: None)
    argv = ["tune", "--suite", "datacenter", "--only", "resnet50/Server", "--runs-dir", str(tmp_path)]
    found = CliRunner().invoke(cli, argv)
    assert found.exit_code == code
    assert str(error).partition(":")[0] in found.stdout


def test_a_folder_that_cannot_be_written_is_known_before_the_search(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write here") as refused:
        make.tune(None, tmp_path / "file")  # type: ignore[arg-type]
    assert refused.value.hint == "choose another with --runs-dir"


def test_who_stops_a_tuning_is_told_what_became_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(self: Any) -> Any:
        raise Interrupted("stopped by the user", hint="coldmark runs resume trial-03")

    monkeypatch.setattr(make.Search, "run", stopped)
    planned = plan_tune(make_tune_spec("resnet50", flags(backend="openvino", precision="fp32")), dry=True)
    with pytest.raises(Interrupted) as ended:
        make.tune(planned, tmp_path)
    assert ended.value.hint == "nothing was kept; what was tuned before still holds"


def test_what_is_given_and_not_searched_is_so_in_every_trial() -> None:
    asked = flags(scenario="SingleStream", backend="openvino", precision="fp32", sets=("streams=2",))
    planned = plan_tune(make_tune_spec("resnet50", asked), dry=True)
    assert "streams" not in {axis.name for axis in planned.space.branches[0].axes}
    trial = Configuration(backend="openvino", precision=Precision.FP32, options={"backend.threads": "1"})
    opened = make._opener(planned).spec_of(trial)
    assert opened.options == {"backend.streams": "2", "backend.threads": "1"}
    resolve(opened)


def test_a_suite_passes_over_what_is_tuned(tmp_path: Path, record: TunedRecord) -> None:
    template = TuneSpec(run=spec())
    suite = SuiteSpec(suite=Suite.EDGE, only=("resnet50",))
    key = tune_key(template)
    assert key == record.key  # what `tune` keeps is what `run` looks for
    write_tuned(tmp_path, record)
    lines = plan_suite_tuning(suite, template, tmp_path, again=False)
    assert {line.entry.scenario: line.was_there for line in lines} == {
        Scenario.OFFLINE: True,
        Scenario.SINGLE_STREAM: False,
        Scenario.MULTI_STREAM: False,
    }
    assert not any(line.record for line in plan_suite_tuning(suite, template, tmp_path, again=True))
    assert "2.000 (1.900 to 2.100)" in tuning_table(lines)
    assert (
        tuning_foot(lines, 60)
        == "1 of 3 tuned (1 better than the default, 0 tied with it), about 2:00 min left"
    )
    table = tuning_table([replace(lines[0], record=replace(record, key=server_key(record), server=SEARCHED))])
    assert "60 queries/s, 3.2% below its limit" in table
    beyond = replace(SEARCHED, rate_qps=0.0, limit_qps=0.0)
    table = tuning_table([replace(lines[0], record=replace(record, key=server_key(record), server=beyond))])
    assert "none holds 15 ms" in table
    kept = [replace(i, record=i.record and replace(record, outcome="default")) for i in lines]
    assert "(0 better than the default, 0 tied with it, 1 where it is the fastest)" in tuning_foot(kept, 60)
    assert "default is faster" in tuned_table([replace(record, outcome="default")])
    assert "the default is the fastest" in tuned_text(replace(record, outcome="default"), "x.json")


def test_a_suite_says_what_each_line_ran_with(record: TunedRecord) -> None:
    suite = SuiteSpec(suite=Suite.EDGE)
    assert "openvino fp32 where not tuned, rules" in suite_text(suite, "s", [], None)
    for fixed in (replace(suite, untuned=True), replace(suite, given=("backend", "precision"))):
        assert "openvino fp32, rules" in suite_text(fixed, "s", [], None)
    entry = SuiteEntry(benchmark="resnet50", scenario=Scenario.OFFLINE, run_id="r")
    use = TunedUse(id="1", when="", settings={})
    plain, tuned = (
        SuiteRow(
            entry=entry, record=RunRecord(run_id="r", state=State.COMPLETE, spec=s), least_s=1, taken_s=1
        )
        for s in (spec(), spec(backend="onnxruntime", precision=Precision.INT8, tuned=use))
    )
    assert "ran with" not in suite_text(suite, "s", [plain], None)
    text = suite_text(suite, "s", [plain, tuned], None)
    assert "onnxruntime int8, tuned" in text
    assert "openvino fp32\n" in text


def test_a_printed_command_makes_the_same_key(record: TunedRecord) -> None:
    assert command("run", record.key) == "coldmark run resnet50 --scenario Offline"
    sets = ("data.path=my data", "batch=4", "test.target_latency_ns=60000000", "calibration.id=ab")
    asked = flags(
        scenario="Server", model="full", round_="v3.0", backend="onnxruntime", precision="int8", sets=sets
    )
    key = tune_key(make_tune_spec("resnet50", asked))
    said = command("tune", key)
    assert "--set 'data.path=my data'" in said
    words = iter(shlex.split(said)[3:])
    given: dict[str, Any] = {"sets": ()}
    for flag, value in zip(words, words, strict=True):
        name = {"--round": "round_"}.get(flag, flag[2:])
        given |= {"sets": (*given["sets"], value)} if name == "set" else {name: value}
    assert tune_key(make_tune_spec("resnet50", flags(**given))) == key
    assert f"used by    {command('run', key)}  (not" in tuned_text(replace(record, key=key), "x.json")


def test_a_tuning_as_text(record: TunedRecord) -> None:
    text = tuned_text(record, "here.json")
    for part in (
        "200 samples/s (190 to 210)",
        "2.000 (1.900 to 2.100)",
        "1 complete, 1 failed",
        "out of memory",
    ):
        assert part in text


class _Sut:
    """Nothing is asked of it in Offline."""


@pytest.mark.parametrize(
    ("bare", "tuned", "expected", "source"),
    [
        (100.0, None, 120.0, "bare rate, measured"),  # no tuned rate: the wide margin
        (100.0, 110.0, 121.0, "tuned rate"),  # both agree: the higher, and 10 %
        (100.0, 90.0, 110.0, "tuned rate"),
        (100.0, 200.0, 120.0, "bare rate, measured"),  # another machine, or other load
    ],
)
def test_offline_expects_the_tuned_rate_where_the_bare_rate_agrees(
    bare: float, tuned: float | None, expected: float, source: str
) -> None:
    open_ = SourcedSettings(
        settings=TestSettings(
            scenario=Scenario.OFFLINE,
            mode=Mode.PERFORMANCE,
            min_duration_ms=1,
            min_query_count=1,
            qsl_rng_seed=1,
            sample_index_rng_seed=1,
            schedule_rng_seed=1,
            performance_sample_count=1,
        )
    )
    use = TunedUse(id="1", when="", settings={}, expected_qps=tuned)
    filled = fill_open(open_, _Sut(), bare, None, use)  # type: ignore[arg-type]
    assert filled.settings.target_qps == pytest.approx(expected)
    assert source in filled.sources["target_qps"]


SEARCHED = ServerRate(
    rate_qps=60.0,
    short_qps=55.0,
    confidence=0.96,
    limit_qps=62.0,
    limit_low_qps=60.5,
    limit_high_qps=64.0,
    official_queries=270_336,
    bound_ms=15.0,
    percentile=0.99,
    bare_rate=100.0,
    searched_s=88.0,
    notes=("the budget ended the search after 7 trials",),
)


@pytest.mark.parametrize(
    ("length", "bare", "asked", "source"),
    [
        (Length.OFFICIAL, 101.0, 60.0, "auto: the searched rate"),
        (Length.SHORT, 95.0, 55.0, "auto: the searched rate"),  # fewer queries forgive less
        (Length.OFFICIAL, 80.0, 48.0, "times 0.8: the machine is slower now"),
    ],
)
def test_server_asks_for_the_searched_rate(
    tmp_path: Path, record: TunedRecord, sha: str, length: Length, bare: float, asked: float, source: str
) -> None:
    key = replace(record.key, scenario=Scenario.SERVER, suite=Suite.DATACENTER)
    write_tuned(tmp_path, made(key, sha, server=SEARCHED, expected_qps=None))
    run = spec(scenario=Scenario.SERVER, suite=Suite.DATACENTER, length=length)
    used, _ = with_tuned(run, tmp_path, ())
    plan = resolve(used)
    open_ = base_settings(plan, open_task(plan, cache_dir()), Mode.PERFORMANCE)
    filled = fill_open(open_, _Sut(), bare, None, used.tuned)  # type: ignore[arg-type]
    assert filled.settings.target_qps == pytest.approx(asked)
    assert source in filled.sources["target_qps"]
    other, _ = with_tuned(replace(run, options={"batch": "4"}), tmp_path, ())
    assert other.tuned is not None
    assert other.tuned.server_qps is None  # that rate was another configuration's
    smoke, _ = with_tuned(replace(run, length=Length.SMOKE), tmp_path, ())
    assert smoke.tuned is not None
    assert smoke.tuned.server_qps is None  # too few queries for a claim


def test_a_searched_rate_is_shown_with_its_margin_and_what_is_out_of_reach_is_said(
    record: TunedRecord,
) -> None:
    played = replace(record.value, provenance=Provenance.SIMULATED)
    assert "200 samples/s played (190 to 210)" in tuned_text(replace(record, value=played), "x.json")
    text = tuned_text(replace(record, server=SEARCHED), "x.json")
    assert "60 queries/s, 3.2% below the limit of 62 (60.5 to 64); at short length 55" in text
    assert "chance of 0.960" in text
    assert "the budget ended the search" in text
    beyond = replace(SEARCHED, rate_qps=0.0, limit_qps=0.0, best_latency_ms=31.5, open_bound_ms=40.0)
    assert "none holds 15 ms: the best seen is 31.5 ms; open division: 40 ms" in tuned_text(
        replace(record, server=beyond), "x.json"
    )


def flags(**changes: Any) -> dict[str, Any]:
    given = {
        "scenario": "Offline",
        "suite": None,
        "model": None,
        "backend": None,
        "precision": None,
        "round_": None,
        "budget": 60.0,
        "memory": None,
        "drift": 0.1,
        "slice_": 0.4,
        "trials": None,
        "seed": 0,
        "sets": (),
    }
    return given | changes


def test_flags_that_are_given_are_fixed_and_the_rest_is_searched() -> None:
    free = plan_tune(make_tune_spec("resnet50", flags()), dry=True).space
    assert {b.backend for b in free.branches} == {"openvino", "onnxruntime"}
    assert any("coldmark calibrate resnet50" in reason for reason in free.left_out)
    kept = plan_tune(
        make_tune_spec("resnet50", flags(backend="openvino", precision="fp32", sets=("batch=4", "pin=true"))),
        dry=True,
    )
    (branch,) = kept.space.branches
    values = {axis.name: axis.values for axis in branch.axes}
    assert (values["batch"], values["pin"]) == ((4,), (True,))
    assert len(values["threads"]) >= 1
    assert kept.key.fixed == {
        "backend.batch": "4",
        "backend.pin": "true",
        "backend": "openvino",
        "precision": "fp32",
    }
    assert ROWS_BATCH not in values["batch"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backend": "null"}, "nothing to tune"),
        ({"backend": "openvno"}, "did you mean 'openvino'"),
        ({"budget": 0.0}, "--budget"),
        ({"drift": 0.0}, "--drift"),
        ({"memory": 1e-3}, "--memory"),
        ({"memory": 0.0}, "--memory"),
        ({"trials": 0}, "--trials"),
        ({"scenario": "Server", "sets": ("delay_us=soon",)}, "delay_us"),
        ({"scenario": None}, "which scenario"),
        ({"sets": ("bach=4",)}, "batch"),
        ({"backend": "onnxruntime", "precision": "bf16"}, "bf16"),
    ],
)
def test_what_cannot_be_tuned_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_tune(make_tune_spec("resnet50", flags(**changes)), dry=True)


def test_a_number_is_read_however_it_is_written() -> None:
    asked = flags(scenario="Server", backend="openvino", precision="fp32", sets=("delay_us=1e3",))
    (branch,) = plan_tune(make_tune_spec("resnet50", asked), dry=True).space.branches
    (delay,) = (axis for axis in branch.axes if axis.name == "delay_us")
    assert delay.values == (1000,)
    assert [space_value(v) for v in (1234567, 0.5, True)] == ["1234567", "0.5", "true"]


class _Queue:
    """A system whose batches of up to four take 4 ms each; one in fifty as long as it is told."""

    def __init__(self, delay_us: float, late_s: float = 0.004) -> None:
        self._delay_us, self._late_s = delay_us, late_s

    def describe(self) -> dict[str, Any]:
        return {"batch_samples": 4, "streams": 1, "delay_us": self._delay_us}

    def bare_times(self, seconds: float, samples: int) -> Any:
        return np.array(([0.004] * 49 + [self._late_s]) * 4)

    def bare_rate(self, seconds: float, samples: int) -> float:
        return 900.0


def test_delay_and_tail_count_in_server_and_no_margin_hides_them() -> None:
    plan = resolve(spec(scenario=Scenario.SERVER, suite=Suite.DATACENTER))

    def score(queue: _Queue) -> dict[str, Any]:
        return scorer(plan, queue)(0.1)  # type: ignore[arg-type]

    plain, tail, slow = (score(q)["value"] for q in (_Queue(0), _Queue(0, 0.008), _Queue(5000)))
    assert 450 < plain <= 900  # more than half of the bare rate
    assert tail < 0.95 * plain
    assert slow != pytest.approx(plain, rel=0.02)
    assert score(_Queue(0, 0.030))["infeasible"].startswith("no rate meets 15 ms (p99 of one alone: 30 ms)")


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux has it")
def test_what_a_parent_once_took_is_not_its_childs_memory() -> None:
    ballast = b"x" * (700 << 20)
    code = "from coldmark.runs.worker import peak_rss_bytes as peak; print(peak())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 10 << 20 < int(said) < len(ballast)


def test_weights_beside_a_model_are_part_of_it(tmp_path: Path) -> None:
    task = open_task(resolve(spec()), cache_dir())
    assert isinstance(task.model, Model)
    found = []
    for value in (1.0, 2.0):
        weights = onnx.numpy_helper.from_array(np.full(2000, value, np.float32), "w")
        out = onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [2000])
        made = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [out], [weights]))
        path = tmp_path / "m.onnx"
        (tmp_path / "m.data").unlink(missing_ok=True)
        onnx.save(made, path, save_as_external_data=True, location="m.data", size_threshold=0)
        found.append((path.read_bytes(), model_sha256(replace(task, model=replace(task.model, path=path)))))
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BackendError("it died", hint="see the log"), "it died; see the log; a run finds a lower one"),
        (
            ConfigError("9 s are too few", where="--budget", hint="45 s at the least; three minutes"),
            "50% of --budget 60 is the rate's: 9 s are too few; 45 s at the least; three minutes; a run",
        ),
    ],
)
def test_a_rate_that_cannot_be_searched_does_not_lose_the_configuration(
    monkeypatch: pytest.MonkeyPatch, record: TunedRecord, error: ColdmarkError, said: str
) -> None:
    def failing(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(make, "find_server_rate", failing)
    asked = flags(scenario="Server", backend="openvino", precision="fp32")
    planned = plan_tune(make_tune_spec("resnet50", asked), dry=True)
    kept = make._with_rate(planned, record, None)
    assert kept.best == record.best
    assert kept.server is None
    assert said in kept.findings[0].found
    error = Interrupted("stopped")
    with pytest.raises(Interrupted):
        make._with_rate(planned, record, None)


def test_a_precision_that_misses_its_gate_is_left_out_with_its_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measured(self: Gates, backend: str, precision: Precision) -> dict[str, Any]:
        return {"metric": "acc", "value": 50.0, "unit": "%", "target": 82.6}

    monkeypatch.setattr(Gates, "_measured", measured)
    monkeypatch.setenv("COLDMARK_CACHE_DIR", str(cache_dir() / "gate"))
    plan = plan_tune(make_tune_spec("resnet50", flags(backend="openvino")))
    missed = [reason for reason in plan.space.left_out if "does not hold" in reason]
    if not missed:
        pytest.skip("this processor has no BF16")
    assert missed == ["openvino bf16: acc 50 % (target 82.6) does not hold the accuracy gate"]
    again = plan_tune(make_tune_spec("resnet50", flags(backend="openvino")))  # known from now on
    assert missed[0] in again.space.left_out


def test_the_accuracy_of_a_precision_is_that_of_the_whole_set(monkeypatch: pytest.MonkeyPatch) -> None:
    floors: list[float | None] = []

    values = iter((99.0, float("nan")))

    def accuracy(bare: Any, task: Any, floor: float | None, on_done: Any) -> Any:
        floors.append(floor)
        return SimpleNamespace(value=next(values))

    monkeypatch.setattr("coldmark.runs.calibration.measure.accuracy", accuracy)
    monkeypatch.setattr("coldmark.runs.calibration.measure.opened", lambda *args: nullcontext())
    monkeypatch.setattr("coldmark.runs.tuning.gate._known", lambda path: None)
    monkeypatch.setattr("coldmark.runs.tuning.gate.write_whole", lambda path, text: None)
    run = resolve(spec())
    gates = Gates(run, open_task(run, cache_dir()), measure=True, asked=None)
    why = gates.why_not("openvino", Precision.BF16)
    if not floors:
        pytest.skip(why)
    assert why == ""
    assert floors == [None]
    assert gates.why_not("openvino", Precision.BF16).endswith("is nan")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"backend": "onnxruntime"}, "calibration ab is of the onnxruntime backend"),
        ({"ratio": 0.9}, "calibration ab was judged by a weaker gate: acc 79.9 % (target 79.2)"),
    ],
)
def test_int8_is_admitted_by_the_figures_of_the_model_that_was_kept(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], why: str
) -> None:
    kept = Candidate(precision=Precision.INT8, method="q", accuracy=79.9, passed=True)
    other = replace(kept, method="r", accuracy=70.0, passed=False)
    bf16 = Candidate(precision=Precision.BF16, accuracy=80.0, passed=True)
    quantised = Quantisation(
        id="ab",
        method="q",
        floating=Precision.FP32,
        excluded={},
        networks={},
        set_name="shapes",
        set_sha256="",
        samples=1,
        made_with={},
    )
    found = Calibration(
        id="ab",
        workload="resnet50",
        model="mini",
        backend="openvino",
        models={},
        ratio=0.99,
        aim=Aim(metric="acc", unit="%", reference=80.0, target=79.2),
        front=(other, kept, bf16),
        chosen=bf16,
        quantisation=quantised,
        reason="",
        made="",
        seconds=1.0,
    )
    run = resolve(spec(precision=Precision.INT8, options={"calibration.id": "ab"}))
    opened: list[str] = []

    def opening(plan: Any, cache: Any) -> Any:
        opened.append(plan.calibration.id)
        return SimpleNamespace(quantised=quantised, gate=None)

    monkeypatch.setattr("coldmark.runs.tuning.gate.open_task", opening)
    monkeypatch.setattr(
        "coldmark.runs.tuning.gate.find_calibration", lambda cache, id_: replace(found, **changes)
    )
    gates = Gates(run, open_task(resolve(spec()), cache_dir()), measure=True, asked=Precision.INT8)
    assert gates.why_not("openvino", Precision.INT8) == why
    assert opened == ["ab"]  # the one that was given
    if not why:
        assert gates.how["openvino int8"] == "acc 79.9 % (target 79.2), by calibration ab"


Coldmark = Callable[..., Any]


@pytest.mark.loadgen
def test_tune_then_run(coldmark: Coldmark, tmp_path: Path) -> None:
    tuned = coldmark(
        *("tune", "resnet50", "--scenario", "Offline", "--backend", "openvino", "--precision", "fp32"),
        *("--set", "streams=1", "--set", "threads=1", "--set", "requests=1", "--set", "pin=false"),
        *("--budget", "600", "--trials", "2", "--slice", "0.02", "--drift", "50", "--json"),
    )
    assert tuned.returncode == 0, tuned.stderr
    found = json.loads(tuned.stdout)
    assert found["outcome"] in ("win", "tie", "default")
    assert len(found["trials"]) >= 2
    assert Path(tmp_path, found["path"]).is_file()
    assert np.isfinite(found["value"]["value"])
    shown = coldmark("tune", "--show", found["id"][:6])
    assert found["best"]["backend"] in shown.stdout
    small = coldmark(
        *("run", "resnet50", "--scenario", "Offline", "--mode", "performance", "--length", "smoke", "--json"),
        *("--set", "streams=1", "--set", "threads=1", "--set", "requests=1", "--set", "pin=false"),
        *("--set", "test.min_duration_ms=1", "--set", "harness.bare_s=0.1"),
        *("--set", "telemetry.baseline_s=0", "--set", "telemetry.cooldown_s=0"),
    )
    record = json.loads(small.stdout)
    assert record["spec"]["tuned"]["id"] == found["id"]
    assert record["spec"]["tuned"]["when"] == found["when"]
    assert coldmark("tune", "--forget", found["id"]).returncode == 0
    assert "nothing is tuned" in coldmark("tune", "--list").stderr


def test_a_budget_too_small_is_refused_by_the_command(coldmark: Coldmark) -> None:
    refused = coldmark("tune", "resnet50", "--scenario", "Offline", "--backend", "openvino", "--budget", "1",
                       "--precision", "fp32")  # fmt: skip
    assert refused.returncode == 2
    assert "too few for one trial" in refused.stderr
    assert "at least" in refused.stderr


def test_memory_that_the_default_exceeds_is_refused(coldmark: Coldmark) -> None:
    refused = coldmark(
        *("tune", "resnet50", "--scenario", "Offline", "--backend", "openvino", "--precision", "fp32"),
        *("--memory", "0.06"),
    )
    assert refused.returncode == 2
    assert "GiB" in refused.stderr
    assert "--memory" in refused.stderr


def test_this_machine_is_always_the_same() -> None:
    assert tuned_module.this_machine() == this_machine()
    assert this_machine().processors >= 1


def test_the_demo_says_what_tuning_was_worth_beside_the_untuned_run() -> None:
    def run(rate: float, run_spec: RunSpec) -> tuple[RunRecord, Path]:
        metric = Metric(name="rate", value=rate, unit="samples/s")
        return RunRecord(run_id="r", state=State.COMPLETE, spec=run_spec, metric=metric), Path("runs/r")

    use = TunedUse(
        id="e10d", when="2026-11-23T12:00:00+00:00", settings={"precision": "int8", "backend.batch": "4"}
    )
    tuned = spec(precision=Precision.INT8, tuned=use)
    text = demo_text([run(500.0, spec(workload="dlrm-99.9")), run(800.0, spec()), run(2400.0, tuned)])
    assert "resnet50 Offline tuned: 3.00 times the untuned fp32 before it" in text
    assert "precision int8, batch 4  (tuned 2026-11-23, id e10d)" in text
    assert "used from now on by: coldmark run resnet50 --scenario Offline\n" in text
    alone = demo_text([run(500.0, spec(workload="dlrm-99.9")), run(2400.0, tuned)])
    assert "times" not in alone  # the untuned run was stopped: nothing to compare with
