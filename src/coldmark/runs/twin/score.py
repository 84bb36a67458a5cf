"""The score of a scenario from clocks: Offline a sum, Server a latency tail, the streams a latency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Scenario
from coldmark.core.twin import Played
from coldmark.loadgen.virtual import Replica, highest_server_rate, play_stream
from coldmark.runs.twin.setup import Setup
from coldmark.thermal.network import Array
from coldmark.thermal.rest import rest
from coldmark.thermal.score import Engine
from coldmark.thermal.workloads import fitted_name, published

STREAM_FLOOR = 0.25
"""Share of the dynamic power that a stream of single queries draws beyond its share of the peak rate. [M]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A score in the scenario's unit, and the engine at the utilisation it was found at."""

    value: float
    engine: Engine
    host_limited: bool
    played: Played | None = None


def score_at_rest(setup: Setup) -> Score:
    """The scenario's score with clocks and temperatures at rest."""
    scenario = setup.spec.scenario
    if scenario is Scenario.OFFLINE:
        mhz = rest(setup.asm, setup.engine.power).mhz[0]
        return offline_score(setup.engine, mhz[None, :])
    return server_score(setup) if scenario is Scenario.SERVER else stream_score(setup)


def offline_score(eng: Engine, mhz: Array) -> Score:
    """Samples over time: the mean of the rate, [samples, accelerators] of clocks."""
    total = eng.total(mhz)
    return Score(
        value=float(np.mean(total)),
        engine=eng,
        host_limited=bool(np.mean(eng.rates(mhz).sum(axis=-1)) > eng.feed_limit()),
    )


def batch_overhead_s(setup: Setup) -> float:
    """Fixed time of a batch, fitted on the DGX A100's Server score; on another family scaled by the peak
    rate.
    """
    name = fitted_name(setup.spec.workload)
    if name not in setup.fit.batch_overhead_s:
        raise ConfigError(f"no Server data for {setup.spec.workload}", where="--scenario", hint="try Offline")
    reference = published().find("dgx-a100", name, Scenario.OFFLINE, 400.0)
    assert reference is not None
    own = setup.engine.scale.per_accelerator
    return setup.fit.batch_overhead_s[name] * (reference.score / reference.accelerators) / own


def server_score(setup: Setup, overhead_s: float | None = None) -> Score:
    overhead = batch_overhead_s(setup) if overhead_s is None else overhead_s
    limit_ns, eng, found = setup.rule.target_latency_ns, setup.engine, None
    assert limit_ns is not None
    for _ in range(2):
        rates = eng.rates(rest(setup.asm, eng.power).mhz[0])
        found = highest_server_rate(
            [Replica(fixed_s=overhead, sample_s=1.0 / r) for r in rates],
            limit_s=limit_ns * 1e-9,
            percentile=setup.rule.book.percentile,
            queries=min(setup.rule.book.min_query_count, 270_336),
            seed=setup.rule.seeds.schedule % (1 << 63),
        )
        eng = eng.busy(float(np.clip(found.rate_per_s / rates.sum(), 0.05, 1.0)))
    assert found is not None
    feed, played = eng.feed_limit(), None
    if found.rate_per_s > 0:
        played = Played(
            queries=found.queries, over_latency=found.over_latency, percentile_ns=found.percentile_s * 1e9
        )
    return Score(
        value=min(float(found.rate_per_s), feed),
        engine=eng,
        host_limited=bool(found.rate_per_s > feed),
        played=played,
    )


def stream_score(setup: Setup) -> Score:
    """Latency of one query after another, from the DGX A100's published one and the clocks."""
    spec, name = setup.spec, fitted_name(setup.spec.workload)
    point = published().find("dgx-a100", name, spec.scenario)
    if point is None or setup.asm.part.family != "a100":
        raise ConfigError(
            f"no published {spec.scenario} latency of {spec.workload} to scale by",
            where="--scenario",
            hint="try Offline",
        )
    book, eng = setup.rule.book, setup.engine
    own = book.samples_per_query / (point.score * 1e-3)
    eng = eng.busy(min(1.0, STREAM_FLOOR + own / eng.scale.per_accelerator))
    mhz = rest(setup.asm, eng.power).mhz[0]
    slowest = float(eng.rates(mhz).min()) / (eng.scale.per_accelerator / eng.scale.relative)
    boost = setup.asm.part.boost_mhz.value
    top = float(eng.rates(np.array([boost]))[0]) / (eng.scale.per_accelerator / eng.scale.relative)
    # The reference ran at boost clock too: a single query at a time leaves its power limit far away.
    memory = setup.asm.part.memory_mhz.value / setup.asm.part.memory_reference_mhz.value
    reference = top if memory == 1.0 and setup.asm.part.form == "sxm" else 1.0
    latency = point.score * 1e-3 * reference / slowest
    queries = int(np.clip(max(spec.duration_s / latency, spec.least_queries), 64, 270_336))
    own_ns, published_s = _stream_ns(setup, latency, queries), point.score * 1e-3
    value = own_ns[0] * published_s * 1e9 / _stream_ns(setup, published_s, queries)[0]
    return Score(
        value=value * book.scale,
        engine=eng,
        host_limited=False,
        played=Played(queries=queries, over_latency=None, percentile_ns=value * own_ns[1] / own_ns[0]),
    )


def _stream_ns(setup: Setup, latency_s: float, queries: int) -> tuple[float, float]:
    """Early-stopping estimate and percentile [ns] of queries of a mean latency."""
    found = play_stream(
        latency_s,
        percentile=setup.rule.book.percentile,
        queries=queries,
        seed=setup.rule.seeds.schedule,
    )
    return found.estimate_s * 1e9, found.percentile_s * 1e9
