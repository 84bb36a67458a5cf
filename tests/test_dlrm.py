"""DLRM: samples, architecture, lookups, lanes, `full` and `mini`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from coldmark.core.errors import ConfigError, DataError, RunError
from coldmark.core.nouns import Scenario
from coldmark.core.sut import Pipeline
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.dlrm import clicks, full
from coldmark.workloads.dlrm.architecture import Config, full_config, seeded
from coldmark.workloads.dlrm.graph import build, split, write
from coldmark.workloads.dlrm.heldout import HeldoutLog, calibration_log
from coldmark.workloads.dlrm.mini import mini_config, mini_file
from coldmark.workloads.dlrm.shape import OFFICIAL_ROWS, SAMPLE_PAIRS, partition, sample_sizes
from coldmark.workloads.dlrm.task import Options
from coldmark.workloads.sources import shipped
from coldmark.workloads.task import Task, find_workload
from dlrm_forms import TINY, Session, numpy_dlrm, tiny_columns, tiny_library, tiny_pipeline


def open_dlrm(source: str, workload: str = "dlrm-99", **options: Any) -> Task:
    return find_workload(workload).open(source, Options(**options), cache=cache_dir())


# -- samples -----------------------------------------------------------------------------------------


def test_day_23_is_cut_as_the_reference_cuts_it() -> None:
    bounds = partition(89_137_319)
    assert len(bounds) - 1 == 330_067
    # The first sizes of the reference's own verification trace.
    assert np.diff(bounds)[:12].tolist() == [200, 200, 200, 200, 500, 700, 200, 100, 100, 500, 300, 200]
    assert np.mean(SAMPLE_PAIRS) == 270


@given(st.integers(1, 5000))
def test_a_partition_covers_its_log_with_samples_of_100_to_700(pairs: int) -> None:
    sizes = np.diff(partition(pairs))
    assert sizes.sum() == pairs
    assert set(sizes[:-1].tolist()) <= set(SAMPLE_PAIRS)
    assert 0 < sizes[-1] <= 700


SETS = st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=8), min_size=1, max_size=5)
BOUNDS = [0, 100, 300, 1000, 1200, 1300, 1400, 2000, 2037]


@given(SETS, st.booleans())
def test_a_library_holds_what_is_loaded_whatever_was_loaded_before(sets: list[list[int]], keep: bool) -> None:
    library, truth = tiny_library(BOUNDS), tiny_columns(BOUNDS[-1])
    for wanted in sets:
        library.load(np.array(wanted))
        for index in wanted:
            size = int(library.sizes(np.array([index]))[0])
            start = library.start(index)
            for column, whole in zip(library.columns, truth, strict=True):
                assert np.array_equal(column[start : start + size], whole[BOUNDS[index] : BOUNDS[index + 1]])
        if not keep:
            library.unload(np.array(wanted))
            with pytest.raises(RunError, match="never loaded"):
                library.start(wanted[0])


# -- architecture ------------------------------------------------------------------------------------


def test_the_official_shape_by_hand() -> None:
    config = Config(rows=OFFICIAL_ROWS)
    assert len(OFFICIAL_ROWS) == 26
    assert config.top_input == 128 + 27 * 26 // 2 == 479
    bottom = 13 * 512 + 512 + 512 * 256 + 256 + 256 * 128 + 128
    top = 479 * 1024 + 1024 * 1024 + 1024 * 512 + 512 * 256 + 256 + (1024 + 1024 + 512 + 256 + 1)
    assert (bottom, top) == (171_392, 2_197_505)
    assert config.parameters == 187_767_399 * 128 + bottom + top
    layers = 170_496 + 490_496 + 1_048_576 + 524_288 + 131_072 + 256
    assert config.macs_per_pair == layers + 351 * 128 == 2_410_112
    assert full_config(100_000).table_bytes == 921_165 * 512


def test_whole_and_split_models_compute_the_paper(tmp_path: Path) -> None:
    weights = seeded(TINY)
    whole = build(TINY, weights, whole=True)
    dense, category, _ = tiny_columns(30)
    expected = numpy_dlrm(TINY, weights, dense, category)
    assert expected.std() > 0.01
    (found,) = ort.InferenceSession(whole.SerializeToString()).run(
        None, {"dense": dense, "category": category}
    )
    assert np.allclose(found[:, 0], expected, atol=1e-5)
    parts = split(whole, tmp_path)
    assert parts.config == TINY
    rows = parts.tables[category + TINY.starts]
    (again,) = ort.InferenceSession(parts.layers.SerializeToString()).run(
        None, {"dense": dense, "rows": rows}
    )
    assert np.array_equal(found, again)
    onnx.checker.check_model(parts.layers)


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    write(build(TINY, seeded(TINY), whole=False), path)
    with pytest.raises(DataError, match=r"m\.onnx: not a recommendation model"):
        open_dlrm(str(path))
    write(build(TINY, seeded(TINY), whole=True), path)
    with pytest.raises(DataError, match="rows"):  # tables of another data set
        open_dlrm(str(path))
    own = open_dlrm(str(shipped("coldmark.workloads.dlrm", "mini.onnx")), "dlrm-99.9")
    assert own.gate == open_dlrm("mini", "dlrm-99.9").gate
    assert isinstance(own.model, Pipeline)
    with pytest.raises(ConfigError, match="official"):
        open_dlrm("offical")


# -- lanes -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dlrm") / "layers.onnx"
    write(build(TINY, seeded(TINY), whole=False), path)
    return path


@cache
def _expected() -> NDArray[np.float64]:
    return numpy_dlrm(TINY, seeded(TINY), *tiny_columns(BOUNDS[-1])[:2])


@settings(max_examples=20)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.sampled_from([128, 700, 2048]))
def test_a_lane_answers_any_batch_pair_by_pair(layers: Path, wanted: list[int], batch: int) -> None:
    library = tiny_library(BOUNDS)
    made = tiny_pipeline(layers, library)
    compute = made.open(Session(made, batch).by_name, batch)
    library.load(np.arange(8))
    columns = tiny_columns(BOUNDS[-1])
    expected = _expected()
    answers = compute(np.array(wanted))
    for index, answer in zip(wanted, answers, strict=True):
        pairs = np.asarray(answer).view("<f4").reshape(-1, 2)
        begin, end = BOUNDS[index], BOUNDS[index + 1]
        assert np.allclose(pairs[:, 0], expected[begin:end], atol=1e-5)
        assert np.array_equal(pairs[:, 1], columns[2][begin:end])


def test_a_batch_counts_pairs_and_every_shape_is_known_before(layers: Path) -> None:
    made = tiny_pipeline(layers, tiny_library(BOUNDS))
    assert made.batch_by_size
    assert made.unit == "pairs"
    assert made.size is not None
    assert made.size(np.array([0, 2, 7])).tolist() == [100, 700, 37]
    (network,) = made.networks(1000)
    assert [profile[0][0] for profile in network.profiles] == list(range(100, 1001, 100))
    assert network.profiles[0] == ((100, 13), (100, 26, 4))
    (small,) = made.networks(128)
    assert small.profiles[-1][0] == (700, 13)  # a sample is never cut
    assert made.batch[Scenario.OFFLINE] % 100 == 0


def test_a_sample_that_was_not_loaded_is_never_answered_for(layers: Path) -> None:
    library = tiny_library(BOUNDS)
    made = tiny_pipeline(layers, library)
    compute = made.open(Session(made, 700).by_name, 700)
    with pytest.raises(RunError, match="never loaded"):
        compute(np.array([1]))


# -- full --------------------------------------------------------------------------------------------


def test_full_refuses_accuracy_and_says_what_it_costs() -> None:
    task = full.open_full(20, cache_dir(), True, config=TINY)
    assert task.scorer is None
    assert "random" in task.refusal
    assert not task.official
    assert task.library.performance_count == 204_800
    mean = float(task.facts["pairs_per_sample"])
    assert 265 < mean < 275
    assert int(task.facts["macs_per_sample"]) == pytest.approx(mean * TINY.macs_per_pair, rel=1e-3)
    assert int(task.facts["bytes_per_sample"]) == pytest.approx(mean * (26 * 4 * 4 + 39 * 4), rel=1e-3)
    assert isinstance(task.model, Pipeline)
    compute = task.model.open(Session(task.model, 300).by_name, 300)
    task.library.load(np.arange(3))
    probability = np.asarray(compute(np.arange(1))[0]).view("<f4")[::2]
    assert 0 < probability.std() < 0.5


def test_full_refuses_tables_beyond_memory_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full.psutil, "virtual_memory", lambda: SimpleNamespace(available=10 * 10**9))
    with pytest.raises(ConfigError, match=r"need 96\.1 GB of memory, 8\.0 GB can be had"):
        open_dlrm("full", model_rows=40_000_000)
    with pytest.raises(ConfigError, match="below 1"):
        open_dlrm("full", model_rows=0)


def test_seeded_weights_follow_from_seed_and_name() -> None:
    one, two = seeded(TINY, 5), seeded(TINY, 6)
    assert np.array_equal(one("top_l.0.weight"), seeded(TINY, 5)("top_l.0.weight"))
    assert not np.array_equal(one("top_l.0.weight"), two("top_l.0.weight"))
    assert not np.array_equal(one("emb_l.3.weight"), one("emb_l.4.weight")[: len(one("emb_l.3.weight"))])


# -- mini --------------------------------------------------------------------------------------------


def test_mini_is_small_and_between_chance_and_the_best_possible() -> None:
    facts = mini_file()
    held = facts.heldout
    config = mini_config(facts)
    assert (config.parameters, config.macs_per_pair) == (facts.parameters, facts.macs_per_pair)
    assert len(config.rows) == 26
    assert facts.parameters * 4 < 4_000_000
    assert 78 < held.reference_auc_percent < held.best_possible_auc_percent - 1 < 95
    low, high = held.reference_interval_percent
    assert low < held.reference_auc_percent < high < low + 0.3
    assert held.heldout_pairs >= 500_000
    for workload, ratio in (("dlrm-99", 0.99), ("dlrm-99.9", 0.999)):
        task = open_dlrm("mini", workload)
        assert task.gate is not None
        assert task.gate.target == pytest.approx(ratio * held.reference_auc_percent)
        assert task.warnings == ()
        assert float(task.facts["best_possible_auc_percent"]) == pytest.approx(
            held.best_possible_auc_percent, abs=1e-3
        )


def test_the_logs_of_mini_share_no_seed_and_follow_from_it() -> None:
    seeds = (clicks.TRAINING_SEED, clicks.VALIDATION_SEED, clicks.CALIBRATION_SEED, clicks.EVALUATION_SEED)
    assert len(set(seeds)) == 4
    assert mini_file().heldout.heldout_seed == clicks.EVALUATION_SEED
    assert mini_file().training.training_seed == clicks.TRAINING_SEED
    one, again, other = (clicks.draw(seed, 3, 200) for seed in (1, 1, 2))
    assert np.array_equal(one.category, again.category)
    assert np.array_equal(one.click, again.click)
    assert not np.array_equal(one.category, other.category)
    with pytest.raises(ValueError, match="seed and index"):
        clicks.draw(-1, 0, 10)


def test_drawn_pairs_lie_inside_their_tables_and_click_as_their_odds_say() -> None:
    pairs = clicks.draw(9, 0, 20_000)
    assert (pairs.category >= 0).all()
    assert (pairs.category < np.array(clicks.ROWS)).all()
    assert pairs.dense.min() >= 0
    assert pairs.dense.max() < 65_536
    chance = 1 / (1 + np.exp(-pairs.log_odds))
    for part in (chance < 0.1, (chance > 0.3) & (chance < 0.5), chance > 0.7):
        n = int(part.sum())
        assert n > 500
        away = abs(pairs.click[part].mean() - chance[part].mean())
        assert away < 5 * np.sqrt(0.25 / n)


def test_a_log_is_cut_into_samples_of_the_official_sizes_and_kept(tmp_path: Path) -> None:
    log = calibration_log(7, tmp_path)
    sizes = sample_sizes(clicks.CALIBRATION_SEED, 7)
    assert np.diff(log.bounds).tolist() == sizes.tolist()
    dense, category, click = log.read(int(log.bounds[2]), int(log.bounds[3]))
    drawn = clicks.draw(clicks.CALIBRATION_SEED, 2, int(sizes[2]))
    assert np.allclose(dense, np.log(drawn.dense + 1.0), atol=1e-6)
    assert np.array_equal(category, drawn.category)
    assert np.array_equal(click, drawn.click)
    (path,) = (tmp_path / "dlrm").iterdir()
    path.write_bytes(path.read_bytes()[:500])  # a damaged cache is made again
    assert HeldoutLog(clicks.CALIBRATION_SEED, 7, tmp_path).sha256 == log.sha256
