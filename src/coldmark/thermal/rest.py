"""The state a server comes to rest in: temperatures, clocks, power, and why the clock is what it is.

The network is linear, so T = base + H P; what is not linear (leakage, the governor) is iterated on that map
for many operating points at once. The governor: the highest clock within the power limit; where a die or a
memory would pass its limit, the power that just keeps it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from coldmark.core.errors import RunError
from coldmark.thermal.assembly import Assembly
from coldmark.thermal.network import Array, steady
from coldmark.thermal.power import Curve


class Reason(StrEnum):
    """Why a clock is not the boost clock; the names follow the vendor's clock event reasons."""

    NONE = "none (boost clamp)"
    POWER_LIMIT = "power limit"
    SOFTWARE_THERMAL = "software thermal"
    HARDWARE_THERMAL = "hardware thermal"
    SHUT_DOWN = "shut-down"
    IDLE = "idle"


class ThermalRunaway(RunError):
    """Leakage feeds itself faster than the cooling takes heat away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """Temperatures of the powered nodes from powers and boundaries."""

    h: Array  # [s, s] K/W
    to_boundary: Array  # [s, m]


def influence(asm: Assembly) -> Influence:
    """The linear map of one assembly; one factorisation."""
    src = asm.sources
    n, m = len(asm.mats.c), asm.mats.b.shape[1]
    unit = np.zeros((n, len(src) + m))
    unit[src, np.arange(len(src))] = 1.0
    unit[:, len(src) :] = asm.mats.b
    found = steady(asm.mats, unit, np.zeros((m, len(src) + m)))
    return Influence(h=found[src, : len(src)], to_boundary=found[src, len(src) :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """The state at rest of b operating points. Arrays are [b, g] for accelerators, [b, o] for the others."""

    mhz: Array
    gpu_w: Array
    die_degc: Array
    memory_degc: Array
    other_degc: Array
    other_w: Array
    wall_w: Array  # [b]
    thermal: NDArrayBool
    hot: NDArrayBool  # beyond the shut-down temperature even at the lowest clock

    def reason(self, b: int, g: int, boost_mhz: float) -> Reason:
        """Why accelerator g of point b runs at its clock."""
        if self.hot[b, g]:
            return Reason.SHUT_DOWN
        if self.thermal[b, g]:
            return Reason.SOFTWARE_THERMAL
        return Reason.POWER_LIMIT if self.mhz[b, g] < boost_mhz * 0.9995 else Reason.NONE


NDArrayBool = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def other_power(asm: Assembly, *, load: bool) -> Array:
    """Electrical power of CPUs, memory and the rest [W], in the order of `asm.other`; supplies at 0."""
    found = []
    for name in asm.other:
        if name == "fans":
            found.append(asm.fan_w)
            continue
        noun = asm.server.cpu if name.startswith("cpu") else asm.server.components[name]
        each = noun.load_w.value if load else noun.idle_w.value
        found.append(each * (1 if name.startswith("cpu") else noun.count))
    return np.array(found)


def rest(
    asm: Assembly,
    curve: Curve,
    *,
    inf: Influence | None = None,
    limit_w: Array | None = None,
    boundary_degc: Array | None = None,
    others_w: Array | None = None,
    throttle: bool = True,
    idle: bool = False,
    rounds: int = 80,
) -> Rest:
    """The state at rest; `limit_w` is [b], `boundary_degc` [b, m].

    Raises ThermalRunaway naming the component.
    """
    inf = inf or influence(asm)
    p, g = asm.part, len(asm.die)
    limit = np.atleast_1d(asm.limit_w if limit_w is None else limit_w).astype(float)
    bounds = asm.boundary_degc[None, :] if boundary_degc is None else boundary_degc
    b = max(len(limit), len(bounds))
    base = np.broadcast_to(bounds @ inf.to_boundary.T, (b, inf.h.shape[0]))
    limit = np.broadcast_to(limit[:, None], (b, g))
    others = other_power(asm, load=not idle) if others_w is None else others_w
    psu = list(asm.other).index("supplies") if "supplies" in asm.other else None
    host = asm.server.host
    loss = 1.0 / (host.supply_idle_share if idle else host.supply_share).value - 1.0
    reach = inf.h[:g, :g].sum(axis=1)[None, :]
    reach_memory = inf.h[g : 2 * g, :g].sum(axis=1)[None, :]
    memory_w = p.memory_idle_w.value if idle else p.memory_load_w.value
    power = np.full((b, g), p.idle_w.value) if idle else limit.copy()
    mhz = np.full((b, g), p.idle_mhz.value)
    cap = np.full((b, g), np.inf)
    out = np.tile(others, (b, 1))
    degc = base
    for _ in range(rounds):
        if psu is not None:
            out[:, psu] = (power.sum(axis=1) + others.sum()) * loss
        source = np.concatenate([power - memory_w, np.full((b, g), memory_w), out], axis=1)
        degc = base + source @ inf.h.T
        if idle:
            break
        die, memory = degc[:, :g], degc[:, g : 2 * g]
        if throttle:
            room = np.minimum(
                (p.max_operating_degc.value - die) / reach, (p.memory_max_degc.value - memory) / reach_memory
            )
            cap = power + 0.7 * room
        mhz = curve.clock_mhz(np.minimum(limit, cap), die)
        fresh = curve.power_w(mhz, die)
        done = np.max(np.abs(fresh - power)) < 1e-6
        power = fresh
        if done:
            break
    _check_runaway(asm, curve, inf, mhz, degc[:, :g])
    die, memory = degc[:, :g], degc[:, g : 2 * g]
    return Rest(
        mhz=mhz,
        gpu_w=power,
        die_degc=die,
        memory_degc=memory,
        other_degc=degc[:, 2 * g :],
        other_w=out,
        wall_w=(power.sum(axis=1) + others.sum()) * (1 + loss),
        thermal=(cap < limit - 0.05) & (mhz < p.boost_mhz.value * 0.9995),
        hot=die > p.shutdown_degc.value,
    )


def rest_degc(asm: Assembly, state: Rest) -> Array:
    """All temperatures of the first operating point of a state at rest under load; [n]."""
    memory = asm.part.memory_load_w.value
    power = np.zeros(len(asm.mats.c))
    power[asm.die] = state.gpu_w[0] - memory
    power[asm.memory] = memory
    np.add.at(power, list(asm.other.values()), state.other_w[0])
    return steady(asm.mats, power, asm.boundary_degc)


def liquid_heat_w(asm: Assembly, degc: Array) -> float:
    """Heat [W] that leaves with the coolant at these temperatures, [n]."""
    if not asm.liquid:
        return 0.0
    i = list(asm.liquid)
    return float(asm.mats.leave[i] @ degc[i] - asm.mats.enter[0] * asm.boundary_degc[0])


def leak_gain(curve: Curve, mhz: Array, degc: Array, reach_k_per_w: Array) -> Array:
    """dP/dT R of leakage alone at a clock: at 1 or above no rest exists without a governor."""
    found: Array = curve.rate_per_k * curve.leakage_w(mhz, degc) * reach_k_per_w
    return found


def _check_runaway(asm: Assembly, curve: Curve, inf: Influence, mhz: Array, die: Array) -> None:
    g = len(asm.die)
    reach = inf.h[:g, :g].sum(axis=1)[None, :]
    floor = np.full_like(die, asm.part.idle_mhz.value)
    gain = leak_gain(curve, floor, die, reach)
    bad = (gain >= 1.0) & (mhz <= asm.part.idle_mhz.value * 1.001)
    if np.any(bad):
        i = int(np.argwhere(bad)[0][1])
        raise ThermalRunaway(
            f"gpu{i} runs away thermally: leakage feeds back with a gain of {gain[:, i].max():.2f} "
            "at its lowest clock",
            where=asm.server.file,
            hint="a gain of 1 or above has no state at rest; lower the resistance or the supply temperature",
        )
