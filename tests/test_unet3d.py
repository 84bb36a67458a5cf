"""3D-UNet: windows and their blending, DICE, drawn volumes, `mini` and `full`, the case library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import distance

from coldmark.core.errors import ConfigError, DataError, RunError
from coldmark.core.nouns import Scenario
from coldmark.core.sut import Pipeline
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.task import find_workload
from coldmark.workloads.unet3d import architecture, full, preprocess, sets, volumes
from coldmark.workloads.unet3d.cases import CaseLibrary
from coldmark.workloads.unet3d.dice import dice, dice_table, interval, mean_dice
from coldmark.workloads.unet3d.mini import mini_file
from coldmark.workloads.unet3d.network import pipeline, sizes, window_model
from coldmark.workloads.unet3d.task import Options
from coldmark.workloads.unet3d.windows import Blend, Segmenter, labels_of, starts, weights, window_count
from unet3d_files import SHAPES, WINDOW, open_unet, write_model

# -- windows and their blending ---------------------------------------------------------------------


def reference_labels(volume: NDArray[np.float32], window: int, net: Any) -> NDArray[np.uint8]:
    """The reference's formula written out: sums and weight sums over the whole volume, divided, argmax."""
    line = np.exp(-0.5 * ((np.arange(window) - (window - 1) / 2) / (0.125 * window)) ** 2)
    patch = np.cbrt(np.multiply.outer(np.multiply.outer(line, line), line))
    patch = (patch / patch.max()).astype(np.float32)
    sums, norm = np.zeros((3, *volume.shape), np.float32), np.zeros(volume.shape, np.float32)
    for i, j, k in starts(volume.shape, window):
        at = slice(i, i + window), slice(j, j + window), slice(k, k + window)
        sums[:, *at] += net(volume[at][None, None])[0][0] * patch
        norm[at] += patch
    return np.argmax(sums / norm, axis=0).astype(np.uint8)


def test_windows_overlap_by_half_and_come_in_the_references_order() -> None:
    assert starts((128, 192, 128), 128) == [(0, 0, 0), (0, 64, 0)]
    assert window_count((320, 448, 448), 128) == 4 * 6 * 6
    assert window_count((12, 8, 16), 8) == len(starts((12, 8, 16), 8)) == 2 * 1 * 3


def test_the_centre_weighs_one_and_a_corner_what_the_formula_says() -> None:
    cube = weights(128)
    assert cube.max() == 1.0
    assert cube.dtype == np.float32
    # Corner against centre: 3 exponents of (63.5^2 - 0.5^2) / (2 * 16^2) = 7.875, cube root: one of them.
    assert float(cube[0, 0, 0]) == pytest.approx(np.exp(-7.875), rel=1e-6)
    assert np.array_equal(cube, cube.transpose(2, 0, 1))


@pytest.mark.parametrize("batches", [(1,), (1, 2, 4), (5,)])
def test_blending_gives_the_references_labels_whatever_the_batch(batches: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((3, WINDOW, WINDOW, WINDOW)).astype(np.float32)

    def net(x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return [
            np.tanh(x * kernel + np.roll(kernel, 1, axis=0))
        ]  # tells one place in the window from another

    given_volumes = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    segment = Segmenter(dict.fromkeys(batches, net), given_volumes.__getitem__, WINDOW, 3)
    for indices in ([0], [2, 0, 3, 1], [3, 3, 0]):
        answers = segment(np.array(indices))
        assert [a.dtype for a in answers] == [np.uint8] * len(indices)
        for index, answer in zip(indices, answers, strict=True):
            expected = reference_labels(given_volumes[index], WINDOW, net)
            assert np.array_equal(answer, expected.reshape(-1))


def test_the_sums_need_one_window_of_depth_only() -> None:
    slab, scratch = np.ones((3, 4, 4, 6), np.float32), np.empty((3, 4, 4, 4), np.float32)
    blend = Blend((40, 4, 6), weights(4), slab, scratch)
    for start in starts((40, 4, 6), 4):
        logits = np.zeros((3, 4, 4, 4), np.float32)
        logits[start[0] // 2 % 3] = 1 + start[0]  # a later window outvotes an earlier one
        blend.add(start, logits)
    labels = blend.finish().reshape(40, 4, 6)
    assert labels[0, 0, 0] == 0
    assert labels[39, 3, 5] == 36 // 2 % 3


@given(st.integers(0, 2**32 - 1))
def test_the_greatest_wins_and_the_first_of_equals(seed: int) -> None:
    sums = np.random.default_rng(seed).integers(0, 3, (3, 4, 5)).astype(np.float32)
    out = np.full((4, 5), 9, np.uint8)
    labels_of(sums, out)
    assert np.array_equal(out, np.argmax(sums, axis=0))


# -- DICE --------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(1, 400))
def test_dice_is_the_fields_own_to_1e_6(seed: int, voxels: int) -> None:
    rng = np.random.default_rng(seed)
    found, truth = rng.integers(0, 3, (2, voxels), dtype=np.uint8)
    for value, label in zip(dice(found, truth), (1, 2), strict=True):
        if (found == label).any() or (truth == label).any():
            expected = 1 - distance.dice(found == label, truth == label)
            assert value == pytest.approx(expected, abs=1.1e-6)
        else:
            assert value == 1.0  # absent from both: found


def test_dice_by_hand_and_the_line_of_the_official_script() -> None:
    truth = np.array([0, 1, 1, 2, 2, 2], np.uint8)
    found = np.array([1, 1, 1, 2, 0, 0], np.uint8)
    # Kidney: 2 * 2 / (3 + 2); tumour: 2 * 1 / (1 + 3).
    assert dice(found, truth) == pytest.approx([0.8, 0.5], abs=1e-6)
    score = mean_dice(2, lambda index: truth)(np.array([1, 0, 1]), [found, truth, truth])
    # Sample 1 counts once, by its first answer: mean of (0.8 + 0.5) / 2 and 1.
    assert score.value == pytest.approx(0.825, abs=1e-6)
    assert score.samples == 2
    assert score.line == "Accuracy: mean = 0.82500, kidney = 0.9000, tumor = 0.7500"
    assert score.low is not None
    assert score.high is not None
    assert score.low <= score.value <= score.high


def test_a_large_volume_is_counted_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    found, truth = np.random.default_rng(2).integers(0, 3, (2, 1000), dtype=np.uint8)
    whole = dice(found, truth)
    monkeypatch.setattr("coldmark.workloads.unet3d.dice.BLOCK", 7)
    assert np.array_equal(dice(found, truth), whole)


def test_the_interval_of_the_mean_is_the_bootstraps() -> None:
    cases = np.random.default_rng(1).normal(0.7, 0.1, 400)
    low, high = interval(cases)
    assert (high - low) / 2 == pytest.approx(1.96 * 0.1 / 20, rel=0.1)
    assert interval(cases) == (low, high)


@pytest.mark.parametrize(
    ("answer", "index", "message"),
    [
        (bytes(5), 0, "5 bytes, its volume 6 voxels"),
        (b"\x03" * 6, 0, "class 3"),
        (b"", 0, "0 bytes"),
        (bytes(6), 1, "outside the set of 1"),
    ],
)
def test_an_answer_that_is_no_segmentation_is_refused(answer: bytes, index: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        dice_table(1, lambda i: np.zeros(6, np.uint8), np.array([index]), [answer])


# -- preprocessing and drawn volumes -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "fitted"), [(100, 128), (128, 128), (159, 128), (160, 192), (191, 192), (193, 192), (230, 256)]
)
def test_a_side_becomes_a_whole_number_of_half_windows(side: int, fitted: int) -> None:
    assert preprocess.fitted_side(side, 128) == fitted


@given(st.tuples(*[st.integers(5, 40)] * 3))
def test_fitting_crops_or_pads_evenly(shape: tuple[int, int, int]) -> None:
    volume = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    fitted = preprocess.fit(volume, 16, -2.2)
    assert fitted.shape == tuple(preprocess.fitted_side(n, 16) for n in shape)
    middle = tuple(n // 2 for n in shape)
    shift = [max(16, n) - n for n in shape]
    at = tuple(
        m + s // 2 + (f - max(16, n)) // 2 if f > max(16, n) else m + s // 2 - (max(16, n) - f) // 2
        for m, s, f, n in zip(middle, shift, fitted.shape, shape, strict=True)
    )
    assert fitted[at] == volume[middle]


def test_values_are_clipped_and_normalised_as_the_round_does() -> None:
    assert preprocess.normalise(np.array([-500, 101, 900])) == pytest.approx(
        [(-79 - 101) / 76.9, 0, (304 - 101) / 76.9], rel=1e-6
    )


def test_a_drawn_case_follows_from_seed_and_index() -> None:
    values, labels = volumes.draw(5, 17)
    again, same = volumes.draw(5, 17)
    assert values.shape == labels.shape == volumes.sides(5, 17)
    assert np.array_equal(values, again)
    assert np.array_equal(labels, same)
    assert not np.array_equal(values[:30, :30, :30], volumes.draw(6, 17)[0][:30, :30, :30])
    for index in range(6):
        drawn = volumes.draw(5, index)[1]
        assert set(np.unique(drawn)) == {0, volumes.ORGAN, volumes.TUMOUR}
        assert (drawn != 0).mean() < 0.3
    with pytest.raises(ValueError, match="must lie in"):
        volumes.draw(-1, 0)


def test_the_sets_share_no_seed_and_the_heldout_cases_are_those_of_the_reference() -> None:
    assert len(set(sets.SEEDS.values())) == len(sets.SEEDS)
    held = mini_file().heldout
    assert held.heldout_seed == sets.SEEDS["heldout"]
    assert mini_file().training.training_seed == sets.SEEDS["training"]
    assert open_unet("mini").warnings == ()
    calibration = sets.calibration()
    assert calibration.count == sets.CALIBRATION_COUNT
    calibration.load(np.array([3]))
    assert calibration.volume(3).shape == calibration.shapes[3]


# -- mini and full -----------------------------------------------------------------------------------


def test_mini_is_small_far_from_both_ends_and_gated_by_its_id() -> None:
    facts = mini_file()
    held = facts.heldout
    path = Path(str(sets.__file__)).with_name("mini.onnx")
    assert path.stat().st_size < 3_500_000
    assert inspect(path).sha256 == facts.sha256
    assert 0.55 < held.reference_dice < 0.9
    assert held.reference_dice == pytest.approx((held.reference_kidney + held.reference_tumour) / 2, abs=1e-4)
    assert held.heldout_count >= 120
    for workload, ratio in (("3d-unet-99", 0.99), ("3d-unet-99.9", 0.999)):
        task = open_unet("mini", workload)
        assert isinstance(task.model, Pipeline)
        assert task.gate is not None
        assert task.gate.target == pytest.approx(ratio * held.reference_dice)
        assert not task.official
        assert task.library.performance_count >= 42
    shape = architecture.Shape(filters=facts.training.filters, window=facts.window)
    assert facts.parameters == architecture.parameters(shape)
    assert facts.macs_per_window == architecture.macs(shape)


def test_the_official_architecture_has_the_official_number_of_parameters() -> None:
    # Halving blocks, 3x3x3 without bias: 27 (1 32 + 32 32) + 27 (32 64 + 64 64) + ... and so on.
    down = [(1, 32), (32, 64), (64, 128), (128, 256), (256, 320), (320, 320)]
    up = [(320, 320), (320, 256), (256, 128), (128, 64), (64, 32)]
    convolutions = sum(27 * (i * o + o * o) for i, o in down) + sum(27 * 3 * o * o for _, o in up)
    transposed = sum(8 * i * o + o for i, o in up)
    normalisations = sum(4 * o for _, o in down) + sum(4 * o for _, o in up)
    assert convolutions + transposed + normalisations + 3 * 32 + 3 == 31_190_243
    assert architecture.parameters(architecture.OFFICIAL) == 31_190_243
    # 128^3 voxels: 27 (32 + 32 32 + 96 32) + 3 32 at full size alone.
    assert architecture.macs(architecture.OFFICIAL) > 128**3 * (27 * (32 + 1024 + 3072) + 96)


SMALL = architecture.Shape(filters=(4, 6), window=16)


def test_the_graph_holds_what_the_count_says_and_its_values_stay_sane(tmp_path: Path) -> None:
    import onnxruntime as ort

    model = architecture.build(SMALL)
    assert sum(int(np.prod(w.dims)) for w in model.graph.initializer) == architecture.parameters(SMALL)
    path = tmp_path / "u.onnx"
    architecture.write(path, SMALL)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((2, 1, 16, 16, 16), dtype=np.float32)
    (y,) = session.run(["output"], {"input": x})
    assert y.shape == (2, 3, 16, 16, 16)
    assert 0.05 < y.std() < 20
    assert len(np.unique(y.argmax(axis=1))) > 1
    both = architecture.build(SMALL, 5), architecture.build(SMALL, 5)
    assert both[0].SerializeToString() == both[1].SerializeToString()


def test_macs_are_those_of_the_graphs_convolutions() -> None:
    model = onnx.shape_inference.infer_shapes(architecture.build(SMALL))
    dims = {w.name: list(w.dims) for w in model.graph.initializer}
    out = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    out["output"] = [0, 3, 16, 16, 16]
    total = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            kernel, places = dims[node.input[1]], np.prod(out[node.output[0]][1:])
            taps = np.prod(kernel[1:]) if node.op_type == "Conv" else kernel[0]
            total += int(places * taps)
    assert architecture.macs(SMALL) == total


def test_full_cases_lie_about_as_the_rounds_figure_says_and_scale_to_a_handful() -> None:
    cubes = [np.prod(s, dtype=np.int64) / 64**3 for s in full.shapes(1.0, 128, 4000)]
    assert np.mean(cubes) == pytest.approx(32_381_026 / 64**3, rel=0.03)
    assert full.shapes(1.0, 128) == full.shapes(1.0, 128)
    small = [window_count(s, 128) for s in full.shapes(0.5, 128)]
    assert (min(small), max(small)) == (1, 12)
    assert 3 < np.mean(small) < 6


def test_full_says_its_size_and_refuses_accuracy() -> None:
    task = find_workload("3d-unet-99").open("full", Options(), cache=cache_dir(), need_model=False)
    assert task.scorer is None
    assert "random" in task.refusal
    assert task.facts["windows_per_case"] == "mean 4.35, 1 to 12"
    assert int(task.facts["macs_per_sample"]) == pytest.approx(4.3488 * 477.298688e9, rel=1e-4)
    task.library.load(np.array([0]))
    assert isinstance(task.library, CaseLibrary)
    assert task.library.volume(0).shape == task.library.shapes[0]
    for wrong in (0, -1, 1.01):
        with pytest.raises(ConfigError, match=r"data\.scale"):
            Options(data_scale=wrong)
    with pytest.raises(ValueError, match="scale"):
        full.shapes(2.0, 128)


# -- the case library and the pipeline ---------------------------------------------------------------


def library(shapes: list[Any] | None = None, read: Any = None, window: int = WINDOW) -> CaseLibrary:
    shapes = shapes or SHAPES
    return CaseLibrary("x", 42, shapes, window, read or (lambda i: np.full(shapes[i], i, np.float32)))


def test_what_a_case_costs_is_known_before_it_is_loaded() -> None:
    cases = library()
    assert cases.windows(np.array([3, 0, 1])).tolist() == [3 * 2 * 2, 1, 2 * 1 * 3]
    assert cases.facts()["windows_per_case"] == "mean 5.25, 1 to 12"
    with pytest.raises(RunError, match="never loaded"):
        cases.volume(1)
    cases.load(np.array([1, 1]))
    assert cases.volume(1).max() == 1
    cases.unload(np.array([1]))
    with pytest.raises(RunError, match="never loaded"):
        cases.volume(1)


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.zeros((8, 8), np.float32), "3 dimensions, not 2"),
        (np.zeros((2, 8, 8, 8), np.float32), "3 dimensions, not 4"),
        (np.zeros((8, 8, 8), np.float64), "float32, not float64"),
        (np.zeros((8, 8, 8), np.uint8), "float32, not uint8"),
        (np.zeros((8, 8, 12), np.float32), r"\[8, 8, 12\], its list says \[8, 8, 8\]"),
        (np.full((8, 8, 8), np.nan, np.float32), "512 voxels are not finite"),
        (np.full((8, 8, 8), np.inf, np.float32), "not finite"),
    ],
)
def test_a_volume_that_is_none_is_named_when_it_is_loaded(volume: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        library(read=lambda i: volume).load(np.array([0]))


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (8, 8, 10), (4, 8, 8), (0, 8, 8), (8, 8, 8, 8)])
def test_a_shape_that_windows_cannot_walk_over_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="case 0"):
        library([shape])


def test_a_rest_of_windows_is_padded_to_the_next_power_of_two(tmp_path: Path) -> None:
    model = window_model(tmp_path / "m.onnx", inspect(write_model(tmp_path / "m.onnx")))
    assert sizes(model, 1) == (1,)
    assert sizes(model, 6) == (1, 2, 4, 6)
    fixed = window_model(tmp_path / "f.onnx", inspect(write_model(tmp_path / "f.onnx", batch=1)))
    assert sizes(fixed, 6) == (1,)
    made = pipeline(model, library())
    assert made.batch_by_size
    assert set(made.batch) == {Scenario.SINGLE_STREAM, Scenario.OFFLINE}
    (network,) = made.networks(2)
    assert network.profiles == (((1, 1, 8, 8, 8),), ((2, 1, 8, 8, 8),))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"classes": 2}, r"expected \[batch, 3"), ({"window": 6}, "multiple of 4")],
)
def test_a_model_of_another_form_is_refused(options: Any, message: str, tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", **options)
    with pytest.raises(DataError, match=message):
        window_model(path, inspect(path))
