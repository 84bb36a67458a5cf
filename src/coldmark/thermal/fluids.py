"""Water and propylene glycol 25 % and 55 % (by mass): density, heat capacity, conductivity, viscosity.

Own polynomials in x = (T - 50) / 50 with T in degC, fitted to CoolProp 8.0, which stays a test oracle.
The glycol data of CoolProp (INCOMP::APG, ASHRAE) are polynomials themselves, so these agree to 1e-12;
water (IAPWS-95 at 0.2 MPa) to 0.06 %. A vendor's inhibited coolant differs from pure PG by a few percent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from coldmark.core.errors import ConfigError, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Fluid:
    """Polynomial coefficients, lowest order first; viscosity's are of its natural logarithm."""

    name: str
    low_degc: float
    high_degc: float
    rho: tuple[float, ...]
    cp: tuple[float, ...]
    k: tuple[float, ...]
    ln_mu: tuple[float, ...]

    def density_kg_per_m3(self, degc: float) -> float:
        """Density [kg/m3]. Raises ConfigError outside the fitted range."""
        return _poly(self.rho, self._x(degc))

    def heat_capacity_j_per_kg_k(self, degc: float) -> float:
        """Specific heat capacity [J/(kg K)]. Raises ConfigError outside the fitted range."""
        return _poly(self.cp, self._x(degc))

    def conductivity_w_per_m_k(self, degc: float) -> float:
        """Thermal conductivity [W/(m K)]. Raises ConfigError outside the fitted range."""
        return _poly(self.k, self._x(degc))

    def viscosity_pa_s(self, degc: float) -> float:
        """Dynamic viscosity [Pa s]. Raises ConfigError outside the fitted range."""
        return math.exp(_poly(self.ln_mu, self._x(degc)))

    def heat_rate_w_per_k(self, flow_l_per_min: float, degc: float) -> float:
        """Heat capacity rate m cp [W/K] of a flow [L/min]: what a kelvin of rise carries away."""
        litres_per_s = flow_l_per_min / 60.0
        return litres_per_s * 1e-3 * self.density_kg_per_m3(degc) * self.heat_capacity_j_per_kg_k(degc)

    def _x(self, degc: float) -> float:
        if not self.low_degc <= degc <= self.high_degc:
            raise ConfigError(
                f"{self.name} at {degc:g} degC is outside {self.low_degc:g} to {self.high_degc:g} degC",
                where="supply_degc",
            )
        return (degc - 50.0) / 50.0


def _poly(coefficients: Sequence[float], x: float) -> float:
    total = 0.0
    for c in reversed(coefficients):
        total = total * x + c
    return total


FLUIDS = {
    "water": Fluid(
        name="water",
        low_degc=1.0,
        high_degc=99.0,
        rho=(
            988.075295030268,
            -22.610220531173056,
            -8.136284905294898,
            1.5342230303642408,
            -0.780716204296496,
            0.3231419493282497,
        ),
        cp=(
            4181.208737848076,
            14.017884437634033,
            18.562931754903286,
            -5.570344822548894,
            16.919759876104525,
            -10.031606928528205,
        ),
        k=(
            0.6406578440575412,
            0.05617708702568779,
            -0.021565766880581014,
            0.0030574007320741687,
            -0.0025237339124349056,
            0.001516693844130077,
        ),
        ln_mu=(
            -7.511770819265259,
            -0.8395424991304412,
            0.22457962957297894,
            -0.06871774890048986,
            0.03668783781665049,
            -0.016732165995627168,
        ),
    ),
    "pg25": Fluid(
        name="pg25",
        low_degc=-5.0,
        high_degc=95.0,
        rho=(1009.0134725906782, -28.5701459453996, -6.343501259071132, -0.00034697768754225555),
        cp=(3986.9134121297498, 123.41613114375026, 0.022333150001385544, 0.0070575000000852265),
        k=(0.4948559334949625, 0.03554901172374707, -0.016350651488687175, 5.4305056249897355e-05),
        ln_mu=(-6.830319968356097, -1.0950453953093797, 0.39211097368749687, -0.12522698125000012),
    ),
    "pg55": Fluid(
        name="pg55",
        low_degc=-5.0,
        high_degc=95.0,
        rho=(1026.4505307819968, -35.9621894006111, -6.386789544317662, 0.0012790911249948972),
        cp=(3562.0504449056366, 206.67750415134554, 0.029832743128020252, 0.08969711250123588),
        k=(0.353970765188634, 0.012946000054306383, -0.008477779421124564, -5.4099812499900725e-05),
        ln_mu=(-5.965179141866878, -1.489104132087503, 0.5684855717499947, -0.15873422499999906),
    ),
}


def find_fluid(name: str, *, where: str = "fluid") -> Fluid:
    """The fluid called `name`. Raises ConfigError with the nearest right one."""
    if name not in FLUIDS:
        raise ConfigError(f"no fluid {name!r}", where=where, hint=did_you_mean(name, FLUIDS))
    return FLUIDS[name]


def air_heat_rate_w_per_k(flow_m3_per_s: float, degc: float) -> float:
    """Heat capacity rate [W/K] of an air flow at 101 325 Pa: ideal gas, cp 1006 J/(kg K)."""
    return flow_m3_per_s * 101325.0 / (287.05 * (degc + 273.15)) * 1006.0


def dew_point_degc(air_degc: float, relative_humidity: float) -> float:
    """Dew point [degC] of air at a relative humidity in (0, 1].

    Magnus formula, a = 17.625, b = 243.04 degC: Alduchov and Eskridge, J. Appl. Meteor. 35 (1996); valid
    within 0.4 % of vapour pressure from -40 to 50 degC. Raises ValueError outside (0, 1].
    """
    if not 0 < relative_humidity <= 1:
        raise ValueError(f"relative humidity {relative_humidity} is not in (0, 1]")
    a, b = 17.625, 243.04
    g = math.log(relative_humidity) + a * air_degc / (b + air_degc)
    return b * g / (a - g)
