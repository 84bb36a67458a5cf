"""Closed-form checks of the physics: what must come out to the last digits, whatever the server."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.linalg import expm

from coldmark.core.twin import Check
from coldmark.thermal import cdu, ducts, hydraulics, plates
from coldmark.thermal.assembly import assemble
from coldmark.thermal.catalogue import find_server
from coldmark.thermal.fluids import FLUIDS
from coldmark.thermal.model import Pump
from coldmark.thermal.network import Link, Network, Node, matrices, steady
from coldmark.thermal.parameters import Parameter
from coldmark.thermal.propagator import propagator

CLOSED = "closed form"


def line(
    id_: str,
    what: str,
    expected: float,
    found: float,
    tolerance: float,
    source: str,
    *,
    relative: bool = True,
) -> Check:
    """One number against its closed form or table value."""
    error = abs(found - expected) / (abs(expected) if relative else 1.0)
    return Check(
        id=id_,
        what=what,
        kind=CLOSED,
        measured=f"{expected:.6g}",
        predicted=f"{found:.6g}",
        error=f"{error:.1e}",
        tolerance=f"{tolerance:.0e}",
        passed=bool(error <= tolerance),
        source=source,
    )


def closed_form_checks() -> Iterator[Check]:
    """Every closed-form check."""
    yield from _rc()
    yield from _two_nodes()
    yield from _oracle()
    yield from _caloric()
    yield from _plates()
    yield from _cdu()
    yield from _pump()
    yield from _fluids()
    yield from _ducts()


def _rc() -> Iterator[Check]:
    """One node of 250 J/K behind 0.045 K/W, 500 W."""
    net = Network(
        nodes=(Node(name="a", c_j_per_k=250.0),),
        links=(Link(a="a", b="air", r_k_per_w=0.045),),
        boundaries=("air",),
    )
    mats = matrices(net)
    rest = steady(mats, np.array([500.0]), np.array([0.0]))[0]
    prop = propagator(mats, 0.01125, np.array([0]))
    x = np.zeros(2)
    x = prop.block(x, prop.hold(np.array([500.0]), np.array([0.0])), 500)[:, -1]
    x = prop.block(x, prop.hold(np.array([500.0]), np.array([0.0])), 500)[:, -1]
    yield line("1a", "one node at rest: P R [K]", 22.5, float(rest), 1e-9, "P R")
    yield line("1b", "one node after tau [K]", 22.5 * (1 - math.exp(-1)), float(x[0]), 1e-9, "P R (1 - 1/e)")


def _two_nodes() -> Iterator[Check]:
    """Two nodes in series: the eigenvalues of a 2 x 2 matrix by hand."""
    c1, c2, r1, r2 = 1.2, 250.0, 0.03, 0.05
    a, b, d = -1 / (c1 * r1), 1 / (c1 * r1), 1 / (c2 * r1)
    e = -(1 / r1 + 1 / r2) / c2
    mean, delta = (a + e) / 2, math.sqrt(((a - e) / 2) ** 2 + b * d)
    l1, l2 = mean + delta, mean - delta
    t, start = 0.5, np.array([10.0, 0.0])
    # exp(A t) by Sylvester's formula for two distinct eigenvalues
    m = np.array([[a, b], [d, e]])
    exact = (
        (np.exp(l1 * t) * (m - l2 * np.eye(2)) - np.exp(l2 * t) * (m - l1 * np.eye(2))) / (l1 - l2) @ start
    )
    net = Network(
        nodes=(Node(name="x", c_j_per_k=c1), Node(name="y", c_j_per_k=c2)),
        links=(Link(a="x", b="y", r_k_per_w=r1), Link(a="y", b="air", r_k_per_w=r2)),
        boundaries=("air",),
    )
    prop = propagator(matrices(net), 0.01, np.array([0]))
    x = prop.block(np.append(start, 0.0), prop.hold(np.zeros(1), np.zeros(1)), 50)[:, -1]
    yield line("1c", "two nodes after 0.5 s [K]", float(exact[0]), float(x[0]), 1e-9, "eigenvalues by hand")


def _oracle() -> Iterator[Check]:
    """A whole server against one matrix exponential over the same time; its balance at rest."""
    asm = assemble(find_server("x660-g45-lp"))
    n, src = len(asm.mats.c), asm.sources
    power = np.zeros(n)
    power[src] = 100.0
    prop = propagator(asm.mats, 0.01, src)
    x = np.append(np.full(n, 30.0), 0.0)
    held = prop.hold(power[src], asm.boundary_degc)
    for _ in range(4):
        x = prop.block(x, held, 500)[:, -1]
    a = asm.mats.k / asm.mats.c[:, None]
    end = steady(asm.mats, power, asm.boundary_degc)
    exact = end + expm(a * 20.0) @ (np.full(n, 30.0) - end)
    error = float(np.max(np.abs(x[:-1] - exact)))
    yield line(
        "1d", "server after 20 s, worst node [K]", 0.0, error, 1e-6, "one matrix exponential", relative=False
    )
    out = float(asm.mats.leave @ end - asm.mats.enter @ asm.boundary_degc)
    yield line("3a", "hybrid server at rest: heat out [W]", float(power.sum()), out, 1e-9, "energy balance")
    stored = float(asm.mats.c @ (x[:-1] - 30.0))
    total = float(power.sum()) * 20.0
    yield line(
        "3b",
        "hybrid server in motion: out + stored [J]",
        total,
        float(x[-1]) + stored,
        1e-9,
        "energy balance",
    )


def _caloric() -> Iterator[Check]:
    for name, rise in (("water", 7.235), ("pg25", 7.463)):
        found = 500.0 / FLUIDS[name].heat_rate_w_per_k(1.0, 40.0)
        yield line("2a", f"500 W into 1 L/min {name} [K]", rise, found, 5e-4, "CoolProp, 40 degC")
    found = 1000.0 / FLUIDS["pg25"].heat_rate_w_per_k(1.5, 40.0)
    yield line("2b", "OCP rule 1.5 L/min/kW [K]", 10.0, found, 2e-2, "OCP guidelines")


def _plates() -> Iterator[Check]:
    for name, fit in (("ocp-1kw-oam-pg25", plates.ocp_fit_pg25), ("ocp-1kw-oam-water", plates.ocp_fit_water)):
        table = plates.find_table(name)
        worst = max(
            abs(plates.plate_resistance(v, table) / r - 1)
            for v, r in zip(table.flow_l_per_min, table.r_k_per_w, strict=True)
        )
        yield line("4a", f"{name}: table back, worst", 0.0, worst, 1e-12, table.source, relative=False)
        grid = np.linspace(*table.range_l_per_min, 200)
        off = max(abs(plates.plate_resistance(float(v), table) / fit(float(v)) - 1) for v in grid)
        yield line("4b", f"{name}: against its fit, worst", 0.0, off, 3e-2, table.source, relative=False)


def _cdu() -> Iterator[Check]:
    pg = FLUIDS["pg25"]
    it = 31.48 * pg.heat_capacity_j_per_kg_k(35.0)
    facility = 32.30 * FLUIDS["water"].heat_capacity_j_per_kg_k(30.0)
    ua, source = 556e3, "Google Deschutes 2 MW CDU record"
    supply = cdu.supply_degc(2e6, 26.8, it, facility, ua)
    yield line("5a", "Deschutes CDU approach [K]", 3.0, supply - 26.8, 2e-2, source)
    ntu = cdu.ntu_for(0.842, min(it, facility) / max(it, facility))
    yield line("5b", "UA for effectiveness .842 [W/K]", ua, ntu * min(it, facility), 1e-2, source)
    yield line(
        "5c", "effectiveness and NTU invert", 0.842, cdu.effectiveness(ntu, 0.924), 2e-3, "Kays and London"
    )


def _pump() -> Iterator[Check]:
    def p(value: float, unit: str) -> Parameter:
        return Parameter(value=value, unit=unit, uncertainty=0.0, source="unit pump")

    pump = Pump(
        flow_l_per_min=p(1.0, "L/min"),
        head_pa=p(1.0, "Pa"),
        efficiency_share=p(0.7, "1"),
        curve_flow=hydraulics.XDU1350_FLOW,
        curve_head=hydraulics.XDU1350_HEAD,
        curve_source="Vertiv XDU1350",
    )
    yield line(
        "6a", "XDU1350 head at half flow", 3.231, hydraulics.head_pa(pump, 0.5), 1e-12, "Vertiv XDU1350"
    )
    at_80 = hydraulics.head_pa(pump, 0.8 * 0.5, 0.8)
    yield line("6b", "head at 80 % speed", 0.64 * 3.231, at_80, 1e-12, "affinity laws")
    yield line("6c", "power at 80 % speed", 0.512, hydraulics.affinity(0.8)[2], 1e-12, "affinity laws")


FLUID_TABLE = {
    ("water", 25.0): (997.09, 4181.0, 0.6066, 0.890e-3),
    ("water", 40.0): (992.26, 4179.2, 0.6285, 0.653e-3),
    ("water", 60.0): (983.24, 4184.7, 0.6511, 0.466e-3),
    ("pg25", 25.0): (1021.7, 3925.2, 0.4730, 2.093e-3),
    ("pg25", 40.0): (1014.5, 3962.2, 0.4871, 1.368e-3),
    ("pg25", 60.0): (1003.0, 4011.6, 0.5013, 0.881e-3),
}
"""CoolProp 8.0, as printed: rho, cp, k, mu."""


def _fluids() -> Iterator[Check]:
    for (name, degc), row in FLUID_TABLE.items():
        f = FLUIDS[name]
        found = (
            f.density_kg_per_m3(degc),
            f.heat_capacity_j_per_kg_k(degc),
            f.conductivity_w_per_m_k(degc),
            f.viscosity_pa_s(degc),
        )
        worst = max(abs(a / b - 1) for a, b in zip(found, row, strict=True))
        yield line(
            "7", f"{name} at {degc:g} degC, worst of four", 0.0, worst, 1e-3, "CoolProp 8.0", relative=False
        )


def _ducts() -> Iterator[Check]:
    yield line(
        "8a",
        "laminar Nu, pipe, wall temperature",
        3.66,
        ducts.laminar_nusselt(constant_flux=False),
        1e-3,
        "limits",
    )
    yield line(
        "8b", "laminar Nu, plates, heat flux", 8.235, ducts.laminar_nusselt("parallel plates"), 1e-3, "limits"
    )
    yield line("8c", "Churchill at Re 500: f Re", 64.0, 500 * ducts.churchill_friction(500.0), 1e-3, "limits")
