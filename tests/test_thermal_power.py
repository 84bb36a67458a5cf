"""Power, clocks, rest and motion: the governor's laws, and numbers by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldmark.thermal import transient
from coldmark.thermal.assembly import Operation, assemble
from coldmark.thermal.calibration import shipped_fit, unpack
from coldmark.thermal.catalogue import find_part, find_server
from coldmark.thermal.parameters import Parameter
from coldmark.thermal.power import Activity, curve, electrics, sample_time
from coldmark.thermal.rest import Reason, ThermalRunaway, rest
from coldmark.thermal.score import Engine, engine
from coldmark.thermal.transient import REASONS, simulate

PART = find_part("a100-sxm4-80gb-400w")
BUSY = Activity(core_share=0.6, memory_share=0.2, static_w=75.0, dynamic_w=350.0)
CURVE = curve(electrics(PART), BUSY)


def make(
    server: str, benchmark: str = "bert-99", at: Operation | None = None, design: str | None = None
) -> Engine:
    fit = shipped_fit()
    return engine(assemble(find_server(server), design, at), unpack(fit.mean, fit.benchmarks), fit, benchmark)


@given(st.floats(100, 600), st.floats(0, 100), st.floats(20, 95))
def test_a_higher_limit_is_never_a_lower_clock(limit: float, more: float, degc: float) -> None:
    low, high = CURVE.clock_mhz(np.array([limit, limit + more]), np.array([degc, degc]))
    assert low <= high <= 1410.0


@given(st.floats(150, 450), st.floats(20, 90), st.floats(0, 30))
def test_a_hotter_die_is_never_a_higher_clock(limit: float, degc: float, more: float) -> None:
    cool, hot = CURVE.clock_mhz(np.array([limit, limit]), np.array([degc, degc + more]))
    assert hot <= cool


@given(st.floats(150, 440), st.floats(20, 90))
def test_below_the_clamp_the_power_is_the_limit(limit: float, degc: float) -> None:
    mhz = CURVE.clock_mhz(np.array([limit]), np.array([degc]))
    power = CURVE.power_w(mhz, np.array([degc]))[0]
    assert power <= limit + 1e-6 or mhz[0] == 210.0
    if 210.0 < mhz[0] < 1410.0:
        assert power == pytest.approx(limit, rel=1e-3)


def test_the_boost_clamp_is_never_passed() -> None:
    assert CURVE.clock_mhz(np.array([1e6]), np.array([-50.0]))[0] == 1410.0


def test_power_at_boost_by_hand() -> None:
    """75 static, 350 dynamic, and leakage of .1 % of 400 W a kelvin over .0125: 32 W at 60 degC."""
    found = CURVE.power_w(np.array([1410.0]), np.array([60.0]))[0]
    assert found == pytest.approx(75 + 350 + 32)
    slope = (
        CURVE.power_w(np.array([1410.0]), np.array([60.5]))[0]
        - CURVE.power_w(np.array([1410.0]), np.array([59.5]))[0]
    )
    assert slope == pytest.approx(0.4, rel=1e-3)


def test_voltage_at_boost_by_hand() -> None:
    """.70 V + .36 mV/MHz over 717 MHz: .9495 V at 1410 MHz."""
    assert electrics(PART).voltage_v(np.array([1410.0, 500.0])) == pytest.approx([0.94948, 0.70])


def test_time_shares_add_up() -> None:
    assert sample_time(BUSY, np.array([1410.0]), 1410.0, 1.0)[0] == pytest.approx(1.0)
    assert sample_time(BUSY, np.array([705.0]), 1410.0, 1.0)[0] == pytest.approx(1.6)
    assert sample_time(BUSY, np.array([1410.0]), 1410.0, 0.5)[0] == pytest.approx(1.2)


def test_all_power_at_the_wall_is_efficiency_over_the_parts() -> None:
    eng = make("dgx-a100")
    state = rest(eng.asm, eng.power)
    others = sum(state.other_w[0]) - state.other_w[0][list(eng.asm.other).index("supplies")]
    assert state.wall_w[0] == pytest.approx((state.gpu_w.sum() + others) / 0.94)


@settings(deadline=None, max_examples=8)
@given(st.floats(16, 52), st.floats(150, 500))
def test_a_run_settles_where_rest_says(supply: float, limit: float) -> None:
    eng = make("x660-g45-lp", at=Operation(supply_degc=supply, limit_w=limit))
    state = rest(eng.asm, eng.power)
    path = simulate(eng.asm, eng.power, 900.0, every_s=900.0)
    assert path.die_degc[-1] == pytest.approx(state.die_degc[0], abs=0.15)
    assert path.mhz[-1] == pytest.approx(state.mhz[0], rel=2e-3)
    assert path.balance_residual < 1e-9


def test_blocks_and_single_steps_are_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    eng = make("dgx-a100")
    fast = simulate(eng.asm, eng.power, 20.0)
    monkeypatch.setattr(transient, "FIRST", 1)
    monkeypatch.setattr(transient, "LONGEST", 1)
    slow = simulate(eng.asm, eng.power, 20.0)
    assert fast.die_degc == pytest.approx(slow.die_degc, abs=0.02)
    assert fast.mhz == pytest.approx(slow.mhz, rel=1e-3)
    assert slow.steps == fast.steps == 2000


@pytest.mark.parametrize(
    ("server", "design"), [("x660-g45-lp", "gpu-only"), ("dgx-a100", None), ("x640-g40", None)]
)
def test_the_balance_closes_on_every_kind_of_cooling(server: str, design: str | None) -> None:
    eng = make(server, "resnet50", design=design)
    path = simulate(eng.asm, eng.power, 60.0)
    assert path.balance_residual < 1e-9
    assert path.heat_in_j > 1e5


def hot() -> Engine:
    return make("x660-g45-lp", at=Operation(supply_degc=62.0))


def test_software_throttling_holds_the_limit_and_says_so() -> None:
    eng = hot()
    path = simulate(eng.asm, eng.power, 600.0)
    assert REASONS[int(path.reason[-1, 1])] is Reason.SOFTWARE_THERMAL
    last = path.die_degc[-60:].max(), path.memory_degc[-60:].max()
    assert last[0] < 85.6
    assert last[1] < 95.6
    assert path.mhz[-1].max() < 1400
    assert any(e.what.startswith("throttle") for e in path.events)
    assert path.balance_residual < 1e-9


def test_a_limit_that_even_the_lowest_clock_cannot_hold_is_named() -> None:
    eng = make("x660-g45-lp", at=Operation(supply_degc=70.0))
    path = simulate(eng.asm, eng.power, 300.0)
    assert any(e.what.startswith("limit not held") for e in path.events)


def test_rest_and_motion_agree_under_throttling() -> None:
    eng = hot()
    state, path = rest(eng.asm, eng.power), simulate(eng.asm, eng.power, 900.0)
    assert float(eng.total(path.mhz[-300:]).mean()) == pytest.approx(float(eng.total(state.mhz)[0]), rel=0.05)
    assert state.thermal.any()


def test_hardware_slow_down_halves_and_hysteresis_holds() -> None:
    """Past 89 degC the clock falls to a third or less, at well under the power; it stays so until 2 K
    below.
    """
    eng = make("dgx-a100")
    run = transient._Run(eng.asm, eng.power, 0.01, 1.0, control=True, runaway=False)
    run.begin(np.full(len(eng.asm.mats.c), 60.0))
    g = len(eng.asm.die)
    full, watts = run.govern(np.full(g, 60.0), np.full(g, 60.0))
    slow, less = run.govern(np.full(g, 89.5), np.full(g, 60.0))
    assert slow.max() <= full.min() * 0.5
    assert less.max() < 0.6 * watts.min()
    assert REASONS[int(run.reason[0])] is Reason.HARDWARE_THERMAL
    still, _ = run.govern(np.full(g, 88.0), np.full(g, 60.0))
    assert still.max() <= full.min() * 0.5
    run.govern(np.full(g, 86.5), np.full(g, 60.0))
    assert REASONS[int(run.reason[0])] is not Reason.HARDWARE_THERMAL


def test_shut_down_stops_the_power() -> None:
    eng = make("dgx-a100")
    run = transient._Run(eng.asm, eng.power, 0.01, 1.0, control=True, runaway=False)
    run.begin(np.full(len(eng.asm.mats.c), 60.0))
    _, watts = run.govern(np.full(len(eng.asm.die), 92.0), np.full(len(eng.asm.die), 60.0))
    assert np.all(watts == 0.0)
    assert {e.what for e in run.events} >= {"shut-down"}


def test_a_runaway_is_named_with_component_and_time_not_nan() -> None:
    server = find_server("x660-g45-lp")
    plate = server.gpu.plate
    assert plate is not None
    worse = Parameter(value=60.0, unit="1", uncertainty=0.0, source="broken on purpose")
    server = replace(server, gpu=replace(server.gpu, plate=replace(plate, scale_factor=worse)))
    fit = shipped_fit()
    eng = engine(assemble(server), unpack(fit.mean, fit.benchmarks), fit, "bert-99")
    with pytest.raises(ThermalRunaway, match=r"gpu\d runs away thermally"):
        rest(eng.asm, eng.power)
    with pytest.raises(ThermalRunaway, match=r"gpu\d runs away thermally at \d+\.\d\d s: \d+ degC"):
        simulate(eng.asm, eng.power, 300.0, runaway=True)
    tripped = simulate(eng.asm, eng.power, 60.0)
    assert np.all(np.isfinite(tripped.die_degc))
    assert any(e.what == "shut-down" for e in tripped.events)


def test_an_idle_part_reads_what_a_real_one_reads() -> None:
    """nvidia-smi of an idle 500 W part: 60 W, die 22 to 25, HBM 41 to 43 degC; its inlet is not known."""
    eng = make("x660-g45-lp", at=Operation(supply_degc=20.0))
    state = rest(eng.asm, eng.power, idle=True)
    assert 19 < state.die_degc.mean() < 28
    assert 14 < state.memory_degc.mean() - state.die_degc.mean() < 21


def test_a_large_net_is_stepped_sparsely_and_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way to step: within a tenth of a kelvin of the exact one, the balance to rounding."""
    eng = make("x660-g45-lp")
    exact = simulate(eng.asm, eng.power, 20.0)
    monkeypatch.setattr(transient, "EXACT_NODES", 0)
    sparse = simulate(eng.asm, eng.power, 20.0)
    assert sparse.steps == exact.steps
    assert np.abs(sparse.die_degc - exact.die_degc).max() < 0.1
    assert sparse.balance_residual < 1e-9
    assert sparse.heat_out_j == pytest.approx(exact.heat_out_j, rel=1e-3)
