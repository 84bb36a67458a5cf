"""Every backend keeps the contract; options are refused by name; precision is what was asked."""

from __future__ import annotations

import platform
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.backends import BACKENDS
from coldmark.backends.build import Backend, BuildRequest
from coldmark.backends.engine import pick_bucket
from coldmark.backends.openvino import batch_sizes
from coldmark.backends.slots import alike
from coldmark.core.errors import BackendError, ConfigError, DataError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.sut import Model, Pipeline, SampleLibrary, SystemUnderTest, TensorSpec
from coldmark.testing import BackendConformance
from coldmark.testing.backend import Collector, CountingLibrary, doubling_model, expected_answer


def build(
    name: str, model: Model | Pipeline, library: SampleLibrary, scenario: Scenario, **options: Any
) -> SystemUnderTest:
    backend: Backend = BACKENDS.load(name)
    return backend.build(
        BuildRequest(
            model=model,
            library=library,
            scenario=scenario,
            precision=Precision.FP32,
            options=backend.options(**options),
            samples_per_query=8,
        )
    )


class TestOpenVino(BackendConformance):
    def make(self, model: Model | Pipeline, library: SampleLibrary, scenario: Scenario) -> SystemUnderTest:
        return build("openvino", model, library, scenario)


class TestOpenVinoManyStreamsAndDelay(BackendConformance):
    scenarios = (Scenario.SERVER, Scenario.OFFLINE)

    def make(self, model: Model | Pipeline, library: SampleLibrary, scenario: Scenario) -> SystemUnderTest:
        return build("openvino", model, library, scenario, batch=5, streams=2, requests=4, delay_us=3000.0)


class TestOnnxRuntime(BackendConformance):
    def make(self, model: Model | Pipeline, library: SampleLibrary, scenario: Scenario) -> SystemUnderTest:
        return build("onnxruntime", model, library, scenario)


class TestOnnxRuntimeManyStreams(BackendConformance):
    scenarios = (Scenario.SERVER, Scenario.OFFLINE)

    def make(self, model: Model | Pipeline, library: SampleLibrary, scenario: Scenario) -> SystemUnderTest:
        return build("onnxruntime", model, library, scenario, batch=3, streams=2, delay_us=2000.0)


class TestNull(BackendConformance):
    computes = False

    def make(self, model: Model | Pipeline, library: SampleLibrary, scenario: Scenario) -> SystemUnderTest:
        return build("null", model, library, scenario)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    "options", [{"batch": 0}, {"streams": -1}, {"threads": 0}, {"delay_us": -1.0}, {"delay_us": 2e6}]
)
def test_options_out_of_range_are_refused_by_name(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"backend.{next(iter(options))}"):
        BACKENDS.load(name).options(**options)


@pytest.mark.parametrize(
    ("scenario", "batch", "sizes"),
    [
        (Scenario.SINGLE_STREAM, None, (1,)),
        (Scenario.MULTI_STREAM, None, (8,)),
        (Scenario.SERVER, None, (1, 2, 4, 8)),
        (Scenario.SERVER, 6, (1, 2, 4, 6)),
        (Scenario.SERVER, 1, (1,)),
        (Scenario.OFFLINE, 32, (32,)),
    ],
)
def test_batches_compiled_for_a_scenario(
    scenario: Scenario, batch: int | None, sizes: tuple[int, ...]
) -> None:
    assert batch_sizes(scenario, batch, 8) == sizes


@pytest.mark.parametrize(("n", "bucket"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 6), (6, 6)])
def test_a_batch_is_padded_to_the_next_compiled_size(n: int, bucket: int) -> None:
    assert pick_bucket((1, 2, 4, 6), n) == bucket


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_padding_from_an_earlier_batch_never_reaches_an_answer(name: str, tmp_path: Path) -> None:
    sut = build(name, doubling_model(tmp_path), CountingLibrary(), Scenario.OFFLINE, batch=8)
    got = Collector()
    sut.start(got.complete, got.fail)
    sut.issue(np.arange(8, dtype=np.uint64), np.arange(8, dtype=np.int64) + 40)
    got.wait(8)
    sut.issue(np.arange(100, 103, dtype=np.uint64), np.array([1, 2, 3]))
    sut.flush()
    got.wait(11)
    sut.close()
    assert [got.answers[i] for i in (100, 101, 102)] == [expected_answer(i) for i in (1, 2, 3)]


def test_a_model_without_the_input_is_refused(tmp_path: Path) -> None:
    good = doubling_model(tmp_path)
    spec = TensorSpec(name="z", shape=(5,))
    wrong = Model(path=good.path, inputs=(spec,), outputs=("y",), finish=good.finish)
    with pytest.raises(DataError, match="no input 'z'"):
        build("openvino", wrong, CountingLibrary(), Scenario.SINGLE_STREAM)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_file_that_is_no_model_is_a_backend_error(name: str, tmp_path: Path) -> None:
    good = doubling_model(tmp_path)
    good.path.write_bytes(b"no model")
    with pytest.raises(BackendError, match="doubling"):
        build(name, good, CountingLibrary(), Scenario.SINGLE_STREAM)


@pytest.mark.skipif(platform.machine() in ("aarch64", "arm64"), reason="has bf16 kernels there")
def test_bf16_where_the_processor_has_none_is_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigError, match="openvino"):
        BACKENDS.load("onnxruntime").require(Precision.BF16)


def test_fp32_is_fp32_although_openvino_would_rather_have_bf16(tmp_path: Path) -> None:
    sut = build("openvino", doubling_model(tmp_path), CountingLibrary(), Scenario.OFFLINE)
    assert sut.describe()["precision"] == "fp32"
    got = Collector()
    sut.start(got.complete, got.fail)
    # 2 x 63 + 1 and its neighbours need more than the eight bits of a bf16 mantissa.
    sut.issue(np.array([1], np.uint64), np.array([63], np.int64))
    sut.flush()
    got.wait(1)
    sut.close()
    assert got.answers[1] == expected_answer(63)


@given(
    sizes=st.lists(st.integers(1, 900), min_size=1, max_size=300),
    most=st.integers(1, 1000),
    by_size=st.booleans(),
)
def test_batches_of_like_size_hold_every_sample_once_and_no_more_than_fits(
    sizes: list[int], most: int, by_size: bool
) -> None:
    found = alike(np.array(sizes), most, by_size)
    assert sorted(i for part, _ in found for i in part.tolist()) == list(range(len(sizes)))
    for part, size in found:
        assert size.tolist() == [sizes[i] for i in part]
        assert len(part) == 1 or (size.sum() if by_size else len(part)) <= most
    if not by_size:  # all but the last are full, and no two of them overlap in size
        assert all(len(part) == min(most, len(sizes)) for part, _ in found[:-1])
    ranges = sorted((size.min(), size.max()) for _, size in found)
    assert all(a[1] <= b[0] for a, b in pairwise(ranges))


CTRL_C_AFTER_MODELS = """
import os, signal, time
from pathlib import Path
import openvino as ov
from coldmark.backends.openvino import _compile
from coldmark.workloads.sources import shipped

path = shipped("coldmark.workloads.resnet50", "mini.onnx")
name = ov.Core().read_model(str(path)).inputs[0].any_name
output = ov.Core().read_model(str(path)).outputs[0].any_name
first, second = (_compile(ov.Core(), path, {name: (1, 3, 64, 64)}, [output], {}) for _ in range(2))
for model in (first, second):
    model.create_infer_request().infer()
del model, first  # the first to come is the first to go
del second
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_after_openvino_models_were_let_go_is_an_interrupt_and_no_crash() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import signal; signal.signal(2, signal.default_int_handler)\n{CTRL_C_AFTER_MODELS}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
