"""RetinaNet's three model sources, its data sets and its scorer."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from coldmark.core.errors import ConfigError, DataError
from coldmark.core.nouns import Scenario
from coldmark.core.sut import Model, Pipeline
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.retinanet import scenes
from coldmark.workloads.retinanet.architecture import FULL, MINI, Plan, build, output_names
from coldmark.workloads.retinanet.detect import Detector
from coldmark.workloads.retinanet.heads import finish_detections, full_model
from coldmark.workloads.retinanet.heldout import HeldoutSet
from coldmark.workloads.retinanet.mini import mini_file
from coldmark.workloads.retinanet.openimages import ANNOTATIONS, FOLDER, OpenImages
from coldmark.workloads.retinanet.preprocess import preprocess
from coldmark.workloads.retinanet.sizes import convolutions, macs, parameters
from coldmark.workloads.retinanet.task import Options
from coldmark.workloads.rows import RowLibrary
from coldmark.workloads.task import Task, find_workload
from conftest import SMALL

TINY = Plan(
    side=128,
    classes=3,
    bases=(12, 24, 48, 96, 192),
    stem=8,
    stages=((1, 8), (1, 8), (1, 16), (1, 16)),
    groups=4,
    pyramid=8,
    towers=1,
)


def open_retinanet(source: str, **options: Any) -> Task:
    return find_workload("retinanet").open(source, Options(**options), cache=cache_dir())


# -- a tiny folder and model of the official form ---------------------------------------------------


def write_openimages(folder: Path, count: int = 6) -> Path:
    """An OpenImages-like folder: image i is grey (i % 6) * 40 and holds one box of category i % 3."""
    (folder / FOLDER).mkdir(parents=True)
    (folder / ANNOTATIONS).parent.mkdir()
    entries, annotations = [], []
    for i in range(count):
        height, width = 60 + 10 * i, 100 + 7 * i
        cv2.imwrite(
            str(folder / FOLDER / f"{i:016x}.jpg"), np.full((height, width, 3), 40 * (i % 6), np.uint8)
        )
        # Ids descend and are no rows: only the order in the file says which sample an image is.
        entries.append({"id": 90 - i, "file_name": f"{i:016x}.jpg", "height": height, "width": width})
        annotations.append(
            {
                "id": i + 1,
                "image_id": 90 - i,
                "category_id": i % 3,
                "bbox": [0.25 * width, 0.5 * height, 0.5 * width, 0.25 * height],
                "area": 0.125 * width * height,
                "iscrowd": 0,
            }
        )
    data = {
        "images": entries,
        "annotations": annotations,
        "categories": [{"id": i, "name": f"c{i}"} for i in range(264)],
    }
    (folder / ANNOTATIONS).write_text(json.dumps(data))
    return folder


def write_official(path: Path, *, side: int = 800) -> Path:
    """A detector in the form of MLPerf's own file: boxes, scores and labels, as many as there are.

    It sees two boxes of class (grey / 40) % 3: the right one, and below the reference's threshold another.
    """
    boxes = np.array([[200, 400, 600, 600], [0, 0, 9, 9]], np.float32) * np.float32(side / 800)
    constants = {
        "all_boxes": boxes,
        "all_scores": np.array([0.9, 0.04], np.float32),
        "scale": np.array(255 / 40, np.float32),
        "three": np.array(3.0, np.float32),
        "shape": np.array([1], np.int64),
        "ends": np.array([2], np.int64),
        "limit": np.array(0.0, np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["steps"]),
        helper.make_node("Round", ["steps"], ["whole"]),
        helper.make_node("Mod", ["whole", "three"], ["class"], fmod=1),
        helper.make_node("Cast", ["class"], ["label"], to=TensorProto.INT64),
        # How many there are is only known when it runs, as after suppression.
        helper.make_node("Greater", ["all_scores", "limit"], ["kept"]),
        helper.make_node("Compress", ["all_boxes", "kept"], ["boxes"], axis=0),
        helper.make_node("Compress", ["all_scores", "kept"], ["scores"], axis=0),
        helper.make_node("Shape", ["scores"], ["count"]),
        helper.make_node("Expand", ["label", "count"], ["labels"]),
    ]
    graph = helper.make_graph(
        nodes,
        "official",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["n"]),
        ],
        [numpy_helper.from_array(v, k) for k, v in constants.items() if k not in ("shape", "ends")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture
def official(tmp_path: Path) -> dict[str, Path]:
    return {
        "model_path": write_official(tmp_path / "resnext50_32x4d_fpn.onnx"),
        "data_path": write_openimages(tmp_path / "openimages"),
    }


def answers_of(task: Task, batch: int = 1) -> list[bytes]:
    """A pipeline's answers to all samples by ONNX Runtime, no harness around it."""
    assert isinstance(task.model, Pipeline)
    (network,) = task.model.networks(batch)
    session = ort.InferenceSession(network.path, providers=["CPUExecutionProvider"])

    def run(*inputs: Any) -> Any:
        assert tuple(i.shape for i in inputs) in network.profiles
        return session.run(list(network.outputs), dict(zip(network.inputs, inputs, strict=True)))

    compute = task.model.open({network.name: run}, batch)
    task.library.load(np.arange(task.samples))
    return [np.asarray(answer).tobytes() for answer in compute(np.arange(task.samples))]


def test_official_files_are_run_and_scored_the_official_way(official: dict[str, Path]) -> None:
    task = open_retinanet("official", **official)
    assert task.official
    assert task.samples == 6
    assert task.gate is not None
    assert task.gate.target == pytest.approx(37.1745)
    answers = answers_of(task)
    # The box below 0.05 is left out; the rest are shares of the sides: ymin, xmin, ymax, xmax.
    row = np.frombuffer(answers[4], "<f4")
    assert row.tolist() == pytest.approx([4, 0.5, 0.25, 0.75, 0.75, 0.9, 1])
    assert task.scorer is not None
    score = task.scorer(np.arange(6), answers)
    assert score.line == "mAP=100.000%"
    assert score.samples == 6
    # Of class 0, images 0 and 3, one is no longer found: half its recall, precision 1.
    worse = [b"" if i == 3 else answer for i, answer in enumerate(answers)]
    assert task.scorer(np.arange(6), worse).value == pytest.approx(100 * (2 + 51 / 101) / 3)


def test_an_official_file_takes_one_image_at_a_time_whatever_the_batch(official: dict[str, Path]) -> None:
    task = open_retinanet("official", **official)
    assert isinstance(task.model, Pipeline)
    assert set(task.model.batch.values()) == {1}
    assert set(task.model.batch) == set(Scenario)
    assert answers_of(task, batch=4) == answers_of(task)


def test_the_official_rows_end_at_the_first_low_score() -> None:
    boxes = np.array([[80, 160, 400, 800], [0, 0, 1, 1], [0, 0, 2, 2]], np.float32)
    scores, labels = np.array([0.9, 0.01, 0.8], np.float32), np.array([263, 1, 2])
    (answer,) = finish_detections([boxes, scores, labels], np.array([9]))
    assert np.frombuffer(np.asarray(answer).tobytes(), "<f4").tolist() == pytest.approx(
        [9, 0.2, 0.1, 1.0, 0.5, 0.9, 263]
    )
    empty = [np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)]
    assert np.asarray(finish_detections(empty, np.array([9]))[0]).tobytes() == b""


def test_images_are_preprocessed_as_the_reference_does(official: dict[str, Path]) -> None:
    folder = official["data_path"]
    row = OpenImages(folder, 264).preprocessed(3, 800)
    assert row.shape == (3, 800, 800)
    assert row.dtype == np.float32
    assert np.allclose(row, 120 / 255, atol=2 / 255)
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:, :3] = (10, 100, 200)  # blue, green, red
    small = preprocess(cv2.imencode(".png", pixels)[1].tobytes(), 8)
    assert small[:, 0, 0] == pytest.approx([200 / 255, 100 / 255, 10 / 255])
    assert small[:, 0, 7] == pytest.approx([0, 0, 0])


# -- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["model_path", "data_path"])
def test_official_says_which_path_it_needs(missing: str, official: dict[str, Path]) -> None:
    del official[missing]
    with pytest.raises(ConfigError, match=missing.replace("_", ".")):
        open_retinanet("official", **official)


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    path = folder / ANNOTATIONS
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))
    return folder


def put(kind: str, row: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data[kind][row].update(values)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (put("annotations", 2, bbox=[100, 10, 50, 10]), r"annotations\[2\]: the box .* outside its image"),
        (put("annotations", 2, bbox=[-5, 10, 50, 10]), r"annotations\[2\]: the box .* outside its image"),
        (put("annotations", 2, bbox=[5, 10, -2, 10]), r"annotations\[2\]: the box"),
        (put("annotations", 2, bbox=[5, 10, 3]), r"annotations\[2\]: bbox is .* not four numbers"),
        (put("annotations", 2, bbox=[5, 10, 3, float("nan")]), "not four numbers"),
        (put("annotations", 2, bbox=None), "not four numbers"),
        (put("annotations", 2, bbox=[0, 0, 10**400, 10]), r"annotations\[2\]: the box"),
        (put("annotations", 2, category_id=264), r"annotations\[2\]: category id 264 is outside the table"),
        (put("annotations", 2, category_id=-1), "outside the table"),
        (put("annotations", 2, category_id="1"), "outside the table"),
        (put("categories", 7, id=264), r"categories\[7\]: category id 264 is outside the table of 264"),
        (lambda data: data["categories"].pop(2), r"annotations\[2\]: category 2 is not in the file's"),
        (put("images", 1, file_name="gone.jpg"), r"images\[1\]: the image gone\.jpg is missing"),
        (put("images", 1, file_name="../../../etc/hostname"), r"images\[1\].*outside the folder"),
        (put("images", 1, file_name="/etc/hostname"), "outside the folder"),
        (put("images", 1, file_name=3), "file_name is 3"),
        (put("images", 1, height=0), r"images\[1\]: height and width are 0"),
        (put("images", 1, id=90), r"images\[1\]: the id 90 is there twice"),
        (put("images", 1, id=None), "no id"),
        (put("images", 1, id="a"), "mixed"),
        (lambda data: data["images"].clear(), "lists no image"),
        (lambda data: data.pop("images"), "no list 'images'"),
        (lambda data: data["annotations"].append(3), r"annotations\[6\]: not an annotation"),
    ],
)
def test_bad_annotations_are_named_with_their_entry(
    edit: Callable[[dict[str, Any]], None], words: str, tmp_path: Path
) -> None:
    folder = change(write_openimages(tmp_path / "openimages"), edit)
    with pytest.raises(DataError, match=words) as raised:
        OpenImages(folder, 264)
    assert raised.value.exit_code == 6


def test_a_box_may_end_at_the_images_edge_and_a_strangers_annotation_is_no_matter(tmp_path: Path) -> None:
    folder = change(
        write_openimages(tmp_path / "openimages"), put("annotations", 0, bbox=[0, 0, 100.0004, 60])
    )
    change(folder, put("annotations", 1, image_id=7777))
    change(folder, put("annotations", 2, iscrowd=1))
    truth = OpenImages(folder, 264).truth
    assert truth.image.tolist() == [0, 2, 3, 4, 5]
    assert truth.crowd.tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0" + bytes(50)])
def test_an_unreadable_image_is_named_when_it_is_loaded(content: bytes, official: dict[str, Path]) -> None:
    (official["data_path"] / FOLDER / f"{2:016x}.jpg").write_bytes(content)
    task = open_retinanet("official", **official)
    with pytest.raises(DataError, match=r"images\[2\]: the image 0{15}2\.jpg cannot be decoded"):
        task.library.load(np.arange(6))


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"[1, 2]"])
def test_what_is_no_annotation_file_is_refused(content: bytes, official: dict[str, Path]) -> None:
    (official["data_path"] / ANNOTATIONS).write_bytes(content)
    with pytest.raises(DataError, match=r"openimages-mlperf\.json"):
        open_retinanet("official", **official)
    shutil.rmtree(official["data_path"])
    with pytest.raises(DataError, match="no such folder"):
        open_retinanet("official", **official)


def test_a_model_of_another_form_is_refused(official: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="299 px wide, expected 800"):
        open_retinanet(
            "official", model_path=write_official(tmp_path / "x.onnx", side=299), **_data(official)
        )
    onnx.save_model(build(TINY), tmp_path / "tiny.onnx")
    with pytest.raises(DataError, match=r"output 'logits3' is \(27, 16, 16\), expected \(108, 16, 16\)"):
        open_retinanet(str(tmp_path / "tiny.onnx"))
    with pytest.raises(DataError, match=r"no\.onnx"):
        open_retinanet(str(tmp_path / "no.onnx"))
    with pytest.raises(ConfigError, match="did you mean 'mini'"):
        open_retinanet("mni")


def _data(official: dict[str, Path]) -> dict[str, Path]:
    return {"data_path": official["data_path"]}


def test_a_model_of_ones_own_is_run_on_the_set_of_its_size(official: dict[str, Path], tmp_path: Path) -> None:
    onnx.save_model(build(MINI), tmp_path / "small.onnx")
    small = open_retinanet(str(tmp_path / "small.onnx"))
    assert isinstance(small.model, Model)
    assert small.samples == mini_file().heldout.heldout_count
    assert small.gate is not None
    big = open_retinanet(str(official["model_path"]))
    assert isinstance(big.model, Pipeline)
    assert big.scorer is None
    assert "data.path" in big.refusal
    scored = open_retinanet(str(official["model_path"]), **_data(official))
    assert scored.scorer is not None
    assert not scored.official


# -- full --------------------------------------------------------------------------------------------


def test_full_has_the_official_number_of_parameters_by_hand() -> None:
    # ResNeXt-50 32x4d without its classifier (25 028 904 less 2048 x 1000 + 1000), as published.
    backbone = 25_028_904 - 2_049_000
    layer = 256 * 256 * 9 + 256
    pyramid = (512 + 1024 + 2048) * 256 + 3 * 256 + 5 * layer
    heads = 8 * layer + (9 * 264) * (256 * 9 + 1) + (9 * 4) * (256 * 9 + 1)
    assert parameters(FULL) == backbone + pyramid + heads == 37_128_876
    # The heads on 13 343 cells alone: 4 + 4 convolutions of 256, then 2 376 and 36 channels.
    cells = 100**2 + 50**2 + 25**2 + 13**2 + 7**2
    heads_macs = cells * 9 * 256 * (8 * 256 + 2376 + 36)
    assert heads_macs == 13_343 * 9 * 256 * 4_460 == 137_110_533_120
    assert macs(FULL) - heads_macs == 64_097_861_632


@pytest.mark.parametrize("plan", [TINY, MINI])
def test_the_graph_is_what_the_plan_counts(plan: Plan) -> None:
    model = build(plan)
    onnx.checker.check_model(model, full_check=True)
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
    weights = {t.name: tuple(t.dims) for t in graph.initializer}
    nodes = [n for n in graph.node if n.op_type == "Conv"]
    found = sum(int(np.prod(weights[n.input[1]])) * shapes[n.output[0]][2] ** 2 for n in nodes)
    assert found == macs(plan)
    fixed = (".mean", ".variance", "input.std")
    learnt = sum(
        int(np.prod(v)) for k, v in weights.items() if not k.endswith(fixed) and "pyramid.scale" not in k
    )
    assert learnt == parameters(plan)
    assert len({n.input[1] for n in nodes}) == len(list(convolutions(plan)))  # heads share theirs
    assert [o.name for o in graph.output] == list(output_names())


def test_the_heads_of_a_fresh_network_are_sane_and_follow_from_the_seed() -> None:
    one, two, other = (build(TINY, seed=seed) for seed in (5, 5, 6))
    assert one.SerializeToString() == two.SerializeToString() != other.SerializeToString()
    session = ort.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.stack([scenes.draw(1, i).image for i in range(2)]).transpose(0, 3, 1, 2) / np.float32(255)
    outputs = session.run(list(output_names()), {"image": image})
    assert [o.shape for o in outputs[:5]] == [(2, 27, c, c) for c in TINY.cells]
    for logits in outputs[:4]:
        assert abs(float(logits.mean()) + np.log(99)) < 0.5
        assert 1e-4 < float((logits - logits.mean(axis=(0, 2, 3), keepdims=True)).std()) < 2
    with pytest.raises(ValueError, match=r"stem\.weight is"):
        build(TINY, {"stem.weight": np.zeros((1, 3, 7, 7), np.float32)})


def test_full_refuses_accuracy_and_runs_an_image_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from coldmark.workloads.retinanet import architecture

    written = []
    monkeypatch.setattr(architecture, "write", lambda path: written.append(path) or path.write_bytes(b"x"))
    with pytest.raises(DataError, match="full-v1"):  # what was written is looked at like a stranger's file
        open_retinanet("full")
    (cache_dir() / "retinanet" / f"full-v1-{architecture.SEED}.onnx").unlink()
    assert len(written) == 1
    task = find_workload("retinanet").open("full", Options(), cache=cache_dir(), need_model=False)
    assert task.scorer is None
    assert "random" in task.refusal
    assert not task.official
    assert task.library.performance_count == 64
    assert task.facts["macs_per_sample"] == "201208394752"


def test_heads_in_a_pipeline_are_decoded_in_the_batch_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coldmark.workloads.retinanet import heads

    monkeypatch.setattr(heads, "FULL", TINY)
    graph = build(TINY, seed=3)
    for weight in graph.graph.initializer:
        if weight.name == "head.logits.last.bias":  # near the threshold, so that some logits pass
            weight.CopyFrom(numpy_helper.from_array(np.full(27, -2.945, np.float32), weight.name))
    onnx.save_model(graph, tmp_path / "tiny.onnx")
    rows = RowLibrary(
        "x", 5, 5, (3, 128, 128), lambda i: scenes.draw(2, i).image.transpose(2, 0, 1) / np.float32(255)
    )
    model = full_model(tmp_path / "tiny.onnx", inspect(tmp_path / "tiny.onnx"), rows)
    task = Task(model=model, library=rows, samples=5)
    alone, together = answers_of(task, batch=1), answers_of(task, batch=2)
    session = ort.InferenceSession(tmp_path / "tiny.onnx", providers=["CPUExecutionProvider"])
    batch = np.zeros((5, 3, 128, 128), np.float32)
    rows.fill(np.arange(5), [batch])
    outputs = session.run(list(output_names()), {"image": batch})
    expected = Detector(128, 3, TINY.cells, TINY.bases).finish(outputs, np.arange(5))
    assert any(len(answer) for answer in alone)
    for one, two, three in zip(alone, together, expected, strict=True):
        wanted = np.frombuffer(np.asarray(three).tobytes(), "<f4")
        assert np.allclose(np.frombuffer(one, "<f4"), wanted, atol=1e-4)
        assert np.allclose(np.frombuffer(two, "<f4"), wanted, atol=1e-4)


# -- mini --------------------------------------------------------------------------------------------


def test_mini_is_small_and_far_from_both_ends() -> None:
    facts = mini_file()
    held = facts.heldout
    task = open_retinanet("mini")
    assert isinstance(task.model, Model)
    assert task.model.finish_is_work
    assert task.model.path.stat().st_size < 3_500_000
    assert facts.classes == scenes.CLASSES
    assert (facts.parameters, facts.macs_per_sample) == (parameters(MINI), macs(MINI))
    assert 40 < held.reference_map_percent < 75
    assert held.heldout_count >= 1500
    assert task.gate is not None
    assert task.gate.target == pytest.approx(0.99 * held.reference_map_percent)
    assert task.warnings == ()


def test_mini_reaches_about_its_reference_on_part_of_the_set() -> None:
    task = open_retinanet("mini")
    assert isinstance(task.model, Model)
    assert task.scorer is not None
    session = ort.InferenceSession(task.model.path, providers=["CPUExecutionProvider"])
    indices = np.arange(160)
    task.library.load(indices)
    batch = np.zeros((160, 3, 128, 128), np.float32)
    task.library.fill(indices, [batch])
    answers = []
    for part in np.split(indices, 10):
        outputs = session.run(list(task.model.outputs), {task.model.inputs[0].name: batch[part]})
        answers += [np.asarray(answer).tobytes() for answer in task.model.finish(outputs, part)]
    score = task.scorer(indices, answers)
    assert score.samples == 160
    assert abs(score.value - mini_file().heldout.reference_map_percent) < 8


def test_sets_of_scenes_have_seeds_of_their_own() -> None:
    seeds = {scenes.TRAINING_SEED, scenes.VALIDATION_SEED, scenes.HELDOUT_SEED, scenes.CALIBRATION_SEED}
    assert len(seeds | {scenes.HARD_SEED}) == 5
    facts = mini_file()
    assert facts.training.training_seed == scenes.TRAINING_SEED
    assert facts.training.hard_seed == scenes.HARD_SEED
    assert facts.heldout.heldout_seed == scenes.HELDOUT_SEED
    some = scenes.calibration(3)
    assert some.shape == (3, 128, 128, 3)
    assert np.array_equal(some[2], scenes.draw(scenes.CALIBRATION_SEED, 2).image)


def test_a_scene_is_the_same_each_time_and_its_boxes_lie_inside() -> None:
    for index in range(40):
        scene, again = scenes.draw(5, index), scenes.draw(5, index)
        assert np.array_equal(scene.image, again.image)
        assert scene.image.shape == (128, 128, 3)
        assert len(scene.boxes) == len(scene.labels) <= scenes.MAX_OBJECTS
        if len(scene.boxes):
            assert scene.boxes.min() >= 0
            assert scene.boxes.max() <= 128
            assert (scene.boxes[:, 2:] - scene.boxes[:, :2]).min() >= scenes.MIN_SIDE
            assert set(scene.labels) <= set(range(len(scenes.CLASSES)))
    with pytest.raises(ValueError, match="seed and index"):
        scenes.draw(-1, 0)


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    whole = HeldoutSet(3, 12, tmp_path)
    (path,) = (tmp_path / "retinanet").iterdir()
    path.write_bytes(path.read_bytes()[:300])
    again = HeldoutSet(3, 12, tmp_path)
    assert again.sha256 == whole.sha256
    assert np.array_equal(again.truth.boxes, whole.truth.boxes)
    first = scenes.draw(3, 0)
    assert np.allclose(again.preprocessed(0), first.image.transpose(2, 0, 1) / 255)
    mine = again.truth.image == 0
    assert np.allclose(again.truth.boxes[mine, 2:], first.boxes[:, 2:] - first.boxes[:, :2])


# -- through the command -----------------------------------------------------------------------------

Coldmark = Callable[..., subprocess.CompletedProcess[str]]


def flags(official: dict[str, Path]) -> tuple[str, ...]:
    """What `--model official` needs, as a user types it."""
    return (
        "--model",
        "official",
        "--set",
        f"model.path={official['model_path']}",
        "--set",
        f"data.path={official['data_path']}",
    )


@pytest.mark.loadgen
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_official_files_are_scored_from_loadgens_own_log(
    backend: str, official: dict[str, Path], coldmark: Coldmark
) -> None:
    done = coldmark(
        "run",
        "retinanet",
        *SMALL,
        *("--scenario", "Offline", "--suite", "datacenter", "--mode", "accuracy", "--backend", backend),
        *flags(official),
        "--json",
    )
    assert done.returncode == 0, done.stderr
    accuracy = json.loads(done.stdout)["accuracy"]
    assert accuracy["value"] == pytest.approx(100)
    assert accuracy["samples"] == 6


@pytest.mark.loadgen
def test_mini_holds_single_stream(coldmark: Coldmark) -> None:
    done = coldmark(
        "run",
        "retinanet",
        *("--length", "smoke", "--set", "test.min_duration_ms=1", "--set", "test.min_query_count=70"),
        *("--set", "harness.bare_s=0.1", "--scenario", "SingleStream", "--suite", "edge"),
        *("--mode", "performance", "--json"),
    )
    assert done.returncode in (0, 3), done.stderr
    record = json.loads(done.stdout)
    assert record["metric"]["value"] > 0


def test_bad_annotations_end_with_exit_code_6(official: dict[str, Path], coldmark: Coldmark) -> None:
    change(official["data_path"], put("annotations", 3, bbox=[0, 0, 5000, 1]))
    done = coldmark("run", "retinanet", *SMALL, "--scenario", "Offline", *flags(official))
    assert done.returncode == 6
    assert "annotations[3]: the box [0, 0, 5000, 1] lies outside its image of 121x90 px" in done.stderr
