"""The command as a user types it: every exit code, every kind of bad input, real LoadGen runs."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coldmark.loadgen.progress import Phase, read_progress
from coldmark.store.rundir import changed_files
from conftest import SMALL
from test_resnet50 import write_images, write_model

Coldmark = Callable[..., subprocess.CompletedProcess[str]]


def one_run(coldmark: Coldmark, *args: str, code: int = 0) -> dict[str, Any]:
    done = coldmark("run", "resnet50", *SMALL, *args, "--json")
    assert done.returncode == code, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def test_help_lists_the_commands_without_importing_anything_heavy(coldmark: Coldmark) -> None:
    done = coldmark("--help")
    assert done.returncode == 0
    for name in ("demo", "run", "runs", "system", "workloads"):
        assert name in done.stdout
    code = (
        "import sys; sys.argv = ['coldmark', '--help']; import coldmark.cli.main as m\n"
        "try: m.main()\nexcept SystemExit: pass\nprint(sorted({n.split('.')[0] for n in sys.modules}))"
    )
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("numpy", "openvino", "cv2", "onnx", "scipy", "rich", "cattrs", "mlperf_loadgen"):
        assert f"'{heavy}'" not in modules


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["rnu"], 2, "did you mean 'run'"),
        (["run", "resnet5", "--scenario", "Offline"], 2, "did you mean 'resnet50'"),
        (["run", "resnet50", "--scenario", "Ofline"], 2, "did you mean 'Offline'"),
        (["run", "resnet50"], 2, "which scenario"),
        (["run", "--scenario", "Offline"], 2, "which workload"),
        (["run", "resnet50", "--scenario", "Offline", "--backend", "openvno"], 2, "did you mean 'openvino'"),
        (
            ["run", "resnet50", "--scenario", "Offline", "--set", "backend.bacth=3"],
            2,
            "did you mean 'backend.batch'",
        ),
        (["run", "resnet50", "--scenario", "Offline", "--set", "bacth=3"], 2, "did you mean 'batch'"),
        (["run", "resnet50", "--scenario", "Offline", "--set", "batch"], 2, "KEY=VALUE"),
        (["run", "resnet50", "--scenario", "Offline", "--set", "batch=x"], 2, "batch"),
        (["run", "resnet50", "--scenario", "Offline", "--set", "batch=0"], 2, "below 1"),
        (["run", "resnet50", "--scenario", "Offline", "--set", "harness.stall_s=0"], 2, "stall_s"),
        (["run", "resnet50", "--scenario", "Offline", "--set", "min_duration_ms=soon"], 2, "whole number"),
        (["run", "resnet50", "--scenario", "Offline", "--set", "expected_latency_ns=5"], 2, "SingleStream"),
        (["run", "resnet50", "--scenario", "Offline", "--model", "mni"], 2, "did you mean 'mini'"),
        (["run", "resnet50", "--scenario", "Offline", "--precision", "fp23"], 2, "did you mean 'fp32'"),
        (["run", "resnet50", "--scenario", "Offline", "--length", "long"], 2, "smoke"),
        pytest.param(
            ["run", "resnet50", "--scenario", "Offline", "--backend", "onnxruntime", "--precision", "bf16"],
            2,
            "no bf16 kernels",
            marks=pytest.mark.skipif(platform.machine() == "aarch64", reason="has bf16 kernels there"),
        ),
        (["run", "resnet50", "--scenario", "Offline", "--mode", "fast"], 2, "performance, accuracy or both"),
        (["run", "resnet50", "--scenario", "Offline", "--round", "v9"], 2, "v2.1"),
        (["run", "resnet50", "--scenario", "Offline", "--target-qps", "many"], 2, "auto"),
        (["run", "resnet50", "--scenario", "SingleStream", "--target-qps", "5"], 2, "no rate"),
        (["run", "resnet50", "--scenario", "MultiStream", "--suite", "datacenter"], 2, "Server, Offline"),
        (
            ["run", "resnet50", "--scenario", "Server", "--suite", "edge"],
            2,
            "SingleStream, MultiStream, Offline",
        ),
        (["run", "resnet50", "--scenario", "Offline", "--suite", "egde"], 2, "did you mean 'edge'"),
        (["run", "resnet50", "--scenario", "Offline", "--model", "full", "--mode", "accuracy"], 2, "random"),
        (["run", "resnet50", "--scenario", "Offline", "--model", "official"], 2, "model.path"),
        (["run", "resnet50", "--scenario", "Offline", "--model", "no.onnx"], 6, "no.onnx"),
        (["run", "resnet50", "--scenario", "Offline", "--scenrio", "x"], 2, "--scenario"),
        (["runs", "show", "nothing"], 2, "no run"),
        (["workloads", "--round", "v0.1"], 2, "did you mean 'v0.5'"),
    ],
)
def test_bad_input_is_named_with_the_right_one_and_leaves_nothing(
    args: list[str], code: int, words: str, coldmark: Coldmark, tmp_path: Path
) -> None:
    done = coldmark(*args)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_optional_package_is_exit_4_with_the_install_command(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not installed')")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "coldmark",
            "run",
            "resnet50",
            "--scenario",
            "Offline",
            "--backend",
            "onnxruntime",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 4
    assert "pip install 'coldmark[onnxruntime]'" in done.stderr


@pytest.mark.loadgen
@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Server", "Offline"])
def test_a_run_says_the_same_as_loadgens_own_logs(scenario: str, coldmark: Coldmark, tmp_path: Path) -> None:
    done = coldmark("run", "resnet50", "--scenario", scenario, *SMALL, "--json")
    record = json.loads(done.stdout)
    assert done.returncode == (0 if record["verdict"] == "VALID" else 3)
    for key in (
        "run_id",
        "workload",
        "scenario",
        "suite",
        "model",
        "backend",
        "precision",
        "metric",
        "verdict",
        "findings",
        "accuracy",
        "harness",
        "provenance",
        "run_dir",
    ):
        assert key in record
    assert (record["state"], record["provenance"], record["length"]) == ("complete", "measured", "smoke")
    assert record["submittable"] is False
    assert record["accuracy"]["samples"] == 5000
    assert record["accuracy"]["passed"] is True
    assert record["harness"]["share"] > 0
    path = tmp_path / record["run_dir"]
    summary = (path / "performance" / "mlperf_log_summary.txt").read_text()
    assert (
        f"Result is : {'VALID' if 'loadgen.valid' not in str(record['findings']) else 'INVALID'}" in summary
    )
    assert _summary_value(summary, scenario) == pytest.approx(record["metric"]["value"], rel=1e-4)
    accuracy = (path / "accuracy" / "accuracy.txt").read_text()
    assert f"accuracy={record['accuracy']['value']:.3f}%" in accuracy
    assert "hash=" in accuracy
    assert changed_files(path) == []
    assert not [f for f in record["findings"] if f["rule"] == "settings.effective"]
    sequence = [f for f in record["findings"] if f["rule"] == "loadgen.sequence"]
    assert sequence[0]["severity"] == "note"  # the round's own sequence


def _summary_value(summary: str, scenario: str) -> float:
    """The headline number of a summary log, in the metric's unit."""
    names = {
        "SingleStream": (" * Early stopping 90.0th percentile estimate", 1e-6),
        "MultiStream": (" * Early stopping 99.0th percentile estimate", 1e-6),
        "Server": ("Scheduled samples per second", 1.0),
        "Offline": ("Samples per second", 1.0),
    }
    name, scale = names[scenario]
    line = next(text for text in summary.splitlines() if text.startswith(name))
    return float(line.rpartition(":")[2]) * scale


@pytest.mark.loadgen
def test_settings_in_the_record_carry_their_sources(coldmark: Coldmark, tmp_path: Path) -> None:
    record = one_run(coldmark, "--scenario", "Offline", "--mode", "performance", "--target-qps", "3000")
    sourced = json.loads((tmp_path / record["run_dir"] / "performance" / "settings.json").read_text())
    assert sourced["settings"]["target_qps"] == 3000.0
    assert sourced["sources"]["target_qps"] == "--target-qps"
    assert sourced["sources"]["min_duration_ms"] == "--set test.min_duration_ms"
    assert sourced["sources"]["qsl_rng_seed"] == "rule book v2.1"
    assert record["accuracy"]["reason"] == "not asked for"


@pytest.mark.loadgen
def test_accuracy_alone_is_a_verdict_too(coldmark: Coldmark) -> None:
    record = one_run(coldmark, "--scenario", "Offline", "--mode", "accuracy")
    assert record["metric"] is None
    assert record["accuracy"]["passed"] is True
    assert record["verdict"] == "VALID"


@pytest.mark.loadgen
def test_a_model_below_its_gate_is_invalid_with_exit_3(coldmark: Coldmark, tmp_path: Path) -> None:
    write_model(tmp_path / "bad.onnx", classes=1000, side=64, argmax=False)
    done = coldmark("run", "resnet50", "--scenario", "Offline", *SMALL, "--model", "bad.onnx")
    assert done.returncode == 3
    assert "INVALID" in done.stdout
    assert "accuracy.target" in done.stdout


@pytest.mark.loadgen
def test_official_files_run_end_to_end_and_the_logs_fit_the_official_script(
    coldmark: Coldmark, tmp_path: Path
) -> None:
    write_model(tmp_path / "resnet50_v1.onnx")
    write_images(tmp_path / "val")
    record = one_run(
        coldmark,
        "--scenario",
        "Offline",
        "--model",
        "official",
        "--set",
        "model.path=resnet50_v1.onnx",
        "--set",
        "data.path=val",
    )
    assert record["accuracy"]["value"] == 100.0
    assert record["accuracy"]["target"] == pytest.approx(75.6954)
    rules = {f["rule"] for f in record["findings"]}
    assert {"accuracy.samples", "samples.performance_count"} <= rules  # 12 images are not the data set
    labels = dict(
        enumerate(
            int(line.split()[1]) for line in (tmp_path / "val" / "val_map.txt").read_text().splitlines()
        )
    )
    log = json.loads((tmp_path / record["run_dir"] / "accuracy" / "mlperf_log_accuracy.json").read_text())
    import struct

    assert {e["qsl_idx"]: int(struct.unpack("<f", bytes.fromhex(e["data"]))[0]) for e in log} == labels


@pytest.mark.loadgen
def test_a_corrupt_image_ends_the_run_with_exit_6_and_a_record_that_says_so(
    coldmark: Coldmark, tmp_path: Path
) -> None:
    write_model(tmp_path / "m.onnx")
    images = write_images(tmp_path / "val")
    (images / "ILSVRC2012_val_00000007.JPEG").write_bytes(b"no image")
    done = coldmark(
        "run",
        "resnet50",
        "--scenario",
        "Offline",
        *SMALL,
        "--model",
        "official",
        "--set",
        "model.path=m.onnx",
        "--set",
        "data.path=val",
    )
    assert done.returncode == 6
    assert "val_map.txt:8" in done.stderr
    listed = json.loads(coldmark("runs", "list", "--json").stdout)
    assert [r["state"] for r in listed] == ["failed"]
    assert "val_map.txt:8" in listed[0]["reason"]


@pytest.mark.loadgen
def test_bf16_is_bf16_and_keeps_the_gate(coldmark: Coldmark, tmp_path: Path) -> None:
    import openvino as ov

    if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no BF16")
    record = one_run(coldmark, "--scenario", "Offline", "--precision", "bf16")
    assert record["accuracy"]["passed"] is True
    outcome = json.loads((tmp_path / record["run_dir"] / "performance" / "outcome.json").read_text())
    assert outcome["sut"]["precision"] == "bf16"


@pytest.mark.loadgen
def test_onnxruntime_runs_and_agrees_on_accuracy(coldmark: Coldmark) -> None:
    record = one_run(coldmark, "--scenario", "Offline", "--backend", "onnxruntime")
    assert record["accuracy"]["value"] == pytest.approx(record["accuracy"]["reference"], abs=0.1)


@pytest.mark.loadgen
def test_a_run_toml_gives_the_flags_and_flags_win(coldmark: Coldmark, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'workload = "resnet50"\nscenario = "Offline"\nmode = "performance"\nlength = "short"\n'
        "[set.test]\nmin_duration_ms = 1\nmin_query_count = 300\n"
        "[set.backend]\nbatch = 4\n[set.harness]\nbare_s = 0.1\n"
    )
    done = coldmark("run", "--config", "run.toml", "--length", "smoke", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["length"] == "smoke"
    outcome = json.loads((tmp_path / record["run_dir"] / "performance" / "outcome.json").read_text())
    assert outcome["sut"]["batch"] == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [("workloda = 'x'", "did you mean 'workload'"), ("a = ", "not TOML"), ("set = 3", "table")],
)
def test_a_bad_run_toml_is_named(text: str, words: str, coldmark: Coldmark, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(text)
    done = coldmark("run", "--config", "run.toml")
    assert done.returncode == 2
    assert words in done.stderr
    assert "run.toml" in done.stderr


def start_long_run(tmp_path: Path) -> subprocess.Popen[bytes]:
    """A run of a minute, once LoadGen has the clock."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "coldmark",
            "run",
            "resnet50",
            "--scenario",
            "SingleStream",
            "--length",
            "short",
            "--set",
            "harness.bare_s=0.1",
        ],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in tmp_path.glob("runs/*/performance/progress.bin"):
            counters = read_progress(path)
            if counters and counters["phase"] == Phase.RUNNING and counters["completed"]:
                return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError("the run never started")


@pytest.mark.loadgen
def test_a_killed_run_is_readable_and_marked_incomplete(coldmark: Coldmark, tmp_path: Path) -> None:
    process = start_long_run(tmp_path)
    (running,) = json.loads(coldmark("runs", "list", "--json").stdout)
    assert running["state"] == "running"
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    (record,) = json.loads(coldmark("runs", "list", "--json").stdout)
    assert record["state"] == "incomplete"
    assert record["verdict"] == "INCOMPLETE"
    assert record["spec"]["scenario"] == "SingleStream"
    path = tmp_path / record["run_dir"]
    for name in ("spec.json", "system.json", "environment.json", "performance/settings.json"):
        assert json.loads((path / name).read_text())
    shown = coldmark("runs", "show", record["run_id"])
    assert shown.returncode == 0
    assert "INCOMPLETE" in shown.stdout


@pytest.mark.loadgen
def test_a_killed_run_is_resumed_without_repeating_what_was_done(coldmark: Coldmark, tmp_path: Path) -> None:
    first = one_run(coldmark, "--scenario", "Offline", "--mode", "both")
    path = tmp_path / first["run_dir"]
    # As a kill in the middle of the accuracy test leaves it: that test without outcome, the record running.
    (path / "accuracy" / "outcome.json").unlink()
    record = json.loads((path / "record.json").read_text())
    (path / "record.json").write_text(json.dumps({**record, "state": "running", "verdict": "INCOMPLETE"}))
    performance = (path / "performance" / "mlperf_log_detail.txt").read_bytes()
    done = coldmark("runs", "resume", first["run_id"][-6:], "--json")
    assert done.returncode == 0, done.stderr
    resumed = json.loads(done.stdout)
    assert (resumed["state"], resumed["verdict"]) == ("complete", "VALID")
    assert (path / "performance" / "mlperf_log_detail.txt").read_bytes() == performance
    assert resumed["metric"] == first["metric"]
    assert (path / "accuracy.broken-1" / "mlperf_log_accuracy.json").is_file()
    assert changed_files(path) == []
    again = coldmark("runs", "resume", first["run_id"])
    assert again.returncode == 2
    assert "complete" in again.stderr


@pytest.mark.loadgen
def test_a_run_is_not_resumed_with_other_software(coldmark: Coldmark, tmp_path: Path) -> None:
    first = one_run(coldmark, "--scenario", "Offline", "--mode", "performance")
    path = tmp_path / first["run_dir"] / "record.json"
    record = json.loads(before := path.read_text())
    record |= {"state": "running", "software": record["software"] | {"openvino": "2021.1"}}
    path.write_text(json.dumps(record))
    done = coldmark("runs", "resume", first["run_id"])
    assert done.returncode == 2
    assert "openvino was 2021.1" in done.stderr
    path.write_text(json.dumps(record | {"software": json.loads(before)["software"]}))
    task = path.with_name("task.json")
    task.write_text(json.dumps(json.loads(task.read_text()) | {"model_sha256": "0" * 64}))
    done = coldmark("runs", "resume", first["run_id"])
    assert done.returncode == 2
    assert "the model has changed" in done.stderr


@pytest.mark.loadgen
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_run_with_130_and_a_record_that_says_so(
    number: signal.Signals, coldmark: Coldmark, tmp_path: Path
) -> None:
    process = start_long_run(tmp_path)
    process.send_signal(number)
    assert process.wait(20) == 130
    (record,) = json.loads(coldmark("runs", "list", "--json").stdout)
    assert record["state"] == "interrupted"
    assert changed_files(tmp_path / record["run_dir"]) == []


@pytest.mark.loadgen
def test_runs_are_listed_and_shown_and_edits_are_noticed(coldmark: Coldmark, tmp_path: Path) -> None:
    record = one_run(coldmark, "--scenario", "Offline", "--mode", "performance")
    assert record["run_id"] in coldmark("runs", "list").stdout
    shown = coldmark("runs", "show", record["run_id"][-6:], "--findings").stdout
    assert "rate" in shown
    assert "duration.min" in shown
    assert "CHANGED" not in shown
    summary = tmp_path / record["run_dir"] / "performance" / "mlperf_log_summary.txt"
    summary.write_text(summary.read_text().replace("1", "9"))
    assert "CHANGED" in coldmark("runs", "show", record["run_id"]).stdout


def test_system_describes_the_machine_in_mlperfs_fields(coldmark: Coldmark) -> None:
    found = json.loads(coldmark("system", "--json").stdout)
    for name in (
        "host_processor_model_name",
        "host_processor_core_count",
        "host_memory_capacity",
        "operating_system",
        "accelerators_per_node",
    ):
        assert found[name]
    assert "host_processor_model_name" in coldmark("system").stdout


def test_workloads_are_listed_with_what_the_round_asks(coldmark: Coldmark) -> None:
    rows = json.loads(coldmark("workloads", "--json").stdout)
    resnet = next(r for r in rows if r["workload"] == "resnet50")
    assert resnet["suites"]["datacenter"] == ["Server", "Offline"]
    assert resnet["server_latency_ms"] == 15
    assert "resnet50 --model mini" in coldmark("workloads").stdout
