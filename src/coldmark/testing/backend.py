"""The contract of a SUT, as tests. A new backend's own test file is three lines:

    class TestMine(BackendConformance):
        def make(self, model, library, scenario): return build(...)

pytest collects the methods; nothing else of pytest is needed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from coldmark.core.nouns import Scenario
from coldmark.core.sut import (
    Answers,
    Compiled,
    Compute,
    Ids,
    Indices,
    Model,
    Network,
    Pipeline,
    SampleLibrary,
    SystemUnderTest,
    Tensors,
    TensorSpec,
)

WIDTH = 5
COUNT = 64
WAIT_S = 20.0


def doubling_model(folder: Path) -> Model:
    """A model that answers 2 x + 1 on rows of WIDTH, so that every answer tells which sample it is of."""
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["doubled"]),
        helper.make_node("Add", ["doubled", "one"], ["y"]),
    ]
    constants = [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("two", 2.0), ("one", 1.0))]
    graph = helper.make_graph(
        nodes,
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", WIDTH])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "doubling.onnx"
    onnx.save(model, path)
    return Model(path=path, inputs=(TensorSpec(name="x", shape=(WIDTH,)),), outputs=("y",), finish=_finish)


def _finish(outputs: Tensors, indices: Indices) -> Answers:
    n = len(indices)
    return np.ascontiguousarray(outputs[0][:n], dtype="<f4").view(np.uint8).reshape(n, WIDTH * 4).copy()


def expected_answer(index: int) -> bytes:
    """What the doubling model answers for sample `index` of the counting library."""
    row: NDArray[np.float32] = np.arange(index, index + WIDTH, dtype="<f4") * 2 + 1
    return row.tobytes()


class CountingLibrary:
    """Sample i is the row i, i+1, ...: no two are equal."""

    name = "counting"
    count = COUNT
    performance_count = COUNT

    def load(self, indices: Indices) -> None:
        """Samples are computed when asked for."""

    def unload(self, indices: Indices) -> None:
        """Nothing is held."""

    def fill(self, indices: Indices, inputs: Tensors) -> None:
        inputs[0][: len(indices)] = indices[:, None] + np.arange(WIDTH)


class UnequalLibrary(CountingLibrary):
    """Sample i has 1 to WIDTH numbers: i, i+1, ...; it must be loaded before it is read."""

    name = "unequal"

    def __init__(self) -> None:
        self._loaded: dict[int, NDArray[np.float32]] = {}

    def load(self, indices: Indices) -> None:
        for i in indices.tolist():
            self._loaded[i] = np.arange(i, i + int(self.size(np.array([i]))[0]), dtype=np.float32)

    def unload(self, indices: Indices) -> None:
        for i in indices.tolist():
            self._loaded.pop(i, None)

    def size(self, indices: Indices) -> NDArray[np.int64]:
        return indices % WIDTH + 1

    def sample(self, index: int) -> NDArray[np.float32]:
        return self._loaded[index]


def unequal_answer(index: int) -> bytes:
    """What the doubling pipeline answers for sample `index` of the unequal library."""
    return expected_answer(index)[: 4 * (index % WIDTH + 1)]


def doubling_pipeline(folder: Path, library: UnequalLibrary, *, by_size: bool) -> Pipeline:
    """The doubling model over samples of unequal size, a padded row each."""
    path = doubling_model(folder).path

    def networks(batch: int) -> tuple[Network, ...]:
        rows = range(1, batch + WIDTH)
        return (
            Network(
                name="double",
                path=path,
                inputs=("x",),
                outputs=("y",),
                profiles=tuple(((n, WIDTH),) for n in rows),
                dynamic=by_size,
            ),
        )

    def opened(compiled: Mapping[str, Compiled], batch: int) -> Compute:
        def compute(indices: Indices) -> Answers:
            most = batch + WIDTH - 1
            assert len(indices) <= most, "more samples than a batch may hold"
            rows = np.full((len(indices), WIDTH), np.nan, np.float32)
            for row, index in zip(rows, indices.tolist(), strict=True):
                sample = library.sample(index)
                row[: len(sample)] = sample
            if by_size and len(indices) > 1:
                assert library.size(indices).sum() <= batch, "more than a batch may hold"
            (found,) = compiled["double"](rows)
            sizes = library.size(indices).tolist()
            return [found[i, :n].copy().view(np.uint8) for i, n in enumerate(sizes)]

        return compute

    return Pipeline(
        networks=networks,
        open=opened,
        batch=dict.fromkeys(Scenario, 7),
        size=library.size,
        batch_by_size=by_size,
        unit="numbers" if by_size else "samples",
    )


class Collector:
    """Takes completions and failures from any thread, and waits for them."""

    def __init__(self) -> None:
        self.answers: dict[int, bytes] = {}
        self.seen: list[int] = []
        self.failures: list[BaseException] = []
        self._changed = threading.Condition()

    def complete(self, ids: Ids, answers: Answers) -> None:
        with self._changed:
            assert len(ids) == len(answers)
            for response_id, answer in zip(ids.tolist(), answers, strict=True):
                self.seen.append(response_id)
                self.answers[response_id] = np.asarray(answer).tobytes()
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        with self._changed:
            self.failures.append(error)
            self._changed.notify_all()

    def wait(self, n: int, seconds: float = WAIT_S) -> None:
        """Until n samples are answered, or something failed."""
        with self._changed:
            done = self._changed.wait_for(lambda: len(self.seen) >= n or bool(self.failures), seconds)
        assert done, f"{len(self.seen)} of {n} samples were answered in {seconds} s"
        assert not self.failures, f"the SUT failed: {self.failures[0]!r}"


class BackendConformance:
    """Subclass it, say how the SUT is made, and let pytest collect it."""

    computes = True
    """Whether answers depend on samples; False for a backend that computes nothing."""

    scenarios: tuple[Scenario, ...] = tuple(Scenario)

    def make(self, model: Model | Pipeline, library: SampleLibrary, scenario: Scenario) -> SystemUnderTest:
        """The SUT to be tested, not started."""
        raise NotImplementedError

    def _started(
        self, folder: Path, scenario: Scenario, library: Any = None, model: Model | Pipeline | None = None
    ) -> tuple[SystemUnderTest, Collector]:
        sut = self.make(model or doubling_model(folder), library or CountingLibrary(), scenario)
        collector = Collector()
        sut.start(collector.complete, collector.fail)
        return sut, collector

    def _ask(self, sut: SystemUnderTest, first_id: int, indices: list[int]) -> list[int]:
        ids = [first_id + 8 * i for i in range(len(indices))]
        sut.issue(np.array(ids, np.uint64), np.array(indices, np.int64))
        return ids

    def test_every_sample_of_a_query_is_answered_once_and_rightly(self, tmp_path: Path) -> None:
        for scenario in self.scenarios:
            sut, collector = self._started(tmp_path, scenario)
            indices = [(7 * i) % COUNT for i in range(37)]  # no multiple of any usual batch
            ids = self._ask(sut, 1 << 40, indices)
            sut.flush()
            collector.wait(len(ids))
            sut.close()
            assert sorted(collector.seen) == ids, scenario
            if self.computes:
                for response_id, index in zip(ids, indices, strict=True):
                    assert collector.answers[response_id] == expected_answer(index), (scenario, index)

    def test_single_samples_issued_one_by_one_are_all_answered(self, tmp_path: Path) -> None:
        for scenario in self.scenarios:
            sut, collector = self._started(tmp_path, scenario)
            ids: list[int] = []
            for i in range(50):
                ids += self._ask(sut, 1000 + 8 * i, [i % COUNT])
                if i % 10 == 9:
                    time.sleep(0.001)  # let batches of several sizes form
            sut.flush()
            collector.wait(len(ids))
            sut.close()
            assert sorted(collector.seen) == ids, scenario
            if self.computes:
                assert all(collector.answers[ids[i]] == expected_answer(i % COUNT) for i in range(50)), (
                    scenario
                )

    def test_samples_that_follow_a_flush_are_answered_too(self, tmp_path: Path) -> None:
        for scenario in self.scenarios:
            sut, collector = self._started(tmp_path, scenario)
            for part in range(3):
                self._ask(sut, 100 + 1000 * part, [1, 2, 3])
                sut.flush()
                collector.wait(3 * (part + 1))
            sut.close()
            assert len(set(collector.seen)) == len(collector.seen) == 9, scenario

    def test_a_pipeline_answers_samples_of_unequal_size(self, tmp_path: Path) -> None:
        for scenario in self.scenarios:
            for by_size in (False, True):
                library = UnequalLibrary()
                pipeline = doubling_pipeline(tmp_path, library, by_size=by_size)
                sut, collector = self._started(tmp_path, scenario, library, pipeline)
                indices = [(7 * i) % COUNT for i in range(37)]
                assert sut.bare_rate(0.01, 3) > 0
                assert (sut.bare_times(0.01, 2) > 0).all()
                library.load(np.array(indices))
                ids = self._ask(sut, 1 << 40, indices) + self._ask(sut, 1 << 20, [5])
                sut.flush()
                collector.wait(len(ids))
                sut.close()
                assert sorted(collector.seen) == sorted(ids), scenario
                if self.computes:
                    for response_id, index in zip(ids, [*indices, 5], strict=True):
                        assert collector.answers[response_id] == unequal_answer(index), (scenario, index)

    def test_a_pipeline_that_fails_is_reported_and_does_not_hang(self, tmp_path: Path) -> None:
        if not self.computes:
            return
        for scenario in self.scenarios:
            library = UnequalLibrary()  # nothing is loaded
            pipeline = doubling_pipeline(tmp_path, library, by_size=False)
            sut, collector = self._started(tmp_path, scenario, library, pipeline)
            raised: list[BaseException] = []
            try:
                self._ask(sut, 8, list(range(20)))
                sut.flush()
                collector.wait(20)
            except (KeyError, AssertionError) as error:
                raised.append(error)
            sut.close()
            assert raised or collector.failures, scenario

    def test_a_library_that_fails_is_reported_and_does_not_hang(self, tmp_path: Path) -> None:
        if not self.computes:
            return
        for scenario in self.scenarios:
            sut, collector = self._started(tmp_path, scenario, _BrokenLibrary())
            raised: list[BaseException] = []
            try:
                self._ask(sut, 8, list(range(20)))
                sut.flush()
                collector.wait(20)
            except (RuntimeError, AssertionError) as error:
                raised.append(error)
            sut.close()
            assert raised or collector.failures, scenario
            assert len(collector.seen) < 20, scenario

    def test_the_bare_rate_and_times_are_positive(self, tmp_path: Path) -> None:
        for scenario in self.scenarios:
            sut, _ = self._started(tmp_path, scenario)
            assert sut.bare_rate(0.02, 1) > 0
            times = sut.bare_times(0.02, 1)
            assert len(times) > 0
            assert (times > 0).all()
            sut.close()

    def test_it_says_what_it_is_and_closes_twice(self, tmp_path: Path) -> None:
        sut, _ = self._started(tmp_path, self.scenarios[0])
        assert sut.name
        assert {"batch", "streams", "threads", "issue"} <= set(sut.describe())
        sut.close()
        sut.close()


class _BrokenLibrary(CountingLibrary):
    def fill(self, indices: Indices, inputs: Tensors) -> None:
        raise RuntimeError("this sample cannot be read")
