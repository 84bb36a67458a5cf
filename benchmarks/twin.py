"""What the twin costs: node-steps a second, start-up, sweeps, and cost against nodes and servers.

Run on a quiet machine, one core: OPENBLAS_NUM_THREADS=1 python benchmarks/twin.py. A node-step is one node
over one 10 ms step. The peer, scipy's BDF restarted every 0.5 s for the governor, runs in the same process on
the same net.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from coldmark.core.nouns import Scenario
from coldmark.runs.twin.setup import TwinSpec
from coldmark.runs.twin.sweep import Grid, sweep
from coldmark.thermal import transient
from coldmark.thermal.assembly import Assembly, assemble
from coldmark.thermal.calibration import shipped_fit, unpack
from coldmark.thermal.catalogue import find_server
from coldmark.thermal.fleet import simulate_fleet
from coldmark.thermal.model import ServerModel
from coldmark.thermal.parameters import Parameter
from coldmark.thermal.propagator import propagator
from coldmark.thermal.score import Engine, engine
from coldmark.thermal.stiff import stiff_stepper
from coldmark.thermal.transient import idle_state, simulate


def scaled(count: int) -> ServerModel:
    """The 20-card server with another number of cards, and air in proportion."""
    base = find_server("x640-g40")

    def times(p: Parameter) -> Parameter:
        return replace(p, value=p.value * count / base.gpu.count)

    air = replace(base.air, full_m3_per_s=times(base.air.full_m3_per_s))
    wide = {"high_factor": replace(base.cpu.air.high_factor, value=1e6)}  # type: ignore[union-attr]

    def open_(noun: Any) -> Any:
        return replace(noun, air=replace(noun.air, **wide))

    others = {name: open_(noun) for name, noun in base.others.items()}
    return replace(
        base,
        gpu=replace(base.gpu, count=count),
        air=air,
        cpu=open_(base.cpu),
        memory=open_(base.memory),
        others=others,
    )


def make(count: int) -> tuple[Assembly, Engine]:
    fit = shipped_fit()
    asm = assemble(scaled(count))
    return asm, engine(asm, unpack(fit.mean, fit.benchmarks), fit, "resnet50")


def best(run: Callable[[], Any], times: int = 3, clock: Callable[[], float] = time.perf_counter) -> float:
    found = []
    for _ in range(times):
        start = clock()
        run()
        found.append(clock() - start)
    return min(found)


def bdf(asm: Assembly, eng: Engine, seconds: float) -> None:
    """scipy's BDF, power recomputed every 0.5 s, default tolerances."""
    mats, a = asm.mats, asm.mats.k / asm.mats.c[:, None]
    t = idle_state(asm)
    for _ in range(round(seconds / 0.5)):
        mhz = eng.power.clock_mhz(np.full(len(asm.die), asm.limit_w), t[asm.die])
        power = np.zeros(len(t))
        power[asm.die] = eng.power.power_w(mhz, t[asm.die])
        u = (power + mats.b @ asm.boundary_degc) / mats.c
        t = solve_ivp(lambda _, y, u=u: a @ y + u, (0, 0.5), t, method="BDF", jac=a).y[:, -1]


def governor(out: dict[str, Any]) -> None:
    """600 s of 203 nodes with governor, by wall clock and by processor time (what a busy machine leaves)."""
    asm, eng = make(37)
    n, slice_s = len(asm.mats.c), 20.0
    found: dict[str, Any] = {"nodes": n}
    for name, clock in (("", time.perf_counter), ("cpu_", time.process_time)):
        took = best(lambda: simulate(asm, eng.power, 600.0), clock=clock)
        peer = best(lambda: bdf(asm, eng, slice_s), 1, clock=clock)
        found[f"{name}seconds"] = took
        found[f"{name}node_steps_per_s"] = n * 60_000 / took
        found[f"bdf_{name}node_steps_per_s"] = n * slice_s * 100 / peer
    found["times_bdf_cpu"] = found["cpu_node_steps_per_s"] / found["bdf_cpu_node_steps_per_s"]
    found["balance_residual"] = simulate(asm, eng.power, 600.0).balance_residual
    out["governor"] = found


def commands(out: dict[str, Any]) -> None:
    call = [
        sys.executable,
        "-m",
        "coldmark",
        "twin",
        "run",
        "x660-g45-lp",
        "--workload",
        "resnet50",
        "--json",
    ]
    out["twin_run_s"] = best(lambda: subprocess.run(call, check=True, capture_output=True))
    spec = TwinSpec(server="x660-g45-lp", workload="bert-99", scenario=Scenario.OFFLINE)
    grid = Grid(
        supply_degc=tuple(np.linspace(20, 55, 10)),
        flow_l_per_min=tuple(np.linspace(4, 9, 10)),
        limit_w=tuple(np.linspace(300, 500, 10)),
    )
    out["sweep_1000_points_s"] = best(lambda: sweep(spec, grid), 2)


def nodes(out: dict[str, Any]) -> None:
    """Cost of one 10 ms step against node count: exact blocks and the sparse stiff stepper."""
    out["nodes"] = []
    for count in (10, 37, 100, 300):
        asm, _ = make(count)
        n = len(asm.mats.c)
        prop = propagator(asm.mats, 0.01, asm.sources)
        x, held = np.append(idle_state(asm), 0.0), prop.gamma[:, 0] * 0
        exact = best(lambda prop=prop, x=x, held=held: prop.block(x, held, 512)) / 512
        stiff = stiff_stepper(asm.mats, 0.01)
        u = np.zeros(n)
        sparse = best(lambda stiff=stiff, x=x, u=u: [stiff.step(x[:-1], u) for _ in range(50)]) / 50
        out["nodes"].append(
            {"nodes": n, "exact_node_steps_per_s": n / exact, "stiff_node_steps_per_s": n / sparse}
        )


def stepping(out: dict[str, Any]) -> None:
    """A whole run of 600 s with governor, exact and sparse: where one overtakes the other."""
    out["stepping"] = []
    chosen = transient.EXACT_NODES
    for count in (37, 100, 200, 300):
        asm, eng = make(count)
        row: dict[str, Any] = {"nodes": len(asm.mats.c)}
        for name, most in (("exact_cpu_s", 1 << 30), ("sparse_cpu_s", 0)):
            transient.EXACT_NODES = most
            row[name] = best(lambda asm=asm, eng=eng: simulate(asm, eng.power, 600.0), 1, time.process_time)
        out["stepping"].append(row)
    transient.EXACT_NODES = chosen


def servers(out: dict[str, Any], most: int) -> None:
    """Fleets of one model: node-steps a second and peak memory; steps of 0.1 s with the governor at each."""
    fit = shipped_fit()
    asm = assemble(find_server("x660-g45-lp"))
    eng = engine(asm, unpack(fit.mean, fit.benchmarks), fit, "resnet50")
    out["servers"] = []
    for count in (1, 10, 100, 1000, 10_000):
        if count > most:
            break
        bounds = np.column_stack([np.linspace(25, 50, count), np.full(count, 25.0)])
        start = time.perf_counter()
        simulate_fleet(asm, eng.power, bounds, 10.0)
        took = time.perf_counter() - start
        out["servers"].append(
            {
                "servers": count,
                "node_steps_per_s": count * len(asm.mats.c) * 100 / took,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most-servers", type=int, default=10_000)
    args = parser.parse_args()
    out: dict[str, Any] = {"note": "host time of simulations"}
    governor(out)
    commands(out)
    nodes(out)
    stepping(out)
    servers(out, args.most_servers)
    print(json.dumps(out, indent=2))


if __name__ == "__main__":
    main()
