"""Benchmark shares, voltage curve and power from published scores at known power limits: least squares with
priors.

Unknowns: static power, knee and slope of the voltage curve, a factor of the PCIe server, the leakage slope,
and for each benchmark its core and memory shares and the power it would draw at the boost clock. Data: ratios
of published Offline scores to those of the DGX A100 at 400 W. Every unknown has a prior, so that the answer
says which of them the data does not determine: those whose spread stays near the prior's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

import numpy as np
from scipy.optimize import least_squares
from scipy.special import expit, logit

from coldmark.core.nouns import Scenario
from coldmark.thermal.assembly import Operation, assemble
from coldmark.thermal.catalogue import find_part, find_server
from coldmark.thermal.model import Part
from coldmark.thermal.network import Array
from coldmark.thermal.power import Activity, Electrics, curve, electrics, sample_time
from coldmark.thermal.rest import influence, other_power
from coldmark.thermal.workloads import Point, published

SCORE_SIGMA = 0.015
"""Scatter of a published ratio around the model (batch sizes, fan duty and hosts differ): one deviation."""

GLOBALS = ("static_w", "knee_mhz", "slope_mv_per_mhz", "pcie_factor", "leakage_pct_per_k")
PER = ("core", "boost_w", "memory")
REFERENCE = "dgx-a100"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """Die temperature of a server against accelerator power, all alike: T = base + slope P."""

    base_degc: float
    slope_k_per_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What calibration found: mean and covariance on its unconstrained scale, and the priors before."""

    benchmarks: tuple[str, ...]
    names: tuple[str, ...]
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    prior_mean: tuple[float, ...]
    prior_sd: tuple[float, ...]
    residual_share: float  # rms of ln(model / published)
    points: int
    responses: dict[str, Response]
    batch_overhead_s: dict[str, float] = field(
        default_factory=dict
    )  # of a Server batch; fitted on the DGX A100

    def draws(self, n: int, rng: np.random.Generator) -> Array:
        """Samples of the unknowns; [n, k]."""
        found: Array = rng.multivariate_normal(np.array(self.mean), np.array(self.covariance), n)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """One set of unknowns, in their own units."""

    static_w: float
    knee_mhz: float
    slope_mv_per_mhz: float
    pcie_factor: float
    leakage_pct_per_k: float
    core: Mapping[str, float]
    memory: Mapping[str, float]
    boost_w: Mapping[str, float]  # at boost clock, 60 degC, on the 400 W part


def unpack(theta: Sequence[float] | Array, benchmarks: Sequence[str]) -> Values:
    """Unconstrained numbers to values."""
    head, tail = list(theta[: len(GLOBALS)]), list(theta[len(GLOBALS) :])
    core, memory, boost = {}, {}, {}
    for i, b in enumerate(benchmarks):
        c = float(expit(tail[3 * i]))
        core[b], boost[b] = c, float(np.exp(tail[3 * i + 1]))
        memory[b] = (1 - c) * float(expit(tail[3 * i + 2]))
    return Values(
        static_w=max(5.0, head[0]),
        knee_mhz=float(np.clip(head[1], 250.0, 1350.0)),
        slope_mv_per_mhz=max(0.02, head[2]),
        pcie_factor=head[3],
        leakage_pct_per_k=max(0.005, head[4]),
        core=core,
        memory=memory,
        boost_w=boost,
    )


def physics(values: Values, benchmark: str, part: Part) -> tuple[Electrics, Activity]:
    """Voltage curve, leakage and activity of a benchmark on a part.

    For a part of another family (H100) the voltage curve is its own file's, and powers scale with TDP.
    """
    e = electrics(part)
    rate = part.leakage_rate_per_k.value
    leak = values.leakage_pct_per_k / 100 * part.tdp_w.value / rate
    e = replace(e, leakage_w=leak)
    scale = 1.0
    if part.family == "a100":
        e = replace(e, knee_mhz=values.knee_mhz, slope_v_per_mhz=values.slope_mv_per_mhz * 1e-3)
    else:
        scale = part.tdp_w.value / 400.0
    static = values.static_w * scale
    return e, Activity(
        core_share=values.core[benchmark],
        memory_share=values.memory[benchmark],
        static_w=static,
        dynamic_w=max(10.0, values.boost_w[benchmark] * scale - static - leak),
    )


def relative_rate(
    values: Values, benchmark: str, part: Part, limit_w: Array | float, degc: Array | float
) -> Array:
    """Score of one accelerator over that at boost clock and reference memory clock, at limits and
    temperatures.
    """
    e, act = physics(values, benchmark, part)
    mhz = curve(e, act).clock_mhz(np.asarray(limit_w, float), np.asarray(degc, float))
    ratio = part.memory_mhz.value / part.memory_reference_mhz.value
    factor = values.pcie_factor if part.form == "pcie" else 1.0
    return factor / sample_time(act, mhz, part.boost_mhz.value, ratio)


def reference_rate(values: Values, benchmark: str, responses: Mapping[str, Response]) -> float:
    """The same for the server the scores are relative to, at its own limit and temperature."""
    server = find_server(REFERENCE)
    limit = server.gpu.default_limit_w.value
    r = responses[REFERENCE]
    return float(
        relative_rate(
            values, benchmark, find_part(server.gpu.part), limit, r.base_degc + r.slope_k_per_w * limit
        )
    )


def response(server_id: str) -> Response:
    """Mean die temperature of a server against power, from its network."""
    server = find_server(server_id)
    asm = assemble(server, None, Operation())
    inf, g = influence(asm), len(asm.die)
    others = other_power(asm, load=True)
    memory = np.full(g, asm.part.memory_load_w.value)
    base = inf.to_boundary @ asm.boundary_degc

    def mean_die(watts: float) -> float:
        source = np.concatenate([np.full(g, watts) - memory, memory, others])
        return float((base + inf.h @ source)[:g].mean())

    low, high = mean_die(200.0), mean_die(400.0)
    slope = (high - low) / 200.0
    return Response(base_degc=low - 200.0 * slope, slope_k_per_w=slope)


def priors(benchmarks: Sequence[str]) -> tuple[Array, Array]:
    """Mean and standard deviation of every unknown, on the unconstrained scale."""
    part = find_part("a100-sxm4-80gb-400w")
    mean = [
        60.0,
        part.voltage_knee_mhz.value,
        part.voltage_slope_mv_per_mhz.value,
        1.0,
        part.leakage_slope_pct_per_k.value,
    ]
    sd = [
        25.0,
        part.voltage_knee_mhz.uncertainty,
        part.voltage_slope_mv_per_mhz.uncertainty,
        0.02,
        part.leakage_slope_pct_per_k.uncertainty,
    ]
    for _ in benchmarks:
        mean += [0.0, float(np.log(430.0)), float(logit(0.4))]
        sd += [1.0, 0.25, 1.0]
    return np.array(mean), np.array(sd)


def training_points(points: Iterable[Point] | None = None) -> list[Point]:
    """The Offline points that may be fitted: those marked "fit". Held-out points never get here."""
    chosen = published().points if points is None else points
    return [p for p in chosen if p.role == "fit" and p.scenario is Scenario.OFFLINE]


def residuals(
    theta: Array, points: Sequence[Point], benchmarks: Sequence[str], responses: Mapping[str, Response]
) -> Array:
    """ln(model / published) of each point's ratio to the reference; [points]."""
    values = unpack(theta, benchmarks)
    base = {p.benchmark: p.score / p.accelerators for p in points if _is_reference(p)}
    found = []
    for p in points:
        if _is_reference(p):
            continue
        part = find_part(find_server(p.server).gpu.part)
        r = responses[p.server]
        degc = r.base_degc + r.slope_k_per_w * p.limit_w
        ratio = float(relative_rate(values, p.benchmark, part, p.limit_w, degc))
        ratio /= reference_rate(values, p.benchmark, responses)
        found.append(np.log(ratio / (p.score / p.accelerators / base[p.benchmark])))
    return np.array(found)


def _is_reference(p: Point) -> bool:
    return p.server == REFERENCE and p.limit_w == find_server(REFERENCE).gpu.default_limit_w.value


def calibrate(points: Sequence[Point] | None = None) -> Fit:
    """Fit the unknowns to training points. Deterministic."""
    chosen = training_points() if points is None else list(points)
    benchmarks = tuple(sorted({p.benchmark for p in chosen}))
    responses = {s: response(s) for s in sorted({p.server for p in chosen} | {REFERENCE})}
    mean, sd = priors(benchmarks)

    def cost(theta: Array) -> Array:
        data = residuals(theta, chosen, benchmarks, responses) / SCORE_SIGMA
        return np.concatenate([data, (theta - mean) / sd])

    found = least_squares(cost, mean, x_scale=sd, xtol=1e-10, ftol=1e-10)
    jac = np.asarray(found.jac, dtype=float)
    covariance = np.linalg.inv(jac.T @ jac)
    left = residuals(found.x, chosen, benchmarks, responses)
    names = [*GLOBALS, *(f"{b}.{k}" for b in benchmarks for k in PER)]
    return Fit(
        benchmarks=benchmarks,
        names=tuple(names),
        mean=tuple(float(v) for v in found.x),
        covariance=tuple(tuple(float(v) for v in row) for row in covariance),
        prior_mean=tuple(float(v) for v in mean),
        prior_sd=tuple(float(v) for v in sd),
        residual_share=float(np.sqrt(np.mean(left**2))),
        points=len(left),
        responses=responses,
    )


@cache
def shipped_fit() -> Fit:
    """The fit that ships; `coldmark twin calibrate` makes it again."""
    from coldmark.core.codec import from_plain

    text = (resources.files("coldmark.thermal") / "fit.json").read_text(encoding="utf-8")
    return from_plain(json.loads(text), Fit, where="fit.json")


def undetermined(fit: Fit, share: float = 0.7) -> list[str]:
    """Unknowns whose spread after the fit is still above `share` of the prior's: the data does not tell."""
    sd = np.sqrt(np.diag(np.array(fit.covariance)))
    return [n for n, s, p in zip(fit.names, sd, fit.prior_sd, strict=True) if s > share * p]
