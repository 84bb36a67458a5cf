"""Calibration: quantised networks, the choice among them, and what is kept, found and refused."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import test_resnet50 as resnet50_forms
from coldmark.core.calibration import Aim, Calibration, Candidate, Quantisation
from coldmark.core.errors import BackendError, ConfigError, DataError, RunError
from coldmark.core.nouns import Length, Precision, Scenario, Suite
from coldmark.core.record import RunRecord, RunSpec
from coldmark.core.system import System
from coldmark.report.calibration import calibration_text as shown
from coldmark.report.text import quantised_text
from coldmark.runs.calibrated import digests
from coldmark.runs.calibration.capture import Reservoir, drawn
from coldmark.runs.calibration.layers import ranked
from coldmark.runs.calibration.make import _Asked, _compared, reason
from coldmark.runs.calibration.measure import FP32Failed, Judged
from coldmark.runs.calibration.methods import METHODS, Ask, named
from coldmark.runs.calibration.search import Search, choice, floor_of, grouped
from coldmark.store.calibrations import find_calibration, keep, list_calibrations, read_calibration, workplace
from coldmark.submission.assemble import calibration_text
from coldmark.submission.assemble import command as submission_command
from coldmark.workloads.task import Gate, Recipe
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
    assert reason(tuple(close[1:]), close[1], unjudged).startswith("the first method; accuracy is not judged")


def test_what_is_slower_than_fp32_is_not_chosen_over_it() -> None:
    judged: Any = SimpleNamespace(gate=SimpleNamespace(target=79.2), refusal="")
    slow, bf16 = point("q1", 0.8, 79.9, True), point("bf16", 0.9, 80.0, True)
    assert choice([FP32, slow, bf16], least=1.0) is None
    assert choice([slow]) == slow  # still the best INT8
    said = reason((FP32, bf16, slow), None, judged)
    assert said == "INT8 holds the gate but is slower than FP32 here: stay with FP32"
    assert "BF16 does but is slower" in reason((FP32, bf16, point("q1", 4.0, 70.0, False)), None, judged)


def test_the_reason_names_fp32_where_fp32_itself_fails() -> None:
    judged: Any = SimpleNamespace(gate=SimpleNamespace(target=79.2), refusal="")
    wrong = replace(FP32, accuracy=10.0, passed=False)
    assert reason((wrong, point("q1", 4.0, 9.0, False)), None, judged) == (
        "FP32 itself reaches 10.0000 where 79.2000 is needed: check data.path and the model"
    )


def test_the_reason_tells_what_could_be_quantised_where_nothing_is_judged() -> None:
    blind: Any = SimpleNamespace(gate=None, refusal="")
    none, made = (Candidate(precision=Precision.INT8, speed=speed) for speed in (None, 2.0))
    assert reason((FP32, none, made), made, blind).startswith("the first method that could quantise it")
    assert reason((FP32, none), None, blind).startswith("no method could quantise it")
    slow = replace(made, speed=0.9)
    assert reason((FP32, slow), None, blind).startswith("INT8 is slower than FP32 here")


def test_a_calibration_says_how_what_was_chosen_is_run(tmp_path: Path) -> None:
    made = kept(tmp_path / "cache")
    run = "coldmark run resnet50 --scenario Offline"
    said = shown(made, there=False, folder="F")
    assert f"to run it: {run} --precision int8\n" in said
    assert "its INT8 model" not in said
    other = replace(
        made, model="my models/a.onnx", backend="onnxruntime", chosen=point("bf16", 4.0, 80.0, True)
    )
    said = shown(other, there=False, folder="F")
    flags = "--model 'my models/a.onnx' --backend onnxruntime"
    assert f"to run it: {run} {flags} --precision bf16\n" in said
    assert f"its INT8 model is run by: {run} {flags} --precision int8\n" in said
    assert f"to run it: {run} --precision fp32\n" in shown(replace(made, chosen=None), there=False, folder="")
    own = shown(made, there=False, folder="F", options={"data.path": "my data"})
    assert f"to run it: {run} --precision int8 --set 'data.path=my data'\n" in own


def test_the_candidate_that_was_kept_is_found_by_how_it_was_made(tmp_path: Path) -> None:
    made = kept(tmp_path / "cache")
    assert made.int8 is None  # of another method
    assert made.quantisation is not None
    used = replace(made.quantisation, method="q")
    assert replace(made, quantisation=used).int8 == made.front[1]
    assert replace(made, quantisation=None).int8 is None


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
    bare = replace(
        used, excluded={}, method="ort-dynamic", kept=("^met$", "^dots"), skipped=("decoder", "joint")
    )
    assert quantised_text(bare) == (
        "ort-dynamic, the rest in bf16, without nodes ^met$ ^dots, without decoder and joint; "
        "from no samples (calibration 02c62a79cd45ed42)"
    )


def test_layers_are_grouped_by_network() -> None:
    assert grouped([("a", "x"), ("b", "y"), ("a", "z")]) == {"a": ("x", "z"), "b": ("y",)}


class Pretended(Search):
    """A search whose candidates hold the gate once so many layers are left out."""

    needed = 0
    cannot: ClassVar[tuple[str, ...]] = ()  # methods that fail
    tried: ClassVar[list[tuple[str, int]]] = []

    def _worst_first(self, made: Candidate) -> list[tuple[str, str]]:
        return [("model", f"layer{at}") for at in range(40)]

    def _try(self, method: str, excluded: dict[str, tuple[str, ...]]) -> list[Candidate]:
        holds = len(excluded.get("model", ())) >= self.needed
        made = replace(point("q", 2.0, 79.9 if holds else 70.0, holds, excluded=excluded), method=method)
        if method in self.cannot:
            made = Candidate(precision=Precision.INT8, method=method, note="cannot")
        else:
            self._files[made.name] = {}
        self.tried.append((method, made.left_out))
        self.front.append(made)
        return [made]


def pretended(
    *front: Candidate,
    needed: int = 0,
    cannot: tuple[str, ...] = (),
    judged: bool = True,
    kind: type[Pretended] | None = None,
    **more: Any,
) -> Pretended:
    Pretended.needed, Pretended.cannot, Pretended.tried = needed, cannot, []
    gate = SimpleNamespace(target=79.2, ratio=0.99)
    task: Any = SimpleNamespace(gate=gate, refusal="" if judged else "no answers")
    plan: Any = SimpleNamespace(backend=SimpleNamespace(name="openvino"))
    given: dict[str, Any] = {"recipe": Recipe(), "methods": (), "plan": plan, "task": task} | more
    kind = kind or Pretended
    return kind(captured={}, paths={}, place=Path(), say=lambda text: None, front=[*front], **given)


@given(st.integers(1, 39))
def test_as_few_layers_as_hold_the_gate_are_left_in_floating_point(needed: int) -> None:
    failed = point("q1", 3.0, 70.0, False)
    search = pretended(FP32, failed, needed=needed)
    search._files[failed.name] = {}
    search._without_layers()
    best = choice(search.front)
    assert len(Pretended.tried) <= 10
    assert best is not None
    assert best.left_out == needed


def test_where_all_layers_but_one_do_not_suffice_the_search_ends() -> None:
    failed = point("q1", 3.0, 70.0, False)
    search = pretended(FP32, failed, needed=40)
    search._files[failed.name] = {}
    search._without_layers()
    assert [out for _, out in Pretended.tried] == [1, 2, 4, 8, 16, 32, 39]


def test_layers_are_not_searched_where_what_holds_is_as_fast_or_would_be_slower() -> None:
    holds = point("q1", 2.5, 80.0, True)
    wide = {"speed_low": 2.2, "speed_high": 2.8}
    for failed, tried in (
        (replace(point("q2", 2.6, 70.0, False), **wide), []),  # no faster that could be told
        (point("q2", 3.0, 70.0, False), [1]),  # faster, but not with a layer left out, and that fails still
    ):
        search = pretended(FP32, holds, failed, needed=5)
        search._files[failed.name] = {}
        search._without_layers()
        assert [out for _, out in Pretended.tried] == tried


def test_other_methods_are_tried_where_those_of_a_recipe_fail_but_not_where_the_user_named_some() -> None:
    recipe = Recipe(methods=("ort-static",))
    pretended(FP32, needed=1, recipe=recipe)._methods()
    whole = [method for method, out in Pretended.tried if not out]
    assert whole == ["ort-static", "nncf-performance", "nncf-mixed", "nncf-extremes", "nncf-mixed-bias"]
    pretended(FP32, recipe=recipe)._methods()
    assert Pretended.tried == [("ort-static", 0)]
    pretended(FP32, needed=1, recipe=recipe, methods=("nncf-mixed",))._methods()
    assert {method for method, _ in Pretended.tried} == {"nncf-mixed"}


def test_where_fp32_itself_fails_no_layers_are_searched() -> None:
    pretended(replace(FP32, accuracy=10.0, passed=False), needed=1)._methods()
    assert Pretended.tried == [("nncf-performance", 0), ("nncf-mixed", 0)]


def test_what_was_found_stands_where_layers_cannot_be_ranked() -> None:
    class Unranked(Pretended):
        def _worst_first(self, made: Candidate) -> list[tuple[str, str]]:
            raise RuntimeError("no such operator")

    said: list[str] = []
    search = pretended(
        FP32, point("q1", 2.5, 80.0, True), failed := point("q2", 4.0, 70.0, False), kind=Unranked
    )
    search._files[failed.name] = {}
    search.say = said.append
    search._without_layers()
    assert not Pretended.tried
    assert "layers cannot be ranked: RuntimeError: no such operator" in said[-1]


def test_where_nothing_can_be_judged_the_first_method_that_can_is_taken() -> None:
    pretended(FP32, cannot=("nncf-performance",), judged=False)._methods()
    assert Pretended.tried == [("nncf-performance", 0), ("nncf-mixed", 0)]
    pretended(FP32, judged=False)._methods()
    assert Pretended.tried == [("nncf-performance", 0)]


# -- measuring --------------------------------------------------------------------------------------


def test_a_part_is_judged_by_the_gate_not_by_the_reference() -> None:
    # By hand: FP32 has 84 on all and 80 on the part; the gate is 0.99 of 80 = 79.2, 79.2 / 84 of what it has.
    assert floor_of(80.0, 84.0, 79.2) == pytest.approx(75.4286, abs=1e-4)
    assert floor_of(80.0, 70.0, 79.2) == 80.0  # FP32 fails the gate: no more than FP32 is asked
    assert floor_of(0.0, 0.0, 79.2) == 0.0


class Rates:
    """A pass whose rate is known, or that fails."""

    def __init__(self, rate: float = 1.0, error: Exception | None = None) -> None:
        self.sut, self._rate, self._error = self, rate, error

    def bare_rate(self, seconds: float, samples: int) -> float:
        if self._error:
            raise self._error
        return self._rate


def measured(
    monkeypatch: pytest.MonkeyPatch, base: Rates, other: Rates, judged: Callable[..., Any]
) -> Candidate:
    @contextmanager
    def opened(*args: object) -> Iterator[Rates]:
        yield other

    monkeypatch.setattr("coldmark.runs.calibration.search.opened", opened)
    monkeypatch.setattr("coldmark.runs.calibration.search.accuracy", judged)
    plan: Any = SimpleNamespace(harness=SimpleNamespace(bare_s=0.1))
    task: Any = SimpleNamespace(
        gate=SimpleNamespace(target=79.2),
        refusal="",
        scorer=len,
        samples=10,
        library=SimpleNamespace(name="set"),
    )
    search = pretended(FP32, plan=plan, task=task)
    search._base = base  # type: ignore[assignment]
    model: Any = None
    return search._measured(Candidate(precision=Precision.INT8, method="m"), model)


def found(value: float) -> Callable[..., Judged]:
    return lambda *args: Judged(value, whole=True, samples=10, part=None)


def fails(error: Exception) -> Callable[..., Judged]:
    def judged(*args: object) -> Judged:
        raise error

    return judged


def test_a_candidate_is_judged_and_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = measured(monkeypatch, Rates(2.0), Rates(5.0), found(79.5))
    assert (made.accuracy, made.passed, made.speed, made.note) == (79.5, True, 2.5, "")


@pytest.mark.parametrize(
    ("judged", "error", "note"),
    [
        (fails(DataError("NaN in an answer")), None, "NaN in an answer"),
        (fails(RunError("no answer")), None, "no answer"),
        (fails(RuntimeError("Check failed\nat x.cpp")), None, "RuntimeError: Check failed"),
        (found(float("nan")), None, "its accuracy is no number: nan"),
        (found(79.5), RuntimeError(), "RuntimeError: "),
    ],
)
def test_a_candidate_that_fails_in_any_way_is_one_candidate_less(
    judged: Callable[..., Any], error: Exception | None, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = measured(monkeypatch, Rates(), Rates(error=error), judged)
    assert (made.note, made.accuracy, made.passed, made.speed) == (note, None, None, None)


def test_what_fp32_fails_by_ends_the_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FP32Failed, match="gone"):
        measured(monkeypatch, Rates(error=RuntimeError("gone")), Rates(), found(79.5))


def test_each_try_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quantise(ask: Ask) -> None:
        places.append(ask.target.parent)
        raise BackendError("cannot")

    places: list[Path] = []
    monkeypatch.setattr(METHODS, "load", lambda *args, **more: quantise)
    search = pretended(FP32)
    search.place, search.paths, search.captured = tmp_path, {"model": tmp_path}, {"model": []}
    for _ in range(2):
        (made,) = Search._try(search, "m", {})
        assert made.note == "cannot"
    assert len(set(places)) == 2


def some_task(name: str, samples: int, first: int, overlap: str = "") -> Any:
    return SimpleNamespace(
        library=SimpleNamespace(name=name),
        samples=samples,
        identity=lambda i: str(first + i),
        overlap=overlap,
    )


def test_a_calibration_set_that_overlaps_the_evaluation_set_is_refused() -> None:
    every = np.arange(10)
    own, evaluated = _compared(some_task("e", 50, 0), some_task("c", 10, 50), every)
    # By hand: sha256 of the identities, a line each.
    assert own == hashlib.sha256("\n".join(str(i) for i in range(50, 60)).encode()).hexdigest()
    assert evaluated == hashlib.sha256("\n".join(str(i) for i in range(50)).encode()).hexdigest()
    for drawn_ in (every, every[1:]):  # the whole set counts, not only what is drawn
        with pytest.raises(DataError, match=r"1 of 10 calibration samples .* set \(sample 50 of e"):
            _compared(some_task("e", 51, 0), some_task("c", 10, 50), drawn_)
    allowed = some_task("c", 10, 50, overlap="the round's own list")
    assert _compared(some_task("e", 51, 0), allowed, every)[0] == own


def asked(**more: Any) -> _Asked:
    """A calibration of mini resnet50 that is asked for; nothing is opened."""
    run = RunSpec(
        workload="resnet50", scenario=Scenario.OFFLINE, suite=Suite.EDGE, options=more.pop("options", {})
    )
    task: Any = SimpleNamespace(
        library=SimpleNamespace(name="set"),
        samples=10,
        gate=more.pop("gate", Gate(metric="acc", unit="%", reference=80.0, ratio=0.99, source="")),
        refusal="",
    )
    given: dict[str, Any] = {
        "plan": SimpleNamespace(spec=run),
        "task": task,
        "calibration": task,
        "recipe": Recipe(),
        "indices": np.arange(3),
        "models": {"model": "0" * 64},
        "set_sha256": "1" * 64,
        "evaluated_sha256": "2" * 64,
        "made_with": {},
        "methods": (),
    }
    return _Asked(**(given | more))


def test_the_id_of_a_calibration_is_of_all_that_its_result_hangs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [
        asked().id,
        asked(options={"batch": "1"}).id,
        asked(options={"data.path": "there"}).id,
        asked(evaluated_sha256="3" * 64).id,
        asked(gate=Gate(metric="acc", unit="%", reference=81.0, ratio=0.99, source="")).id,
        asked(gate=None).id,
    ]
    monkeypatch.setattr(
        "coldmark.runs.calibration.make.detect", lambda: System(host_processor_model_name="another")
    )
    ids.append(asked().id)
    assert len(set(ids)) == len(ids)
    monkeypatch.undo()
    assert asked(options={"batch": "1"}).id == asked(options={"backend.batch": "1"}).id
    assert asked(options={"harness.stall_s": "60"}).id == ids[0]


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
    return {"model": hashlib.sha256(file.read_bytes()).hexdigest()}


def test_what_is_kept_is_read_back_as_it_was(tmp_path: Path) -> None:
    made = kept(tmp_path / "cache")
    assert read_calibration(tmp_path / "cache", made.id) == made
    assert find_calibration(tmp_path / "cache", "ab") == made
    assert [name for name, _ in list_calibrations(tmp_path / "cache")] == [made.id]


def test_a_manifest_of_before_a_field_was_added_is_still_whole(tmp_path: Path) -> None:
    made = kept(tmp_path / "cache")
    path = tmp_path / "cache" / "calibrations" / made.id / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["calibration"]["quantisation"]["official"]
    old = json.dumps(manifest["calibration"], indent=2)
    manifest["sha256"] = hashlib.sha256((old + "\n").encode()).hexdigest()
    path.write_text(json.dumps(manifest))
    assert read_calibration(tmp_path / "cache", made.id) == made


def test_what_is_made_anew_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    kept(tmp_path / "cache")
    again = kept(tmp_path / "cache", content=b"another network")
    assert read_calibration(tmp_path / "cache", again.id) == again
    assert [p.name for p in (tmp_path / "cache" / "calibrations").iterdir()] == [again.id]


def test_two_may_be_made_at_once_and_nothing_of_them_is_left(tmp_path: Path) -> None:
    with workplace(tmp_path) as one, workplace(tmp_path) as other:
        assert one != other
        assert list_calibrations(tmp_path) == []
    assert not list((tmp_path / "calibrations").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write here"), workplace(tmp_path / "file"):
        pass


def test_what_a_killed_calibration_left_is_removed_by_the_next(tmp_path: Path) -> None:
    made = subprocess.run(  # a process that is gone when its workplace is found
        [sys.executable, "-c", KILLED, str(tmp_path)], check=False, stdout=subprocess.PIPE, text=True
    )
    assert made.returncode == -signal.SIGKILL
    left = Path(made.stdout.strip())
    others = [  # of machines that share the cache: whether they live is not known here
        tmp_path / "calibrations" / f".making-{host}.999999999.x"
        for host in ("another", f"{platform.node()}-2", f"{platform.node()}.local")
    ]
    for folder in others:
        folder.mkdir()
    assert (left / "half.onnx").is_file()
    with workplace(tmp_path):
        assert not left.exists()
        assert all(folder.exists() for folder in others)


KILLED = """
import os, signal, sys
from pathlib import Path
from coldmark.store.calibrations import workplace
with workplace(Path(sys.argv[1])) as place:
    (place / "half.onnx").touch()
    print(place, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


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
    kept(cache)
    sealed = json.loads(manifest.read_text())
    sealed["calibration"]["schema"] = 1
    manifest.write_text(json.dumps(sealed))
    with pytest.raises(DataError, match=r"another version of coldmark \(schema 1, .*\n.*--again"):
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
    assert "always" not in text
    assert "scored on" not in text
    more = replace(used, kept=("^met$",), skipped=("decoder",), overlap="clause 3")
    text = calibration_text(replace(record, quantised=more))
    for said in ("match `^met$`", "- decoder: all of it", "are scored on too, as clause 3"):
        assert said in text
    text = calibration_text(replace(record, quantised=replace(used, method="ort-dynamic")))
    assert "no range is from a calibration sample" in text
    assert "300 samples" not in text
    assert "No calibration was done" in calibration_text(replace(record, quantised=None))


def test_a_submission_says_how_its_int8_model_is_made_again(tmp_path: Path) -> None:
    options = {"data.path": "/home/me/d", "calibration.id": "ab", "calibration.content": "1", "batch": "4"}
    spec = RunSpec(workload="resnet50", scenario=Scenario.OFFLINE, suite=Suite.EDGE, options=options)
    used = kept(tmp_path / "cache").quantisation
    record = RunRecord(run_id="r", state="complete", spec=spec, quantised=used)  # type: ignore[arg-type]
    first, second = submission_command(record).splitlines()
    assert first.startswith("coldmark calibrate resnet50 ")
    assert first.endswith("--method nncf-mixed --samples 300 --set data.path=PATH")
    assert second.startswith("coldmark run resnet50 ")
    assert second.endswith("--set data.path=PATH --set batch=4")  # the id is that of another machine


def test_a_submission_shows_no_path_of_the_machine() -> None:
    options = {
        "model.path": "/home/me/a",
        "calibration.list": "/home/me/b",
        "calibration.data": "/home/me/c",
        "manifest": "/home/me/d",
        "data.scale": "0.3",
    }
    spec = RunSpec(workload="resnet50", scenario=Scenario.OFFLINE, suite=Suite.EDGE, options=options)
    text = submission_command(RunRecord(run_id="r", state="complete", spec=spec))  # type: ignore[arg-type]
    assert "/home" not in text
    assert text.count("=PATH") == 4
    assert "data.scale=0.3" in text


# -- the command ------------------------------------------------------------------------------------


def test_a_gate_that_nothing_meets_ends_with_3_and_shows_the_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coldmark.cli.calibrate import calibrate

    none = replace(
        kept(tmp_path / "cache"),
        front=(FP32, point("q1", 3.0, 70.0, False)),
        chosen=None,
        quantisation=None,
        reason="no INT8 model holds 79.2",
    )
    monkeypatch.setattr("coldmark.runs.calibration.make.calibrate", lambda *args: (none, False))
    found = CliRunner().invoke(calibrate, ["resnet50"])
    assert found.exit_code == 3
    assert "rate over FP32" in found.output
    assert "fp32: no INT8 model holds 79.2" in found.output


def test_an_int8_that_is_slower_than_fp32_is_kept_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coldmark.cli.calibrate import calibrate

    slow = replace(kept(tmp_path / "cache"), front=(FP32, point("q1", 0.8, 79.9, True)), chosen=None)
    monkeypatch.setattr("coldmark.runs.calibration.make.calibrate", lambda *args: (slow, False))
    assert CliRunner().invoke(calibrate, ["resnet50"]).exit_code == 0


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


@pytest.mark.loadgen
def test_a_model_of_ones_own_is_calibrated_and_the_command_that_is_said_runs_it(
    coldmark: Callable[..., Any], tmp_path: Path
) -> None:
    resnet50_forms.write_model(tmp_path / "m.onnx", layers=2)
    resnet50_forms.write_images(tmp_path / "my val")
    own = resnet50_forms.write_images(tmp_path / "own", count=16)
    for image in own.glob("*.JPEG"):  # every other pixel row: bright as before, but no file that is scored on
        cv2.imwrite(str(image), cv2.imread(str(image))[::2])
    (tmp_path / "list.txt").write_text("".join(f"{image.name}\n" for image in sorted(own.glob("*.JPEG"))))
    found = coldmark(
        *("calibrate", "resnet50", "--model", "official", "--method", "nncf-extremes"),
        *("--set", "model.path=m.onnx", "--set", "data.path=my val", "--set", "harness.bare_s=0.05"),
        *("--set", "calibration.list=list.txt", "--set", "calibration.data=own"),
    )
    assert found.returncode == 0, found.stderr
    assert "from 16 samples of images of a list" in found.stdout
    (said,) = re.findall(r"run it: coldmark (.* --precision int8 .*)|run by: coldmark (.*)", found.stdout)
    words = shlex.split(said[0] or said[1])
    found = coldmark(*words, *SMALL, "--json")
    assert found.returncode == 0, found.stderr
    record = json.loads(found.stdout)
    assert record["quantised"]["method"] == "nncf-extremes"
    assert not record["quantised"]["official"]
    assert any("none of MLPerf's" in finding["found"] for finding in record["findings"])
    assert record["accuracy"]["passed"]


def test_a_method_that_is_none_and_a_key_without_int8_are_refused(coldmark: Callable[..., Any]) -> None:
    found = coldmark("calibrate", "resnet50", "--method", "nncf-mixd")
    assert found.returncode == 2
    assert "did you mean 'nncf-mixed'" in found.stderr
    found = coldmark("run", "resnet50", "--scenario", "Offline", "--set", "calibration.id=ab")
    assert found.returncode == 2
    assert "add --precision int8" in found.stderr
