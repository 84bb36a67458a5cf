"""What a pipeline runs before the clock starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coldmark.backends.pipelines import OPEN_WARM_S, PipelineBench, _in_turn
from coldmark.core.nouns import Scenario
from coldmark.core.sut import Network, Pipeline

PROFILES = (((2, 3),), ((8, 3),), ((4, 3),))


def network(*, dynamic: bool) -> Network:
    return Network(name="net", path=Path(), inputs=("x",), outputs=("y",), profiles=PROFILES, dynamic=dynamic)


class Call:
    dtypes = (np.dtype(np.float32),)

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, *inputs: Any) -> Any:
        self.shapes.append(inputs[0].shape)
        return inputs


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_largest_shape_goes_first_then_from_the_smallest(dynamic: bool) -> None:
    order = list(_in_turn(network(dynamic=dynamic), lambda: 0.0))
    assert order == [((8, 3),), ((2, 3),), ((4, 3),)]


def test_a_slow_open_network_runs_the_largest_and_what_time_allows() -> None:
    clock = iter([0.0, OPEN_WARM_S, OPEN_WARM_S + 1])
    assert list(_in_turn(network(dynamic=True), lambda: next(clock))) == [((8, 3),), ((2, 3),)]


def test_shapes_compiled_one_by_one_are_all_run_however_slow() -> None:
    clock = iter([0.0, 100.0, 200.0, 300.0])
    assert len(list(_in_turn(network(dynamic=False), lambda: next(clock)))) == 3


@pytest.mark.parametrize("streams", [1, 2])
def test_each_stream_meets_every_shape_and_a_spare_lane_none(streams: int) -> None:
    calls: list[Call] = []

    def lane(networks: Any) -> Any:
        calls.append(Call())
        return {"net": calls[-1]}

    pipeline = Pipeline(
        networks=lambda batch: (network(dynamic=False),),
        open=lambda compiled, batch: lambda indices: [],
        batch={Scenario.OFFLINE: 8},
    )
    bench = PipelineBench(pipeline, streams + 1, None, Scenario.OFFLINE, lane, {"streams": streams})
    bench.warm()
    assert [sorted(call.shapes) for call in calls] == [[(2, 3), (4, 3), (8, 3)]] * streams + [[]]
