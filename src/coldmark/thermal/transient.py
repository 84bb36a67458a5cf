"""A server second by second: the exact propagator, the governor, throttling with hysteresis, and shut-down.

Power is held while nothing that decides it has changed: a block of 10 ms steps is propagated at once and cut
at the first step where a die has moved by more than `MOVE_K` since power was last computed (leakage follows
temperature), or where a sensor crosses a limit. So the governor looks at every step, and long quiet stretches
cost a few matrix products. Leakage lags by at most MOVE_K, that is 0.1 W of 400.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from coldmark.thermal.assembly import Assembly
from coldmark.thermal.network import Array, steady
from coldmark.thermal.power import Curve
from coldmark.thermal.propagator import Propagator, propagator
from coldmark.thermal.rest import (
    Influence,
    NDArrayBool,
    Reason,
    ThermalRunaway,
    influence,
    leak_gain,
    liquid_heat_w,
    other_power,
)
from coldmark.thermal.stiff import StiffPropagator, stiff_propagator

MOVE_K = 0.25
CONTROL_S, INTEGRAL_S, PROPORTIONAL = 0.1, 10.0, 2.0
"""Software thermal control: a proportional-integral law on power, every so often. [M]"""
FIRST, LONGEST = 8, 512
EXACT_NODES = 1000
"""Networks up to this many nodes are propagated exactly, larger ones by the sparse stiff step.

Measured (`stepping` in benchmarks/twin.py): 600 s of 1018 nodes cost 5.2 s of processor time exactly and
5.1 s sparsely; 518 nodes 1.1 and 3.1 s. The exact cost grows with n cubed, the sparse one with n.
"""
NO_REST = "a gain of 1 or above has no state at rest; lower the resistance or the supply temperature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something the twin's user wants to know the time of."""

    at_s: float
    component: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """Sampled every `every_s`; arrays are [samples, accelerators] unless said otherwise."""

    time_s: Array  # [samples]
    die_degc: Array
    memory_degc: Array
    mhz: Array
    gpu_w: Array
    reason: NDArrayInt  # index into REASONS
    other_degc: Array  # [samples, others]
    wall_w: Array  # [samples]
    coolant_w: Array  # [samples] heat that leaves with the liquid at that instant
    events: tuple[Event, ...]
    balance_residual: float  # |in - out - stored| / in over the whole run
    heat_in_j: float
    heat_out_j: float
    stored_j: float
    steps: int
    state: Array = field(repr=False)  # last temperatures, for what follows


NDArrayInt = np.ndarray[tuple[int, ...], np.dtype[np.int8]]
REASONS = (
    Reason.NONE,
    Reason.POWER_LIMIT,
    Reason.SOFTWARE_THERMAL,
    Reason.HARDWARE_THERMAL,
    Reason.SHUT_DOWN,
)


def simulate(
    asm: Assembly,
    curve: Curve,
    duration_s: float,
    *,
    step_s: float = 0.01,
    every_s: float = 1.0,
    start_degc: Array | None = None,
    changes: Mapping[float, Assembly] | None = None,
    stop: Callable[[list[Event]], bool] | None = None,
    control: bool = True,
    runaway: bool = False,
) -> Trajectory:
    """Simulate under load from rest at idle, or from `start_degc`; [n].

    `control` off leaves the thermal control out; `runaway` lets a part pass its shut-down, to see where it
    goes. `changes` replace the assembly at given times [s] (same nodes, other links: a fault). `stop` ends
    the run once the events satisfy it. Raises ThermalRunaway with component and time.
    """
    run = _Run(asm, curve, step_s, every_s, control=control, runaway=runaway)
    run.begin(start_degc if start_degc is not None else idle_state(asm))
    for at_s, after in sorted((changes or {}).items()):
        run.until(min(at_s, duration_s), stop)
        run.change(after)
    run.until(duration_s, stop)
    return run.finish()


def idle_state(asm: Assembly) -> Array:
    """All temperatures at rest while idle; [n]."""
    p = asm.part
    power = np.zeros(len(asm.mats.c))
    power[asm.die] += p.idle_w.value - p.memory_idle_w.value
    power[asm.memory] += p.memory_idle_w.value
    np.add.at(power, list(asm.other.values()), other_power(asm, load=False))
    return steady(asm.mats, power, asm.boundary_degc)


def _propagator(asm: Assembly, step_s: float) -> Propagator | StiffPropagator:
    made = propagator if len(asm.mats.c) <= EXACT_NODES else stiff_propagator
    return made(asm.mats, step_s, asm.sources)


class _Run:
    """One simulation: the state between two cuts."""

    def __init__(
        self, asm: Assembly, curve: Curve, step_s: float, every_s: float, *, control: bool, runaway: bool
    ) -> None:
        self.curve, self.step_s, self.control, self.runaway = curve, step_s, control, runaway
        self.every = max(1, round(every_s / step_s))
        g = len(asm.die)
        self.cap = np.full(g, asm.limit_w)  # what the thermal control lets through [W], integral part
        self.command = self.cap.copy()
        self.hot = np.zeros(g, bool)
        self.off = np.zeros(g, bool)
        self.reason = np.zeros(g, np.int8)
        self.events: list[Event] = []
        self.seen: set[tuple[str, str]] = set()
        self.step, self.next_control, self.width = 0, 0, FIRST
        self.heat_in = self.heat_out = 0.0
        self.rows: list[Array] = []
        self.change(asm)

    def change(self, asm: Assembly) -> None:
        """Another network from here on; its nodes are the same."""
        self.asm = asm
        self.prop = _propagator(asm, self.step_s)
        self.buffer = np.empty((len(asm.mats.c) + 1, LONGEST), order="F")
        self.inf: Influence = influence(asm)
        self.others = other_power(asm, load=True)
        names = list(asm.other)
        self.supplies = names.index("supplies") if "supplies" in names else None
        self.loss = 1.0 / asm.server.host.supply_share.value - 1.0
        g = len(asm.die)
        self.reach = self.inf.h[:g, :g].sum(axis=1)
        self.reach_memory = self.inf.h[g : 2 * g, :g].sum(axis=1)
        self.width = FIRST

    def begin(self, degc: Array) -> None:
        self.x = np.append(degc, 0.0)
        self.first = degc.copy()

    def until(self, end_s: float, stop: Callable[[list[Event]], bool] | None) -> None:
        last = round(end_s / self.step_s)
        while self.step < last and not (stop and stop(self.events)):
            self.advance(last - self.step)

    def advance(self, left: int) -> None:
        """Decide clocks and power, propagate a block, keep what came before the first cut."""
        die, memory = self.x[self.asm.die], self.x[self.asm.memory]
        mhz, power = self.govern(die, memory)
        source = self.sources(power)
        width = min(self.width, left)
        if np.any(self.reason >= 2) or np.any(self.cap < self.asm.limit_w):
            width = min(width, max(1, self.next_control - self.step))
        x = self.prop.block(self.x, self.prop.hold(source, self.asm.boundary_degc), width, self.buffer)
        keep = self.cut(x, die, memory)
        self.record(x, keep, mhz, power, source)
        self.x = x[:, keep - 1].copy()
        self.heat_in += float(source.sum()) * keep * self.step_s
        self.heat_out += float(self.x[-1])
        self.x[-1] = 0.0
        self.step += keep
        self.width = min(LONGEST, max(FIRST, 2 * keep))

    def cut(self, x: Array, die: Array, memory: Array) -> int:
        """How many steps of a block hold: up to and with the first that changes a decision."""
        p = self.asm.part
        d, m = x[self.asm.die], x[self.asm.memory]
        upper = np.minimum(die + MOVE_K, np.where(self.hot | self.off, np.inf, p.slowdown_degc.value))
        upper = np.minimum(
            upper, np.where(die < p.max_operating_degc.value, p.max_operating_degc.value, np.inf)
        )
        over = (d > np.maximum(upper, die + 1e-9)[:, None]) | (d < (die - MOVE_K)[:, None])
        over |= m > np.where(memory < p.memory_max_degc.value, p.memory_max_degc.value, np.inf)[:, None]
        hit = np.flatnonzero(over.any(axis=0))
        return int(hit[0]) + 1 if len(hit) else x.shape[1]

    def govern(self, die: Array, memory: Array) -> tuple[Array, Array]:
        """Clocks [MHz] and module powers [W] for the temperatures of this instant."""
        p, top = self.asm.part, self.curve.mhz[-1]
        self.watch(die)
        if self.control:
            self.thermal(die, memory)
        limited = self.curve.clock_mhz(np.full(len(die), self.asm.limit_w), die)
        mhz = limited
        if np.any(self.command < self.asm.limit_w):
            mhz = np.minimum(limited, self.curve.clock_mhz(self.command, die))
        self.reason = np.where(limited < top * 0.9995, 1, 0).astype(np.int8)
        self.reason[mhz < limited - 0.5] = 2
        mhz = np.where(self.hot, np.minimum(mhz, max(p.idle_mhz.value, top / 3)), mhz)
        self.reason[self.hot] = 3
        self.reason[self.off] = 4
        power = np.where(self.off, 0.0, self.curve.power_w(mhz, die))
        return np.where(self.off, 0.0, mhz), power

    def thermal(self, die: Array, memory: Array) -> None:
        """Software control every CONTROL_S, hardware slow-down and shut-down at once, all with hysteresis."""
        p = self.asm.part
        self.note(die >= p.max_operating_degc.value, "throttle", "die at its operating limit")
        self.note(memory >= p.memory_max_degc.value, "throttle", "memory at its operating limit")
        self.hot |= die >= p.slowdown_degc.value
        self.hot &= die >= p.slowdown_degc.value - p.hysteresis_k.value
        self.note(self.hot, "hardware slow-down", "")
        fresh = (die >= p.shutdown_degc.value) & ~self.off & (not self.runaway)
        self.note(fresh, "shut-down", "")
        self.off |= fresh
        if self.step < self.next_control:
            return
        self.next_control = self.step + max(1, round(CONTROL_S / self.step_s))
        room = np.minimum(
            (p.max_operating_degc.value - die) / self.reach,
            (p.memory_max_degc.value - memory) / self.reach_memory,
        )
        floor, limit = self.curve.fixed_w[0], self.asm.limit_w
        self.cap = np.clip(self.cap + room * CONTROL_S / INTEGRAL_S, floor, limit)
        self.command = np.clip(self.cap + PROPORTIONAL * room, floor, limit)
        lost = (self.cap <= floor) & (room < 0)
        self.note(lost, "limit not held", "lowest clock, and still too hot")

    def note(self, where: NDArrayBool, what: str, detail: str) -> None:
        for i in np.flatnonzero(where):
            key = (f"gpu{i}", what)
            if key not in self.seen:
                self.seen.add(key)
                text = f"{what}: {detail}" if detail else what
                self.events.append(Event(at_s=self.step * self.step_s, component=key[0], what=text))

    def watch(self, die: Array) -> None:
        """A part that leakage alone heats faster than it cools, even at its lowest clock, runs away."""
        if not self.runaway and np.all(np.isfinite(die)):
            return
        gain = leak_gain(self.curve, np.full_like(die, self.curve.mhz[0]), die, self.reach)
        bad = (gain >= 1.0) & (die > self.asm.part.shutdown_degc.value)
        if np.any(bad) or not np.all(np.isfinite(die)):
            i = int(np.flatnonzero(bad)[0]) if np.any(bad) else int(np.flatnonzero(~np.isfinite(die))[0])
            raise ThermalRunaway(
                f"gpu{i} runs away thermally at {self.step * self.step_s:.2f} s: {die[i]:.0f} degC, "
                f"leakage feeds back with a gain of {gain[i]:.2f}",
                where=self.asm.server.file,
                hint=NO_REST,
            )

    def sources(self, power: Array) -> Array:
        p = self.asm.part
        memory = np.where(self.off, 0.0, np.minimum(p.memory_load_w.value, power))
        others = self.others.copy()
        if self.supplies is not None:
            others[self.supplies] = (power.sum() + self.others.sum()) * self.loss
        return np.concatenate([power - memory, memory, others])

    def record(self, x: Array, keep: int, mhz: Array, power: Array, source: Array) -> None:
        first = -(self.step + 1) % self.every
        wall = source.sum()
        for j in range(first, keep, self.every):
            t = x[:-1, j]
            self.rows.append(
                np.concatenate(
                    [
                        [(self.step + 1 + j) * self.step_s, wall, liquid_heat_w(self.asm, t)],
                        t[self.asm.die],
                        t[self.asm.memory],
                        mhz,
                        power,
                        self.reason,
                        t[list(self.asm.other.values())],
                    ]
                )
            )

    def finish(self) -> Trajectory:
        g = len(self.asm.die)
        rows = np.array(self.rows) if self.rows else np.empty((0, 3 + 5 * g + len(self.asm.other)))
        parts = np.split(rows, [1, 2, 3, 3 + g, 3 + 2 * g, 3 + 3 * g, 3 + 4 * g, 3 + 5 * g], axis=1)
        stored = float(self.asm.mats.c @ (self.x[:-1] - self.first))
        scale = max(abs(self.heat_in), 1e-30)
        return Trajectory(
            time_s=parts[0][:, 0],
            wall_w=parts[1][:, 0],
            coolant_w=parts[2][:, 0],
            die_degc=parts[3],
            memory_degc=parts[4],
            mhz=parts[5],
            gpu_w=parts[6],
            reason=parts[7].astype(np.int8),
            other_degc=parts[8],
            events=tuple(self.events),
            balance_residual=abs(self.heat_in - self.heat_out - stored) / scale,
            heat_in_j=self.heat_in,
            heat_out_j=self.heat_out,
            stored_j=stored,
            steps=self.step,
            state=self.x[:-1],
        )
