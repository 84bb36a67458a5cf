"""DLRM's official files end to end, and the refusals of each."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from coldmark.core.errors import ConfigError, DataError
from coldmark.core.sut import Pipeline
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.dlrm import full, official
from coldmark.workloads.dlrm.architecture import seeded
from coldmark.workloads.dlrm.convert import convert
from coldmark.workloads.dlrm.task import Options
from coldmark.workloads.task import Task, find_workload
from dlrm_forms import TINY, Session, numpy_dlrm, official_rows, state_of, write_bin, write_checkpoint_onnx

PAIRS = 1234


@pytest.fixture
def given_files(tmp_path: Path) -> dict[str, Path]:
    convert(write_checkpoint_onnx(tmp_path / "dlrm.onnx"), tmp_path / "weights")
    return {
        "model_path": tmp_path / "weights",
        "data_path": write_bin(tmp_path / "criteo", official_rows(PAIRS)),
    }


def open_official(workload: str = "dlrm-99", **options: Any) -> Task:
    return find_workload(workload).open("official", Options(**options), cache=cache_dir())


# -- the official way, end to end --------------------------------------------------------------------


def test_official_files_are_answered_and_scored_the_official_way(given_files: dict[str, Path]) -> None:
    task = open_official("dlrm-99.9", **given_files)
    assert task.official
    assert task.gate is not None
    assert task.gate.target == pytest.approx(80.16975)
    assert official.official_gate("dlrm-99").target == pytest.approx(79.4475)
    assert "target is not theirs" in task.warnings[0]  # tiny tables
    assert isinstance(task.model, Pipeline)
    compute = task.model.open(Session(task.model, 700).by_name, 700)
    indices = np.arange(task.samples)
    task.library.load(indices)
    answers = [np.asarray(compute(indices[i : i + 1])[0]).tobytes() for i in indices]
    raw = official_rows(PAIRS)
    expected = numpy_dlrm(TINY, seeded(TINY), np.log(raw[:, 1:14] + 1.0), raw[:, 14:])
    logged = np.frombuffer(b"".join(answers), "<f4").reshape(-1, 2)
    assert np.allclose(logged[:, 0], expected, atol=1e-5)
    assert task.scorer is not None
    score = task.scorer(indices, answers)
    assert score.value == pytest.approx(100 * roc_auc_score(raw[:, 0], logged[:, 0]), abs=1e-6)
    good = int((logged[:, 0].round() == raw[:, 0]).sum())
    # As MLPerf's accuracy-dlrm.py prints it.
    rates = f"AUC={score.value:.3f}%, accuracy={100 * good / PAIRS:.3f}%"
    assert score.line == f"{rates}, good={good}, total={PAIRS}, queries={task.samples}"


@pytest.mark.parametrize("missing", ["model_path", "data_path"])
def test_official_says_which_path_it_needs(missing: str, given_files: dict[str, Path]) -> None:
    del given_files[missing]
    with pytest.raises(ConfigError, match=missing.replace("_", r"\.")):
        open_official(**given_files)


# -- day 23 ------------------------------------------------------------------------------------------


def write_npz(folder: Path, rows: NDArray[np.int32], *, fortran: bool, **changed: Any) -> Path:
    folder.mkdir(exist_ok=True)
    order: Any = np.asfortranarray if fortran else np.ascontiguousarray
    arrays = {"y": rows[:, 0], "X_int": order(rows[:, 1:14]), "X_cat": order(rows[:, 14:].astype(np.float64))}
    np.savez_compressed(folder / "day_23_reordered.npz", **(arrays | changed))
    return folder


@pytest.mark.parametrize("fortran", [False, True])
def test_the_first_half_of_the_days_arrays_is_the_test_set(
    fortran: bool, tmp_path: Path, given_files: dict[str, Path]
) -> None:
    whole = official_rows(2 * PAIRS - 1)
    whole[:PAIRS] = official_rows(PAIRS)
    folder = write_npz(tmp_path / f"npz{fortran}", whole, fortran=fortran)
    found = open_official(**{**given_files, "data_path": folder})
    wanted = open_official(**given_files)
    indices = np.arange(wanted.samples)
    assert found.samples == wanted.samples
    for task in (found, wanted):
        task.library.load(indices)
    for a, b in zip(found.library.columns, wanted.library.columns, strict=True):  # type: ignore[attr-defined]
        assert np.array_equal(a, b)


def test_ids_are_taken_modulo_40_million(tmp_path: Path, given_files: dict[str, Path]) -> None:
    rows = official_rows(200)
    rows[:, 14:] += 40_000_000
    task = open_official(**{**given_files, "data_path": write_bin(tmp_path / "big", rows)})
    task.library.load(np.array([0]))
    columns = task.library.columns  # type: ignore[attr-defined]
    assert np.array_equal(columns[1], official_rows(200)[: len(columns[1]), 14:])


def _beyond(rows: NDArray[np.int32]) -> None:
    rows[150, 14 + 3] = TINY.rows[3]


def _negative_id(rows: NDArray[np.int32]) -> None:
    rows[150, 14 + 3] = -1


def _negative_count(rows: NDArray[np.int32]) -> None:
    rows[150, 1 + 4] = -1


def _half_click(rows: NDArray[np.int32]) -> None:
    rows[150, 0] = 2


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_beyond, r"test\.bin: pair 150: category 7 is beyond table 3, which has 7 rows"),
        (_negative_id, "pair 150: the category of table 3 is negative"),
        (_negative_count, "pair 150: count 4 is negative"),
        (_half_click, "neither 0 nor 1"),
    ],
)
def test_a_pair_that_cannot_be_is_named_when_it_is_loaded(
    spoil: Any, text: str, tmp_path: Path, given_files: dict[str, Path]
) -> None:
    rows = official_rows(PAIRS)
    spoil(rows)
    task = open_official(**{**given_files, "data_path": write_bin(tmp_path / "bad", rows)})
    with pytest.raises(DataError, match=text) as caught:
        task.library.load(np.arange(task.samples))
    assert caught.value.exit_code == 6


def test_missing_and_truncated_data_are_named(tmp_path: Path, given_files: dict[str, Path]) -> None:
    def opened(folder: Path) -> Task:
        return open_official(**{**given_files, "data_path": folder})

    with pytest.raises(DataError, match="no such folder"):
        opened(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"neither terabyte_processed_test\.bin nor day_23_reordered\.npz"):
        opened(empty)
    file = given_files["data_path"] / "terabyte_processed_test.bin"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(DataError, match="truncated"):
        opened(given_files["data_path"])


def test_day_arrays_of_another_form_are_refused(tmp_path: Path, given_files: dict[str, Path]) -> None:
    def refused(name: str, text: str, **changed: Any) -> None:
        folder = write_npz(tmp_path / name, official_rows(50), fortran=False, **changed)
        with pytest.raises(DataError, match=text):
            open_official(**{**given_files, "data_path": folder})

    refused("width", r"X_int: has shape \(50, 12\), expected \(50, 13\)", X_int=np.zeros((50, 12), np.int32))
    refused("short", r"X_cat: has shape \(49, 26\)", X_cat=np.zeros((49, 26), np.int32))
    refused("text", "not numbers", X_cat=np.full((50, 26), "68fd1e64"))
    refused("pickle", "not numbers", X_cat=np.full((50, 26), None))
    folder = write_npz(tmp_path / "cut", official_rows(50), fortran=False)
    path = folder / "day_23_reordered.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot read the day's arrays"):
        open_official(**{**given_files, "data_path": folder})


def test_samples_beyond_memory_are_refused_with_the_number(
    given_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_official(**given_files, data_samples=2).library.performance_count == 2
    monkeypatch.setattr(full.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(ConfigError, match="the samples need"):
        open_official(**given_files)


# -- weights -----------------------------------------------------------------------------------------


def test_converted_weights_are_those_of_the_checkpoint(given_files: dict[str, Path]) -> None:
    state = state_of()
    tables = np.load(given_files["model_path"] / "tables.npy", allow_pickle=False)
    assert np.array_equal(tables, np.concatenate([state[f"emb_l.{t}.weight"] for t in range(26)]))
    with np.load(given_files["model_path"] / "layers.npz", allow_pickle=False) as layers:
        assert layers["rows"].tolist() == list(TINY.rows)
        assert np.array_equal(layers["top_l.0.weight"], state["top_l.0.weight"])
    assert {f.name for f in given_files["model_path"].iterdir()} == {"tables.npy", "layers.npz"}


def test_a_pickled_checkpoint_is_not_loaded_but_told_how(
    tmp_path: Path, given_files: dict[str, Path]
) -> None:
    path = tmp_path / "tb00_40M.pt"
    path.write_bytes(pickle.dumps({"state_dict": {}}))
    with pytest.raises(DataError, match=r"coldmark\.workloads\.dlrm\.convert"):
        open_official(**{**given_files, "model_path": path})


def test_weights_that_are_not_whole_are_named(tmp_path: Path, given_files: dict[str, Path]) -> None:
    folder = given_files["model_path"]
    with np.load(folder / "layers.npz", allow_pickle=False) as data:
        layers = dict(data)

    def refused(text: str, **changed: Any) -> None:
        kept = {k: v for k, v in (layers | changed).items() if v is not None}
        np.savez(folder / "layers.npz", **kept)
        with pytest.raises(DataError, match=text):
            open_official(**given_files)

    refused("no `rows`", rows=None)
    refused(r"top_l\.0\.weight is missing", **{"top_l.0.weight": None})
    refused(r"bot_l\.0\.bias", **{"bot_l.0.bias": None})
    refused(r"is float64", **{"top_l.0.weight": layers["top_l.0.weight"].astype(np.float64)})
    refused(r"expected float32 \[16, 355\]", **{"top_l.0.weight": layers["top_l.0.weight"][:, 1:]})
    refused("expected 1", **{"top_l.2.bias": np.zeros(2, np.float32)})
    refused(r"tables\.npy: holds float32", rows=layers["rows"] + 1)
    np.savez(folder / "layers.npz", **layers)
    tables = folder / "tables.npy"
    tables.write_bytes(tables.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"tables\.npy: not a whole array"):
        open_official(**given_files)
    tables.unlink()
    with pytest.raises(DataError, match=r"no tables\.npy"):
        open_official(**given_files)
    (folder / "layers.npz").write_bytes(b"PK")
    tables.touch()
    with pytest.raises(DataError, match="cannot read the layers"):
        open_official(**given_files)


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        convert(tmp_path / "x.onnx", tmp_path / "out")
    onnx_file = write_checkpoint_onnx(tmp_path / "d.onnx")
    (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(DataError, match=r"weights\.bin: the weights of 'emb_l\.\d+\.weight' cannot be read"):
        convert(onnx_file, tmp_path / "out")
    onnx_file.write_bytes(onnx_file.read_bytes().replace(b"weights.bin", b"../../../xx"))
    with pytest.raises(DataError, match="outside the model's folder"):
        convert(onnx_file, tmp_path / "out")
    onnx_file.write_bytes(b"not a model")
    with pytest.raises(DataError, match="not a whole ONNX model"):
        convert(onnx_file, tmp_path / "out")


@pytest.mark.torch
def test_a_torch_checkpoint_gives_weights_and_nothing_else(tmp_path: Path) -> None:
    import torch

    state = {name: torch.from_numpy(value.copy()) for name, value in state_of().items()}
    torch.save({"epoch": 0, "state_dict": state}, tmp_path / "c.pt")
    convert(tmp_path / "c.pt", tmp_path / "out")
    tables = np.load(tmp_path / "out" / "tables.npy", allow_pickle=False)
    assert np.array_equal(tables[:3], state_of()["emb_l.0.weight"])
    with zipfile.ZipFile(tmp_path / "out" / "layers.npz") as archive:
        assert "top_l.2.bias.npy" in archive.namelist()
    touched = tmp_path / "touched"
    torch.save({"state_dict": _Evil(touched)}, tmp_path / "evil.pt")
    with pytest.raises(DataError, match="weights alone"):
        convert(tmp_path / "evil.pt", tmp_path / "out2")
    assert not touched.exists()


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))
