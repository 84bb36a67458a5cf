"""Calibration: quantised networks, the choice among them, and what is kept, found and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from coldmark.core.calibration import Aim, Calibration, Candidate, Quantisation
from coldmark.core.errors import BackendError, ConfigError, DataError
from coldmark.core.nouns import Length, Precision, Scenario, Suite
from coldmark.core.record import RunRecord, RunSpec
from coldmark.report.text import quantised_text
from coldmark.runs.calibrated import digests
from coldmark.runs.calibration.capture import Reservoir, drawn
from coldmark.runs.calibration.layers import ranked
from coldmark.runs.calibration.make import _compared, reason
from coldmark.runs.calibration.methods import METHODS, Ask, named
from coldmark.runs.calibration.search import Search, choice, grouped
from coldmark.store.calibrations import find_calibration, keep, list_calibrations, read_calibration
from coldmark.submission.assemble import calibration_text
from conftest import SMALL

WIDTH, DEEP = 16, 3


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Three dense layers of seeded weights, without names of their own."""
    rng = np.random.default_rng(3)
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.3, (WIDTH, WIDTH)).astype(np.float32), f"w{i}")
        for i in range(DEEP)
    ]
    nodes = []
    for i in range(DEEP):
        nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"m{i}"]))
        nodes.append(helper.make_node("Relu", [f"m{i}"], [f"x{i + 1}"]))
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info(f"x{DEEP}", TensorProto.FLOAT, ["n", WIDTH])],
        weights,
    )
    path = tmp_path / "dense.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def feeds(count: int = 24) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    return [{"x0": rng.uniform(-1, 1, (1, WIDTH)).astype(np.float32)} for _ in range(count)]


def answer(path: Path, feed: dict[str, Any]) -> Any:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feed)[0]


@pytest.mark.parametrize(
    ("method", "noise"),
    [
        ("nncf-performance", 0.1),  # ranges by the mean of extremes: rows of 16 values are cut often
        ("nncf-mixed", 0.1),
        ("nncf-extremes", 0.005),
        ("ort-static", 0.005),
        ("ort-dynamic", 0.005),
    ],
)
def test_a_quantised_network_answers_nearly_as_its_source(
    method: str, noise: float, network: Path, tmp_path: Path
) -> None:
    target = tmp_path / "q.onnx"
    METHODS.load(method)(Ask(source=network, target=target, feeds=feeds()))
    operators = {node.op_type for node in onnx.load(target).graph.node}
    assert operators & {"QuantizeLinear", "DynamicQuantizeLinear"}
    pairs = [(answer(network, one), answer(target, one)) for one in feeds()]
    error = sum(float(np.square(exact - found).sum()) for exact, found in pairs)
    signal = sum(float(np.square(exact).sum()) for exact, _ in pairs)
    assert 0 < error < noise * signal


@pytest.mark.parametrize("method", ["nncf-extremes", "ort-static"])
def test_a_weight_is_within_half_a_step_of_its_source(method: str, network: Path, tmp_path: Path) -> None:
    target = tmp_path / "q.onnx"
    METHODS.load(method)(Ask(source=network, target=target, feeds=feeds()))
    graph = onnx.load(target).graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    made = {o: n for n in graph.node for o in n.output}
    source = {t.name: numpy_helper.to_array(t) for t in onnx.load(network).graph.initializer}
    layers = [n for n in graph.node if n.op_type == "MatMul"]
    for at, layer in enumerate(layers):
        whole, scale = (values[name].astype(np.float64) for name in made[layer.input[1]].input[:2])
        assert np.all(np.abs(whole * scale - source[f"w{at}"]) <= 0.5001 * scale)
    assert len(layers) == DEEP


def test_excluded_and_kept_nodes_stay_in_floating_point(network: Path, tmp_path: Path) -> None:
    target = tmp_path / "q.onnx"
    first, second = (f"MatMul_{at}" for at in (0, 2))
    for method in ("nncf-mixed", "ort-static"):
        ask = Ask(source=network, target=target, feeds=feeds(), exclude=(first,), keep=(f"^{second}$",))
        METHODS.load(method)(ask)
        made = {o: n for n in onnx.load(target).graph.node for o in n.output}
        weights = {
            n.name: made[n.input[1]].op_type if n.input[1] in made else ""
            for n in onnx.load(target).graph.node
            if n.op_type == "MatMul"
        }
        assert weights == {first: "", second: "", "MatMul_4": "DequantizeLinear"}, method


def test_layers_are_ranked_by_the_noise_they_add(network: Path, tmp_path: Path) -> None:
    target = tmp_path / "q.onnx"
    METHODS.load("nncf-mixed")(Ask(source=network, target=target, feeds=feeds()))
    noise = [value for value, _ in ranked(network, target, feeds())]
    assert len(noise) >= DEEP
    assert noise == sorted(noise, reverse=True)
    assert noise[0] > 0


def test_nodes_without_names_get_names_of_their_own(network: Path) -> None:
    names = [node.name for node in named(network).graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


def test_what_the_tool_cannot_quantise_is_an_error_of_ours(tmp_path: Path, network: Path) -> None:
    with pytest.raises(BackendError, match="NNCF cannot quantise it"):
        METHODS.load("nncf-mixed")(Ask(source=network, target=tmp_path / "q.onnx", feeds=[{"wrong": 1}]))


@given(st.integers(1, 30), st.integers(0, 200))
def test_a_reservoir_keeps_calls_that_were_made_and_no_more_than_asked(most: int, calls: int) -> None:
    kept = Reservoir(most, np.random.default_rng(0))
    for call in range(calls):
        kept.offer(lambda call=call: {"x": np.array([call])})
    values = [int(feed["x"][0]) for feed in kept.kept]
    assert len(values) == min(most, calls) == len(set(values))
    assert all(0 <= value < calls for value in values)


@given(st.integers(1, 500), st.integers(1, 600))
def test_samples_are_drawn_once_each(count: int, wanted: int) -> None:
    found = drawn(count, wanted)
    assert len(np.unique(found)) == len(found) == min(count, wanted)
    assert 0 <= found.min() <= found.max() < count


def point(name: str, speed: float | None, accuracy: float, passed: bool, **more: Any) -> Candidate:
    precision = Precision.INT8 if name.startswith("q") else Precision(name)
    low, high = (speed - 0.1, speed + 0.1) if speed else (None, None)
    return Candidate(
        precision=precision,
        method=name,
        speed=speed,
        accuracy=accuracy,
        passed=passed,
        **({"speed_low": low, "speed_high": high} | more),
    )


FP32 = Candidate(precision=Precision.FP32, speed=1.0, accuracy=80.0, passed=True)


def test_the_fastest_that_holds_the_gate_is_chosen() -> None:
    slow, fast, wrong = (
        point("q1", 2.0, 79.9, True),
        point("q2", 3.0, 79.5, True),
        point("q3", 4.0, 70.0, False),
    )
    assert choice([FP32, slow, fast, wrong]) == fast


def test_of_equally_fast_ones_the_most_accurate_is_chosen() -> None:
    one, other = point("q1", 3.05, 79.3, True), point("q2", 3.0, 79.9, True)
    assert choice([FP32, one, other]) == other


def test_where_int8_fails_bf16_is_the_way_back_and_without_it_nothing_is_chosen() -> None:
    wrong, bf16 = point("q1", 4.0, 70.0, False), point("bf16", 1.8, 80.0, True)
    assert choice([FP32, wrong, bf16]) == bf16
    assert choice([FP32, wrong]) is None


def test_the_reason_tells_a_tie_from_the_fastest() -> None:
    task: Any = SimpleNamespace(gate=SimpleNamespace(target=79.2), refusal="")
    close = [FP32, point("q1", 4.05, 79.3, True), point("q2", 4.0, 79.8, True)]
    assert reason(tuple(close), choice(close), task).startswith("the most accurate of those")
    clear = [FP32, point("q1", 5.0, 79.3, True), point("q2", 4.0, 79.8, True)]
    assert reason(tuple(clear), choice(clear), task) == "the fastest that holds the gate"
    none = [FP32, point("q1", 5.0, 70.0, False)]
    assert "the best reaches 70.0000" in reason(tuple(none), choice(none), task)
    unjudged: Any = SimpleNamespace(gate=None, refusal="random weights")
    bf16 = Candidate(precision=Precision.BF16, speed=2.0)
    assert reason((bf16, *close), bf16, unjudged).startswith("no INT8 is faster; accuracy is not judged")
    assert reason(tuple(close), close[0], unjudged).startswith("the first method; accuracy is not judged")


def test_a_run_says_how_its_model_was_quantised() -> None:
    used = Quantisation(
        id="02c62a79cd45ed42",
        method="nncf-mixed",
        floating=Precision.BF16,
        excluded={"model": ("first", "last")},
        networks={},
        set_name="shapes-510004",
        set_sha256="1" * 64,
        samples=300,
        made_with={},
    )
    assert quantised_text(used) == (
        "nncf-mixed, the rest in bf16, 2 layers left out; from 300 samples of shapes-510004 "
        "(calibration 02c62a79cd45ed42)"
    )


def test_layers_are_grouped_by_network() -> None:
    assert grouped([("a", "x"), ("b", "y"), ("a", "z")]) == {"a": ("x", "z"), "b": ("y",)}


class Pretended(Search):
    """A search whose candidates hold the gate once so many layers are left out."""

    needed = 0
    tried: ClassVar[list[int]] = []

    def _worst_first(self, made: Candidate) -> list[tuple[str, str]]:
        return [("model", f"layer{at}") for at in range(40)]

    def _try(self, method: str, excluded: dict[str, tuple[str, ...]]) -> list[Candidate]:
        made = point(method, 2.0, 79.9, len(excluded["model"]) >= self.needed, excluded=excluded)
        self.tried.append(made.left_out)
        self.front.append(made)
        return [made]


@given(st.integers(1, 39))
def test_as_few_layers_as_hold_the_gate_are_left_in_floating_point(needed: int) -> None:
    failed = point("q1", 3.0, 70.0, False)
    nothing: Any = SimpleNamespace()
    search = Pretended(
        plan=nothing,
        task=nothing,
        recipe=nothing,
        captured={},
        paths={},
        methods=(),
        place=Path(),
        say=lambda text: None,
        front=[FP32, failed],
        _files={failed.name: {}},
    )
    Pretended.needed, Pretended.tried = needed, []
    search._without_layers()
    best = choice(search.front)
    assert len(Pretended.tried) <= 10
    if needed <= 32:
        assert best is not None
        assert best.left_out == needed


def some_task(name: str, samples: int, first: int, overlap: str = "") -> Any:
    return SimpleNamespace(
        library=SimpleNamespace(name=name),
        samples=samples,
        identity=lambda i: str(first + i),
        overlap=overlap,
    )


def test_a_calibration_set_that_overlaps_the_evaluation_set_is_refused() -> None:
    every = np.arange(10)
    assert len(_compared(some_task("e", 50, 0), some_task("c", 10, 50), every)) == 64
    with pytest.raises(DataError, match="1 of 10 calibration samples are in the evaluation set"):
        _compared(some_task("e", 51, 0), some_task("c", 10, 50), every)
    allowed = some_task("c", 10, 50, overlap="the round's own list")
    assert len(_compared(some_task("e", 51, 0), allowed, every)) == 64


# -- what is kept -----------------------------------------------------------------------------------


def kept(cache: Path, id_: str = "ab12", content: bytes = b"network") -> Calibration:
    file = cache / "made.onnx"
    cache.mkdir(exist_ok=True)
    file.write_bytes(content)
    best = point("q", 3.0, 79.9, True, excluded={"model": ("MatMul_0",)})
    made = Calibration(
        id=id_,
        workload="resnet50",
        model="mini",
        backend="openvino",
        models={"model": "0" * 64},
        ratio=0.99,
        aim=Aim(metric="acc", unit="%", reference=80.0, target=79.2),
        front=(FP32, best),
        chosen=best,
        quantisation=Quantisation(
            id=id_,
            method="nncf-mixed",
            floating=Precision.FP32,
            excluded=best.excluded,
            networks=digests_of(file),
            set_name="shapes",
            set_sha256="1" * 64,
            samples=300,
            made_with={"nncf": "3.4"},
        ),
        reason="the fastest that holds the gate",
        made="2026-11-23T12:00:00+00:00",
        seconds=1.0,
    )
    keep(cache, made, {"model": file})
    return made


def digests_of(file: Path) -> dict[str, str]:
    import hashlib

    return {"model": hashlib.sha256(file.read_bytes()).hexdigest()}


def test_what_is_kept_is_read_back_as_it_was(tmp_path: Path) -> None:
    made = kept(tmp_path / "cache")
    assert read_calibration(tmp_path / "cache", made.id) == made
    assert find_calibration(tmp_path / "cache", "ab") == made
    assert [name for name, _ in list_calibrations(tmp_path / "cache")] == [made.id]


def test_a_changed_file_and_an_edited_manifest_are_refused_with_the_way_out(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    made = kept(cache)
    folder = cache / "calibrations" / made.id
    (folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(DataError, match=r"model\.onnx is not the file that was made\n.*--again"):
        read_calibration(cache, made.id)
    kept(cache)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("nncf-mixed", "by hand"))
    with pytest.raises(DataError, match="its manifest was edited"):
        read_calibration(cache, made.id)
    manifest.write_text("{")
    with pytest.raises(DataError, match="its manifest cannot be read"):
        read_calibration(cache, made.id)


@pytest.mark.parametrize("id_", ["", "../x", "zz"])
def test_an_id_is_no_path(id_: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        read_calibration(tmp_path, id_)


def test_weights_beside_a_model_are_part_of_its_digest(network: Path, tmp_path: Path) -> None:
    apart = tmp_path / "apart.onnx"
    onnx.save(onnx.load(network), apart, save_as_external_data=True, location="w.bin", size_threshold=0)
    before = digests({"model": apart})
    (tmp_path / "w.bin").write_bytes(b"\0" * (tmp_path / "w.bin").stat().st_size)
    assert digests({"model": apart}) != before


def test_a_submission_says_how_the_model_was_calibrated(tmp_path: Path) -> None:
    spec = RunSpec(
        workload="resnet50",
        scenario=Scenario.OFFLINE,
        suite=Suite.EDGE,
        precision=Precision.INT8,
        length=Length.SMOKE,
    )
    used = kept(tmp_path / "cache").quantisation
    assert used is not None
    record = RunRecord(run_id="r", state="complete", spec=spec, quantised=used)  # type: ignore[arg-type]
    text = calibration_text(record)
    for said in ("nncf-mixed", "300 samples of shapes", "1" * 64, used.networks["model"], "MatMul_0"):
        assert said in text
    assert "No calibration was done" in calibration_text(replace(record, quantised=None))


# -- the command ------------------------------------------------------------------------------------


def test_a_gate_that_nothing_meets_ends_with_3_and_shows_the_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coldmark.cli.calibrate import calibrate

    none = replace(
        kept(tmp_path / "cache"), chosen=None, quantisation=None, reason="no INT8 model holds 79.2"
    )
    monkeypatch.setattr("coldmark.runs.calibration.make.calibrate", lambda *args: (none, False))
    found = CliRunner().invoke(calibrate, ["resnet50"])
    assert found.exit_code == 3
    assert "rate over FP32" in found.output
    assert "fp32: no INT8 model holds 79.2" in found.output


@pytest.mark.parametrize("backend", ["null", "twin"])
def test_backends_that_compute_nothing_have_no_int8(
    backend: str, coldmark: Callable[..., Any], tmp_path: Path
) -> None:
    for command in (
        ("calibrate", "resnet50"),
        ("run", "resnet50", "--scenario", "Offline", "--precision", "int8"),
    ):
        found = coldmark(*command, "--backend", backend)
        assert found.returncode == 2, found.stderr
        assert f"the {backend} backend has no int8" in found.stderr


@pytest.mark.loadgen
def test_mini_resnet50_is_calibrated_kept_and_run(
    coldmark: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("run", "resnet50", "--scenario", "Offline", "--backend", "onnxruntime", "--precision", "int8")
    found = coldmark(*run)
    assert found.returncode == 2
    assert "make one: coldmark calibrate resnet50 --backend onnxruntime" in found.stderr

    make = ("calibrate", "resnet50", "--backend", "onnxruntime", "--method", "nncf-mixed", "--samples", "20")
    found = coldmark(*make, "--set", "harness.bare_s=0.05", "--json")
    assert found.returncode == 0, found.stderr
    first = json.loads(found.stdout)
    assert not first["was_there"]
    assert first["front"][1]["passed"]
    assert first["quantisation"]["samples"] == 20
    assert first["quantisation"]["set_name"] == "shapes-510004"

    again = json.loads(coldmark(*make, "--set", "harness.bare_s=0.05", "--json").stdout)
    assert again.pop("was_there")
    assert again == {k: v for k, v in first.items() if k != "was_there"}

    found = coldmark(*run, *SMALL, "--mode", "performance", "--json")
    assert found.returncode == 0, found.stderr
    record = json.loads(found.stdout)
    assert record["verdict"] == "VALID"
    assert record["quantised"] == first["quantisation"]
    assert record["spec"]["options"]["calibration.id"] == first["id"]

    network = Path(first["folder"]) / "model.onnx"
    network.write_bytes(network.read_bytes()[:-1])
    found = coldmark(*run, *SMALL)
    assert found.returncode == 6
    assert "the calibration is damaged" in found.stderr
    assert "--again" in found.stderr


def test_a_method_that_is_none_and_a_key_without_int8_are_refused(coldmark: Callable[..., Any]) -> None:
    found = coldmark("calibrate", "resnet50", "--method", "nncf-mixd")
    assert found.returncode == 2
    assert "did you mean 'nncf-mixed'" in found.stderr
    found = coldmark("run", "resnet50", "--scenario", "Offline", "--set", "calibration.id=ab")
    assert found.returncode == 2
    assert "add --precision int8" in found.stderr
