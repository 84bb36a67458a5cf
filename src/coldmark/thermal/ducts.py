"""Friction and heat transfer in ducts: laminar where cold plates run (Re 100 to 1000), turbulent in pipes.

Sources: Shah and London, Laminar Flow Forced Convection in Ducts (1978); Churchill, Chem. Eng. 84 (1977) 91;
Gnielinski, Int. Chem. Eng. 16 (1976) 359.
"""

from __future__ import annotations

import math

LAMINAR = {
    # shape: (f Re with the Darcy factor, Nu at constant heat flux, Nu at constant wall temperature)
    "circle": (64.0, 48.0 / 11.0, 3.6568),
    "parallel plates": (96.0, 140.0 / 17.0, 7.5407),
}


def reynolds(velocity_m_per_s: float, diameter_m: float, rho: float, mu_pa_s: float) -> float:
    """Reynolds number of a flow at a hydraulic diameter."""
    return rho * velocity_m_per_s * diameter_m / mu_pa_s


def laminar_friction(re: float, shape: str = "circle") -> float:
    """Darcy friction factor of developed laminar flow. Raises ValueError above Re 2300."""
    if not 0 < re <= 2300:
        raise ValueError(f"Re {re:g} is not laminar")
    return LAMINAR[shape][0] / re


def laminar_nusselt(shape: str = "circle", *, constant_flux: bool = True) -> float:
    """Nusselt number of developed laminar flow: a constant, whatever Re and Pr."""
    return LAMINAR[shape][1 if constant_flux else 2]


def churchill_friction(re: float, roughness: float = 0.0) -> float:
    """Darcy friction factor for all Re in a circular pipe; `roughness` relative to the diameter."""
    a = (2.457 * math.log(1 / ((7 / re) ** 0.9 + 0.27 * roughness))) ** 16
    b = (37530.0 / re) ** 16
    return float(8 * ((8 / re) ** 12 + (a + b) ** -1.5) ** (1 / 12))


def gnielinski(re: float, pr: float) -> float:
    """Nusselt number of turbulent pipe flow. Raises ValueError outside Re 3000 to 5e6, Pr 0.5 to 2000."""
    if not 3000 <= re <= 5e6 or not 0.5 <= pr <= 2000:
        raise ValueError(f"Re {re:g}, Pr {pr:g} is outside the correlation")
    f = (0.79 * math.log(re) - 1.64) ** -2
    return float(f / 8 * (re - 1000) * pr / (1 + 12.7 * math.sqrt(f / 8) * (pr ** (2 / 3) - 1)))
