"""Many servers of one model at once: states as columns, one matrix product a step, clocks decided for all
together.

Memory stays flat: servers are taken in chunks, and only totals are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coldmark.thermal.assembly import Assembly
from coldmark.thermal.network import Array
from coldmark.thermal.power import Curve
from coldmark.thermal.propagator import propagator
from coldmark.thermal.rest import other_power
from coldmark.thermal.transient import idle_state

CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetState:
    """At the end: hottest die [degC], mean clock [MHz] and accelerator power [W] of each server; [s]."""

    die_degc: Array
    mhz: Array
    gpu_w: Array


def simulate_fleet(
    asm: Assembly, curve: Curve, boundary_degc: Array, duration_s: float, *, step_s: float = 0.1
) -> FleetState:
    """Servers that differ by their boundary temperatures, [s, m], under load from rest at idle.

    The governor here is the power limit and the proportional software limit; step by step, all servers
    together.
    """
    prop = propagator(asm.mats, step_s, asm.sources, doublings=1)
    start = np.append(idle_state(asm), 0.0)
    parts = [
        _chunk(
            asm, curve, prop.phi, prop.gamma, start, boundary_degc[i : i + CHUNK], round(duration_s / step_s)
        )
        for i in range(0, len(boundary_degc), CHUNK)
    ]
    die, mhz, gpu = (np.concatenate(column) for column in zip(*parts, strict=True))
    return FleetState(die_degc=die, mhz=mhz, gpu_w=gpu)


def _chunk(
    asm: Assembly, curve: Curve, phi: Array, gamma: Array, start: Array, bounds: Array, steps: int
) -> tuple[Array, Array, Array]:
    s, g, p = len(bounds), len(asm.die), asm.part
    x = np.repeat(start[:, None], s, axis=1)
    memory = np.full((g, s), p.memory_load_w.value)
    others = np.repeat(other_power(asm, load=True)[:, None], s, axis=1)
    mhz = power = np.zeros((g, s))
    for _ in range(steps):
        die = x[asm.die]
        over = np.maximum(die - p.max_operating_degc.value, x[asm.memory] - p.memory_max_degc.value)
        limit = asm.limit_w * np.clip(1.0 - np.maximum(over, 0.0) / 4.0, 0.1, 1.0)
        mhz = curve.clock_mhz(limit, die)
        power = curve.power_w(mhz, die)
        x = phi @ x + gamma @ np.concatenate([power - memory, memory, others, bounds.T])
    return x[asm.die].max(axis=0), mhz.mean(axis=0), power.sum(axis=0)
