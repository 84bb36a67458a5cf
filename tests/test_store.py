"""Run directories: whole or not at all, and honest about what was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coldmark.core.errors import ColdmarkError, ConfigError, DataError
from coldmark.core.nouns import Scenario, State, Suite
from coldmark.core.record import RunRecord, RunSpec
from coldmark.store.rundir import (
    RECORD,
    RunDir,
    changed_files,
    find_run,
    is_held,
    list_runs,
    new_run_id,
    read_record,
    write_whole,
)


def record(run_id: str, state: State = State.RUNNING) -> RunRecord:
    spec = RunSpec(workload="resnet50", scenario=Scenario.OFFLINE, suite=Suite.EDGE)
    return RunRecord(run_id=run_id, state=state, spec=spec)


def made(root: Path, run_id: str, state: State) -> RunDir:
    run = RunDir.create(root, run_id)
    run.write(RECORD, record(run_id, state))
    return run


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    run = made(tmp_path, "a", State.COMPLETE)
    run.release()
    assert read_record(run.path) == record("a", State.COMPLETE)


def test_a_held_run_is_running_and_a_dropped_one_incomplete(tmp_path: Path) -> None:
    run = made(tmp_path, "a", State.RUNNING)
    assert is_held(run.path)
    assert read_record(run.path).state is State.RUNNING
    run.release()
    found = read_record(run.path)
    assert found.state is State.INCOMPLETE
    assert "killed" in found.reason


HOLDER = """
import sys, time
from pathlib import Path
from coldmark.store.rundir import RunDir
run = RunDir(Path(sys.argv[1])); run.hold(); print("held", flush=True); time.sleep(60)
"""


def test_a_killed_process_lets_its_run_go(tmp_path: Path) -> None:
    run = made(tmp_path, "a", State.RUNNING)
    run.release()
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(run.path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert read_record(run.path).state is State.RUNNING
        with pytest.raises(ConfigError, match="still going"):
            run.hold()
        os.kill(holder.pid, signal.SIGKILL)
    time.sleep(0.05)
    assert read_record(run.path).state is State.INCOMPLETE


def test_the_manifest_finds_changed_added_and_missing_files(tmp_path: Path) -> None:
    run = made(tmp_path, "a", State.COMPLETE)
    for name in ("kept", "edited", "lost"):
        write_whole(run.path / name, name)
    run.seal()
    run.release()
    assert changed_files(run.path) == []
    (run.path / "edited").write_text("x10")
    (run.path / "lost").unlink()
    (run.path / "added").write_text("")
    assert changed_files(run.path) == ["added", "edited", "lost"]


def test_a_run_is_found_by_part_of_its_name_if_that_is_enough(tmp_path: Path) -> None:
    for name in ("20260101-x-aa", "20260101-x-bb"):
        made(tmp_path, name, State.COMPLETE).release()
    assert find_run(tmp_path, "bb").name == "20260101-x-bb"
    with pytest.raises(ConfigError, match="could be"):
        find_run(tmp_path, "20260101")
    with pytest.raises(ConfigError, match="no run"):
        find_run(tmp_path, "zz")
    with pytest.raises(ConfigError):
        find_run(tmp_path / "nowhere", "zz")


def test_an_unreadable_record_is_listed_with_its_error(tmp_path: Path) -> None:
    made(tmp_path, "a", State.COMPLETE).release()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / RECORD).write_text("{")
    (tmp_path / "no-run").mkdir()
    found = list_runs(tmp_path)
    assert [name for name, _ in found] == ["a", "b"]
    assert isinstance(found[0][1], RunRecord)
    assert isinstance(found[1][1], ColdmarkError)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="--runs-dir"):
        RunDir.create(tmp_path / "file", "a")


def test_nothing_half_written_is_left_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        write_whole(tmp_path / "no" / "x.json", "{}")
    assert list(tmp_path.iterdir()) == []


def test_run_ids_sort_by_time_and_do_not_repeat() -> None:
    ids = {new_run_id("x") for _ in range(50)}
    assert len(ids) >= 49
    assert all(i[8] == "T" for i in ids)
