"""The CDU in the loop: facility water in, coolant supply out, at the heat that the server gives at that
supply; and back, the water that a supply needs.
"""

from __future__ import annotations

from collections.abc import Callable

from scipy.optimize import brentq

from coldmark.core.errors import ConfigError
from coldmark.thermal.assembly import Assembly
from coldmark.thermal.exchanger import WATER, Exchanger, exchanger
from coldmark.thermal.fluids import dew_point_degc, find_fluid
from coldmark.thermal.model import Loop
from coldmark.thermal.power import Curve
from coldmark.thermal.rest import liquid_heat_w, rest, rest_degc

TOLERANCE_K = 1e-9


def coolant_heat_w(asm: Assembly, power: Curve) -> float:
    """Heat [W] that leaves with the coolant at rest under load."""
    return liquid_heat_w(asm, rest_degc(asm, rest(asm, power)))


def water_for(loop: Loop, asm: Assembly, facility_l_per_min: float, heat_w: float) -> tuple[float, Exchanger]:
    """The facility water [degC] that gives the assembly's supply at this heat, and the exchanger there."""
    supply = float(asm.boundary_degc[0])
    water = supply - loop.approach_k.value
    found = exchanger(loop, asm.flow_l_per_min, supply, water, facility_l_per_min)
    for _ in range(20):  # only the fluids' properties move: it converges in three
        fresh = _within(supply - found.approach_k_per_w * heat_w, WATER.low_degc, WATER.high_degc)
        found = exchanger(loop, asm.flow_l_per_min, supply, fresh, facility_l_per_min)
        if abs(fresh - water) < TOLERANCE_K:
            break
        water = fresh
    return water, found


def supply_for(
    loop: Loop,
    make: Callable[[float], Assembly],
    power: Curve,
    water_degc: float,
    facility_l_per_min: float,
) -> float:
    """The coolant supply [degC] that this facility water gives, at the heat the server gives at that supply.

    Root of  supply = water + q(supply) (1 / (eps C_min) - 1 / C_coolant);  q moves slowly with the supply.
    `make` assembles the server at a supply. Raises ConfigError with the permitted water where the supply
    would be below the dew point or beyond the fluid's range.
    """
    dew = dew_point_degc(loop.room_degc.value, loop.room_humidity_share.value) + loop.dew_margin_k.value
    low, high = dew, find_fluid(loop.fluid).high_degc

    def approach(supply: float, water: float) -> float:
        asm = make(supply)
        found = exchanger(loop, asm.flow_l_per_min, supply, water, facility_l_per_min)
        return found.approach_k_per_w * coolant_heat_w(asm, power)

    least = low - approach(low, _within(water_degc, WATER.low_degc, low))
    if not max(least, WATER.low_degc) <= water_degc < high:
        raise ConfigError(
            f"facility water of {water_degc:g} degC gives no supply between the dew point plus margin and "
            f"{high:g} degC, the end of {loop.fluid}",
            where="--facility-degc",
            hint=f"permitted: {max(least, WATER.low_degc):.1f} to below {high:g} degC",
        )

    def excess(supply: float) -> float:
        return supply - water_degc - approach(supply, water_degc)

    bottom = max(low, water_degc)
    top = _within(bottom + 2 * (low - least) + 1.0, bottom, high)
    while top < high and excess(top) < 0:
        top = min(high, 2 * top - bottom)
    if excess(top) < 0:
        raise ConfigError(
            f"facility water of {water_degc:g} degC gives a supply beyond {high:g} degC, the end of "
            f"{loop.fluid}",
            where="--facility-degc",
            hint=f"permitted: up to {high - approach(high, water_degc):.1f} degC",
        )
    return float(brentq(excess, bottom, top, xtol=TOLERANCE_K))


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
