"""Laws of thermal networks, and the exact propagator against other ways to the same number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from coldmark.core.errors import ConfigError
from coldmark.thermal.network import Link, Matrices, Network, Node, Stream, heat_leaving_w, matrices, steady
from coldmark.thermal.propagator import leakage_gain, propagator
from coldmark.thermal.stiff import stiff_stepper

watts = st.floats(0, 2000)
degc = st.floats(5, 60)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Chains die - plate - coolant along one stream, some plates referred to the mean of the stream."""
    cells = draw(st.integers(1, 5))
    rate = draw(st.floats(20, 200))
    nodes, links, streams, up = [], [], [], "supply"
    for i in range(cells):
        nodes += [
            Node(name=f"die{i}", c_j_per_k=draw(st.floats(0.5, 5))),
            Node(name=f"plate{i}", c_j_per_k=draw(st.floats(50, 500))),
            Node(name=f"coolant{i}", c_j_per_k=draw(st.floats(20, 300))),
        ]
        links += [
            Link(a=f"die{i}", b=f"plate{i}", r_k_per_w=draw(st.floats(0.01, 0.1))),
            Link(
                a=f"plate{i}",
                b=f"coolant{i}",
                r_k_per_w=draw(st.floats(0.01, 0.1)),
                mean_of_stream=draw(st.booleans()),
            ),
        ]
        streams.append(Stream(a=up, b=f"coolant{i}", w_per_k=rate))
        up = f"coolant{i}"
    return Network(nodes=tuple(nodes), links=tuple(links), streams=tuple(streams), boundaries=("supply",))


def powered(mats: Matrices, value: float) -> np.ndarray:
    return np.array([value if name.startswith("die") else 0.0 for name in mats.names])


@given(networks(), watts, degc)
def test_at_rest_all_power_leaves_through_the_coolant(net: Network, value: float, supply: float) -> None:
    mats = matrices(net)
    power, bound = powered(mats, value), np.array([supply])
    found = heat_leaving_w(mats, steady(mats, power, bound), bound)
    assert found == pytest.approx(power.sum(), rel=1e-9, abs=1e-6)


@given(networks(), watts, degc)
def test_without_power_everything_rests_at_the_supply(net: Network, value: float, supply: float) -> None:
    mats = matrices(net)
    rest = steady(mats, powered(mats, 0.0), np.array([supply]))
    assert rest == pytest.approx(supply, abs=1e-7)


@given(networks(), st.floats(1, 2000), degc, st.floats(0.1, 500))
def test_more_power_is_nowhere_cooler(net: Network, value: float, supply: float, more: float) -> None:
    mats, bound = matrices(net), np.array([supply])
    low = steady(mats, powered(mats, value), bound)
    assert np.all(steady(mats, powered(mats, value + more), bound) >= low - 1e-9)


@settings(deadline=None, max_examples=25)
@given(networks(), st.floats(10, 1000), degc, st.integers(1, 300))
def test_heat_in_is_heat_out_plus_heat_stored(net: Network, value: float, supply: float, steps: int) -> None:
    mats, bound = matrices(net), np.array([supply])
    sources = np.flatnonzero(powered(mats, 1.0))
    prop = propagator(mats, 0.01, sources)
    start = np.append(np.full(len(mats.c), supply), 0.0)
    end = prop.block(start, prop.hold(powered(mats, value)[sources], bound), steps)[:, -1]
    stored = float(mats.c @ (end[:-1] - start[:-1]))
    put_in = value * len(sources) * steps * 0.01
    assert end[-1] + stored == pytest.approx(put_in, rel=1e-9)


@settings(deadline=None, max_examples=20)
@given(networks(), st.floats(10, 1000), st.integers(1, 130))
def test_a_block_is_so_many_single_steps(net: Network, value: float, steps: int) -> None:
    mats = matrices(net)
    sources = np.flatnonzero(powered(mats, 1.0))
    prop = propagator(mats, 0.01, sources)
    held = prop.hold(powered(mats, value)[sources], np.array([20.0]))
    x = start = np.append(np.full(len(mats.c), 25.0), 0.0)
    block = prop.block(start, held, steps)
    for i in range(steps):
        x = prop.step(x, held)
        assert block[:, i] == pytest.approx(x, rel=1e-10, abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(networks(), st.floats(10, 1000), st.floats(0.5, 30))
def test_many_steps_equal_one_matrix_exponential(net: Network, value: float, seconds: float) -> None:
    mats, bound = matrices(net), np.array([30.0])
    power = powered(mats, value)
    prop = propagator(mats, seconds / 400, np.flatnonzero(power))
    x = prop.block(np.append(np.full(len(mats.c), 20.0), 0.0), prop.hold(power[power > 0], bound), 400)[:, -1]
    rest = steady(mats, power, bound)
    exact = rest + expm(mats.k / mats.c[:, None] * seconds) @ (20.0 - rest)
    assert x[:-1] == pytest.approx(exact, rel=1e-8, abs=1e-6)


def test_700_w_through_0_05_k_per_w_is_35_k_over_the_coolant() -> None:
    net = Network(
        nodes=(Node(name="die", c_j_per_k=1.0),),
        links=(Link(a="die", b="coolant", r_k_per_w=0.05),),
        boundaries=("coolant",),
    )
    assert steady(matrices(net), np.array([700.0]), np.array([40.0]))[0] == pytest.approx(75.0)


def test_one_node_after_its_time_constant() -> None:
    """R .045, C 250, 500 W: 22.5 K at rest, 14.2227 K after 11.25 s."""
    net = Network(
        nodes=(Node(name="a", c_j_per_k=250.0),),
        links=(Link(a="a", b="air", r_k_per_w=0.045),),
        boundaries=("air",),
    )
    prop = propagator(matrices(net), 11.25, np.array([0]))
    x = prop.step(np.zeros(2), prop.hold(np.array([500.0]), np.zeros(1)))
    assert x[0] == pytest.approx(22.5 * (1 - 1 / math.e), abs=1e-6)
    assert x[0] == pytest.approx(14.2227, abs=5e-5)


def test_periodic_square_power_ripples_by_the_closed_form() -> None:
    """A die of tau 0.05 s, power on and off for 0.02 s each: ripple P R tanh(t / 2 tau) once periodic."""
    c, r, p, half = 1.0, 0.05, 400.0, 0.02
    net = Network(
        nodes=(Node(name="die", c_j_per_k=c),),
        links=(Link(a="die", b="lid", r_k_per_w=r),),
        boundaries=("lid",),
    )
    prop = propagator(matrices(net), half, np.array([0]))
    x, high, low = np.zeros(2), 0.0, 0.0
    for _ in range(100):
        x = prop.step(x, prop.hold(np.array([p]), np.zeros(1)))
        high = x[0]
        x = prop.step(x, prop.hold(np.array([0.0]), np.zeros(1)))
        low = x[0]
    assert high - low == pytest.approx(p * r * math.tanh(half / (2 * r * c)), rel=1e-9)


def test_the_caloric_rise_is_counted_once() -> None:
    """A plate of .02 K/W to the mean of its stream: case minus inlet is P (R + 1/(2 w))."""
    net = Network(
        nodes=(Node(name="case", c_j_per_k=1.0), Node(name="water", c_j_per_k=10.0)),
        links=(Link(a="case", b="water", r_k_per_w=0.02, mean_of_stream=True),),
        streams=(Stream(a="supply", b="water", w_per_k=50.0),),
        boundaries=("supply",),
    )
    rest = steady(matrices(net), np.array([500.0, 0.0]), np.array([30.0]))
    assert rest[0] == pytest.approx(30 + 500 * (0.02 + 0.01))
    assert rest[1] == pytest.approx(40.0)  # the outlet


def test_the_stiff_step_is_second_order() -> None:
    net = Network(
        nodes=(Node(name="die0", c_j_per_k=1.0), Node(name="sink", c_j_per_k=300.0)),
        links=(
            Link(a="die0", b="sink", r_k_per_w=0.05),
            Link(a="sink", b="air", r_k_per_w=0.05),
        ),
        boundaries=("air",),
    )
    mats = matrices(net)
    u, errors = np.array([400.0, 0.0]), []
    rest = steady(mats, u, np.zeros(1))
    exact = rest - expm(mats.k / mats.c[:, None] * 0.2) @ rest
    for n in (20, 40):
        stepper, x = stiff_stepper(mats, 0.2 / n), np.zeros(2)
        for _ in range(n):
            x = stepper.step(x, u)
        errors.append(abs(x - exact).max())
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.2)


def test_a_stiff_step_far_beyond_the_fast_time_constant_stays_calm() -> None:
    net = Network(
        nodes=(Node(name="die", c_j_per_k=1e-4),),
        links=(Link(a="die", b="air", r_k_per_w=0.05),),
        boundaries=("air",),
    )
    x = stiff_stepper(matrices(net), 1.0).step(np.array([100.0]), np.array([0.0]))
    assert abs(x[0]) < 0.1


def test_leakage_gain_of_one_is_the_edge() -> None:
    assert leakage_gain(np.array([2.0]), np.array([[0.5]])) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (
            Network(
                nodes=(Node(name="a", c_j_per_k=1.0),),
                links=(Link(a="a", b="air", r_k_per_w=0.0),),
                boundaries=("air",),
            ),
            "link a - air: resistance 0 K/W is not permitted",
        ),
        (
            Network(nodes=(Node(name="a", c_j_per_k=0.0),), links=()),
            "node a: heat capacity 0 J/K is not permitted",
        ),
        (
            Network(nodes=(Node(name="a", c_j_per_k=1.0),), links=(Link(a="a", b="b", r_k_per_w=1.0),)),
            "no node 'b'",
        ),
        (
            Network(
                nodes=(Node(name="a", c_j_per_k=1.0),),
                links=(),
                streams=(Stream(a="in", b="a", w_per_k=-1.0),),
                boundaries=("in",),
            ),
            "stream in -> a: heat rate -1 W/K is not permitted",
        ),
        (
            Network(
                nodes=(Node(name="a", c_j_per_k=1.0), Node(name="b", c_j_per_k=1.0)),
                links=(),
                streams=(Stream(a="in", b="a", w_per_k=1.0), Stream(a="a", b="b", w_per_k=2.0)),
                boundaries=("in",),
            ),
            "more flow leaves a than enters it",
        ),
    ],
)
def test_a_network_that_cannot_be_meant_is_refused_by_name(net: Network, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        matrices(net)
    assert words in str(error.value)


def test_a_node_without_a_way_out_is_no_nan() -> None:
    net = Network(nodes=(Node(name="a", c_j_per_k=1.0),), links=(), boundaries=("air",))
    with pytest.raises(ConfigError, match="no heat path to a boundary"):
        steady(matrices(net), np.array([1.0]), np.array([20.0]))
