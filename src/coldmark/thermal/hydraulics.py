"""Flow through parallel branches behind a manifold, against a pump curve; affinity laws.

Pressure drop of a branch and of the manifold: dp = dp0 (V / V0)^1.85 (OCP guidelines, as in LBNL's
ColdPlateR_P).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from coldmark.core.errors import ConfigError
from coldmark.thermal.model import Pump

EXPONENT = 1.85

XDU1350_FLOW = (0.0, 0.25, 0.5, 0.75, 1.0)
XDU1350_HEAD = (3.846, 3.676, 3.231, 2.538, 1.0)
"""Normalised pump curve of a published 1.35 MW CDU (Vertiv XDU1350): V/V0 and dp/dp0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resistance:
    """A pressure drop [Pa] at a flow [L/min]; dp grows as V^1.85."""

    dp_pa: float
    flow_l_per_min: float

    def drop_pa(self, flow_l_per_min: float) -> float:
        return float(self.dp_pa * (flow_l_per_min / self.flow_l_per_min) ** EXPONENT)

    def flow_at(self, dp_pa: float) -> float:
        return float(self.flow_l_per_min * (dp_pa / self.dp_pa) ** (1 / EXPONENT))


def head_pa(pump: Pump, flow_l_per_min: float, speed: float = 1.0) -> float:
    """Head [Pa] at a flow and a speed (share of nominal): dp ~ N^2, V ~ N. Zero beyond the curve's end."""
    if speed <= 0:
        return 0.0
    x = flow_l_per_min / (pump.flow_l_per_min.value * speed)
    if x > pump.curve_flow[-1]:
        return 0.0
    return float(np.interp(x, pump.curve_flow, pump.curve_head)) * pump.head_pa.value * speed**2


def affinity(speed: float) -> tuple[float, float, float]:
    """Flow, head and power of a pump or fan at a speed, over those at full speed: N, N^2, N^3."""
    return speed, speed**2, speed**3


def parallel_flows(branches: Sequence[Resistance], total_l_per_min: float) -> tuple[list[float], float]:
    """Flows [L/min] that a total splits into, and the common pressure drop [Pa].

    All branches see one dp, so each takes V_i = V0_i (dp / dp0_i)^(1/1.85); the sum is linear in dp^(1/1.85).
    """
    unit = [b.flow_at(1.0) for b in branches]
    root = total_l_per_min / sum(unit)
    return [u * root for u in unit], root**EXPONENT


def operating_point(
    pump: Pump, branches: Sequence[Resistance], manifold: Resistance, speed: float = 1.0
) -> tuple[float, float]:
    """Total flow [L/min] and head [Pa] where the pump curve meets the loop.

    Raises ConfigError if it does not.
    """

    def excess(total: float) -> float:
        return head_pa(pump, total, speed) - loop_drop(branches, manifold, total)

    top = pump.flow_l_per_min.value * speed * pump.curve_flow[-1]
    if speed <= 0:
        return 0.0, 0.0
    total = top if excess(top) >= 0 else float(brentq(excess, 1e-9 * top, top, xtol=1e-12 * top))
    return total, loop_drop(branches, manifold, total)


def loop_drop(branches: Sequence[Resistance], manifold: Resistance, total_l_per_min: float) -> float:
    """Pressure drop [Pa] of manifold and branches at a total flow."""
    return parallel_flows(branches, total_l_per_min)[1] + manifold.drop_pa(total_l_per_min)


def speed_for(
    pump: Pump, branches: Sequence[Resistance], manifold: Resistance, total_l_per_min: float
) -> float:
    """The pump speed (share of nominal) that gives a total flow.

    Raises ConfigError beyond what the pump can.
    """
    need = loop_drop(branches, manifold, total_l_per_min)

    def excess(speed: float) -> float:
        return head_pa(pump, total_l_per_min, speed) - need

    if excess(1.0) < 0:
        most = operating_point(pump, branches, manifold)[0]
        raise ConfigError(
            f"{total_l_per_min:g} L/min is more than the pump can",
            where="--flow-l-per-min",
            hint=f"permitted: up to {most:.2f} L/min",
        )
    return float(brentq(excess, 1e-6, 1.0, xtol=1e-12))


def pump_power_w(flow_l_per_min: float, dp_pa: float, efficiency: float) -> float:
    """Electrical power of a pump [W]: V dp / eta."""
    return flow_l_per_min / 60e3 * dp_pa / efficiency
