"""`--backend twin`: an ordinary run record, in virtual time, marked simulated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Length, Provenance, Scenario, Suite
from coldmark.core.record import RunSpec
from coldmark.report.text import run_text
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
    assert json.loads((path / "twin.json").read_text(encoding="utf-8"))["balance_residual"] < 1e-9
    assert "server twin" in json.loads((path / "system.json").read_text(encoding="utf-8"))["hw_notes"]
    assert "mlcommons-loadgen" not in record.software


def test_not_even_an_official_length_can_be_submitted(tmp_path: Path) -> None:
    record, _ = execute(spec(length=Length.OFFICIAL), tmp_path)
    assert not record.submittable


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
