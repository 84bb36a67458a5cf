"""Coolant distribution unit: counterflow effectiveness-NTU, water classes, dew-point margin."""

from __future__ import annotations

import math

from coldmark.core.errors import ConfigError
from coldmark.thermal.fluids import dew_point_degc

WATER_CLASSES = {"W17": 17.0, "W27": 27.0, "W32": 32.0, "W40": 40.0, "W45": 45.0, "W+": math.inf}
"""ASHRAE facility water classes: highest supply temperature [degC]."""


def effectiveness(ntu: float, capacity_ratio: float) -> float:
    """Effectiveness of a counterflow exchanger; `capacity_ratio` = C_min / C_max in [0, 1].

    Source: Kays and London, Compact Heat Exchangers. Raises ValueError outside the domain.
    """
    if ntu < 0 or not 0 <= capacity_ratio <= 1:
        raise ValueError(f"ntu={ntu}, capacity_ratio={capacity_ratio}")
    if capacity_ratio > 1 - 1e-9:
        return ntu / (1 + ntu)
    e = math.exp(-ntu * (1 - capacity_ratio))
    return (1 - e) / (1 - capacity_ratio * e)


def ntu_for(eps: float, capacity_ratio: float) -> float:
    """The number of transfer units that gives an effectiveness. Raises ValueError outside (0, 1)."""
    if not 0 < eps < 1 or not 0 <= capacity_ratio <= 1:
        raise ValueError(f"eps={eps}, capacity_ratio={capacity_ratio}")
    if capacity_ratio > 1 - 1e-9:
        return eps / (1 - eps)
    return math.log((1 - eps * capacity_ratio) / (1 - eps)) / (1 - capacity_ratio)


def supply_degc(
    heat_w: float, facility_degc: float, it_w_per_k: float, facility_w_per_k: float, ua_w_per_k: float
) -> float:
    """Coolant supply temperature [degC] of a CDU that rejects `heat_w` into facility water.

    `it_w_per_k` and `facility_w_per_k` are m cp of the two sides, `ua_w_per_k` the exchanger's UA.
    """
    low, high = sorted((it_w_per_k, facility_w_per_k))
    eps = effectiveness(ua_w_per_k / low, low / high)
    hot = facility_degc + heat_w / (eps * low)
    return hot - heat_w / it_w_per_k


def water_class(facility_degc: float) -> str:
    """The first ASHRAE class that permits this facility supply temperature."""
    return next(name for name, high in WATER_CLASSES.items() if facility_degc <= high)


def cool_enough_class(facility_degc: float) -> str:
    """The warmest ASHRAE class whose water is never warmer than this."""
    fits = [name for name, high in WATER_CLASSES.items() if high <= facility_degc]
    return fits[-1] if fits else f"cooler than {next(iter(WATER_CLASSES))}"


def check_dew_point(
    supply: float, room_degc: float, humidity: float, margin_k: float, *, where: str = "--supply-degc"
) -> float:
    """Margin [K] of the supply over the room's dew point. Raises ConfigError where it is too small."""
    dew = dew_point_degc(room_degc, humidity)
    if supply < dew + margin_k:
        raise ConfigError(
            f"supply {supply:g} degC is below the dew point {dew:.1f} degC plus its margin {margin_k:g} K "
            f"(room {room_degc:g} degC, {humidity:.0%} humidity)",
            where=where,
            hint=f"permitted: {dew + margin_k:.1f} degC or more",
        )
    return supply - dew
