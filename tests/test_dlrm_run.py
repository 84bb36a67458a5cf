"""DLRM through the command line and LoadGen, and the script that makes `mini`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coldmark.core.codec import read_toml
from coldmark.workloads.dlrm import mini
from coldmark.workloads.dlrm.convert import convert
from conftest import SMALL
from dlrm_forms import official_rows, write_bin, write_checkpoint_onnx

ROOT = Path(__file__).parents[1]
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.loadgen
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_mini_meets_its_own_reference_through_loadgen(coldmark: Call, backend: str) -> None:
    done = coldmark(
        *("run", "dlrm-99.9", "--scenario", "Offline", "--backend", backend, "--mode", "accuracy", "--json"),
        *SMALL,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    accuracy = json.loads(done.stdout)["accuracy"]
    held = mini.mini_file().heldout
    assert accuracy["passed"] is True
    assert accuracy["value"] == pytest.approx(held.reference_auc_percent, abs=0.001)
    assert accuracy["low"] < accuracy["value"] < accuracy["high"] < held.best_possible_auc_percent
    assert accuracy["samples"] == held.heldout_samples


@pytest.mark.loadgen
def test_official_files_run_in_server_with_unequal_samples(coldmark: Call, tmp_path: Path) -> None:
    convert(write_checkpoint_onnx(tmp_path / "dlrm.onnx"), tmp_path / "weights")
    write_bin(tmp_path / "criteo", official_rows(9000))
    done = coldmark(
        *("run", "dlrm-99", "--scenario", "Server", "--model", "official", "--target-qps", "300", "--json"),
        *("--set", f"model.path={tmp_path / 'weights'}", "--set", f"data.path={tmp_path / 'criteo'}"),
        *SMALL,
    )
    record = json.loads(done.stdout)
    assert done.returncode == 3, done.stderr[-2000:]  # random weights do not reach MLPerf's target
    assert record["accuracy"]["passed"] is False
    assert 40 < record["accuracy"]["value"] < 60
    (log,) = tmp_path.glob("runs/*/accuracy/mlperf_log_accuracy.json")
    entries = json.loads(log.read_text())
    pairs = np.concatenate([np.frombuffer(bytes.fromhex(e["data"]), "<f4").reshape(-1, 2) for e in entries])
    assert len(pairs) == 9000
    assert pairs[:, 1].sum() == official_rows(9000)[:, 0].sum()


@pytest.mark.loadgen
def test_a_category_beyond_its_table_ends_the_run_with_6(coldmark: Call, tmp_path: Path) -> None:
    convert(write_checkpoint_onnx(tmp_path / "dlrm.onnx"), tmp_path / "weights")
    rows = official_rows(900)
    rows[77, 14] = 3
    write_bin(tmp_path / "criteo", rows)
    done = coldmark(
        *("run", "dlrm-99", "--scenario", "Offline", "--model", "official"),
        *("--set", f"model.path={tmp_path / 'weights'}", "--set", f"data.path={tmp_path / 'criteo'}"),
        *SMALL,
    )
    assert done.returncode == 6
    assert "pair 77: category 3 is beyond table 0, which has 3 rows" in done.stderr


def test_the_converter_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "coldmark.workloads.dlrm.convert"]
    done = subprocess.run(
        [*command, str(tmp_path / "none.onnx"), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert "no such file" in done.stderr
    source = write_checkpoint_onnx(tmp_path / "dlrm.onnx")
    assert subprocess.run([*command, str(source), str(tmp_path / "out")], check=False).returncode == 0
    assert (tmp_path / "out" / "tables.npy").is_file()


@pytest.mark.torch
def test_the_training_script_makes_a_model_and_its_facts(tmp_path: Path) -> None:
    script = ROOT / "training" / "dlrm" / "train.py"
    small = ("--chunks", "4", "--chunk", "2048", "--batch", "512")
    done = subprocess.run(
        [sys.executable, str(script), "--out", str(tmp_path), "--cache", str(tmp_path / "cache"), *small],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    facts = read_toml(tmp_path / "mini.toml", mini.MiniFile)
    shipped = mini.mini_file()
    assert facts.sha256 == mini.read_whole(tmp_path / "mini.onnx", facts.rows).sha256
    assert (facts.parameters, facts.macs_per_pair) == (shipped.parameters, shipped.macs_per_pair)
    assert facts.heldout.heldout_sha256 == shipped.heldout.heldout_sha256
    assert facts.heldout.best_possible_auc_percent == pytest.approx(shipped.heldout.best_possible_auc_percent)
    assert 45 < facts.heldout.reference_auc_percent < 75  # 8 192 pairs teach next to nothing
