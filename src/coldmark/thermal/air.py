"""Air side: fan laws, heat sinks, ASHRAE inlet classes."""

from __future__ import annotations

from coldmark.core.errors import ConfigError
from coldmark.thermal.model import AirSide, Sink

INLET_CLASSES = {"A1": (15.0, 32.0), "A2": (10.0, 35.0), "A3": (5.0, 40.0), "A4": (5.0, 45.0)}
"""ASHRAE allowable inlet temperatures [degC]; recommended is 18 to 27 for all."""


def check_inlet(inlet_degc: float, name: str, *, where: str = "--inlet-degc") -> None:
    """An inlet temperature within its class. Raises ConfigError with the permitted range."""
    low, high = INLET_CLASSES[name]
    if not low <= inlet_degc <= high:
        raise ConfigError(
            f"{inlet_degc:g} degC is outside ASHRAE class {name}",
            where=where,
            hint=f"permitted: {low:g} to {high:g} degC",
        )


def fan_flow_m3_per_s(air: AirSide, duty: float, running: float = 1.0) -> float:
    """Air flow at a duty (share of full speed) with a share of the fans running: Q ~ N.

    Back-flow through a fan that stands is not modelled: real boxes lose more.
    """
    return air.full_m3_per_s.value * duty * running


def fan_power_w(air: AirSide, duty: float, running: float = 1.0) -> float:
    """Electrical power of the fans: P ~ N^3. Source: fan affinity laws."""
    return air.full_w.value * duty**3 * running


def sink_resistance(sink: Sink, flow_m3_per_s: float, *, where: str = "air") -> float:
    """R = R_fixed + R_flow (V / V_nominal)^-n [K/W]. Raises ConfigError outside the sink's range."""
    ratio = flow_m3_per_s / sink.nominal_m3_per_s.value
    low, high = sink.low_factor.value, sink.high_factor.value
    if not low <= ratio <= high:
        v = sink.nominal_m3_per_s.value
        raise ConfigError(
            f"{flow_m3_per_s:.4g} m3/s past a heat sink is outside its data",
            where=where,
            hint=f"permitted: {low * v:.4g} to {high * v:.4g} m3/s",
        )
    flow = sink.flow_k_per_w.value * ratio ** (-sink.flow_exponent.value)
    return float(sink.fixed_k_per_w.value + flow)
