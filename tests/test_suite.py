"""A whole suite: what it demands, what it never repeats, and how it goes on after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coldmark.core.errors import BackendError, ConfigError, Doomed
from coldmark.core.nouns import Precision, Scenario, State, Suite
from coldmark.core.record import Accuracy, RunRecord, RunSpec
from coldmark.core.suite import SuiteEntry, SuiteRecord, SuiteSpec
from coldmark.core.tuned import TunedUse
from coldmark.report.suite import SuiteRow, clock, suite_foot, suite_table
from coldmark.runs import suite as suites
from coldmark.runs.execute import software_versions
from coldmark.runs.resolve import resolve
from coldmark.store.rundir import RunDir
from coldmark.store.suites import held_suite, list_suites, read_suite, suite_path, write_suite
from conftest import SMALL

Coldmark = Callable[..., subprocess.CompletedProcess[str]]

ONLY = ("--suite", "edge", "--only", "resnet50/Offline,resnet50/SingleStream", *SMALL)


def spec(suite: Suite = Suite.EDGE, **changes: Any) -> SuiteSpec:
    return SuiteSpec(suite=suite, **changes)


@pytest.mark.parametrize(("suite", "count"), [(Suite.DATACENTER, 16), (Suite.EDGE, 14)])
def test_a_suite_demands_all_of_the_round(suite: Suite, count: int) -> None:
    entries = suites.demanded(spec(suite))
    assert len(entries) == len({e.name for e in entries}) == count


def test_the_stricter_benchmark_comes_first() -> None:
    names = [e.benchmark for e in suites.demanded(spec(Suite.DATACENTER))]
    for strict, loose in (("3d-unet-99.9", "3d-unet-99"), ("bert-99.9", "bert-99"), ("dlrm-99.9", "dlrm-99")):
        assert names.index(strict) < names.index(loose)


def test_only_takes_benchmarks_and_single_scenarios() -> None:
    entries = suites.demanded(spec(only=("rnnt", "resnet50/Offline")))
    assert {e.name for e in entries} == {"rnnt/SingleStream", "rnnt/Offline", "resnet50/Offline"}


@pytest.mark.parametrize("name", ["resnet5", "dlrm-99", "resnet50/Server"])
def test_only_names_what_the_suite_has(name: str) -> None:
    with pytest.raises(ConfigError, match="edge suite"):
        suites.demanded(spec(only=(name,)))


def test_options_reach_the_scope_they_name() -> None:
    asked = spec(
        only=("bert-99", "rnnt"),
        options={
            "backend.threads": "2",
            "bert-99:backend.threads": "1",
            "Offline:backend.batch": "3",
            "rnnt/SingleStream:harness.bare_s": "2",
        },
    )
    found = {e.name: suites.run_spec(asked, e).options for e in suites.demanded(asked)}
    assert found["bert-99/Offline"] == {"backend.threads": "1", "backend.batch": "3"}
    assert found["bert-99/SingleStream"] == {"backend.threads": "1"}
    assert found["rnnt/SingleStream"] == {"backend.threads": "2", "harness.bare_s": "2"}


def test_a_scope_that_is_none_is_refused() -> None:
    asked = spec(only=("rnnt",), options={"rnn:backend.batch": "3"})
    with pytest.raises(ConfigError, match="rnnt"):
        suites.check_scopes(asked, suites.demanded(asked))


# -- one run for both targets -------------------------------------------------------------------------


class Faked:
    """Stands in for `execute`: writes complete records that pass or fail their accuracy target."""

    def __init__(self, passing: bool = True, verdict: str = "VALID") -> None:
        self.passing, self.verdict, self.calls = passing, verdict, list[str]()

    def __call__(
        self, what: RunSpec, root: Path, *, on_tick: Any = None, on_start: Any = None
    ) -> tuple[RunRecord, Path]:
        self.calls.append(f"{what.workload}/{what.scenario.value}")
        held = RunDir.create(root, f"run-{len(self.calls)}-{what.workload}")
        on_start(held.path)
        accuracy = Accuracy(
            metric="m", value=1.0, unit="", reference=1.0, target=0.9, passed=self.passing, samples=1
        )
        record = RunRecord(
            run_id=held.path.name,
            state=State.COMPLETE,
            spec=what,
            verdict=self.verdict if self.passing else "INVALID",
            accuracy=accuracy,
            software=software_versions(resolve(what)),
            started="2026-01-01T00:00:00+00:00",
            finished="2026-01-01T00:01:40+00:00",
        )
        held.write("record.json", record)
        held.release()
        return record, held.path


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Faked:
    fake = Faked()
    monkeypatch.setattr(suites, "execute", fake)
    monkeypatch.setattr(suites, "open_task", lambda plan, cache: SimpleNamespace(quantised=None))
    return fake


def test_a_run_that_meets_the_higher_target_serves_both(faked: Faked, tmp_path: Path) -> None:
    lines = suites.run_suite(spec(), tmp_path, "s")
    assert len(lines) == 14
    assert all(line.done for line in lines)
    assert len(faked.calls) == 12  # 3d-unet-99 in two scenarios is served
    served = {line.entry.name: line.entry for line in lines if line.entry.served_by}
    assert set(served) == {"3d-unet-99/Offline", "3d-unet-99/SingleStream"}
    own = {line.entry.name: line.entry.run_id for line in lines}
    assert served["3d-unet-99/Offline"].run_id == own["3d-unet-99.9/Offline"]
    assert suites.run_suite(spec(), tmp_path, "s")
    assert len(faked.calls) == 12  # nothing is repeated
    found = read_suite(tmp_path, "s")
    assert found is not None
    assert found.finished


def test_a_run_that_misses_the_higher_target_serves_nobody(faked: Faked, tmp_path: Path) -> None:
    faked.passing = False
    lines = suites.run_suite(spec(only=("3d-unet-99.9", "3d-unet-99")), tmp_path, "s")
    assert len(faked.calls) == 4
    assert not any(line.entry.served_by for line in lines)


def test_unlike_settings_are_not_served(faked: Faked, tmp_path: Path) -> None:
    asked = spec(only=("3d-unet-99.9", "3d-unet-99"), options={"3d-unet-99:backend.streams": "2"})
    suites.run_suite(asked, tmp_path, "s")
    assert len(faked.calls) == 4


def test_a_benchmark_with_a_calibration_of_its_own_is_not_served(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(plan: Any, cache: Path) -> Any:
        own = plan.workload.id if plan.workload.id == "bert-99" else "the stricter one's"
        return SimpleNamespace(quantised=SimpleNamespace(id=own, content="1"))

    monkeypatch.setattr(suites, "open_task", opened)
    names = ("bert-99.9", "bert-99", "3d-unet-99.9", "3d-unet-99")
    asked = spec(Suite.DATACENTER, only=names, precision=Precision.INT8)
    served = {e.entry.name for e in suites.run_suite(asked, tmp_path, "s") if e.entry.served_by}
    assert served == {"3d-unet-99/Offline"}
    (line,) = (
        line for line in suites.plan_suite(asked, tmp_path, "s") if line.entry.name == "bert-99/Offline"
    )
    assert line.record is not None
    assert line.record.spec.options == {"calibration.id": "bert-99", "calibration.content": "1"}


def test_all_that_is_missing_is_said_before_anything_runs(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(plan: Any, cache: Path) -> Any:
        if plan.workload.id == "resnet50":
            return SimpleNamespace(quantised=None)
        name = plan.workload.id
        raise ConfigError(f"no calibration of {name}", where="--precision", hint=f"coldmark calibrate {name}")

    monkeypatch.setattr(suites, "open_task", missing)
    with pytest.raises(
        ConfigError, match=r"of rnnt \(coldmark calibrate rnnt\); no calibration of bert-99"
    ) as all_:
        suites.run_suite(spec(only=("resnet50", "rnnt", "bert-99")), tmp_path, "s")
    assert all_.value.message.count("no calibration of rnnt") == 1  # not once a scenario
    with pytest.raises(ConfigError, match="no calibration of rnnt") as one:
        suites.run_suite(spec(only=("resnet50", "rnnt/Offline")), tmp_path, "s")
    assert one.value.where == "--precision"
    assert not faked.calls


TUNED = TunedUse(id="ab", when="2026-11-24T10:00:00+00:00", settings={"precision": "bf16"})


def _as_tuned(monkeypatch: pytest.MonkeyPatch, use: TunedUse) -> None:
    """What is tuned here computes in BF16, where no precision is asked for."""

    def with_tuned(run: RunSpec, root: Path, given: Any) -> tuple[RunSpec, str]:
        if "precision" in given:
            return run, ""
        own = replace(use, id=f"{use.id}-{run.workload}", expected_qps=float(len(run.workload)))
        return replace(run, precision=Precision.BF16, tuned=own), ""

    monkeypatch.setattr(suites, "with_tuned", with_tuned)


def test_what_ran_as_tuned_does_not_stand_for_a_precision_that_is_asked_for(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as_tuned(monkeypatch, TUNED)
    asked = spec(only=("resnet50/Offline",))
    suites.run_suite(asked, tmp_path, "s")
    (line,) = suites.plan_suite(replace(asked, given=("precision",)), tmp_path, "s")
    assert not line.done
    (line,) = suites.run_suite(replace(asked, given=("precision",)), tmp_path, "s")
    assert len(faked.calls) == 2
    assert line.record is not None
    assert line.record.spec.precision is Precision.FP32


def test_what_was_tuned_since_a_run_is_pointed_out(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(only=("resnet50/Offline",))
    (line,) = suites.run_suite(asked, tmp_path, "s")
    assert line.unused == ""
    _as_tuned(monkeypatch, TUNED)
    (line,) = suites.run_suite(asked, tmp_path, "s")
    assert "tuned 2026-11-24T10:00, after its run" in line.unused
    (line,) = suites.run_suite(asked, tmp_path, "s", again=True)
    assert line.unused == ""
    assert len(faked.calls) == 2


def test_a_tuning_that_was_there_before_a_run_is_not_pointed_out(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as_tuned(monkeypatch, replace(TUNED, when="2025-01-01T00:00:00+00:00"))
    asked = spec(only=("resnet50/Offline",))
    suites.run_suite(replace(asked, given=("precision",)), tmp_path, "s")
    (line,) = suites.plan_suite(asked, tmp_path, "s")
    assert line.unused == ""
    _as_tuned(monkeypatch, replace(TUNED, when="2026-11-24T10:00:00+00:00"))
    served = suites.run_suite(spec(only=("3d-unet-99.9", "3d-unet-99")), tmp_path, "t")
    assert [x.unused for x in served if x.entry.served_by] == ["", ""]


def test_a_run_whose_networks_were_made_anew_is_begun_again(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(only=("resnet50/Offline",), precision=Precision.INT8)
    (line,) = suites.run_suite(asked, tmp_path, "s")
    assert line.record is not None
    begun = replace(line.record.spec, options={"calibration.content": "old"})
    RunDir(tmp_path / line.record.run_id).write(
        "record.json", replace(line.record, spec=begun, state=State.INTERRUPTED)
    )

    def opened(plan: Any, cache: Path) -> Any:
        if plan.spec.options.get("calibration.content"):
            raise ConfigError("calibration ab was made anew since this began", hint="start a new run")
        return SimpleNamespace(quantised=None)

    monkeypatch.setattr(suites, "open_task", opened)
    (line,) = suites.run_suite(asked, tmp_path, "s")
    assert line.done
    assert line.entry.error == ""
    assert len(faked.calls) == 2


def test_tunings_that_came_to_the_same_settings_are_the_same_settings(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as_tuned(monkeypatch, TUNED)
    lines = suites.run_suite(spec(only=("3d-unet-99.9", "3d-unet-99")), tmp_path, "s")
    assert len(faked.calls) == 2
    assert sum(bool(line.entry.served_by) for line in lines) == 2


def test_invalid_runs_are_done_and_retried_only_on_demand(faked: Faked, tmp_path: Path) -> None:
    asked = spec(only=("resnet50/Offline",))
    faked.verdict = "INVALID"
    suites.run_suite(asked, tmp_path, "s")
    suites.run_suite(asked, tmp_path, "s")
    assert len(faked.calls) == 1
    suites.run_suite(asked, tmp_path, "s", retry=True)
    assert len(faked.calls) == 2
    suites.run_suite(asked, tmp_path, "s", again=True)
    assert len(faked.calls) == 3


def test_a_stopped_run_is_shown_and_repeated_only_on_demand(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doomed(what: RunSpec, root: Path, **kw: Any) -> tuple[RunRecord, Path]:
        record, path = faked(what, root, **kw)
        reason = "stopped early: too many late\n  a lower rate"
        stopped = replace(record, state=State.STOPPED, verdict="INCOMPLETE", reason=reason, accuracy=None)
        RunDir(path).write("record.json", stopped)
        raise Doomed("too many late", where="stopped early", hint="a lower rate")

    monkeypatch.setattr(suites, "execute", doomed)
    asked = spec(only=("resnet50/Offline",))
    (line,) = suites.run_suite(asked, tmp_path, "s")
    assert line.done
    assert not line.entry.error
    suites.run_suite(asked, tmp_path, "s")
    assert len(faked.calls) == 1
    row = SuiteRow(entry=line.entry, record=line.record, least_s=60, taken_s=9)
    assert "stopped early: too many late" in suite_table([row])
    assert "a lower rate" not in suite_table([row])
    assert suite_foot([row], None).startswith("1 of 1 done")
    monkeypatch.setattr(suites, "execute", faked)
    suites.run_suite(asked, tmp_path, "s", retry=True)
    assert len(faked.calls) == 2


def test_one_that_fails_is_noted_and_the_others_go_on(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(what: RunSpec, root: Path, **kw: Any) -> tuple[RunRecord, Path]:
        if what.scenario is Scenario.OFFLINE:
            raise BackendError("it broke")
        return faked(what, root, **kw)

    monkeypatch.setattr(suites, "execute", failing)
    asked = spec(only=("resnet50",))
    lines = {line.entry.name: line for line in suites.run_suite(asked, tmp_path, "s")}
    assert "it broke" in lines["resnet50/Offline"].entry.error
    assert lines["resnet50/MultiStream"].done
    found = read_suite(tmp_path, "s")
    assert found is not None
    assert not found.finished
    monkeypatch.setattr(suites, "execute", faked)
    assert all(line.done for line in suites.run_suite(asked, tmp_path, "s"))
    assert faked.calls.count("resnet50/Offline") == 1


def test_an_old_run_does_not_hide_that_the_new_one_failed(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(only=("resnet50/Offline",))
    suites.run_suite(asked, tmp_path, "s")

    def failing(what: RunSpec, root: Path, **kw: Any) -> Any:
        raise BackendError("no sensor answers")

    with monkeypatch.context() as patch:
        patch.setattr(suites, "software_versions", lambda plan: {"openvino": "other"})
        patch.setattr(suites, "execute", failing)
        (line,) = suites.run_suite(asked, tmp_path, "s")
        assert not line.done
        row = SuiteRow(entry=line.entry, record=line.record, least_s=60, taken_s=9)
        assert "no sensor answers" in suite_table([row])
    (line,) = suites.run_suite(asked, tmp_path, "s")  # the old run is of this software: it stands again
    assert line.done
    found = read_suite(tmp_path, "s")
    assert found is not None
    assert found.finished


def test_other_software_means_a_new_run(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(only=("resnet50/Offline",))
    suites.run_suite(asked, tmp_path, "s")
    monkeypatch.setattr(suites, "software_versions", lambda plan: {"openvino": "other"})
    suites.run_suite(asked, tmp_path, "s")
    assert len(faked.calls) == 2


def test_a_suite_of_that_name_with_other_settings_is_not_gone_on_with(faked: Faked, tmp_path: Path) -> None:
    suites.run_suite(spec(only=("resnet50/Offline",)), tmp_path, "s")
    other = spec(only=("resnet50/Offline",), precision=Precision.BF16)
    with pytest.raises(ConfigError, match="other settings"):
        suites.run_suite(other, tmp_path, "s")
    with pytest.raises(ConfigError, match="other settings"):
        suites.plan_suite(other, tmp_path, "s")


def test_time_left_follows_from_what_was_taken_beyond_the_least(faked: Faked, tmp_path: Path) -> None:
    asked = spec(only=("resnet50",))
    assert suites.left_s(suites.plan_suite(asked, tmp_path, "s")) is None
    suites.run_suite(replace(asked, only=("resnet50/Offline",)), tmp_path, "s")
    # The run took 100 s, 40 beyond its minute; two are left.
    assert suites.left_s(suites.plan_suite(asked, tmp_path, "s")) == pytest.approx(2 * (60 + 40))


# -- files and words ----------------------------------------------------------------------------------


def test_a_suite_file_is_read_back_and_bad_names_are_refused(tmp_path: Path) -> None:
    entry = SuiteEntry(benchmark="bert-99.9", scenario=Scenario.SERVER, run_id="r", served_by="x")
    record = SuiteRecord(name="s", spec=spec(options={"a": "b"}), entries=(entry,))
    with held_suite(tmp_path, "s"):
        write_suite(tmp_path, record)
        with pytest.raises(ConfigError, match="another process"), held_suite(tmp_path, "s"):
            pass
    assert read_suite(tmp_path, "s") == record
    assert list_suites(tmp_path) == ["s"]
    for name in ("", ".s", "a/b", "../s"):
        with pytest.raises(ConfigError, match="no name"):
            suite_path(tmp_path, name)


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.4, "8 s"), (61, "1:01 min"), (3600, "1:00 h"), (None, "?"), (725, "12:05 min")]
)
def test_durations_are_said_shortly(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


def test_the_table_says_what_each_line_waits_for() -> None:
    entry = SuiteEntry(benchmark="3d-unet-99", scenario=Scenario.OFFLINE)
    row = SuiteRow(entry=entry, record=None, least_s=600, taken_s=0)
    text = suite_table(
        [
            row,
            replace(row, may_serve="3d-unet-99.9"),
            replace(row, entry=replace(entry, error="it broke")),
            replace(row, running="performance: 30 %"),
        ]
    )
    for words in (
        "to be run",
        "served by 3d-unet-99.9 if",
        "failed: it broke",
        "performance: 30 %",
        ">= 10:00 min",
    ):
        assert words in text
    assert suite_foot([row], None) == "0 of 1 done; at least 10:00 min left"


# -- as a user ----------------------------------------------------------------------------------------


@pytest.mark.loadgen
def test_a_killed_suite_goes_on_where_it_was(coldmark: Coldmark, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "coldmark", "suite", "run", *ONLY]
    process = subprocess.Popen(
        argv, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        done = list((tmp_path / "runs").glob("*/manifest.json"))
        begun = [
            p for p in (tmp_path / "runs").glob("*/record.json") if p.parent / "manifest.json" not in done
        ]
        if done and begun:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {p.parent.name for p in (tmp_path / "runs").glob("*/record.json")}
    assert len(before) == 2
    again = coldmark("suite", "run", *ONLY, "--json", timeout=200)
    assert again.returncode in (0, 3), again.stderr
    found = json.loads(again.stdout)
    assert {e["run_id"] for e in found["entries"]} == before
    assert all(e["done"] for e in found["entries"])
    plan = coldmark("suite", "plan", *ONLY)
    assert "2 of 2 done" in plan.stdout
    assert "edge-smoke-mini-openvino-fp32" in coldmark("suite", "list").stdout
