"""The real LoadGen under a SUT that breaks every part of the contract: always a record, never a VALID."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from coldmark.core.nouns import DRIVEN, Scenario, State
from coldmark.loadgen.child import OUTCOME
from coldmark.loadgen.log import ACCURACY, DETAIL, parse_accuracy, parse_detail
from coldmark.loadgen.progress import FILE_NAME, Phase, Progress, read_progress
from coldmark.loadgen.supervise import ChildResult, supervise

pytestmark = pytest.mark.loadgen

CHILD = str(Path(__file__).with_name("faulty_child.py"))


def run(directory: Path, scenario: Scenario, fault: str, stall_s: float = 30.0) -> ChildResult:
    return supervise(
        [sys.executable, CHILD, str(directory), scenario.value, fault], directory, stall_s=stall_s
    )


@pytest.mark.parametrize("scenario", DRIVEN)
def test_a_sut_that_keeps_the_contract_ends_valid(scenario: Scenario, tmp_path: Path) -> None:
    result = run(tmp_path, scenario, "none")
    assert result.state is State.COMPLETE, result.error
    log = parse_detail(tmp_path / DETAIL)
    assert log.finished
    assert not log.errors
    assert log.valid
    counters = result.outcome["counters"]
    assert counters["issued"] == counters["completed"] > 0
    assert (tmp_path / "mlperf_log_trace.json").stat().st_size == 0  # traces are off


@pytest.mark.parametrize("scenario", DRIVEN)
def test_accuracy_mode_logs_every_sample_with_its_bytes(scenario: Scenario, tmp_path: Path) -> None:
    assert run(tmp_path, scenario, "none-accuracy").state is State.COMPLETE
    log = parse_accuracy(tmp_path / ACCURACY)
    assert np.unique(log.indices).tolist() == list(range(2000))
    assert set(log.answers) == {b"\x07\x07\x07\x07"}


@pytest.mark.parametrize("scenario", DRIVEN)
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("twice", "outstanding|second time"),
        ("unknown", "outstanding"),
        ("zero", "outstanding|twice|second"),
        ("short-answers", "0 answers for"),
        ("raises", "the model fell over"),
        ("load-raises", "the disk is gone"),
        ("worker-dies", "worker 3 is gone"),
    ],
)
def test_a_broken_contract_is_a_failure_with_its_reason(
    scenario: Scenario, fault: str, words: str, tmp_path: Path
) -> None:
    result = run(tmp_path, scenario, fault)
    assert result.state is State.FAILED
    assert any(word in result.error["message"] for word in words.split("|")), result.error
    never_valid(tmp_path)


def never_valid(directory: Path) -> None:
    if (directory / DETAIL).exists():
        assert not parse_detail(directory / DETAIL).valid


@pytest.mark.parametrize("scenario", [Scenario.SINGLE_STREAM, Scenario.SERVER])
def test_a_late_answer_is_refused(scenario: Scenario, tmp_path: Path) -> None:
    result = run(tmp_path, scenario, "late")
    assert result.state is State.FAILED
    assert "outstanding" in result.error["message"]
    never_valid(tmp_path)


@pytest.mark.parametrize("scenario", DRIVEN)
def test_a_stall_is_ended_and_said(scenario: Scenario, tmp_path: Path) -> None:
    result = run(tmp_path, scenario, "never", stall_s=1.0)
    assert result.state is State.FAILED
    assert "no sample completed for 1 s" in result.error["message"]
    never_valid(tmp_path)


def test_a_dead_child_is_said_with_its_signal(tmp_path: Path) -> None:
    result = run(tmp_path, Scenario.OFFLINE, "segfault")
    assert result.state is State.FAILED
    assert "SIGSEGV" in result.error["message"]
    assert json.loads((tmp_path / OUTCOME).read_text())["state"] == "failed"


def test_a_missing_output_folder_is_found_before_loadgen_aborts_on_it(tmp_path: Path) -> None:
    result = run(tmp_path, Scenario.OFFLINE, "no-folder")
    assert result.state is State.FAILED
    assert result.error["kind"] == "DataError"


def start(directory: Path, fault: str) -> subprocess.Popen[bytes]:
    """A child without its supervisor, once LoadGen has the clock."""
    process = subprocess.Popen([sys.executable, CHILD, str(directory), "SingleStream", fault])
    wait_until_running(directory)
    return process


def wait_until_running(directory: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        counters = read_progress(directory / FILE_NAME)
        if counters and counters["phase"] == Phase.RUNNING and counters["issued"]:
            return
        time.sleep(0.02)
    raise AssertionError("LoadGen never started")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_leaves_an_outcome_and_a_detail_log(
    number: signal.Signals, tmp_path: Path
) -> None:
    process = start(tmp_path, "never")
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    outcome = json.loads((tmp_path / OUTCOME).read_text())
    assert outcome["state"] == "interrupted"
    assert number.name in outcome["error"]["message"]
    assert parse_detail(tmp_path / DETAIL).get("effective_scenario") == "SingleStream"
    never_valid(tmp_path)


def test_ctrl_c_in_the_supervisor_stops_the_child_and_says_so(tmp_path: Path) -> None:
    def interrupt() -> None:
        wait_until_running(tmp_path)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    result = run(tmp_path, Scenario.SINGLE_STREAM, "never")
    assert result.state is State.INTERRUPTED


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux stops a child with its parent")
def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    argv = [sys.executable, CHILD, str(tmp_path), "SingleStream", "never"]
    code = f"import subprocess, time\nprint(subprocess.Popen({argv!r}).pid, flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until_running(tmp_path)
        parent.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{pid}").exists(), "the child is still there"
    assert json.loads((tmp_path / OUTCOME).read_text())["state"] == "interrupted"


def test_progress_is_read_back_and_a_short_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    progress = Progress(path, create=True)
    progress.set("completed", 5)
    found = read_progress(path)
    assert found is not None
    assert {name: found[name] for name in list(found)[:8]} == {
        "phase": 0,
        "queries": 0,
        "issued": 0,
        "completed": 5,
        "started_ns": 0,
        "expected": 0,
        "floor": 0,
        "patience_ms": 0,
    }
    progress.enter(Phase.RUNNING)
    found = read_progress(path)
    assert found is not None
    assert found["phase"] == Phase.RUNNING
    assert 0 < found["running_ns"] <= time.monotonic_ns()
    assert found["closing_ns"] == 0
    progress.close()
    path.write_bytes(b"123")
    assert read_progress(path) is None
    assert read_progress(tmp_path / "no") is None
