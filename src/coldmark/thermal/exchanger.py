"""A server's share of a CDU: a counterflow exchanger between its coolant and facility water.

It is sized by the server file: at the nominal flows and `cdu_rated_w` the supply is `approach_k` over the
facility water. At other flows each side's film goes with its flow to the power 0.8 (as in a published CDU
model), both sides taken alike at the nominal point. [M]
"""

from __future__ import annotations

from dataclasses import dataclass

from coldmark.core.errors import ConfigError
from coldmark.thermal.cdu import effectiveness, ntu_for
from coldmark.thermal.fluids import FLUIDS, find_fluid
from coldmark.thermal.model import Loop

FILM_EXPONENT = 0.8
FLOW_FACTORS = (0.25, 4.0)
"""Facility flow over its nominal one that the film law is trusted over. [M]"""
WATER = FLUIDS["water"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanger:
    """A CDU at given flows: capacity rates m cp of both sides [W/K], and its effectiveness."""

    coolant_w_per_k: float
    facility_w_per_k: float
    effectiveness: float

    @property
    def approach_k_per_w(self) -> float:
        """Supply over facility water for each watt: 1 / (eps C_min) - 1 / C_coolant."""
        least = min(self.coolant_w_per_k, self.facility_w_per_k)
        return 1.0 / (self.effectiveness * least) - 1.0 / self.coolant_w_per_k


def least_approach_k(loop: Loop) -> float:
    """The approach [K] at the rated heat that an exchanger without end would have at the nominal flows."""
    coolant, facility = _nominal_rates(loop)
    return max(0.0, loop.cdu_rated_w.value * (1.0 / facility - 1.0 / coolant))


def rated_ua_w_per_k(loop: Loop) -> float:
    """UA [W/K] that gives the file's approach at its rated heat and nominal flows."""
    rates, heat = _nominal_rates(loop), loop.cdu_rated_w.value
    low, high = sorted(rates)
    eps = heat / (loop.approach_k.value + heat / rates[0]) / low
    return ntu_for(eps, low / high) * low


def exchanger(
    loop: Loop, flow_l_per_min: float, supply_degc: float, water_degc: float, facility_l_per_min: float
) -> Exchanger:
    """The server's CDU at these flows, fluids at these temperatures."""
    coolant, facility = _rates(loop, flow_l_per_min, facility_l_per_min, supply_degc, water_degc)
    films = (
        (flow_l_per_min / loop.flow_l_per_min.value) ** -FILM_EXPONENT
        + (facility_l_per_min / loop.facility_l_per_min.value) ** -FILM_EXPONENT
    ) / 2
    low, high = sorted((coolant, facility))
    return Exchanger(
        coolant_w_per_k=coolant,
        facility_w_per_k=facility,
        effectiveness=effectiveness(rated_ua_w_per_k(loop) / films / low, low / high),
    )


def _nominal_rates(loop: Loop) -> tuple[float, float]:
    supply, approach = loop.supply_degc.value, loop.approach_k.value
    return _rates(loop, loop.flow_l_per_min.value, loop.facility_l_per_min.value, supply, supply - approach)


def _rates(loop: Loop, flow: float, facility: float, supply: float, water: float) -> tuple[float, float]:
    """m cp [W/K] of coolant and facility water."""
    fluid = find_fluid(loop.fluid)
    return fluid.heat_rate_w_per_k(flow, supply), WATER.heat_rate_w_per_k(facility, water)


def facility_flow(loop: Loop, asked: float | None) -> float:
    """Facility flow [L/min], the file's own where none is asked for. Raises ConfigError with the range."""
    own = loop.facility_l_per_min.value
    flow = own if asked is None else asked
    low, high = (own * f for f in FLOW_FACTORS)
    if not low <= flow <= high:
        raise ConfigError(
            f"{flow:g} L/min is outside what this CDU's films are known for",
            where="--facility-l-per-min",
            hint=f"permitted: {low:.3g} to {high:.3g} L/min",
        )
    return flow
