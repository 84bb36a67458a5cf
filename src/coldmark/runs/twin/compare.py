"""Two servers against each other: the ratio of scores, what it is made of, and both at one power limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Measurement, Provenance, Scenario
from coldmark.core.twin import EqualLimit, Share, TwinCompare, TwinRun
from coldmark.runs.twin.interval import CONFIDENCE, draws, scatter
from coldmark.runs.twin.run import run_twin
from coldmark.runs.twin.setup import Setup, TwinSpec, set_up
from coldmark.thermal.model import Part
from coldmark.thermal.network import Array
from coldmark.thermal.rest import Rest, ThermalRunaway, rest
from coldmark.thermal.score import Engine, engine

ORDER = (
    "factors from B to A in this order: B's limit to A's at B's temperatures; then A's temperatures; then "
    "A's thermal throttling; then A's host and memory clock; then the count"
)
NAMES = ("power limit", "leakage", "throttling", "host", "count")


def compare(a: TwinSpec, b: TwinSpec) -> TwinCompare:
    """Compare two specs of one benchmark. Raises ConfigError for a scenario that has no rate."""
    if a.scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM):
        raise ConfigError(
            f"{a.scenario} has no rate to split", where="--scenario", hint="permitted: Offline or Server"
        )
    runs = run_twin(a), run_twin(b)
    setups = set_up(a), set_up(b)
    ratio = runs[0].metric.value / runs[1].metric.value
    split = shares(setups[0].engine, setups[1].engine)
    tail = ratio / float(np.prod(split))
    spread = np.array([list(v) for v in _drawn(setups, shares)]).reshape(-1, len(NAMES))
    found = [_share(n, v, spread[:, i]) for i, (n, v) in enumerate(zip(NAMES, split, strict=True))]
    name = "latency tail" if a.scenario is Scenario.SERVER else "warm-up"
    low, high = _ratio_interval(setups, spread) if len(spread) else (None, None)
    equal, note = _equal_limits(setups)
    return TwinCompare(
        a=runs[0],
        b=runs[1],
        ratio=Measurement(
            value=ratio,
            unit="1",
            low=None if low is None else ratio * low,
            high=None if high is None else ratio * high,
            n=len(spread),
            method="90 % of paired draws and the fit's own scatter",
            provenance=Provenance.SIMULATED,
        ),
        per_accelerator=ratio * len(setups[1].asm.die) / len(setups[0].asm.die),
        shares=(*found, Share(name=name, factor=tail)),
        order=ORDER,
        equal_limit=equal,
        equal_limit_note=note,
        published_ratio=_published_ratio(*runs),
    )


def shares(a: Engine, b: Engine) -> tuple[float, float, float, float, float]:
    """Factors of the ratio of A's rate at rest over B's: limit, leakage, throttling, host, count."""
    free = [rest(e.asm, e.power, throttle=False) for e in (a, b)]
    held = [rest(e.asm, e.power) for e in (a, b)]

    def rate(eng: Engine, mhz: Array) -> float:
        return float(eng.rates(mhz).mean())

    at_b = b.power.clock_mhz(np.full(free[1].die_degc.shape[1], a.asm.limit_w), free[1].die_degc[0])
    limit = rate(b, at_b) / rate(b, free[1].mhz[0])
    same_clock = float(free[0].mhz.mean())
    host = rate(a, np.array([same_clock])) / rate(b, np.array([same_clock]))
    leakage = rate(a, free[0].mhz[0]) / rate(b, free[1].mhz[0]) / limit / host
    throttle = (rate(a, held[0].mhz[0]) / rate(a, free[0].mhz[0])) / (
        rate(b, held[1].mhz[0]) / rate(b, free[1].mhz[0])
    )
    fed = [float(e.total(r.mhz)[0] / e.rates(r.mhz[0]).sum()) for e, r in zip((a, b), held, strict=True)]
    return limit, leakage, throttle, host * fed[0] / fed[1], len(a.asm.die) / len(b.asm.die)


def _drawn(
    setups: tuple[Setup, Setup], of: Callable[[Engine, Engine], Iterable[float]]
) -> list[Iterable[float]]:
    """A function of both engines for every paired draw that both sides allow."""
    found = []
    n = min(s.spec.draws for s in setups)
    for pair in zip(*(draws(s, n) for s in setups), strict=True):
        if pair[0] is None or pair[1] is None:
            continue
        drawn = zip((pair[0], pair[1]), setups, strict=True)
        a, b = (engine(d[0], d[1], s.fit, s.spec.workload) for d, s in drawn)
        try:
            found.append(of(a, b))
        except ThermalRunaway:
            continue
    return found


def _share(name: str, value: float, spread: Array) -> Share:
    if not len(spread):
        return Share(name=name, factor=value)
    low, high = (float(q) for q in np.quantile(spread, CONFIDENCE))
    return Share(name=name, factor=value, low=low, high=high)


def _ratio_interval(setups: tuple[Setup, Setup], spread: Array) -> tuple[float, float]:
    total = np.prod(spread, axis=1)
    rng = np.random.default_rng(2)
    unexplained = max(scatter(s) for s in setups)
    noisy = (total / np.median(total))[None, :] * np.exp(rng.normal(0.0, unexplained, (20, len(total))))
    low, high = (float(q) for q in np.quantile(noisy, CONFIDENCE))
    return low, high


def _equal_limits(setups: tuple[Setup, Setup]) -> tuple[tuple[EqualLimit, ...], str]:
    """Both at the lower limit, and both at the higher one, with the module that takes it in either box."""
    limits = sorted({s.asm.limit_w for s in setups})
    parts = [s.asm.part for s in setups]
    found, note = [], ""
    for limit in limits:
        fits = [_part_for(own, parts, limit) for own in parts]
        if fits[0] is None or fits[1] is None:
            note = f"{limit:g} W is outside the range of one of the modules: no counterfactual there"
            continue
        swapped = [p.name for p, own in zip(fits, parts, strict=True) if p is not None and p.id != own.id]
        if swapped:
            note = f"at {limit:g} W the other box is given {swapped[0]} modules"
        found.append(_equal(setups, limit, (fits[0], fits[1])))
    return tuple(found), note


def _part_for(own: Part, parts: list[Part], limit: float) -> Part | None:
    """The server's own part where it takes the limit, else another of one form and family that does."""
    for p in (own, *parts):
        same = p.form == own.form and p.family == own.family
        if same and p.power_min_w.value <= limit <= p.power_max_w.value:
            return p
    return None


def _equal(setups: tuple[Setup, Setup], limit: float, parts: tuple[Part, Part]) -> EqualLimit:
    engines = [s.at_limit(limit, part) for s, part in zip(setups, parts, strict=True)]
    states = [rest(e.asm, e.power) for e in engines]
    drawn = _drawn(setups, lambda x, y: [_at_limit(x, y, limit)])
    spread = [value for values in drawn for value in values]
    low, high = np.quantile(spread, CONFIDENCE) if spread else (None, None)
    return EqualLimit(
        limit_w=limit,
        ratio=_cooling_ratio(engines[1], states[0], states[1]),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        a_degc=float(states[0].die_degc.max()),
        b_degc=float(states[1].die_degc.max()),
        a_throttled=bool(states[0].thermal.any()),
        b_throttled=bool(states[1].thermal.any()),
    )


def _at_limit(a: Engine, b: Engine, limit: float) -> float:
    """The equal-limit ratio of a draw; the module range does not bind a counterfactual."""
    states = [rest(e.asm, e.power, limit_w=np.array([limit])) for e in (a, b)]
    return _cooling_ratio(b, states[0], states[1])


def _cooling_ratio(b: Engine, at_a: Rest, at_b: Rest) -> float:
    """A's clocks over B's in score, with B's host and memory on both sides: cooling and nothing else."""
    return float(b.rates(at_a.mhz[0]).mean() / b.rates(at_b.mhz[0]).mean())


def _published_ratio(a: TwinRun, b: TwinRun) -> float | None:
    if a.published is None or b.published is None:
        return None
    return a.published.value / b.published.value
