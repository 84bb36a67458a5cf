"""The verdict over made-up runs whose losses are known, and the arithmetic below it by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.core.telemetry import Telemetry
from coldmark.core.trace import Array, Channel, Series, Trace
from coldmark.runs.telemetry.line import line
from coldmark.runs.telemetry.verdict import assess
from coldmark.runs.telemetry.window import Window
from coldmark.stats.loss import BOUNDED, CARRIED, COMPARED, UNEXPLAINED, losses
from coldmark.stats.throughput import (
    binned_mean,
    binned_rate,
    drift,
    inflation,
    mean_interval,
    steady_from,
    steps,
)
from telemetry_traces import Gpu, make, without

HALF_A_POINT = 0.005


def cases() -> list[tuple[str, Gpu]]:
    """Forty runs: capped by power in stretches, throttled by heat, both, and neither."""
    found = []
    for i in range(10):
        e = 0.35 + 0.07 * i
        found += [
            ("power", Gpu(seed=i, elasticity=e, full_w=385, heavy_w=20 + 25 * i)),
            (
                "heat",
                Gpu(seed=100 + i, elasticity=e, full_w=390, throttle_degc=60 + i, throttle_mhz=600 + 70 * i),
            ),
            (
                "both",
                Gpu(
                    seed=200 + i,
                    elasticity=e,
                    full_w=370,
                    heavy_w=150,
                    throttle_degc=64 + i,
                    throttle_mhz=800 + 30 * i,
                ),
            ),
            ("none", Gpu(seed=300 + i, elasticity=e)),
        ]
    return found


def lost(t: Telemetry, reason: str) -> float:
    value = next(x.value for x in t.losses if x.reason == reason)
    assert value is not None
    return value


@pytest.mark.parametrize(("kind", "gpu"), cases(), ids=lambda x: x if isinstance(x, str) else str(x.seed))
def test_a_throttled_run_is_recognised_with_its_reason_and_loss(kind: str, gpu: Gpu) -> None:
    made = make(gpu)
    found = assess(made.trace, made.window)
    assert lost(found, "power limit") == pytest.approx(made.power_loss, abs=HALF_A_POINT)
    assert lost(found, "heat") == pytest.approx(made.heat_loss, abs=HALF_A_POINT)
    active = {r.reason: r.share.value for r in found.reasons}
    assert (active["power limit"] > 0.01) == (kind in ("power", "both"))
    assert (active["heat"] > 0.01) == (kind in ("heat", "both"))
    worst = {"power": "the power limit", "heat": "heat", "both": "heat"}.get(kind)
    if worst and max(made.power_loss, made.heat_loss) > 0.002:
        assert f"to {worst} (" in line(found)


def test_intervals_hold_the_truth_nineteen_times_in_twenty() -> None:
    inside = total = 0
    for seed in range(40):
        made = make(Gpu(seed=seed, full_w=385, heavy_w=100, elasticity=0.6))
        found = next(x for x in assess(made.trace, made.window).losses if x.reason == "power limit")
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= made.power_loss <= found.high
        total += 1
    assert inside >= 0.85 * total  # 95 % of 40 is 38; 34 or fewer has a chance of 1 in 60


@pytest.mark.parametrize("neighbour", [0.02, 0.05, 0.08])
def test_what_a_neighbour_takes_is_not_put_on_the_power_limit(neighbour: float) -> None:
    made = make(Gpu(seed=9, full_w=385, heavy_w=100, neighbour=neighbour))
    found = assess(made.trace, made.window)
    assert lost(found, "power limit") == pytest.approx(made.power_loss, abs=HALF_A_POINT)


def test_a_step_by_a_neighbour_is_the_clocks_nor_the_temperatures() -> None:
    made = make(Gpu(seed=3, neighbour=0.06))
    found = assess(made.trace, made.window)
    assert found.throughput is not None
    step = next(c for c in found.throughput.changes if c.kind == "step")
    assert step.at_s == pytest.approx(160, abs=5)
    assert step.share == pytest.approx(-0.06, abs=0.01)
    assert step.cause == "neither clock nor temperature"


def test_a_step_with_the_clock_names_the_reason() -> None:
    made = make(Gpu(seed=3, full_w=385, heavy_w=120, stretch_s=120, elasticity=0.8))
    found = assess(made.trace, made.window)
    assert found.throughput is not None
    assert found.throughput.changes[0].cause == "clock (power limit)"
    assert found.throughput.changes[0].at_s == pytest.approx(120, abs=5)


def test_without_a_clock_a_steps_cause_is_not_known() -> None:
    made = make(Gpu(seed=3, neighbour=0.06))
    found = assess(without(made.trace, "clock_mhz", "temperature_degc"), made.window)
    assert found.throughput is not None
    assert found.throughput.changes[0].cause == "unknown: no clock channel"


def test_a_run_capped_all_the_time_is_carried_to_the_best_clock_or_bounded() -> None:
    varied = make(Gpu(seed=1, full_w=420, heavy_w=150, stretch_s=10))
    found = next(x for x in assess(varied.trace, varied.window).losses if x.reason == "power limit")
    assert found.method == CARRIED
    assert found.value == pytest.approx(varied.power_loss, abs=HALF_A_POINT)
    constant = make(Gpu(seed=1, full_w=500))
    found = next(x for x in assess(constant.trace, constant.window).losses if x.reason == "power limit")
    assert (found.method, found.value) == (BOUNDED, None)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= constant.power_loss <= found.high


# --- never a verdict from missing data ----------------------------------------------------------


def test_without_reasons_no_loss_is_stated() -> None:
    made = make(Gpu(seed=1, heavy_w=150))
    found = assess(without(made.trace, "reasons"), made.window)
    assert found.losses == ()
    assert found.reasons == ()
    assert any("loss to heat or power: unknown: no channel" in text for text in found.unknown)
    assert "lost" not in line(found)
    assert "no throttle reasons" in line(found)


def test_without_a_counter_no_loss_and_no_rate_is_stated() -> None:
    made = make(Gpu(seed=1, heavy_w=150))
    found = assess(without(made.trace, "completed"), made.window)
    assert found.losses == ()
    assert found.throughput is None
    assert "lost" not in line(found)
    assert "steady" not in line(found)


def test_reasons_that_end_half_way_are_no_reasons() -> None:
    made = make(Gpu(seed=1, full_w=385, heavy_w=150))
    s = made.trace.series["nvml.gpu0.reasons"]
    half = replace(s, t_s=s.t_s[: len(s.t_s) // 2], value=s.value[: len(s.t_s) // 2])
    trace = replace(made.trace, series={**made.trace.series, "nvml.gpu0.reasons": half})
    found = assess(trace, made.window)
    assert found.losses == ()
    assert found.reasons == ()


def test_capped_all_the_time_without_a_clock_is_unknown() -> None:
    made = make(Gpu(seed=1, full_w=500))
    found = assess(without(made.trace, "clock_mhz"), made.window)
    assert [x for x in found.losses if x.reason == "power limit"] == []
    assert any("loss to power limit: unknown" in text for text in found.unknown)


def test_a_prescribed_rate_shows_no_loss() -> None:
    made = make(Gpu(seed=1, full_w=385, heavy_w=150))
    found = assess(made.trace, made.window, prescribed=True)
    assert found.losses == ()
    assert found.reasons
    assert any("prescribed" in text for text in found.unknown)


@pytest.mark.parametrize(
    "quantity",
    ["temperature_degc", "clock_mhz", "power_w", "energy_j", "reasons", "completed", "utilisation_share"],
)
def test_each_channel_may_be_missing(quantity: str) -> None:
    made = make(Gpu(seed=2, seconds=60, heavy_w=100))
    found = assess(without(made.trace, quantity), made.window)
    named = {"temperature_degc": "temperature", "clock_mhz": "clock"}.get(quantity)
    if named:
        assert f"{named}: unknown: no {named} channel" in found.unknown
        assert named not in {level.name for level in found.levels}
    assert line(found)


def test_energy_is_the_counters_and_says_what_it_covers() -> None:
    made = make(Gpu(seed=2, seconds=60))
    found = assess(made.trace, made.window).energy
    assert [e.covers for e in found] == ["gpu"]
    power = made.trace.series["nvml.gpu0.power_w"].value.mean()
    assert found[0].mean_w == pytest.approx(power, rel=1e-3)
    assert found[0].samples_per_j == pytest.approx(2000 / power, rel=0.02)
    assert found[0].j_per_sample == pytest.approx(1 / found[0].samples_per_j)  # type: ignore[operator]
    without_counter = assess(without(made.trace, "energy_j"), made.window).energy
    assert "mean power" in without_counter[0].basis
    assert without_counter[0].energy_j == pytest.approx(found[0].energy_j, rel=1e-3)


# --- a machine without a GPU --------------------------------------------------------------------


def cpu_trace(
    rate: Array, *, throttled: Array | None = None, stolen: Array | None = None, other: Array | None = None
) -> Trace:
    """Two processors at 10 Hz: rate [n] of each tick, share of it throttled, processors stolen and otherwise
    busy."""
    n, t = len(rate), np.arange(len(rate) + 1) * 0.1
    zero = np.zeros(n)

    def counter(family: str, component: str, quantity: str, per_s: Array) -> Series:
        channel = Channel(family=family, component=component, quantity=quantity, rate_hz=10.0)
        return Series(channel=channel, t_s=t, value=np.append(0.0, np.cumsum(per_s) * 0.1))

    stolen, other = zero if stolen is None else stolen, zero if other is None else other
    series = [
        counter("run", "test", "completed", rate),
        counter("run", "test", "busy_s", np.full(n, 1.5) - stolen),
        counter("cpu", "cpu", "busy_s", np.full(n, 1.5) - stolen + other),
        counter("cpu", "cpu", "steal_s", stolen),
    ]
    if throttled is not None:
        series.append(counter("cpu", "cpu", "throttle_s", throttled))
    return Trace(series={s.channel.name: s for s in series}, constants={"cpu.cpu.processors": 2.0})


def halves(n: int, first: float, second: float) -> Array:
    return np.r_[np.full(n // 2, first), np.full(n - n // 2, second)]


WINDOW = Window(begin_s=0.0, end_s=60.0)


def test_a_cpu_that_throttles_lost_it_to_heat() -> None:
    rng = np.random.default_rng(1)
    rate = halves(600, 1000.0, 800.0) * (1 + 0.02 * rng.standard_normal(600))
    found = assess(cpu_trace(rate, throttled=halves(600, 0.0, 1.0)), WINDOW)
    assert found.device == "cpu: no GPU was seen"
    assert [(r.reason, round(r.share.value, 3)) for r in found.reasons] == [("heat", 0.5)]
    assert lost(found, "heat") == pytest.approx(0.1, abs=HALF_A_POINT)
    assert "about 10.0 % to heat" in line(found) or "about 9.9 % to heat" in line(found)


def test_time_stolen_by_other_guests_is_named() -> None:
    rng = np.random.default_rng(2)
    rate = halves(600, 1000.0, 900.0) * (1 + 0.01 * rng.standard_normal(600))
    found = assess(cpu_trace(rate, stolen=halves(600, 0.0, 0.15)), WINDOW)
    assert found.throughput is not None
    (step,) = found.throughput.changes
    assert step.cause == "steal"
    assert step.at_s == pytest.approx(30, abs=1.5)
    assert found.steal_share == pytest.approx(0.05, abs=0.002)  # .15 of 1.5 in half of the time
    assert "steal 5.0 %" in line(found)


def test_other_load_on_the_machine_is_named() -> None:
    rng = np.random.default_rng(3)
    rate = halves(600, 1000.0, 900.0) * (1 + 0.01 * rng.standard_normal(600))
    found = assess(cpu_trace(rate, other=halves(600, 0.0, 0.4)), WINDOW)
    assert found.throughput is not None
    assert found.throughput.changes[0].cause == "other load on the machine"
    assert found.other_load_share == pytest.approx(0.1, abs=0.005)  # .4 of 2 processors, half of the time


def test_without_throttle_counters_nothing_is_said_of_heat() -> None:
    found = assess(cpu_trace(np.full(600, 1000.0)), WINDOW)
    assert found.losses == ()
    assert "lost" not in line(found)
    assert "no throttle reasons" in line(found)


# --- by hand ------------------------------------------------------------------------------------


def test_half_the_time_at_nine_tenths_of_the_rate_is_five_percent() -> None:
    active = np.tile([0.0, 1.0], 20)
    rate = 100.0 - 10.0 * active
    found = losses(rate, {"heat": active}, None, None, edge=0)
    assert [(x.reason, x.method) for x in found] == [("heat", COMPARED)]
    assert found[0].value == pytest.approx(0.05)


def test_a_rate_that_falls_more_than_the_clock_is_only_the_clocks_part() -> None:
    active = np.tile([0.0, 1.0], 20)
    # The clock falls by 4 %, the rate by 10 %: 6 of 100 in half of the time are nobody's.
    found = losses(100 - 10 * active, {"heat": active}, 1000 - 40 * active, None, edge=0)
    values = {x.reason: x.value for x in found}
    assert values["heat"] == pytest.approx(0.02)
    assert values[UNEXPLAINED] == pytest.approx(0.03)


def test_a_reason_that_was_never_active_cost_nothing() -> None:
    found = losses(np.full(20, 5.0), {"heat": np.zeros(20)}, None, None)
    assert [(x.reason, x.value) for x in found] == [("heat", 0.0)]


@given(st.lists(st.floats(1, 1e6), min_size=12, max_size=60), st.integers(0, 2**32 - 1))
def test_no_loss_leaves_zero_to_one_nor_exceeds_the_time_it_acted(rate: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.array(rate)
    active = {"heat": (rng.random(len(y)) < 0.4) * 1.0}
    for x in losses(y, active, 1000 - 300 * rng.random(len(y)), 1000.0):
        if x.value is not None:
            assert -1e-12 <= x.value <= active["heat"].mean() + 1e-9 or x.reason == UNEXPLAINED
        assert x.low <= x.high


def test_bins_keep_the_count_and_the_area() -> None:
    t, count = np.array([0.0, 1, 2, 4]), np.array([0.0, 10, 10, 30])
    assert binned_rate(t, count, np.array([0.0, 2, 4])).tolist() == [5.0, 10.0]
    # 2 for one second, then 4: the mean over the first two seconds is 3.
    assert binned_mean(np.array([0.0, 1.0]), np.array([2.0, 4.0]), np.array([0.0, 2, 3])).tolist() == [3, 4]


def test_a_ramp_is_cut_off_and_noise_is_not() -> None:
    rng = np.random.default_rng(1)
    flat = 100 + rng.normal(0, 1, 100)
    assert steady_from(flat) == 0
    ramp = flat.copy()
    ramp[:15] -= np.linspace(30, 2, 15)
    found = steady_from(ramp)
    assert found is not None
    assert 11 <= found <= 18
    assert steady_from(100 + np.arange(100) + rng.normal(0, 0.1, 100)) is None


def test_a_step_is_found_where_it_is_and_drift_is_none() -> None:
    rng = np.random.default_rng(2)
    y = 100 + rng.normal(0, 0.5, 80)
    y[50:] -= 5
    (found,) = steps(y)
    assert found.at == 50
    assert found.after / found.before == pytest.approx(0.95, abs=0.005)
    share, se = drift(y, [50])
    assert abs(share) < 3.5 * se


def test_noise_has_no_steps() -> None:
    rng = np.random.default_rng(3)
    assert sum(bool(steps(100 + rng.normal(0, 2, 100))) for _ in range(100)) <= 2


def test_a_slope_of_two_percent_is_a_drift() -> None:
    rng = np.random.default_rng(4)
    share, se = drift(100 * (1 - 0.02 * np.linspace(0, 1, 100)) + rng.normal(0, 0.2, 100), [])
    assert share == pytest.approx(-0.02, abs=3 * se)
    assert se < 0.002


def test_correlated_noise_widens_the_interval() -> None:
    rng = np.random.default_rng(5)
    e = rng.normal(0, 1, 4000)
    y = np.zeros(4000)
    for i in range(1, 4000):
        y[i] = 0.6 * y[i - 1] + e[i]
    assert inflation(y) == pytest.approx(4.0, rel=0.2)  # (1 + 0.6) / (1 - 0.6)
    mean, low, high = mean_interval(y)
    assert low < mean < high
