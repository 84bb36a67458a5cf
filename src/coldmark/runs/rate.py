"""Rates and latencies that nobody typed: found by measuring the bare model before the test."""

from __future__ import annotations

import numpy as np

from coldmark.core.nouns import Scenario
from coldmark.core.settings import SourcedSettings, TestSettings
from coldmark.core.sut import SystemUnderTest
from coldmark.core.tuned import TunedUse
from coldmark.rules.run_checks import EQUAL_ISSUE_SLACK
from coldmark.runs.resolve import AUTO
from coldmark.stats.queueing import Service, highest_rate

SERVER_MARGIN = 0.8
"""Share of the played-through rate that is asked for: the play knows no noisy neighbour."""

SERVER_LIMIT_SHARE = 0.8
"""Share of the latency bound the play must stay within."""

CAPACITY_SHARE = 0.5
"""Largest share of the bare capacity that is asked for: the play knows batches, not what it costs the
interpreter to take a query, hand it over and answer it, thousands of times a second, and bare batches are of
like samples where those of Server are as they come. `coldmark tune` finds the true limit."""

UNREACHABLE_SHARE = 0.25
"""Share of capacity offered where no rate can meet the bound: low, so that the model's own tail is seen."""

NAIVE_MARGIN = 0.9
"""How much shorter than measured a latency is expected to be, so that LoadGen prepares enough queries."""

EQUAL_ISSUE_MARGIN = 4 / 3
"""Times the minimum duration that a SingleStream test with equal issue takes. LoadGen issues all the queries
that it finds there from the expected latency, in whole passes, so that more than a margin for a bare rate
measured at a bad moment is time lost."""

TUNED_AGREE = 1.25
"""How far a tuned rate and the bare rate may be apart to be taken for two readings of one machine."""

TUNED_MARGIN = 1.1
"""The margin over the higher of two readings that agree."""

SLOWER = 0.9
"""Share of the bare rate of the search below which a machine counts as slower now."""

OFFLINE_MARGIN = 1.2
"""How much faster than measured Offline is expected to be. LoadGen sizes its one query by it, and a query
answered before the minimum duration is over makes the run INVALID, whatever slowed the measurement down."""

MEASURE_S = 0.25

QUERY_FLOOR_S = 4e-6
"""No query is answered faster than this through LoadGen from Python; a backend that claims so (`null`) would
have LoadGen prepare billions of queries."""


def fill_open(
    sourced: SourcedSettings,
    sut: SystemUnderTest,
    bare_rate: float,
    known_qps: float | None = None,
    tuned: TunedUse | None = None,
) -> SourcedSettings:
    """Settings with every open rate or expected latency set from the bare rate [samples/s].

    `known_qps` is a Server rate that an earlier test of the same run found; `tuned` has what tuning found for
    this configuration.
    """
    settings = sourced.settings
    scenario = settings.scenario
    if scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM) and settings.expected_latency_ns is None:
        found = expected_latency_ns(settings, (settings.samples_per_query or 1) / bare_rate)
        return sourced.override(AUTO, expected_latency_ns=found)
    if scenario is Scenario.OFFLINE and settings.target_qps is None:
        rate, how = offline_rate(bare_rate, tuned.expected_qps if tuned else None)
        return sourced.override(how, target_qps=float(f"{rate:.6g}"))
    if scenario is Scenario.SERVER and settings.target_qps is None:
        if known_qps is not None:
            return sourced.override("the performance test of this run", target_qps=known_qps)
        if tuned and tuned.server_qps:
            rate, how = tuned_server_rate(tuned.server_qps, tuned.server_bare_rate, bare_rate)
            return sourced.override(how, target_qps=float(f"{rate:.6g}"))
        rate, how = server_rate(
            sut,
            (settings.target_latency_ns or 0) * 1e-9,
            settings.target_latency_percentile or 0.99,
            bare_rate,
        )
        return sourced.override(how, target_qps=float(f"{rate:.6g}"))
    return sourced


def expected_latency_ns(settings: TestSettings, latency_s: float) -> int:
    """What LoadGen is told to expect of a stream whose queries take so long, so that it prepares enough."""
    if settings.scenario is Scenario.SINGLE_STREAM and settings.sample_concatenate_permutation:
        return int(max(latency_s, QUERY_FLOOR_S) * EQUAL_ISSUE_SLACK / EQUAL_ISSUE_MARGIN * 1e9)
    return int(max(latency_s * NAIVE_MARGIN, QUERY_FLOOR_S / 2) * 1e9)


def offline_rate(bare_rate: float, tuned_qps: float | None) -> tuple[float, str]:
    """The rate [samples/s] that Offline is expected to reach at the most, and how it was found.

    A tuned rate that agrees with the bare one allows less of a margin, and so a run no longer than needed;
    one that does not is of another machine, or of this one under other load.
    """
    if tuned_qps and 1 / TUNED_AGREE <= tuned_qps / bare_rate <= TUNED_AGREE:
        return max(bare_rate, tuned_qps) * TUNED_MARGIN, "auto: the tuned rate, checked by the bare rate"
    return bare_rate * OFFLINE_MARGIN, AUTO


def tuned_server_rate(qps: float, then: float | None, now: float) -> tuple[float, str]:
    """A searched rate [queries/s], less where the bare rate `now` says the machine is slower than `then`."""
    if then and now < then * SLOWER:
        return (
            qps * now / then,
            f"auto: the searched rate, times {now / then:.3g}: the machine is slower now",
        )
    return qps, "auto: the searched rate"


def server_rate(
    sut: SystemUnderTest, limit_s: float, percentile: float, bare_rate: float
) -> tuple[float, str]:
    """A Poisson rate [queries/s] that should hold the bound, and how it was found."""
    service = service_times(sut)
    best = played_limit(service, limit_s, percentile)
    if best <= 0:
        alone, late = service.batch_s[0] * 1e3, float(np.quantile(service.noise, 0.99))
        return bare_rate * UNREACHABLE_SHARE, (
            f"auto: no rate meets {limit_s * 1e3:g} ms (one sample alone takes {alone:.3g} ms, "
            f"p99 {late * alone:.3g} ms); a quarter of capacity is offered"
        )
    how = "auto: measured service times played through a queue, with a margin"
    return min(best * SERVER_MARGIN, bare_rate * CAPACITY_SHARE), how


def played_limit(service: Service, limit_s: float, percentile: float) -> float:
    """The rate [queries/s] at which measured service times, played through, stay well within the bound."""
    return highest_rate(
        service,
        limit_s=limit_s * SERVER_LIMIT_SHARE,
        percentile=percentile,
        rng=np.random.default_rng(7),
    )


def service_times(sut: SystemUnderTest) -> Service:
    """Seconds a batch of 1, 2, ... takes, the factors by which single batches scatter, and the streams."""
    described = sut.describe()
    largest = described.get("batch_samples", described.get("batch"))
    largest = largest if isinstance(largest, int) else 1
    sizes = sorted({*(2**k for k in range(largest.bit_length()) if 2**k <= largest), largest})
    measured = {size: sut.bare_times(MEASURE_S, size) for size in sizes}
    first = measured[sizes[0]]
    batch_s = tuple(
        max(QUERY_FLOOR_S * b, float(np.median(measured[next(s for s in sizes if s >= b)])))
        for b in range(1, largest + 1)
    )
    streams = max(1, int(described.get("streams", 1)))
    return Service(
        batch_s=batch_s,
        noise=first / float(np.median(first)),
        servers=streams,
        delay_s=float(described.get("delay_us", 0.0)) * 1e-6,
    )
