"""Fluids, plates, pumps, CDU, air and ducts:

numbers by hand, oracles where installed, ranges that are kept.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.core.errors import ConfigError
from coldmark.thermal import cdu, ducts, hydraulics
from coldmark.thermal.air import check_inlet, fan_flow_m3_per_s, fan_power_w, sink_resistance
from coldmark.thermal.catalogue import find_server
from coldmark.thermal.fluids import FLUIDS, air_heat_rate_w_per_k, dew_point_degc, find_fluid
from coldmark.thermal.hydraulics import Resistance
from coldmark.thermal.plates import (
    TABLES,
    find_table,
    ocp_fit_pg25,
    ocp_fit_water,
    plate_own_resistance,
    plate_resistance,
)


@pytest.mark.parametrize(("fluid", "kelvin"), [("water", 7.235), ("pg25", 7.463)])
def test_500_w_into_a_litre_a_minute_at_40_degc(fluid: str, kelvin: float) -> None:
    assert 500 / FLUIDS[fluid].heat_rate_w_per_k(1.0, 40.0) == pytest.approx(kelvin, rel=2e-4)


def test_the_ocp_flow_rule_is_ten_kelvin() -> None:
    assert 1000 / FLUIDS["pg25"].heat_rate_w_per_k(1.5, 40.0) == pytest.approx(10.0, rel=0.02)


@pytest.mark.parametrize(
    ("fluid", "name", "tolerance"),
    [("water", "Water", 1e-3), ("pg25", "INCOMP::APG[0.25]", 1e-9), ("pg55", "INCOMP::APG[0.55]", 1e-9)],
)
def test_properties_agree_with_coolprop(fluid: str, name: str, tolerance: float) -> None:
    coolprop = pytest.importorskip("CoolProp.CoolProp")
    f = FLUIDS[fluid]
    for degc in range(5, 95, 5):
        for key, own in (
            ("D", f.density_kg_per_m3),
            ("C", f.heat_capacity_j_per_kg_k),
            ("L", f.conductivity_w_per_m_k),
            ("V", f.viscosity_pa_s),
        ):
            oracle = coolprop.PropsSI(key, "T", degc + 273.15, "P", 2e5, name)
            assert own(float(degc)) == pytest.approx(oracle, rel=tolerance), (key, degc)


def test_glycol_is_twice_as_viscous_as_water() -> None:
    assert FLUIDS["pg25"].viscosity_pa_s(40) / FLUIDS["water"].viscosity_pa_s(40) == pytest.approx(
        2.1, abs=0.05
    )


def test_a_fluid_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="outside -5 to 95 degC"):
        FLUIDS["pg25"].density_kg_per_m3(120.0)
    with pytest.raises(ConfigError, match="did you mean 'pg25'"):
        find_fluid("pg2")


def test_air_of_100_litres_a_second_carries_118_w_per_k() -> None:
    assert air_heat_rate_w_per_k(0.1, 25.0) == pytest.approx(119.1, abs=0.2)


def test_dew_point_at_half_humidity() -> None:
    assert dew_point_degc(25.0, 0.5) == pytest.approx(13.9, abs=0.05)
    assert dew_point_degc(25.0, 1.0) == pytest.approx(25.0)


@given(st.floats(-10, 45), st.floats(0.05, 0.99))
def test_the_dew_point_is_below_the_air(degc: float, humidity: float) -> None:
    assert dew_point_degc(degc, humidity) < degc


@pytest.mark.parametrize("name", list(TABLES))
def test_a_plate_gives_its_table_back(name: str) -> None:
    table = find_table(name)
    for v, r in zip(table.flow_l_per_min, table.r_k_per_w, strict=True):
        assert plate_resistance(v, table) == pytest.approx(r, rel=1e-12)


@given(st.floats(0.4, 2.4), st.floats(2.0, 5.0))
def test_between_the_points_a_plate_follows_its_published_fit(glycol: float, water: float) -> None:
    assert plate_resistance(glycol, TABLES["ocp-1kw-oam-pg25"]) == pytest.approx(
        ocp_fit_pg25(glycol), rel=0.03
    )
    assert plate_resistance(water, TABLES["ocp-1kw-oam-water"]) == pytest.approx(
        ocp_fit_water(water), rel=0.03
    )


@given(st.floats(0.4, 2.3), st.floats(0.01, 0.1))
def test_more_flow_is_less_resistance(flow: float, more: float) -> None:
    table = TABLES["ocp-1kw-oam-pg25"]
    assert plate_resistance(min(2.4, flow + more), table) < plate_resistance(flow, table)


@pytest.mark.parametrize("flow", [0.0, 0.39, 2.41, -1.0, math.nan])
def test_flow_outside_the_table_is_an_error_with_its_range(flow: float) -> None:
    with pytest.raises(ConfigError) as error:
        plate_resistance(flow, TABLES["ocp-1kw-oam-pg25"])
    assert "permitted: 0.4 to 2.4 L/min a plate" in str(error.value)


def test_deschutes_approach_is_three_kelvin() -> None:
    it = 31.48 * FLUIDS["pg25"].heat_capacity_j_per_kg_k(35.0)
    facility = 32.30 * FLUIDS["water"].heat_capacity_j_per_kg_k(30.0)
    assert cdu.supply_degc(2e6, 26.8, it, facility, 556e3) - 26.8 == pytest.approx(3.0, rel=0.02)


@given(st.floats(0.01, 20), st.floats(0, 1))
def test_effectiveness_is_a_share_and_inverts(ntu: float, ratio: float) -> None:
    eps = cdu.effectiveness(ntu, ratio)
    assert 0 < eps <= 1
    if eps < 0.999:
        assert cdu.ntu_for(eps, ratio) == pytest.approx(ntu, rel=1e-4)


def test_a_balanced_exchanger_of_one_ntu_is_half_effective() -> None:
    assert cdu.effectiveness(1.0, 1.0) == pytest.approx(0.5)


def test_water_classes() -> None:
    assert [cdu.water_class(t) for t in (17, 26.8, 40, 46)] == ["W17", "W27", "W40", "W+"]


def test_a_supply_below_the_dew_point_names_what_is_permitted() -> None:
    with pytest.raises(ConfigError) as error:
        cdu.check_dew_point(12.0, 25.0, 0.5, 2.0)
    assert "permitted: 15.9 degC or more" in str(error.value)


def test_pump_curve_and_affinity() -> None:
    pump = find_server("x660-g45-lp").loop.pump  # type: ignore[union-attr]
    assert pump is not None
    nominal, head = pump.flow_l_per_min.value, pump.head_pa.value
    assert hydraulics.head_pa(pump, nominal / 2) == pytest.approx(3.231 * head)
    assert hydraulics.head_pa(pump, 0.8 * nominal / 2, 0.8) == pytest.approx(0.64 * 3.231 * head)
    assert hydraulics.affinity(0.8) == pytest.approx((0.8, 0.64, 0.512))


@given(st.lists(st.floats(0.2, 5), min_size=1, max_size=8), st.floats(0.5, 20))
def test_parallel_branches_share_one_pressure_drop(nominal: list[float], total: float) -> None:
    branches = [Resistance(dp_pa=5e4, flow_l_per_min=v) for v in nominal]
    flows, drop = hydraulics.parallel_flows(branches, total)
    assert sum(flows) == pytest.approx(total)
    for branch, flow in zip(branches, flows, strict=True):
        assert branch.drop_pa(flow) == pytest.approx(drop, rel=1e-9)


def test_the_pump_turns_just_fast_enough() -> None:
    pump = find_server("x660-g45-lp").loop.pump  # type: ignore[union-attr]
    assert pump is not None
    branches = [Resistance(dp_pa=5e4, flow_l_per_min=1.25)] * 6
    manifold = Resistance(dp_pa=1.5e4, flow_l_per_min=7.5)
    speed = hydraulics.speed_for(pump, branches, manifold, 7.5)
    found = hydraulics.operating_point(pump, branches, manifold, speed)
    assert found == pytest.approx((7.5, 65e3), rel=1e-6)
    with pytest.raises(ConfigError, match="more than the pump can"):
        hydraulics.speed_for(pump, branches, manifold, 100.0)


def test_twice_the_flow_is_3_6_times_the_pressure() -> None:
    assert Resistance(dp_pa=1e4, flow_l_per_min=1.0).drop_pa(2.0) == pytest.approx(1e4 * 3.605, rel=1e-3)


def test_a_plates_own_part_leaves_half_the_caloric_rise_out() -> None:
    """At 1 L/min PG25 carries 67.0 W/K:

    .0245 - .5 / 67.0 = .01704 K/W, close to the constant .0177 of the fit.
    """
    found = plate_own_resistance(1.0, TABLES["ocp-1kw-oam-pg25"])
    assert found == pytest.approx(0.0245 - 0.5 / 67.0, rel=1e-3)


def test_ten_litres_a_minute_against_60_kpa_at_half_efficiency_is_20_w() -> None:
    assert hydraulics.pump_power_w(10.0, 60e3, 0.5) == pytest.approx(20.0)


def test_fan_laws() -> None:
    air = find_server("dgx-a100").air
    assert fan_flow_m3_per_s(air, 0.8) == pytest.approx(0.8 * air.full_m3_per_s.value)
    assert fan_power_w(air, 0.8) == pytest.approx(0.512 * air.full_w.value)


def test_a_heat_sink_outside_its_air_flow_is_an_error() -> None:
    sink = find_server("dgx-a100").gpu.air
    assert sink is not None
    v = sink.nominal_m3_per_s.value
    assert sink_resistance(sink, v) == pytest.approx(sink.fixed_k_per_w.value + sink.flow_k_per_w.value)
    with pytest.raises(ConfigError, match="permitted: "):
        sink_resistance(sink, 0.1 * v)


def test_inlet_classes() -> None:
    check_inlet(45.0, "A4")
    with pytest.raises(ConfigError, match="permitted: 15 to 32 degC"):
        check_inlet(33.0, "A1")


def test_ducts_meet_their_limits() -> None:
    assert ducts.laminar_nusselt() == pytest.approx(4.36, abs=0.01)
    assert ducts.laminar_nusselt("parallel plates", constant_flux=False) == pytest.approx(7.54, abs=0.01)
    assert 500 * ducts.laminar_friction(500.0) == pytest.approx(64.0)
    assert 1000 * ducts.churchill_friction(1000.0) == pytest.approx(64.0, rel=1e-3)
    assert ducts.churchill_friction(1e5) == pytest.approx(0.018, rel=0.02)  # Moody chart, smooth pipe
    # f = 5.636^-2 = .03148; (f/8) 9000 5 / (1 + 12.7 .06273 1.924) = 177.1 / 2.533
    assert ducts.gnielinski(1e4, 5.0) == pytest.approx(69.9, abs=0.1)
    assert ducts.reynolds(1.0, 0.002, 1000.0, 0.001) == pytest.approx(2000.0)
    with pytest.raises(ValueError, match="not laminar"):
        ducts.laminar_friction(5000.0)
    with pytest.raises(ValueError, match="outside"):
        ducts.gnielinski(500.0, 5.0)
