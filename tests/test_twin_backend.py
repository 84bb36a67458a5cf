"""`--backend twin`: an ordinary run record, in virtual time, marked simulated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from coldmark.cli.run import run
from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Length, Mode, Provenance, Scenario, Severity, Suite
from coldmark.core.record import RunSpec
from coldmark.core.settings import TestSettings
from coldmark.loadgen.virtual_log import VirtualTest, virtual_log
from coldmark.report.text import run_text, verdict_text
from coldmark.rules.book import load_book
from coldmark.rules.run_checks import CheckedRun, check_run
from coldmark.runs.execute import execute
from coldmark.store.rundir import changed_files, list_runs, read_record


def spec(**more: object) -> RunSpec:
    given: dict[str, object] = {
        "workload": "resnet50",
        "scenario": Scenario.OFFLINE,
        "suite": Suite.DATACENTER,
        "model": "full",
        "backend": "twin",
        "length": Length.SMOKE,
        "options": {"backend.server": "dgx-a100"},
        **more,
    }
    return RunSpec(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("scenario", [Scenario.OFFLINE, Scenario.SERVER])
def test_a_twin_run_is_a_sealed_record_marked_simulated(tmp_path: Path, scenario: Scenario) -> None:
    record, path = execute(spec(scenario=scenario), tmp_path)
    assert record.provenance is Provenance.SIMULATED
    assert record.verdict == "VALID"
    assert not record.submittable
    assert record.metric is not None
    assert record.metric.unit == {Scenario.OFFLINE: "samples/s", Scenario.SERVER: "queries/s"}[scenario]
    assert read_record(path) == record
    assert changed_files(path) == []
    assert [name for name, _ in list_runs(tmp_path)] == [record.run_id]
    assert "simulated" in run_text(record, str(path))
    assert "twin of dgx-a100" in run_text(record, str(path))  # no model of ours ran
    assert json.loads((path / "twin.json").read_text(encoding="utf-8"))["balance_residual"] < 1e-9
    assert "server twin" in json.loads((path / "system.json").read_text(encoding="utf-8"))["hw_notes"]
    assert "mlcommons-loadgen" not in record.software


def test_not_even_an_official_length_can_be_submitted(tmp_path: Path) -> None:
    record, _ = execute(spec(length=Length.OFFICIAL), tmp_path)
    assert not record.submittable
    assert "simulated, never submitted" in verdict_text(record)


def test_its_accuracy_is_refused_not_invented(tmp_path: Path) -> None:
    record, _ = execute(spec(), tmp_path)
    assert record.accuracy is not None
    assert record.accuracy.value is None
    assert "computes nothing" in record.accuracy.reason


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"options": {"backend.server": "dgx"}}, "no server 'dgx'"),
        ({"options": {"backend.supply_degc": "5"}}, "dew point"),
        ({"options": {"backend.suply_degc": "5"}}, "did you mean 'backend.supply_degc'"),
        ({"target_qps": 100.0}, "--target-qps"),
        ({"options": {"test.min_query_count": "5"}}, "permitted: test.min_duration_ms"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    tmp_path: Path, more: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError) as error:
        execute(spec(**more), tmp_path)
    assert words in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("scenario", "suite", "server", "key"),
    [
        (Scenario.OFFLINE, Suite.DATACENTER, "dgx-a100", "result_samples_per_second"),
        (Scenario.SERVER, Suite.DATACENTER, "dgx-a100", "result_scheduled_samples_per_sec"),
        (Scenario.SINGLE_STREAM, Suite.EDGE, "x660-g45-lp-1x", "early_stopping_latency_ss"),
        (Scenario.MULTI_STREAM, Suite.EDGE, "x660-g45-lp-1x", "early_stopping_latency_ms"),
    ],
)
def test_the_checks_of_a_real_run_find_nothing_wrong_with_a_good_one(
    tmp_path: Path, scenario: Scenario, suite: Suite, server: str, key: str
) -> None:
    record, path = execute(
        spec(scenario=scenario, suite=suite, length=Length.OFFICIAL, options={"backend.server": server}),
        tmp_path,
    )
    assert {f.rule for f in record.findings} <= {"twin.simulated", "twin.queries"}
    assert record.verdict == "VALID"
    log = json.loads((path / "log.json").read_text(encoding="utf-8"))
    assert "simulated" in log["path"]
    scale = load_book("v2.1").scenarios[scenario].scale
    assert record.metric is not None
    assert record.metric.value == pytest.approx(log["values"][key] * scale, rel=1e-12)
    assert record.results[key] == log["values"][key]
    twin = json.loads((path / "twin.json").read_text(encoding="utf-8"))
    assert record.metric.value == pytest.approx(twin["metric"]["value"], rel=1e-12)


def test_a_short_twin_run_says_so_as_a_real_one_does(tmp_path: Path) -> None:
    record, _ = execute(spec(), tmp_path)
    found = {f.rule: f for f in record.findings}
    assert found["duration.min"].severity is Severity.NOTE
    assert (found["duration.min"].expected, found["duration.min"].found) == (">= 600000 ms", "8000 ms")
    assert found["queries.min"].severity is Severity.NOTE
    assert "loadgen.sequence" not in found
    assert record.verdict == "VALID"


def test_an_official_twin_run_made_shorter_is_invalid(tmp_path: Path) -> None:
    options = {"backend.server": "dgx-a100", "test.min_duration_ms": "9000"}
    record, _ = execute(spec(length=Length.OFFICIAL, options=options), tmp_path)
    assert record.verdict == "INVALID"
    assert [r.partition(":")[0] for r in record.reasons] == ["duration.min"]
    assert not record.submittable


def test_a_bound_that_no_rate_holds_is_invalid_and_has_no_metric() -> None:
    rule = load_book("v2.1").rule("resnet50", Suite.DATACENTER, Scenario.SERVER)
    told = TestSettings(
        scenario=Scenario.SERVER,
        mode=Mode.PERFORMANCE,
        min_duration_ms=600_000,
        min_query_count=270_336,
        qsl_rng_seed=rule.seeds.qsl,
        sample_index_rng_seed=rule.seeds.sample_index,
        schedule_rng_seed=rule.seeds.schedule,
        performance_sample_count=1024,
        target_latency_percentile=rule.book.percentile,
        target_latency_ns=rule.target_latency_ns,
        target_qps=0.0,
    )
    log = virtual_log(VirtualTest(value=0.0, simulated_s=600.0, played=None), told, rule, path="simulated")
    checked = CheckedRun(log=log, settings=told, rule=rule, length=Length.OFFICIAL)
    assert [f.rule for f in check_run(checked)] == ["loadgen.valid"]


def test_the_facility_side_can_be_given(tmp_path: Path) -> None:
    options = {"backend.server": "x660-g45-lp", "backend.facility_degc": "30"}
    _, path = execute(spec(options=options), tmp_path)
    twin = json.loads((path / "twin.json").read_text(encoding="utf-8"))
    assert twin["facility"]["water_degc"] == 30.0
    assert 31 < twin["supply_degc"] < 34


def test_a_server_without_the_twin_is_refused() -> None:
    found = CliRunner().invoke(run, ["resnet50", "--scenario", "Offline", "--server", "dgx-a100"])
    assert isinstance(found.exception, ConfigError)
    assert found.exception.where == "--server"
    assert "--backend twin" in str(found.exception)
