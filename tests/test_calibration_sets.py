"""Calibration sets of all workloads: apart from what is trained and scored on, and MLPerf's own lists."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import test_bert as bert_forms
import test_resnet50 as resnet50_forms
import test_retinanet as retinanet_forms
import test_rnnt as rnnt_forms
import unet3d_files as unet3d_forms
from coldmark.core.calibration import Aim, Calibration, CalibrationOptions, Quantisation
from coldmark.core.errors import ConfigError, DataError
from coldmark.core.nouns import Precision, Scenario, Suite
from coldmark.core.record import RunSpec
from coldmark.runs.calibrated import (
    command,
    digests,
    network_paths,
    with_calibration,
)
from coldmark.runs.resolve import open_task, resolve
from coldmark.store.calibrations import keep
from coldmark.workloads.bert import calibration as bert_calibration
from coldmark.workloads.bert.mini import mini_file as bert_mini
from coldmark.workloads.bert.passages import draw as draw_passage
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.dlrm import clicks
from coldmark.workloads.dlrm.criteo import CALIBRATION_PAIRS, CriteoLog
from coldmark.workloads.lists import digest, fingerprint, listed_files, read_list
from coldmark.workloads.resnet50 import imagenet
from coldmark.workloads.resnet50 import mini as resnet50_mini
from coldmark.workloads.resnet50.shapes import draw as draw_shape
from coldmark.workloads.retinanet import scenes
from coldmark.workloads.rnnt import mini as rnnt_mini
from coldmark.workloads.rnnt.librispeech import Listed
from coldmark.workloads.rnnt.synthesis import draw as draw_speech
from coldmark.workloads.task import Task, find_workload
from coldmark.workloads.unet3d import sets, volumes
from coldmark.workloads.unet3d.kits import CALIBRATION, KitsFolder
from dlrm_forms import TINY, official_rows

Coldmark = Callable[..., subprocess.CompletedProcess[str]]

# -- mini: seeds of their own ------------------------------------------------------------------------

_resnet50, _bert = resnet50_mini.mini_file(), bert_mini()

SEEDS = {
    "resnet50": (
        resnet50_mini.CALIBRATION_SEED,
        {_resnet50.training.training_seed, 510_002, _resnet50.heldout.heldout_seed},
        lambda seed, i: draw_shape(seed, i)[0],
    ),
    "retinanet": (
        scenes.CALIBRATION_SEED,
        {scenes.TRAINING_SEED, scenes.HARD_SEED, scenes.VALIDATION_SEED, scenes.HELDOUT_SEED},
        lambda seed, i: scenes.draw(seed, i).image.tobytes(),
    ),
    "bert-99": (
        530_004,
        {_bert.training.training_seed, 530_002, _bert.heldout.heldout_seed},
        lambda seed, i: draw_passage(seed, i).text.encode(),
    ),
    "dlrm-99": (
        clicks.CALIBRATION_SEED,
        {clicks.TRAINING_SEED, clicks.VALIDATION_SEED, clicks.EVALUATION_SEED},
        lambda seed, i: clicks.draw(seed, i, 20).category.tobytes(),
    ),
    "rnnt": (
        rnnt_mini.CALIBRATION_SEED,
        {rnnt_mini.TRAINING_SEED, rnnt_mini.VALIDATION_SEED, rnnt_mini.HELDOUT_SEED},
        lambda seed, i: draw_speech(seed, i)[0].tobytes(),
    ),
    "3d-unet-99": (
        sets.SEEDS["calibration"],
        {seed for name, seed in sets.SEEDS.items() if name != "calibration"},
        lambda seed, i: volumes.draw(seed, i)[0].tobytes(),
    ),
}
"""By workload: seed of the calibration set, all other seeds, how a sample of a seed is drawn."""


@pytest.mark.parametrize("name", SEEDS)
def test_calibration_has_a_seed_of_its_own_and_other_content(name: str) -> None:
    own, others, drawn = SEEDS[name]
    assert own not in others
    content = [hashlib.sha256(drawn(seed, i)).digest() for seed in sorted({own, *others}) for i in range(2)]
    assert len(set(content)) == len(content)


def _open(name: str, source: str = "mini") -> Task:
    workload = find_workload(name)
    return workload.open(source, workload.options(), cache=cache_dir())


@pytest.mark.parametrize("name", ["resnet50", "bert-99", "3d-unet-99"])
def test_the_calibration_task_is_the_same_model_on_other_samples(name: str) -> None:
    task = _open(name)
    assert task.calibration is not None
    other = task.calibration()
    assert other.library.name != task.library.name
    assert other.facts["model_sha256"] == task.facts["model_sha256"]
    assert other.samples == other.library.count
    assert other.gate is None  # the reference is of the evaluation set
    assert other.calibration is None
    assert task.identity is not None
    assert other.identity is not None
    evaluated = {task.identity(i) for i in range(task.samples)}
    assert not evaluated & {other.identity(i) for i in range(other.samples)}


@pytest.mark.parametrize("name", ["resnet50", "retinanet", "bert-99", "dlrm-99", "rnnt", "3d-unet-99"])
def test_full_is_calibrated_on_other_drawn_samples(name: str) -> None:
    workload = find_workload(name)
    task = workload.open("full", workload.options(), cache=cache_dir(), need_model=False)
    assert task.calibration is not None
    other = task.calibration()
    assert task.identity is not None
    assert other.identity is not None
    assert other.identity(0) != task.identity(0)
    assert other.refusal


def test_int8_beside_arithmetic_that_this_processor_lacks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, cache = _open("bert-99"), tmp_path / "cache"
    used = _kept(cache, task).quantisation
    assert used is not None
    _kept(cache, task, quantisation=replace(used, floating=Precision.BF16))
    plan = resolve(replace(RUN, options={}))

    def require(precision: Precision) -> None:
        if precision is Precision.BF16:
            raise ConfigError("this processor has no bf16")

    without = replace(plan, backend=replace(plan.backend, require=require))
    with pytest.raises(
        ConfigError, match=r"no bf16\n.*calibrate on this machine: coldmark calibrate bert-99"
    ):
        open_task(without, cache)


# -- lists -------------------------------------------------------------------------------------------


def test_a_list_is_read_by_its_first_words_and_known_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("b.jpg 1\n\na.jpg 0\n")
    assert read_list(path) == ["b.jpg", "a.jpg"]
    assert digest(["a.jpg", "b.jpg"]) == digest(read_list(path))
    # By hand: sha256 of the sorted names, a line each.
    assert digest(["b", "a"]) == hashlib.sha256(b"a\nb").hexdigest()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "lists no sample"),
        (b"a.jpg\nb.jpg\na.jpg\n", r"list\.txt:3: .*stands in line 1 too"),
        (b"\xff\xfe\n", "cannot read the calibration list"),
        (b"../a.jpg\n", "lies outside the folder"),
        (b"/etc/passwd\n", "lies outside the folder"),
        (b"none.jpg\n", r"the file none\.jpg is missing"),
    ],
)
def test_a_bad_list_is_refused_with_its_place(content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    (tmp_path / "b.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match=text):
        listed_files(tmp_path, path)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the calibration list"):
        read_list(tmp_path / "none.txt")


def test_a_renamed_copy_has_the_same_fingerprint(tmp_path: Path) -> None:
    content = np.random.default_rng(1).bytes(50_000)
    for name, data in (("a", content), ("b", content), ("c", content[:-1] + b"?"), ("d", b"")):
        (tmp_path / name).write_bytes(data)
    prints = [fingerprint(tmp_path / name) for name in "abcd"]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    with pytest.raises(DataError, match="cannot be read"):
        fingerprint(tmp_path / "none")


# -- ImageNet ----------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    return {
        "model_path": resnet50_forms.write_model(tmp_path / "resnet50_v1.onnx"),
        "data_path": resnet50_forms.write_images(tmp_path / "val", count=4),
    }


def _listing(folder: Path, names: list[str]) -> Path:
    path = folder / "list.txt"
    path.write_text("\n".join(names) + "\n")
    return path


def test_imagenet_is_calibrated_on_a_list(
    images: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000001.JPEG"]
    listed = _listing(tmp_path, [f"{name} {i}" for i, name in enumerate(names)])  # as in option 2
    task = resnet50_forms.open_resnet("official", **images, calibration_list=listed)
    assert task.calibration is not None
    own = task.calibration()
    assert own.samples == 2
    assert own.overlap == ""  # not MLPerf's list: it may hold nothing that is scored on
    assert not own.official
    assert own.library.name == "images of a list"
    assert task.identity is not None
    assert own.identity is not None
    assert own.identity(0) == task.identity(2)
    monkeypatch.setitem(imagenet.OFFICIAL_LISTS, digest(names), "cal_image_list_option_2.txt")
    own = task.calibration()
    assert "calibration/ImageNet/cal_image_list_option_2.txt" in own.overlap
    assert (own.official, own.library.name) == (True, "imagenet-calibration")


def test_official_files_without_a_list_say_what_is_needed(images: dict[str, Path]) -> None:
    task = resnet50_forms.open_resnet("official", **images)
    assert task.calibration is not None
    with pytest.raises(ConfigError, match=r"this needs calibration\.list"):
        task.calibration()


def _kept(cache: Path, task: Task, id_: str = "0123456789abcdef", **more: Any) -> Calibration:
    """A calibration of a task of bert-99, in a cache."""
    assert task.model is not None
    assert task.gate is not None
    network = cache.parent / "bert.onnx"
    network.write_bytes(b"INT8")
    gate = task.gate
    made = Calibration(
        id=id_,
        workload="bert-99",
        model="mini",
        backend="openvino",
        models=digests(network_paths(task.model)),
        ratio=0.99,
        aim=Aim(metric=gate.metric, unit=gate.unit, reference=gate.reference, target=gate.target),
        front=(),
        chosen=None,
        quantisation=Quantisation(
            id=id_,
            method="nncf-mixed",
            floating=Precision.FP32,
            excluded={},
            networks={"bert": hashlib.sha256(b"INT8").hexdigest()},
            set_name="squad-calibration",
            set_sha256="",
            samples=100,
            made_with={},
        ),
        reason="",
        made="2026-11-23T00:00:00+00:00",
        seconds=1.0,
    )
    made = replace(made, **more)
    keep(cache, made, {"bert": network} if made.quantisation else {})
    return made


RUN = RunSpec(
    workload="bert-99",
    scenario=Scenario.OFFLINE,
    suite=Suite.EDGE,
    backend="openvino",
    precision=Precision.INT8,
    options={"vocab.path": "v.txt", "calibration.list": "my l.txt", "calibration.id": "x"},
)


def test_a_calibration_on_scored_samples_is_a_doubt_of_every_run(tmp_path: Path) -> None:
    task, cache = _open("bert-99"), tmp_path / "cache"
    clause = "MLPerf Inference v2.1, calibration/SQuAD-v1.1/bert_calibration_features.txt"
    used = _kept(cache, task).quantisation
    assert used is not None
    assert with_calibration(task, RUN, CalibrationOptions(), cache).warnings == ()
    _kept(cache, task, quantisation=replace(used, overlap=clause))
    quantised = with_calibration(task, RUN, CalibrationOptions(), cache)
    assert quantised.warnings == (f"calibrated on samples that are scored on too, as {clause}",)


def test_the_command_that_makes_what_is_missing_can_be_pasted() -> None:
    assert command(RUN) == (
        "coldmark calibrate bert-99 --set vocab.path=v.txt --set 'calibration.list=my l.txt'"
    )


def test_a_calibration_that_was_never_judged_is_not_taken_where_it_could_be(tmp_path: Path) -> None:
    task, cache = _open("bert-99"), tmp_path / "cache"
    _kept(cache, task, "aa", aim=None, made="2026-11-24T00:00:00+00:00")
    with pytest.raises(ConfigError, match="no calibration of bert-99"):
        with_calibration(task, RUN, CalibrationOptions(), cache)
    blind = with_calibration(replace(task, refusal="no answers"), RUN, CalibrationOptions(), cache)
    assert (blind.quantised and blind.quantised.id, blind.warnings) == ("aa", ())
    _kept(cache, task, "bb")  # older, but judged
    found = with_calibration(task, RUN, CalibrationOptions(), cache)
    assert (found.quantised and found.quantised.id, found.warnings) == ("bb", ())


def test_networks_that_were_made_anew_are_no_longer_those_of_a_run(tmp_path: Path) -> None:
    task, cache = _open("bert-99"), tmp_path / "cache"
    used = _kept(cache, task, "aa").quantisation
    assert used is not None
    noted = CalibrationOptions(id="aa", content=used.content)
    assert with_calibration(task, RUN, noted, cache).quantised == used
    _kept(cache, task, "aa", quantisation=replace(used, floating=Precision.BF16))
    with pytest.raises(ConfigError, match="calibration aa was made anew since this began") as refused:
        with_calibration(task, RUN, noted, cache)
    assert refused.value.hint == "start a new run"


def test_a_list_of_ones_own_makes_no_official_model(tmp_path: Path) -> None:
    task, cache = replace(_open("bert-99"), official=True), tmp_path / "cache"
    used = _kept(cache, task, "aa").quantisation
    assert used is not None
    assert with_calibration(task, RUN, CalibrationOptions(), cache).official
    _kept(cache, task, "aa", quantisation=replace(used, official=False))
    found = with_calibration(task, RUN, CalibrationOptions(), cache)
    assert not found.official
    assert "none of MLPerf's" in found.warnings[0]


def test_a_calibration_by_id_carries_what_it_was_not_made_for(tmp_path: Path) -> None:
    task, cache = _open("bert-99"), tmp_path / "cache"
    _kept(cache, task, "aa", aim=None, backend="onnxruntime")
    first, second = with_calibration(task, RUN, CalibrationOptions(id="aa"), cache).warnings
    assert "was made and judged on onnxruntime, not on openvino" in first
    assert "was never judged" in second
    _kept(cache, task, "bb", ratio=0.9)
    (weaker,) = with_calibration(task, RUN, CalibrationOptions(id="bb"), cache).warnings
    assert "was judged by 90 % of FP32, not 99 %" in weaker


def test_a_stricter_calibration_without_int8_does_not_stand_for_this_gate(tmp_path: Path) -> None:
    task, cache = _open("bert-99"), tmp_path / "cache"
    _kept(cache, task, "aa", ratio=0.999, quantisation=None)
    with pytest.raises(ConfigError, match="no calibration of bert-99"):
        with_calibration(task, RUN, CalibrationOptions(), cache)
    _kept(cache, task, "bb", quantisation=None)
    with pytest.raises(ConfigError, match="calibration bb found no INT8 that holds the gate"):
        with_calibration(task, RUN, CalibrationOptions(), cache)
    _kept(cache, task, "cc", ratio=0.999)
    found = with_calibration(task, RUN, CalibrationOptions(), cache).quantised
    assert found is not None
    assert found.id == "cc"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ILSVRC2012_val_00000002.JPEG", "1 of 1 calibration samples are in the evaluation set"),
        ("ILSVRC2012_val_00000099.JPEG", "ILSVRC2012_val_00000099.JPEG is missing"),
    ],
)
def test_overlap_and_missing_files_end_with_exit_code_6(
    name: str, text: str, images: dict[str, Path], tmp_path: Path, coldmark: Coldmark
) -> None:
    options = {
        "model.path": images["model_path"],
        "data.path": images["data_path"],
        "calibration.list": _listing(tmp_path, [name]),
    }
    flags = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    done = coldmark("calibrate", "resnet50", "--model", "official", *flags)
    assert done.returncode == 6, done.stderr
    assert text in done.stderr.replace("\n", " ")


def test_a_renamed_image_of_the_evaluation_set_is_found(images: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(images["data_path"] / "ILSVRC2012_val_00000003.JPEG", other / "mine.jpg")
    task = resnet50_forms.open_resnet(
        "official", **images, calibration_list=_listing(tmp_path, ["mine.jpg"]), calibration_data=other
    )
    assert task.calibration is not None
    own = task.calibration()
    assert task.identity is not None
    assert own.identity is not None
    assert own.identity(0) == task.identity(3)


# -- OpenImages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "train/data"])
def test_openimages_is_calibrated_on_images_without_annotations(below: str, tmp_path: Path) -> None:
    folder = tmp_path / "calibration"
    (folder / below).mkdir(parents=True)
    data = retinanet_forms.write_openimages(tmp_path / "openimages")
    source = data / retinanet_forms.FOLDER / f"{1:016x}.jpg"
    (folder / below / "dd51a1780bcb3d28.jpg").write_bytes(source.read_bytes() + b"\0")
    task = retinanet_forms.open_retinanet(
        "official",
        model_path=retinanet_forms.write_official(tmp_path / "retinanet.onnx"),
        data_path=data,
        calibration_list=_listing(tmp_path, ["dd51a1780bcb3d28.jpg"]),
        calibration_data=folder,
    )
    assert task.calibration is not None
    own = task.calibration()
    assert own.samples == 1
    assert task.identity is not None
    assert own.identity is not None
    assert own.identity(0) not in {task.identity(i) for i in range(task.samples)}
    own.library.load(np.array([0]))
    (tmp_path / "list.txt").write_text("0000.jpg\n")
    with pytest.raises(DataError, match=r"0000\.jpg is missing"):
        task.calibration()


# -- SQuAD -------------------------------------------------------------------------------------------


def test_squad_is_calibrated_on_numbers_or_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = bert_forms.write_squad(tmp_path)
    task = bert_forms.open_bert("official", **files, calibration_list=_listing(tmp_path, ["3", "0"]))
    assert task.calibration is not None
    assert task.identity is not None
    own = task.calibration()
    assert own.identity is not None
    assert [own.identity(i) for i in range(own.samples)] == [task.identity(3), task.identity(0)]
    assert not own.overlap
    monkeypatch.setitem(bert_calibration.OFFICIAL, digest(["3", "0"]), "bert_calibration_features.txt")
    assert "bert_calibration_features.txt" in task.calibration().overlap
    _listing(tmp_path, ["0-0", "1-1"])  # as MLPerf's ids of questions: all windows of each
    asked = task.calibration()
    assert asked.samples >= 2
    _listing(tmp_path, ["99999"])
    with pytest.raises(DataError, match="names sequence 99999, the data have"):
        task.calibration()
    _listing(tmp_path, ["0-0", "5733be284776f41900661182"])
    with pytest.raises(DataError, match="5733be284776f41900661182', which is missing"):
        task.calibration()


# -- KiTS19 ------------------------------------------------------------------------------------------


def test_kits_cases_to_calibrate_on_have_a_folder_of_their_own(tmp_path: Path) -> None:
    model = unet3d_forms.write_model(tmp_path / "unet.onnx")
    data = unet3d_forms.write_folder(tmp_path / "inference")
    folder = tmp_path / "calibration"
    folder.mkdir()
    volume = unet3d_forms.case(0)[0]  # no labels: nothing is scored
    np.save(folder / "case_00050.npy", volume)  # a renamed copy of one that is
    np.save(folder / "case_00003.npy", volume + 1)  # another volume under a name that is there too
    (folder / "calibration_cases.json").write_text(json.dumps(["case_00050", "case_00003"]))
    task = unet3d_forms.open_unet("official", model_path=model, data_path=data, calibration_data=folder)
    assert task.calibration is not None
    own = task.calibration()
    assert own.identity is not None
    assert task.identity is not None
    evaluated = [task.identity(index) for index in range(task.samples)]
    assert own.identity(0) in evaluated
    assert own.identity(1) not in evaluated
    own.library.load(np.array([0]))


def test_kits_cases_can_be_a_part_of_a_folder(tmp_path: Path) -> None:
    data = unet3d_forms.write_folder(tmp_path / "data")
    for name, content in (
        ("cases.json", json.dumps(["case_00012", "case_00003"])),
        ("cases.txt", "case_00012\ncase_00003\n"),
    ):
        (tmp_path / name).write_text(content)
        found = KitsFolder(data, CALIBRATION, tmp_path / name)
        assert found.names == ["case_00012", "case_00003"]
        assert found.shapes[1] == unet3d_forms.SHAPES[0]
    (tmp_path / "cases.txt").write_text("case_00172\n")
    with pytest.raises(DataError, match="the case 'case_00172' is missing"):
        KitsFolder(data, CALIBRATION, tmp_path / "cases.txt")


# -- LibriSpeech -------------------------------------------------------------------------------------


def test_librispeech_is_calibrated_on_listed_files(tmp_path: Path) -> None:
    names = ["train-clean-100-wav/103/1240/103-1240-0010.wav", "train-clean-100-wav/1/2/1-2-3.wav"]
    for name, samples in zip(names, (8000, 12_345), strict=True):
        rnnt_forms.write_wave(tmp_path / name, samples)
    listed = _listing(tmp_path, names)
    found = Listed(tmp_path, listed)
    assert found.samples.tolist() == [8000, 12_345]
    assert len(found.waveform(1)) == 12_345
    assert found.identity(0) != found.identity(1)
    rnnt_forms.write_wave(tmp_path / names[1], 8000, rate=8000)
    with pytest.raises(DataError, match="8000 samples/s"):
        Listed(tmp_path, listed)


# -- Criteo ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fortran", [False, True])
def test_criteo_is_calibrated_on_the_other_half_of_the_day(fortran: bool, tmp_path: Path) -> None:
    from test_dlrm_data import write_npz

    rows = official_rows(801)
    folder = write_npz(tmp_path / "npz", rows, fortran=fortran)
    tested = CriteoLog(folder, TINY.rows, tmp_path / "cache")
    own = CriteoLog(folder, TINY.rows, tmp_path / "cache", calibration=True)
    assert (len(tested), len(own)) == (401, 400)
    assert np.array_equal(own.read(0, 400)[1], rows[401:, 14:])
    assert np.array_equal(tested.read(0, 401)[1], rows[:401, 14:])
    assert own.identity(0) != tested.identity(0)


def test_the_reference_s_own_file_of_that_half_is_read_too(tmp_path: Path) -> None:
    rows = official_rows(CALIBRATION_PAIRS + 5)
    (tmp_path / "terabyte_processed_val.bin").write_bytes(rows.astype("<i4").tobytes())
    own = CriteoLog(tmp_path, TINY.rows, tmp_path, calibration=True)
    assert len(own) == CALIBRATION_PAIRS
    (tmp_path / "terabyte_processed_val.bin").unlink()
    with pytest.raises(DataError, match=r"neither terabyte_processed_val\.bin nor day_23_reordered\.npz"):
        CriteoLog(tmp_path, TINY.rows, tmp_path, calibration=True)


def test_the_test_half_passed_off_as_the_other_is_the_same_content(tmp_path: Path) -> None:
    rows = official_rows(300).astype("<i4").tobytes()
    for name in ("terabyte_processed_test.bin", "terabyte_processed_val.bin"):
        (tmp_path / name).write_bytes(rows)
    tested = CriteoLog(tmp_path, TINY.rows, tmp_path)
    assert CriteoLog(tmp_path, TINY.rows, tmp_path, calibration=True).identity(0) == tested.identity(0)
