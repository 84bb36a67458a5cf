"""Cold plates: case-to-inlet resistance against flow, from tables, never beyond them.

R(V) = (T_case - T_inlet) / Q. Between the points we interpolate the plate's own part, R - 1/(2 m cp),
linearly in V, and add half the caloric rise again: within 0.2 % of a published water curve the plate's part
is constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.thermal.fluids import find_fluid


@dataclass(frozen=True, slots=True, kw_only=True)
class ResistanceTable:
    """Case-to-inlet resistance [K/W] of one plate against flow [L/min]."""

    id: str
    fluid: str
    degc: float  # temperature the fluid's heat capacity is taken at
    flow_l_per_min: tuple[float, ...]
    r_k_per_w: tuple[float, ...]
    source: str

    @property
    def range_l_per_min(self) -> tuple[float, float]:
        return self.flow_l_per_min[0], self.flow_l_per_min[-1]


_OCP = (
    "OCP OAI System Liquid Cooling Guidelines (2023), 1 kW OAM cold plate, as digitised in LBNL Buildings "
    "(Fluid/DataCenterEquipment/Racks/LiquidCooledSinglePhase/Data); digitising +-5 %, "
    "plate to plate +-15-20 %"
)

TABLES = {
    "ocp-1kw-oam-pg25": ResistanceTable(
        id="ocp-1kw-oam-pg25",
        fluid="pg25",
        degc=40.0,
        flow_l_per_min=(0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4),
        r_k_per_w=(
            0.0389,
            0.0325,
            0.0300,
            0.0280,
            0.0265,
            0.0255,
            0.0245,
            0.0230,
            0.0220,
            0.0214,
            0.0209,
            0.0204,
            0.0200,
            0.0197,
        ),
        source=_OCP,
    ),
    "ocp-1kw-oam-water": ResistanceTable(
        id="ocp-1kw-oam-water",
        fluid="water",
        degc=40.0,
        flow_l_per_min=(2.0, 3.0, 4.0, 5.0),
        r_k_per_w=(0.0172, 0.0160, 0.0154, 0.0151),
        source=_OCP,
    ),
}


def find_table(name: str) -> ResistanceTable:
    """A table by id. Raises ConfigError."""
    if name not in TABLES:
        raise ConfigError(f"no plate table {name!r}", where="plate.table", hint=did_you_mean(name, TABLES))
    return TABLES[name]


def plate_resistance(
    flow_l_per_min: float, table: ResistanceTable, *, where: str = "flow_l_per_min"
) -> float:
    """Case-to-inlet resistance [K/W] at a flow [L/min] through one plate.

    Raises ConfigError outside the table: a fit says nothing beyond its data. Source: the table's own.
    """
    return plate_own_resistance(flow_l_per_min, table, where=where) + _half_caloric(flow_l_per_min, table)


def plate_own_resistance(
    flow_l_per_min: float, table: ResistanceTable, *, where: str = "flow_l_per_min"
) -> float:
    """The plate's part of the resistance [K/W], case to the mean of inlet and outlet. Raises ConfigError."""
    low, high = table.range_l_per_min
    if not low <= flow_l_per_min <= high:
        raise ConfigError(
            f"{flow_l_per_min:.3g} L/min through a plate is outside its table {table.id}",
            where=where,
            hint=f"permitted: {low:g} to {high:g} L/min a plate",
        )
    own = [r - _half_caloric(v, table) for v, r in zip(table.flow_l_per_min, table.r_k_per_w, strict=True)]
    return float(np.interp(flow_l_per_min, table.flow_l_per_min, own))


def _half_caloric(flow_l_per_min: float, table: ResistanceTable) -> float:
    return 0.5 / find_fluid(table.fluid).heat_rate_w_per_k(flow_l_per_min, table.degc)


def ocp_fit_pg25(flow_l_per_min: float) -> float:
    """R = 0.01771 + 0.006547 V^-1.257 [K/W]: the fit of the PG25 table, at most 2.6 % off within it."""
    return float(0.01771 + 0.006547 * flow_l_per_min**-1.257)


def ocp_fit_water(flow_l_per_min: float) -> float:
    """R = 0.01399 + 0.007225 V^-1.171 [K/W]: the fit of the water table, 0.1 %."""
    return float(0.01399 + 0.007225 * flow_l_per_min**-1.171)
