"""The twin driven by a recorded power trace: its temperatures beside the recorded ones."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from coldmark.core.errors import ConfigError, DataError
from coldmark.core.nouns import Provenance
from coldmark.core.trace import Array, Series, Trace
from coldmark.core.twin import ReplayResult, Residual
from coldmark.stats.throughput import binned_mean
from coldmark.thermal.assembly import Assembly, Operation, assemble, find_design
from coldmark.thermal.catalogue import find_server
from coldmark.thermal.network import steady
from coldmark.thermal.propagator import propagator
from coldmark.thermal.rest import other_power

STEP_S = 0.5
MOST_STEPS = 200_000
LEAST_S = 5.0
NOTE = "simulated with measured power; the server's other parts are taken at their load, as its file has it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Simulated die temperatures [n, g] at t_s [n] for powers [n, g], and the summary."""

    t_s: Array
    power_w: Array
    die_degc: Array
    summary: ReplayResult


def replay(trace: Trace, server_id: str, cooling: str | None, at: Operation, *, where: str) -> Replay:
    """Drive a server's network with the power of a trace's accelerators. Raises ConfigError, DataError."""
    server = find_server(server_id)
    name, _ = find_design(server, cooling)
    asm = assemble(server, name, at)
    t, power, components = powers(trace, where)
    g = len(asm.die)
    if power.shape[1] != g:
        raise ConfigError(
            f"{server.id} has {g} accelerators, the trace has the power of {power.shape[1]}",
            where="--server",
            hint="choose a server with as many, or a .toml file of your own",
        )
    die = simulate(asm, power)
    residuals = _residuals(trace, components, t, die)
    return Replay(
        t_s=t,
        power_w=power,
        die_degc=die,
        summary=ReplayResult(
            provenance=Provenance.SIMULATED,
            note=NOTE,
            server=server.id,
            cooling=name,
            seconds=float(t[-1] - t[0] + STEP_S),
            accelerators=g,
            mean_power_w=float(power.sum(axis=1).mean()),
            highest_degc=float(die.max()),
            residuals=residuals,
            source=where,
        ),
    )


def powers(trace: Trace, where: str) -> tuple[Array, Array, list[str]]:
    """Mean power [n, g] of each accelerator in steps of STEP_S that end at t [n], and their names.

    From the energy counter where there is one: on the A100 power itself is a slow average. Raises DataError.
    """
    energy, gauge = _gpus(trace, "energy_j"), _gpus(trace, "power_w")
    chosen = energy or gauge
    if not chosen:
        raise DataError(
            "the trace has no power of an accelerator", where=where, hint="coldmark sensors says why"
        )
    begin = max(float(s.t_s[0]) for s in chosen.values())
    end = min(float(s.t_s[-1]) for s in chosen.values())
    steps = int((end - begin) / STEP_S)
    if steps * STEP_S < LEAST_S or steps > MOST_STEPS:
        raise DataError(
            f"{end - begin:.1f} s of power are recorded", where=where, hint=f"at least {LEAST_S} s"
        )
    at: Array = begin + STEP_S * np.arange(steps + 1, dtype=np.float64)
    if energy:
        columns = [np.diff(np.interp(at, s.t_s, s.value)) / STEP_S for s in chosen.values()]
    else:
        columns = [binned_mean(s.t_s, s.value, at) for s in chosen.values()]
    return at[1:], np.column_stack(columns), list(chosen)


def _gpus(trace: Trace, quantity: str) -> dict[str, Series]:
    """Series of the accelerators by name, gpu2 before gpu10; of the first family that has them all."""
    for family in ("nvml", "dcgm", "redfish"):
        found = {
            s.channel.component: s
            for s in trace.of(quantity, family=family)
            if re.fullmatch(r"gpu\d+", s.channel.component) and len(s.t_s) > 1
        }
        if found:
            return dict(sorted(found.items(), key=lambda item: int(item[0][3:])))
    return {}


def simulate(asm: Assembly, power: Array) -> Array:
    """Die temperatures [n, g] for module powers [n, g] held over STEP_S, from rest at the first."""
    prop = propagator(asm.mats, STEP_S, asm.sources)
    sources = [_sources(asm, row) for row in power]
    full = np.zeros(len(asm.mats.c))
    np.add.at(full, asm.sources.astype(int), sources[0])
    state = np.append(steady(asm.mats, full, asm.boundary_degc), 0.0)
    out = np.empty_like(power)
    for i, source in enumerate(sources):
        state = prop.step(state, prop.hold(source, asm.boundary_degc))
        out[i] = state[asm.die]
    return out


def _sources(asm: Assembly, module_w: Array) -> Array:
    memory = np.minimum(asm.part.memory_load_w.value, module_w)
    others = other_power(asm, load=True)
    names = list(asm.other)
    if "supplies" in names:
        loss = 1.0 / asm.server.host.supply_share.value - 1.0
        others[names.index("supplies")] = (module_w.sum() + others.sum()) * loss
    return np.concatenate([module_w - memory, memory, others])


def _residuals(trace: Trace, components: list[str], t: Array, die: Array) -> tuple[Residual, ...]:
    """Recorded less simulated die temperature, of each accelerator that recorded one."""
    recorded = _gpus(trace, "temperature_degc")
    found = []
    for i, name in enumerate(components):
        s = recorded.get(name)
        if s is not None:
            seen = s.between(float(t[0]), float(t[-1]))
            if len(seen.t_s):
                left = seen.value - np.interp(seen.t_s, t, die[:, i])
                found.append(residual(f"{name} die temperature", "K", left, "the whole trace"))
    return tuple(found)


def residual(name: str, unit: str, left: Array, over: str) -> Residual:
    """Rms, mean and largest of what is left [n]."""
    return Residual(
        name=name,
        unit=unit,
        rms=float(np.sqrt(np.mean(left**2))),
        largest=float(np.max(np.abs(left))),
        mean=float(np.mean(left)),
        n=len(left),
        over=over,
    )


def write_csv(found: Replay, path: Path) -> None:
    """t_s, then power and simulated die temperature of each accelerator. Raises DataError."""
    aside = path.with_name(f".{path.name}.part")
    g = found.power_w.shape[1]
    try:
        with aside.open("w", newline="", encoding="utf-8") as file:
            file.write(f"# {replace(found.summary, residuals=()).note}\n")
            out = csv.writer(file)
            out.writerow(
                ["t_s", *(f"gpu{i}.power_w" for i in range(g)), *(f"gpu{i}.die_degc" for i in range(g))]
            )
            for row in np.column_stack([found.t_s, found.power_w, found.die_degc]):
                out.writerow([f"{v:.4f}" for v in row])
        aside.replace(path)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=str(path)) from None
