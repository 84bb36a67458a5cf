"""ResNet-50's three model sources, its samples and its scorer."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from coldmark.core.errors import ConfigError, DataError, RunError
from coldmark.workloads.cache import cache_dir, materialise
from coldmark.workloads.resnet50 import architecture, labels
from coldmark.workloads.resnet50.heldout import HeldoutSet
from coldmark.workloads.resnet50.mini import mini_file
from coldmark.workloads.resnet50.preprocess import preprocess, shorter_side
from coldmark.workloads.resnet50.shapes import draw
from coldmark.workloads.resnet50.task import Options
from coldmark.workloads.rows import RowLibrary
from coldmark.workloads.task import Task, find_workload, workloads


def open_resnet(source: str, **options: Any) -> Task:
    return find_workload("resnet50").open(source, Options(**options), cache=cache_dir())


# -- a tiny folder and model of the official form ---------------------------------------------------


def write_images(folder: Path, count: int = 12) -> Path:
    """An ImageNet-like folder: image i has brightness by its label."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    lines = []
    for i in range(count):
        side = (300 + 7 * i, 260 + 11 * i)
        pixels = np.full((*side, 3), 20 * (i % 10), np.uint8) + rng.integers(0, 9, (*side, 3), np.uint8)
        cv2.imwrite(str(folder / f"ILSVRC2012_val_{i:08}.JPEG"), pixels)
        lines.append(f"ILSVRC2012_val_{i:08}.JPEG {i % 10}")
    (folder / "val_map.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_model(
    path: Path, classes: int = 1001, *, side: int | str = 224, argmax: bool = True, layers: int = 0
) -> Path:
    """A classifier by brightness in the form of MLPerf's own file: input_tensor:0, ArgMax:0, scores.

    Class (with background at 0) is the nearest multiple of 20 in the image's mean over all channels.
    Convolutions before it, `layers` of them, change nothing and can be quantised.
    """
    centres = np.full(classes, 1e6, np.float32)
    offset = classes - 1000
    centres[offset : offset + 10] = 20 * np.arange(10) + 4 - np.mean([123.68, 116.78, 103.94])
    names = ["input_tensor:0", *(f"same{i}" for i in range(layers))]
    nodes = [helper.make_node("Conv", [a, "identity"], [b]) for a, b in pairwise(names)]
    nodes += [
        helper.make_node("ReduceMean", [names[-1]], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("Sub", ["column", "centres"], ["away"]),
        helper.make_node("Abs", ["away"], ["distance"]),
        helper.make_node("Neg", ["distance"], ["softmax_tensor:0"]),
    ]
    weights = [numpy_helper.from_array(centres, "centres"), numpy_helper.from_array(np.array([1]), "one")]
    if layers:
        weights.append(numpy_helper.from_array(np.eye(3, dtype=np.float32)[:, :, None, None], "identity"))
    outputs = [helper.make_tensor_value_info("softmax_tensor:0", TensorProto.FLOAT, ["n", classes])]
    if argmax:
        nodes.append(helper.make_node("ArgMax", ["softmax_tensor:0"], ["ArgMax:0"], axis=1, keepdims=0))
        outputs.insert(0, helper.make_tensor_value_info("ArgMax:0", TensorProto.INT64, ["n"]))
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("input_tensor:0", TensorProto.FLOAT, ["n", 3, side, side])],
        outputs,
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture
def official(tmp_path: Path) -> dict[str, Path]:
    return {
        "model_path": write_model(tmp_path / "resnet50_v1.onnx"),
        "data_path": write_images(tmp_path / "val"),
    }


def test_official_files_are_opened_and_scored_the_official_way(official: dict[str, Path]) -> None:
    task = open_resnet("official", **official)
    assert task.official
    assert task.samples == 12
    assert task.gate is not None
    assert task.gate.target == pytest.approx(75.6954)
    assert task.model is not None
    assert task.model.outputs == ("softmax_tensor:0",)
    assert task.scorer is not None
    task.library.load(np.arange(12))
    batch = np.zeros((12, 3, 224, 224), np.float32)
    task.library.fill(np.arange(12), [batch])
    assert np.array_equal(
        batch[3], preprocess((official["data_path"] / "ILSVRC2012_val_00000003.JPEG").read_bytes())
    )


def test_a_background_class_is_taken_off(official: dict[str, Path]) -> None:
    scores = np.zeros((2, 1001), np.float32)
    scores[0, 1], scores[1, 1000] = 1, 1
    with_background = open_resnet("official", **official).model
    assert with_background is not None
    assert np.asarray(with_background.finish([scores], np.arange(2))).view("<f4").ravel().tolist() == [
        0.0,
        999.0,
    ]
    assert np.asarray(labels.finish_labels_background([np.array([1, 5])], np.arange(1))).view(
        "<f4"
    ).ravel().tolist() == [0.0]


@pytest.mark.parametrize("missing", ["model_path", "data_path"])
def test_official_says_which_path_it_needs(missing: str, official: dict[str, Path]) -> None:
    del official[missing]
    with pytest.raises(ConfigError, match=missing.replace("_", ".")):
        open_resnet("official", **official)


def test_a_missing_folder_list_or_image_is_named_with_its_line(
    official: dict[str, Path], tmp_path: Path
) -> None:
    folder = official["data_path"]
    (folder / "ILSVRC2012_val_00000004.JPEG").unlink()
    with pytest.raises(
        DataError, match=r"val_map\.txt:5: the image ILSVRC2012_val_00000004\.JPEG is missing"
    ):
        open_resnet("official", **official)
    (folder / "val_map.txt").unlink()
    with pytest.raises(DataError, match=r"val_map\.txt"):
        open_resnet("official", **official)
    with pytest.raises(DataError, match="no such folder"):
        open_resnet("official", model_path=official["model_path"], data_path=tmp_path / "nowhere")


@pytest.mark.parametrize(
    "line",
    ["only_a_name.JPEG", "a.JPEG one", "a.JPEG 1 2", "../secret.JPEG 1", "/etc/hostname 1", "a.JPEG -1"],
)
def test_a_bad_line_of_the_list_is_named(line: str, official: dict[str, Path]) -> None:
    listing = official["data_path"] / "val_map.txt"
    listing.write_text(listing.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"val_map\.txt:13"):
        open_resnet("official", **official)


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0" + bytes(50)])
def test_a_corrupt_image_is_named_when_it_is_loaded(content: bytes, official: dict[str, Path]) -> None:
    (official["data_path"] / "ILSVRC2012_val_00000002.JPEG").write_bytes(content)
    task = open_resnet("official", **official)
    with pytest.raises(DataError, match=r"val_map\.txt:3: the image ILSVRC2012_val_00000002\.JPEG"):
        task.library.load(np.arange(12))


def test_an_empty_list_is_no_data_set(official: dict[str, Path]) -> None:
    (official["data_path"] / "val_map.txt").write_text("\n\n")
    with pytest.raises(DataError, match="lists no image"):
        open_resnet("official", **official)


# -- model files that are not what they should be ---------------------------------------------------


def test_a_truncated_model_is_refused(official: dict[str, Path]) -> None:
    data = official["model_path"].read_bytes()
    for cut in (0, 1, len(data) // 2, len(data) - 3):
        official["model_path"].write_bytes(data[:cut])
        with pytest.raises(DataError, match=r"resnet50_v1\.onnx"):
            open_resnet("official", **official)


@pytest.mark.parametrize("content", [b"PK\x03\x04 no model", b"\x00" * 100, b"GIF89a"])
def test_another_format_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.onnx"):
        open_resnet(str(path))


def test_a_missing_model_file_is_named_and_a_misspelt_source_corrected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.onnx"):
        open_resnet(str(tmp_path / "no.onnx"))
    with pytest.raises(ConfigError, match="did you mean 'mini'"):
        open_resnet("mni")


def test_a_wrong_input_shape_is_refused_with_both_shapes(official: dict[str, Path], tmp_path: Path) -> None:
    write_model(official["model_path"], side=299)
    with pytest.raises(DataError, match=r"299.*expected \[batch, 3, 224, 224\]"):
        open_resnet("official", **official)


def test_weights_outside_the_models_folder_are_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", classes=1000, argmax=False)
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=r"m\.onnx"):
        open_resnet(str(path))


def test_a_model_of_ones_own_is_run_on_the_set_of_its_size(tmp_path: Path) -> None:
    small = open_resnet(str(write_model(tmp_path / "s.onnx", classes=1000, side=64, argmax=False)))
    assert small.gate is not None
    assert small.samples == mini_file().heldout.heldout_count
    big = open_resnet(str(write_model(tmp_path / "b.onnx", classes=1000, argmax=False)))
    assert big.scorer is None
    assert "data.path" in big.refusal
    images = write_images(tmp_path / "val")
    scored = open_resnet(str(tmp_path / "b.onnx"), data_path=images)
    assert scored.scorer is not None
    assert not scored.official


# -- full --------------------------------------------------------------------------------------------


def test_full_is_the_official_architecture_and_refuses_accuracy() -> None:
    model = architecture.build()
    assert architecture.trainable_parameters(model) == architecture.PARAMETERS == 25_557_032
    convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
    assert len(convolutions) == 53
    halving = [n.name for n in convolutions if _strides(n) == [2, 2]]
    # v1.5: the 3x3 convolution of a down-sampling block halves, not the first 1x1.
    assert [n for n in halving if n.endswith(".1.conv")] == []
    assert len([n for n in halving if n.endswith(".2.conv")]) == 3
    task = open_resnet("full")
    assert task.scorer is None
    assert "random" in task.refusal
    assert not task.official


def _strides(node: onnx.NodeProto) -> list[int]:
    return next(list(a.ints) for a in node.attribute if a.name == "strides")


def test_multiply_accumulates_of_full_by_hand() -> None:
    total, inn, side = 3 * 64 * 7 * 7 * 112 * 112, 64, 56
    for blocks, width, stride in architecture.STAGES:
        for block in range(blocks):
            out = side // (stride if block == 0 else 1)
            total += inn * width * side * side + 9 * width * width * out * out + width * 4 * width * out * out
            total += inn * 4 * width * out * out if block == 0 else 0
            inn, side = 4 * width, out
    assert total + 2048 * 1000 == architecture.MACS


def test_full_weights_follow_from_the_seed() -> None:
    one, two, other = (architecture.build(seed) for seed in (5, 5, 6))
    assert one.SerializeToString() == two.SerializeToString() != other.SerializeToString()


# -- mini --------------------------------------------------------------------------------------------


def test_mini_is_small_and_far_from_both_ends() -> None:
    facts = mini_file()
    held = facts.heldout
    task = open_resnet("mini")
    assert task.model is not None
    assert task.model.path.stat().st_size < 5_000_000
    assert held.reference_top1_percent == pytest.approx(100 * held.reference_correct / held.heldout_count)
    assert 3 * 100 / len(facts.classes) < held.reference_top1_percent < 95
    assert task.gate is not None
    assert task.gate.target == pytest.approx(0.99 * held.reference_top1_percent)
    assert held.heldout_seed != facts.training.training_seed
    assert task.warnings == ()


def test_the_heldout_set_is_the_one_the_reference_was_measured_on() -> None:
    held = mini_file().heldout
    kept = HeldoutSet(held.heldout_seed, held.heldout_count, cache_dir())
    assert kept.sha256 == held.heldout_sha256
    for index in (0, 1, 17, held.heldout_count - 1):
        image, label = draw(held.heldout_seed, index)
        assert kept.jpeg(index) == image
        assert kept.labels[index] == label


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    whole = HeldoutSet(3, 20, tmp_path)
    (path,) = (tmp_path / "resnet50").iterdir()
    path.write_bytes(path.read_bytes()[:500])
    again = HeldoutSet(3, 20, tmp_path)
    assert [again.jpeg(i) for i in range(20)] == [whole.jpeg(i) for i in range(20)]


# -- samples, preprocessing, scoring -----------------------------------------------------------------


@pytest.mark.parametrize(("size", "shorter"), [(224, 256), (64, 73)])
def test_the_shorter_side_before_the_crop(size: int, shorter: int) -> None:
    assert shorter_side(size) == shorter


@given(st.integers(64, 200), st.integers(64, 200))
def test_any_image_becomes_the_networks_input(height: int, width: int) -> None:
    pixels = np.full((height, width, 3), (10, 100, 200), np.uint8)  # blue, green, red
    row = preprocess(cv2.imencode(".png", pixels)[1].tobytes(), 64)
    assert row.shape == (3, 64, 64)
    assert row.dtype == np.float32
    assert np.allclose(row[:, 5, 7], np.array([200 - 123.68, 100 - 116.78, 10 - 103.94]), atol=1e-4)


def library(count: int = 40) -> RowLibrary:
    return RowLibrary("x", count, 20, (2,), lambda i: np.array([i, -i], np.float32))


@given(st.lists(st.lists(st.integers(0, 39), min_size=1, max_size=20), min_size=1, max_size=6))
def test_rows_are_filled_in_the_order_asked_whatever_was_loaded_before(sets: list[list[int]]) -> None:
    rows = library()
    for wanted in sets:
        indices = np.array(wanted)
        rows.load(indices)
        out = np.full((25, 2), 99.0, np.float32)
        rows.fill(indices, [out])
        assert out[: len(wanted), 0].tolist() == [float(i) for i in wanted]
        assert (out[len(wanted) :] == 99).all()
        rows.unload(indices)


def test_a_sample_that_was_not_loaded_is_never_answered_for() -> None:
    rows = library()
    rows.load(np.array([1, 2]))
    for wanted in ([3], [1, 3]):
        with pytest.raises(RunError, match="never loaded"):
            rows.fill(np.array(wanted), [np.zeros((2, 2), np.float32)])


def test_top1_by_hand_counts_a_repeated_sample_once() -> None:
    score = labels.top1(np.array([3, 1, 4]))
    answers = [np.array([v], "<f4").tobytes() for v in (3, 9, 4, 1)]
    result = score(np.array([0, 1, 2, 1]), answers)  # sample 1: first 9 (wrong), then 1
    assert (result.value, result.samples) == (pytest.approx(200 / 3), 3)
    assert result.line == "accuracy=66.667%, good=2, total=3"
    assert result.low is not None
    assert result.high is not None
    assert result.low < result.value < result.high


@pytest.mark.parametrize("answer", [b"", b"123", b"12345"])
def test_an_answer_that_is_no_label_is_refused(answer: bytes) -> None:
    with pytest.raises(DataError, match="label"):
        labels.top1(np.array([3]))(np.array([0]), [answer])


def test_an_index_outside_the_set_is_refused() -> None:
    with pytest.raises(DataError, match="index"):
        labels.top1(np.array([3]))(np.array([1]), [bytes(4)])


def test_a_made_file_is_whole_or_absent(tmp_path: Path) -> None:
    def fails(aside: Path) -> None:
        aside.write_bytes(b"half")
        raise OSError(28, "no space left")

    with pytest.raises(DataError, match="COLDMARK_CACHE_DIR"):
        materialise(tmp_path / "sub" / "x", fails)
    assert list((tmp_path / "sub").iterdir()) == []


def test_every_workload_folder_says_what_it_serves() -> None:
    found = workloads()
    assert "resnet50" in found
    for workload in found.values():
        assert {"mini", "full", "official"} <= set(workload.file.sources)
    with pytest.raises(ConfigError, match="did you mean 'resnet50'"):
        find_workload("resnet5")
