"""Prediction intervals: fitted unknowns and file parameters are drawn, scores taken at rest."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Scenario
from coldmark.runs.twin.score import Score
from coldmark.runs.twin.setup import Setup
from coldmark.thermal.assembly import Assembly, assemble
from coldmark.thermal.calibration import Values, unpack
from coldmark.thermal.parameters import Parameter, unit_of
from coldmark.thermal.rest import ThermalRunaway, rest
from coldmark.thermal.score import Engine, engine

T = TypeVar("T")

OFFLINE_SCATTER = {"sxm": 0.02, "pcie": 0.05}
"""Scatter of published Offline scores around the model, over servers that nothing was fitted on."""
SERVER_SCATTER = {"sxm": 0.07, "pcie": 0.28}
"""The same for Server, where tail and host decide; `twin validate` lists every one."""
STREAM_SCATTER = 0.10
"""The same for the streams, which a host's own latency moves most."""
TRANSFER_SCATTER = 0.10
"""Of a family that nothing was fitted on: shares and voltage curve are taken over. [M]"""
CONFIDENCE = (0.05, 0.95)


def perturb(noun: T, rng: np.random.Generator) -> T:
    """A copy with every parameter drawn: log-normal where it must stay positive, normal for temperatures."""
    if not is_dataclass(noun) or isinstance(noun, type):
        return noun
    changes: dict[str, Any] = {}
    for f in fields(noun):
        value = getattr(noun, f.name)
        if isinstance(value, Parameter):
            changes[f.name] = _draw(f.name, value, rng)
        elif is_dataclass(value):
            changes[f.name] = perturb(value, rng)
        elif isinstance(value, dict) and value and f.name != "designs":
            changes[f.name] = {k: perturb(v, rng) for k, v in value.items()}
    return replace(noun, **changes)


def _draw(key: str, p: Parameter, rng: np.random.Generator) -> Parameter:
    z = float(np.clip(rng.standard_normal(), -2.5, 2.5))
    unit, low, high = unit_of(key)
    if p.uncertainty == 0 or p.value == 0:
        return p
    value = (
        p.value + p.uncertainty * z
        if unit == "degC"
        else p.value * float(np.exp(p.uncertainty / p.value * z))
    )
    return replace(p, value=float(np.clip(value, low + 1e-9, high)))


def draws(setup: Setup, n: int, seed: int = 20220909) -> Iterator[tuple[Assembly, Values] | None]:
    """Assemblies and values of n draws; None for one that leaves a table or a range.

    Draw i of two setups shares the fitted unknowns and what belongs to the part, so that ratios may be taken;
    what belongs to a server is drawn apart, but alike for two cooling designs of one server.
    """
    thetas = setup.fit.draws(n, np.random.default_rng(seed))
    fixed = {"max_operating_degc", "slowdown_degc", "shutdown_degc", "memory_max_degc"}
    own = zlib.crc32(setup.asm.server.id.encode())
    for i, theta in enumerate(thetas):
        part = perturb(setup.asm.part, np.random.default_rng([seed, i]))
        part = replace(part, **{k: getattr(setup.asm.part, k) for k in fixed})
        server = perturb(setup.asm.server, np.random.default_rng([seed, i, own]))
        at = replace(setup.at, limit_w=setup.asm.limit_w)
        try:
            yield assemble(server, setup.cooling, at, part), unpack(theta, setup.fit.benchmarks)
        except ConfigError:
            yield None


def engines(setup: Setup, utilisation: float) -> Iterator[Engine]:
    """The benchmark on each draw."""
    for drawn in draws(setup, setup.spec.draws):
        if drawn is not None:
            yield engine(*drawn, setup.fit, setup.spec.workload).busy(utilisation)


def scatter(setup: Setup) -> float:
    """What the model leaves unexplained, as a relative standard deviation."""
    scenario, form = setup.spec.scenario, setup.asm.part.form
    own = STREAM_SCATTER
    if scenario is Scenario.OFFLINE:
        own = max(setup.fit.residual_share, OFFLINE_SCATTER[form])
    elif scenario is Scenario.SERVER:
        own = SERVER_SCATTER[form]
    return own if setup.asm.part.family == "a100" else float(np.hypot(own, TRANSFER_SCATTER))


def relative_interval(setup: Setup, score: Score) -> tuple[float, float, int]:
    """Factors on the score that hold 90 % of the draws, and the number of draws.

    Server and the streams take the spread of the rates; their own laws are not run for each draw.
    """
    nominal = float(score.engine.total(rest(setup.asm, score.engine.power).mhz)[0])
    rng, found = np.random.default_rng(1), []
    for eng in engines(setup, score.engine.utilisation):
        try:
            rate = float(eng.total(rest(eng.asm, eng.power).mhz)[0])
        except ThermalRunaway:
            continue
        found.append(rate / nominal)
    noise = np.exp(rng.normal(0.0, scatter(setup), (20, len(found))))
    spread = (np.array(found)[None, :] * noise).ravel()
    spread = spread / np.median(spread)
    low, high = (float(q) for q in np.quantile(spread, CONFIDENCE))
    if setup.rule.book.lower_is_better:
        low, high = 1 / high, 1 / low
    return low, high, len(found)
