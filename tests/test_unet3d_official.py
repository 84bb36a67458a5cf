"""3D-UNet with files of the official form: the folder, its faults, real LoadGen runs, what the log holds."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial import distance

from coldmark.core.errors import ConfigError, DataError
from coldmark.core.record import Accuracy
from coldmark.loadgen.log import parse_detail
from coldmark.report.text import accuracy_text
from coldmark.workloads.task import Task
from coldmark.workloads.unet3d.cases import CaseLibrary
from coldmark.workloads.unet3d.dice import dice
from coldmark.workloads.unet3d.kits import KitsFolder
from coldmark.workloads.unet3d.windows import Segmenter
from unet3d_files import SHAPES, WINDOW, case, many_cases, nearest, open_unet, write_folder, write_model


@pytest.fixture
def official(tmp_path: Path) -> dict[str, Path]:
    return {
        "model_path": write_model(tmp_path / "3dunet_kits19_dynbatch.onnx"),
        "data_path": write_folder(tmp_path / "preprocessed_data"),
    }


# -- official ----------------------------------------------------------------------------------------


def answers_of(task: Task) -> list[bytes]:
    assert isinstance(task.library, CaseLibrary)
    indices = np.arange(task.samples)
    task.library.load(indices)
    found = Segmenter({1: nearest}, task.library.volume, WINDOW, 3)(indices)
    return [bytes(a) for a in found]


@pytest.mark.parametrize("plain", [False, True])
def test_official_files_are_opened_and_scored_the_official_way(
    plain: bool, official: dict[str, Path], tmp_path: Path
) -> None:
    if plain:
        official["data_path"] = write_folder(tmp_path / "plain", plain=True)
    task = open_unet("official", "3d-unet-99.9", **official)
    assert task.official
    assert task.samples == 4
    assert task.gate is not None
    assert task.gate.target == pytest.approx(0.8608383)
    assert open_unet("official", **official).gate.target == pytest.approx(0.853083)  # type: ignore[union-attr]
    answers = answers_of(task)
    assert [len(a) for a in answers] == [int(np.prod(s)) for s in SHAPES]
    assert task.scorer is not None
    score = task.scorer(np.arange(4), answers)
    wrong = case(1)[1][0].copy()
    wrong[:3] = 2
    expected = (3 + dice(wrong.reshape(-1), case(1)[1].reshape(-1)).mean()) / 4
    assert score.value == pytest.approx(expected, abs=1e-6)
    assert 0.8 < score.value < 1


@pytest.mark.parametrize("missing", ["model_path", "data_path"])
def test_official_says_which_path_it_needs(missing: str, official: dict[str, Path]) -> None:
    del official[missing]
    with pytest.raises(ConfigError, match=missing.replace("_", ".")):
        open_unet("official", **official)


def test_a_checkpoint_is_not_opened_but_its_way_out_named(official: dict[str, Path], tmp_path: Path) -> None:
    official["model_path"] = tmp_path / "3dunet_kits19_pytorch.ptc"
    official["model_path"].write_bytes(pickle.dumps({}))
    with pytest.raises(DataError, match=r"not an ONNX file(.|\n)*dynbatch\.onnx"):
        open_unet("official", **official)


def test_missing_files_of_the_folder_are_named(official: dict[str, Path], tmp_path: Path) -> None:
    folder = official["data_path"]
    with pytest.raises(DataError, match="no such folder"):
        KitsFolder(tmp_path / "nowhere")
    (folder / "case_00012.pkl").unlink()
    with pytest.raises(DataError, match=r"case_00012\.pkl is missing"):
        open_unet("official", **official)
    (folder / "preprocessed_files.pkl").unlink()
    with pytest.raises(DataError, match=r"neither preprocessed_files\.pkl nor inference_cases\.json"):
        KitsFolder(folder)


def rewrite(folder: Path, image: Any, labels: Any, name: str = "case_00003") -> KitsFolder:
    (folder / f"{name}.pkl").write_bytes(pickle.dumps([image, labels]))
    return KitsFolder(folder)


def test_labels_that_do_not_fit_their_volume_are_named(official: dict[str, Path]) -> None:
    folder, (image, labels) = official["data_path"], case(0)
    for bad, message in (
        (labels[:, :4], r"labels are \[4, 8, 8\], their volume \[8, 8, 8\]"),
        (labels.astype(np.int64), "uint8, not int64"),
        (labels + 1, "label 3 is no class"),
        (labels[0, 0], "3 dimensions"),
    ):
        with pytest.raises(DataError, match=message):
            rewrite(folder, image, bad).labels(0)


def test_a_volume_of_another_rank_type_or_with_nan_is_named(official: dict[str, Path]) -> None:
    image, labels = case(0)
    holed = image.copy()
    holed[0, 1, 2, 3] = np.nan
    for bad, message in (
        (image[0, 0], "3 dimensions and one channel"),
        (np.stack([image, image]), "3 dimensions and one channel"),
        (image.astype(np.float64), r"case_00003: .*float32, not float64"),
        (image[:, :4], "its list says"),
        (holed, "1 voxels are not finite"),
    ):
        rewrite(official["data_path"], bad, labels)
        task = open_unet("official", **official)
        with pytest.raises(DataError, match=message):
            task.library.load(np.arange(4))


def test_a_case_is_held_against_its_checksum(official: dict[str, Path]) -> None:
    folder = official["data_path"]
    (folder / "checksum_inference.json").write_text(json.dumps({"case_00003.pkl": "0" * 32}))
    with pytest.raises(DataError, match=r"case_00003\.pkl.*MD5"):
        KitsFolder(folder).volume(0)
    assert KitsFolder(folder).volume(1).shape == SHAPES[1]


@pytest.mark.parametrize(
    "names", [[], "case", ["../case_00003"], ["case_00003", "case_00003"], ["a/b"], [3], {"a": 1}]
)
def test_a_bad_list_of_cases_is_refused(names: Any, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "p", plain=True)
    (folder / "inference_cases.json").write_text(json.dumps(names))
    with pytest.raises(DataError, match=r"inference_cases\.json"):
        KitsFolder(folder)
    (folder / "inference_cases.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"inference_cases\.json"):
        KitsFolder(folder)


def test_plain_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "p", plain=True)
    np.save(folder / "case_00003.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="not a NumPy array file"):
        KitsFolder(folder)


TINY = (
    "--length",
    "smoke",
    "--set",
    "test.min_duration_ms=1",
    "--set",
    "test.min_query_count=64",
    "--set",
    "harness.bare_s=0.1",
)


@pytest.mark.loadgen
@pytest.mark.parametrize(
    ("suite", "scenario", "backend"),
    [("edge", "SingleStream", "openvino"), ("datacenter", "Offline", "onnxruntime")],
)
def test_a_run_issues_every_case_equally_and_answers_as_mlperfs_script_reads_it(
    suite: str, scenario: str, backend: str, coldmark: Any, tmp_path: Path
) -> None:
    paths = [flag for k, v in many_cases(tmp_path / "data").items() for flag in ("--set", f"{k}={v}")]
    done = coldmark(
        "run", "3d-unet-99", "--suite", suite, "--scenario", scenario, "--backend", backend,
        "--model", "official", *paths, *TINY, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["verdict"] == "VALID"
    rules = {f["rule"] for f in record["findings"] if f["severity"] == "error"}
    assert rules == set()
    folder = tmp_path / record["run_dir"]
    log = parse_detail(folder / "performance" / "mlperf_log_detail.txt")
    assert log.get("effective_sample_concatenate_permutation") is True
    issued = (
        log.number("generated_samples_per_query")
        if scenario == "Offline"
        else log.number("result_query_count")
    )
    assert issued is not None
    assert issued % 42 == 0
    assert issued > 0
    # The official script: one entry a case, hexadecimal, uint8, reshaped to [1, depth, height, width].
    entries = json.loads((folder / "accuracy" / "mlperf_log_accuracy.json").read_text())
    assert sorted(e["qsl_idx"] for e in entries) == list(range(44))
    table = []
    for entry in entries:
        image, labels = case(entry["qsl_idx"] % len(SHAPES))
        found = np.frombuffer(bytes.fromhex(entry["data"]), np.uint8).reshape(image.shape)
        table.append([1 - distance.dice((found == c).ravel(), (labels == c).ravel()) for c in (1, 2)])
    kidney, tumour = np.mean(table, axis=0)
    line = f"Accuracy: mean = {np.mean(table):.5f}, kidney = {kidney:.4f}, tumor = {tumour:.4f}"
    assert line in (folder / "accuracy" / "accuracy.txt").read_text()
    assert record["accuracy"]["value"] == pytest.approx(np.mean(table), abs=1e-6)
    assert record["accuracy"]["target"] == pytest.approx(0.853083)


@pytest.mark.loadgen
@pytest.mark.parametrize("scenario", ["SingleStream", "Offline"])
def test_equal_issue_asks_for_each_loaded_case_equally_often(scenario: str, tmp_path: Path) -> None:
    child = Path(__file__).with_name("equal_issue_child.py")
    done = subprocess.run(
        [sys.executable, str(child), str(tmp_path), scenario],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert len(counts) == 42
    assert set(counts) == {3}  # 100 asked for, three passes of 42 issued


def test_a_missing_case_ends_the_command_with_6(coldmark: Any, tmp_path: Path) -> None:
    paths = [flag for k, v in many_cases(tmp_path / "data", 3).items() for flag in ("--set", f"{k}={v}")]
    (tmp_path / "data" / "case_00001.pkl").unlink()
    done = coldmark(
        "run", "3d-unet-99.9", "--suite", "edge", "--scenario", "Offline", "--model", "official", *paths
    )
    assert done.returncode == 6
    assert "case_00001.pkl is missing" in done.stderr


def test_a_share_is_shown_with_enough_digits_to_tell_two_targets_apart() -> None:
    accuracy = Accuracy(
        metric="DICE", value=0.67812, unit="", reference=0.6790, target=0.678321, passed=False, samples=200
    )
    assert accuracy_text(accuracy) == "0.6781 (target 0.6783) FAILED"
