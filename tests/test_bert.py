"""BERT as a workload: its sources, its network, and runs through the command line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from coldmark.backends.onnxruntime import BACKEND as ONNXRUNTIME
from coldmark.backends.openvino import BACKEND as OPENVINO
from coldmark.core.errors import ConfigError, DataError, RunError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.sut import Pipeline, Tensors
from coldmark.workloads.bert import architecture, full, mini
from coldmark.workloads.bert.architecture import INPUTS, LARGE, OUTPUTS, Config
from coldmark.workloads.bert.features import Form
from coldmark.workloads.bert.network import bucketed, buckets, pipeline, reader
from coldmark.workloads.bert.passages import draw, vocabulary
from coldmark.workloads.bert.samples import FeatureLibrary, Packer
from coldmark.workloads.bert.task import Options
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.sources import shipped
from coldmark.workloads.task import Task, find_workload
from conftest import SMALL

TINY = Config(layers=2, hidden=16, heads=2, intermediate=32, vocabulary=60, positions=384)


def open_bert(source: str, workload: str = "bert-99", **options: Any) -> Task:
    return find_workload(workload).open(source, Options(**options), cache=cache_dir())


def write_model(path: Path, config: Config = TINY, seed: int = 1) -> Path:
    path.write_bytes(architecture.build(config, dict(architecture.seeded(config, seed))).SerializeToString())
    return path


def write_squad(folder: Path, passages: int = 6) -> dict[str, Path]:
    """A folder in the form of MLPerf's BERT files: model, dev-v1.1.json, vocab.txt."""
    drawn = [draw(7, i) for i in range(passages)]
    paragraphs = [
        {
            "context": p.text,
            "qas": [
                {
                    "id": f"{i}-{j}",
                    "question": q.text,
                    "answers": [{"text": q.answer, "answer_start": q.start}],
                }
                for j, q in enumerate(p.questions)
            ],
        }
        for i, p in enumerate(drawn)
    ]
    data = folder / "dev-v1.1.json"
    data.write_text(json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}))
    tokenizer = vocabulary()
    vocab = folder / "vocab.txt"
    vocab.write_text("\n".join(tokenizer.pieces) + "\n")
    sizes = Config(layers=1, hidden=16, heads=2, intermediate=32, vocabulary=len(tokenizer), positions=384)
    return {
        "model_path": write_model(folder / "model.onnx", sizes),
        "data_path": data,
        "vocab_path": vocab,
    }


@pytest.fixture
def official(tmp_path: Path) -> dict[str, Path]:
    return write_squad(tmp_path)


# -- the architecture -----------------------------------------------------------------------------------


def test_bert_large_has_the_published_parameters() -> None:
    # Tables 30 522, 512 and 2 of 1 024, one normalisation; per layer four 1 024 x 1 024 and two
    # 1 024 x 4 096 dense maps with biases and two normalisations; the head.
    embeddings = (30522 + 512 + 2) * 1024 + 2 * 1024
    layer = 4 * (1024 * 1024 + 1024) + 2 * 1024 * 4096 + 4096 + 1024 + 2 * 2 * 1024
    assert architecture.parameters(LARGE) == embeddings + 24 * layer + 2 * 1024 + 2 == 334_094_338
    assert (LARGE.layers, LARGE.hidden, LARGE.heads, LARGE.intermediate) == (24, 1024, 16, 4096)


def test_the_work_of_a_sequence_by_hand() -> None:
    # Dense maps 12 x 1 024 x 1 024 a piece and layer, attention 2 x 384 x 1 024, the head 2 x 1 024.
    assert LARGE.macs(384) == 384 * (24 * (12 * 1024**2 + 2 * 384 * 1024) + 2 * 1024)


def random_inputs(config: Config, lengths: list[int], sequence: int) -> dict[str, NDArray[np.int64]]:
    rng = np.random.default_rng(3)
    at = np.arange(sequence)
    mask = (at < np.array(lengths)[:, None]).astype(np.int64)
    ids = rng.integers(0, config.vocabulary, (len(lengths), sequence))
    return dict(zip(INPUTS, (ids, mask, mask * (at > 3)), strict=True))


def run_onnx(path: Path, inputs: dict[str, NDArray[np.int64]]) -> list[NDArray[np.float32]]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [np.asarray(a) for a in session.run(list(OUTPUTS), inputs)]


def plain_bert(w: dict[str, NDArray[np.float32]], config: Config, x: dict[str, NDArray[np.int64]]) -> Any:
    """BERT written out in numpy, in double precision."""
    from scipy.special import erf

    def dense(v: Any, name: str) -> Any:
        return v @ w[f"{name}.weight"].astype(float) + w[f"{name}.bias"]

    def norm(v: Any, name: str) -> Any:
        centred = v - v.mean(-1, keepdims=True)
        return (
            centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * w[f"{name}.scale"]
            + w[f"{name}.shift"]
        )

    ids, mask, segments = (x[n] for n in INPUTS)
    v = (
        w["word.table"][ids].astype(float)
        + w["segment.table"][segments]
        + w["position.table"][: ids.shape[1]]
    )
    v = norm(v, "embed.norm")
    for i in range(config.layers):
        name = f"layer{i}.attention"
        q, k, u = (
            dense(v, f"{name}.{part}").reshape(*ids.shape, config.heads, -1).swapaxes(1, 2)
            for part in ("query", "key", "value")
        )
        scores = q @ k.swapaxes(2, 3) / math.sqrt(config.hidden // config.heads)
        scores = np.exp(scores + (mask[:, None, None, :] - 1.0) * 10000)
        mixed = (scores / scores.sum(-1, keepdims=True)) @ u
        v = norm(v + dense(mixed.swapaxes(1, 2).reshape(v.shape), f"{name}.out"), f"{name}.norm")
        y = dense(v, f"layer{i}.up")
        v = norm(v + dense(y * (1 + erf(y / math.sqrt(2))) / 2, f"layer{i}.down"), f"layer{i}.norm")
    both = dense(v, "answer")
    return both[..., 0], both[..., 1]


def test_the_graph_computes_what_bert_computes(tmp_path: Path) -> None:
    x = random_inputs(TINY, [20, 11, 4], 20)
    found = run_onnx(write_model(tmp_path / "m.onnx"), x)
    expected = plain_bert(dict(architecture.seeded(TINY, 1)), TINY, x)
    assert np.abs(expected[0]).max() > 0.1
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one, other, atol=1e-4)


def test_padding_changes_nothing(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx")
    x = random_inputs(TINY, [20, 11], 20)
    short = {name: value[1:, :11] for name, value in x.items()}
    for long, alone in zip(run_onnx(path, x), run_onnx(path, short), strict=True):
        assert np.allclose(long[1, :11], alone[0], atol=1e-5)


def test_weights_beside_the_graph_are_those_inside_it(tmp_path: Path) -> None:
    beside = full.weights_and_graph(tmp_path, TINY, seed=1)
    inside = write_model(tmp_path / "m.onnx")
    x = random_inputs(TINY, [9], 9)
    for one, other in zip(run_onnx(beside, x), run_onnx(inside, x), strict=True):
        assert np.array_equal(one, other)
    assert inspect(beside).inputs == inspect(inside).inputs
    assert beside.stat().st_size < 100_000
    assert sorted(p.suffix for p in beside.parent.iterdir()) == [".onnx", ".weights"]


def test_other_weights_are_another_digest(tmp_path: Path) -> None:
    one, other = (full.weights_and_graph(tmp_path / str(s), TINY, seed=s) for s in (1, 2))
    again = full.weights_and_graph(tmp_path / "again", TINY, seed=1)
    assert inspect(one).sha256 == inspect(again).sha256 != inspect(other).sha256


def test_a_missing_weight_is_named() -> None:
    weights = dict(architecture.seeded(TINY, 1))
    del weights["answer.bias"]
    with pytest.raises(ValueError, match=r"answer\.bias"):
        architecture.build(TINY, weights)


# -- samples and batches ------------------------------------------------------------------------------------


def tiny_library(count: int = 30, sequence: int = 384) -> FeatureLibrary:
    features = full.random_features(TINY, Form(sequence=sequence, question=64, stride=48), count)
    library = FeatureLibrary("x", features)
    library.load(np.arange(count))
    return library


def test_a_batch_is_packed_as_bert_reads_it() -> None:
    library = tiny_library()
    f = library.features
    ids, mask, segments = Packer(library).pack(np.array([4, 2]), 4, 384)
    for row, sample in enumerate((4, 2, 4, 4)):  # rows beyond the samples repeat the first
        n, window = int(f.length[sample]), int(f.window[sample])
        assert np.array_equal(ids[row], f.ids[sample])
        assert mask[row].tolist() == [1] * n + [0] * (384 - n)
        assert segments[row].tolist() == [0] * window + [1] * (n - window) + [0] * (384 - n)


def test_a_sample_that_was_not_loaded_is_never_answered_for() -> None:
    library = tiny_library()
    library.unload(np.array([3]))
    with pytest.raises(RunError, match="never loaded"):
        Packer(library).pack(np.array([2, 3]), 2, 384)


def test_buckets_by_hand() -> None:
    assert buckets(384) == (64, 128, 192, 256, 320, 384)
    assert buckets(128) == (32, 64, 96, 128)
    assert bucketed(np.array([1, 64, 65, 384]), 384).tolist() == [64, 64, 128, 384]


class _Recorder:
    """A network whose scores are the numbers it was given, and that remembers their shapes."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, *inputs: NDArray[Any]) -> Tensors:
        self.shapes.append(inputs[0].shape)
        return [inputs[0].astype(np.float32), inputs[2].astype(np.float32)]


@pytest.mark.parametrize("padded", [True, False])
def test_a_lane_answers_each_sample_with_its_own_scores(padded: bool, tmp_path: Path) -> None:
    library = tiny_library()
    path = write_model(tmp_path / "m.onnx")
    made = pipeline(reader(path, inspect(path), 384), library, padded=padded)
    (network,) = made.networks(8)
    call = _Recorder()
    compute = made.open({network.name: call}, 8)
    for indices in (np.array([3]), np.arange(5), np.arange(8), np.arange(20)):
        for index, answer in zip(indices, compute(indices), strict=True):
            logged = np.asarray(answer).view("<f4").reshape(-1, 2)
            n = int(library.features.length[index])
            assert np.array_equal(logged[:n, 0], library.features.ids[index, :n])
            assert len(logged) == 384 if padded else n <= len(logged) <= 384
    assert {(shape,) * 3 for shape in call.shapes} <= set(network.profiles)
    assert (len({s[1] for s in call.shapes}) == 1) == padded
    assert (made.size is None) == padded


def test_large_weights_are_compiled_once(tmp_path: Path) -> None:
    library = tiny_library()
    path = write_model(tmp_path / "m.onnx")
    made = pipeline(reader(path, inspect(path), 384, large=True), library, padded=True)
    assert set(made.batch.values()) == {1}
    (alone,), (many,) = made.networks(1), made.networks(4)
    assert (len(alone.profiles), alone.dynamic) == (1, False)
    assert many.dynamic


# -- models and data that are not what they should be -----------------------------------------------------


@pytest.mark.parametrize("missing", ["model_path", "data_path", "vocab_path"])
def test_official_says_which_path_it_needs(missing: str, official: dict[str, Path]) -> None:
    del official[missing]
    with pytest.raises(ConfigError, match=missing.replace("_", ".")):
        open_bert("official", **official)


def test_a_missing_file_of_the_official_set_is_named(official: dict[str, Path], tmp_path: Path) -> None:
    for key, path in official.items():
        with pytest.raises(DataError, match=f"no-{path.name}"):
            open_bert("official", **{**official, key: tmp_path / f"no-{path.name}"})


def test_another_kind_of_model_is_refused(official: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(official["model_path"])
    for change, match in (
        (lambda m: m.graph.input[0].type.tensor_type.shape.dim[1].__setattr__("dim_value", 512), "384"),
        (lambda m: _rename(m, "input_ids", "tokens"), "no input 'input_ids'"),
        (lambda m: _rename(m, OUTPUTS[1], "scores"), "no output scores the end"),
    ):
        changed = onnx.ModelProto.FromString(model.SerializeToString())
        change(changed)
        path = tmp_path / "other.onnx"
        path.write_bytes(changed.SerializeToString())
        with pytest.raises(DataError, match=match):
            open_bert("official", **{**official, "model_path": path})


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = new if name == old else name
    for port in (*model.graph.input, *model.graph.output):
        port.name = new if port.name == old else port.name


def test_a_model_of_one_length_refuses_buckets(official: dict[str, Path]) -> None:
    model = onnx.load(official["model_path"])
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.shape.dim[1].dim_value = 384
    official["model_path"].write_bytes(model.SerializeToString())
    assert isinstance(open_bert("official", **official).model, Pipeline)
    with pytest.raises(ConfigError, match=r"384 only"):
        open_bert("official", data_lengths="buckets", **official)


def test_misspelt_lengths_and_sources_are_corrected() -> None:
    with pytest.raises(ConfigError, match="did you mean 'buckets'"):
        Options(data_lengths="bucket")
    with pytest.raises(ConfigError, match="did you mean 'mini'"):
        open_bert("mni")


def test_official_opens_with_its_gate_and_doubts(official: dict[str, Path]) -> None:
    for name, target in (("bert-99", 89.96526), ("bert-99.9", 90.783126)):
        task = open_bert("official", name, **official)
        assert task.official
        assert task.gate is not None
        assert task.gate.target == pytest.approx(target)
        assert "10833" in task.warnings[0]
    assert isinstance(task.model, Pipeline)
    assert task.model.networks(1)[0].profiles == (((1, 384),) * 3,)


def test_another_version_of_squad_is_a_doubt(official: dict[str, Path]) -> None:
    text = official["data_path"].read_text().replace('"version": "1.1"', '"version": "2.0"')
    official["data_path"].write_text(text)
    assert any("2.0" in w for w in open_bert("official", **official).warnings)


def test_a_model_of_ones_own_runs_on_minis_questions_or_on_squad(official: dict[str, Path]) -> None:
    path = official.pop("model_path")
    own = open_bert(str(path))
    assert own.samples == mini.mini_file().heldout.sequences
    assert "macs_per_sample" not in own.facts
    assert open_bert(str(path), **official).samples < own.samples
    del official["vocab_path"]
    with pytest.raises(ConfigError, match="go together"):
        open_bert(str(path), **official)


# -- full -------------------------------------------------------------------------------------------------


def test_full_refuses_accuracy_and_says_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    task = find_workload("bert-99").open("full", Options(), cache=cache_dir(), need_model=False)
    assert task.scorer is None
    assert "random" in task.refusal
    assert task.samples == task.library.performance_count == 10_833
    assert task.facts["macs_per_sample"] == str(LARGE.macs(384))
    assert task.facts["sequence"].startswith("384, padded")
    short = find_workload("bert-99").open(
        "full", Options(data_lengths="buckets"), cache=cache_dir(), need_model=False
    )
    assert int(short.facts["macs_per_sample"]) < LARGE.macs(384) * 0.7


# -- mini -------------------------------------------------------------------------------------------------


def test_mini_is_small_and_far_from_both_ends() -> None:
    facts = mini.mini_file()
    held = facts.heldout
    task = open_bert("mini")
    assert shipped("coldmark.workloads.bert", "mini.onnx").stat().st_size < 4_000_000
    assert architecture.parameters(facts.sizes.config) == facts.sizes.parameters
    assert 60 < held.reference_f1_percent < 92
    assert held.reference_exact_percent < held.reference_f1_percent
    assert held.questions >= 10_000
    assert task.samples == held.sequences > held.questions
    assert task.gate is not None
    assert task.gate.target == pytest.approx(0.99 * held.reference_f1_percent)
    strict = open_bert("mini", "bert-99.9").gate
    assert strict is not None
    assert strict.target == pytest.approx(0.999 * held.reference_f1_percent)
    assert task.warnings == ()
    assert task.facts["macs_per_sample"] == str(facts.sizes.config.macs(128))


def engines() -> list[Any]:
    return [pytest.param(b, p, id=f"{b.name}-{p}") for b, p in ((OPENVINO, "fp32"), (ONNXRUNTIME, "fp32"))]


@pytest.mark.parametrize(("backend", "precision"), engines())
@pytest.mark.parametrize("lengths", ["padded", "buckets"])
def test_a_few_answers_are_those_of_an_independent_run(backend: Any, precision: str, lengths: str) -> None:
    from coldmark.backends.build import BuildRequest

    task = open_bert("mini", data_lengths=lengths)
    library = task.library
    assert isinstance(library, FeatureLibrary)
    assert isinstance(task.model, Pipeline)
    indices = np.array([5, 300, 17])
    library.load(indices)
    request = BuildRequest(
        model=task.model,
        library=library,
        scenario=Scenario.SINGLE_STREAM,
        precision=Precision.parse(precision),
        options=backend.options(),
    )
    found: dict[int, NDArray[np.uint8]] = {}
    sut = backend.build(request)
    sut.start(
        lambda ids, answers: found.update(zip(ids.tolist(), map(np.copy, answers), strict=True)), _raise
    )
    for index in indices:
        sut.issue(np.array([index], np.uint64), np.array([index]))
    sut.close()
    packed = Packer(library).pack(indices, 3, 128)
    expected = run_onnx(
        shipped("coldmark.workloads.bert", "mini.onnx"), dict(zip(INPUTS, packed, strict=True))
    )
    for row, index in enumerate(indices.tolist()):
        n = int(library.features.length[index])
        logged = found[index].view("<f4").reshape(-1, 2)
        for side in (0, 1):
            assert np.allclose(logged[:n, side], expected[side][row, :n], atol=2e-3)


def _raise(error: BaseException) -> None:
    raise error


# -- through the command line ----------------------------------------------------------------------------


@pytest.mark.loadgen
def test_official_files_run_and_are_scored(
    official: dict[str, Path], coldmark: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    sets = [f"--set={key.replace('_', '.', 1)}={path}" for key, path in official.items()]
    done = coldmark(
        "run",
        "bert-99",
        "--suite",
        "datacenter",
        "--scenario",
        "Offline",
        "--model",
        "official",
        *sets,
        *SMALL,
    )
    assert done.returncode == 3, done.stdout + done.stderr  # random weights miss the target
    (record,) = (tmp_path / "runs").iterdir()
    text = (record / "accuracy" / "accuracy.txt").read_text()
    assert set(json.loads(text.splitlines()[0])) == {"exact_match", "f1"}
    assert "hash=" in text


@pytest.mark.loadgen
def test_a_bad_question_file_ends_with_exit_code_6(
    official: dict[str, Path], coldmark: Callable[..., CompletedProcess[str]]
) -> None:
    official["data_path"].write_text('{"data": [{"paragraphs": [{"context": "", "qas": []}]}]}')
    sets = [f"--set={key.replace('_', '.', 1)}={path}" for key, path in official.items()]
    done = coldmark("run", "bert-99", "--scenario", "Offline", "--model", "official", *sets, *SMALL)
    assert done.returncode == 6, done.stdout + done.stderr
    assert "the passage is empty" in done.stderr
