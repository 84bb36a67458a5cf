"""The virtual-time driver: early stopping, arrivals and the latency tail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldmark.loadgen.virtual import (
    Replica,
    highest_server_rate,
    server_latencies,
    stream_estimate_s,
)
from coldmark.stats.early_stopping import most_over

LAW = {"percentile": 0.99, "queries": 20_000, "seed": 7}


def test_a_lone_query_takes_one_service() -> None:
    found = server_latencies(
        np.arange(1.0, 9.0), 1.0, [Replica(fixed_s=0.01, sample_s=0.002)], 1.0, np.ones(4)
    )
    assert found == pytest.approx(0.012)


def test_every_query_is_answered_once() -> None:
    replicas = [Replica(fixed_s=0.01, sample_s=0.002)] * 2
    found = server_latencies(np.array([1.0, 1.004, 1.008]), 1.0, replicas, 1.0, np.ones(4))
    # the first replica is busy with the first query until 1.012 when the third comes; the second is free
    assert sorted(found) == pytest.approx([0.012, 0.012, 0.016])


def test_the_rate_holds_its_bound_and_stays_below_capacity() -> None:
    replicas = [Replica(fixed_s=1e-3, sample_s=25e-6)] * 4
    found = highest_server_rate(replicas, limit_s=15e-3, **LAW)  # type: ignore[arg-type]
    assert found.percentile_s <= 15e-3
    assert found.over_latency <= most_over(20_000, 0.99)
    assert 0.5 * 4 / 25e-6 < found.rate_per_s < 4 / 25e-6


@settings(deadline=None, max_examples=10)
@given(st.floats(1.05, 2.0))
def test_a_slower_replica_never_serves_more(factor: float) -> None:
    fast = highest_server_rate([Replica(fixed_s=1e-3, sample_s=1e-4)], limit_s=15e-3, **LAW)  # type: ignore[arg-type]
    slow = highest_server_rate(
        [Replica(fixed_s=1e-3 * factor, sample_s=1e-4 * factor)],
        limit_s=15e-3,
        **LAW,  # type: ignore[arg-type]
    )
    assert slow.rate_per_s <= fast.rate_per_s * 1.005


def test_near_the_bound_a_hot_accelerator_loses_more_by_its_tail_than_by_its_clock() -> None:
    """Service 10 % slower where one batch already fills the bound: far more than 10 % of the rate is gone."""

    def rate(factor: float) -> float:
        replica = Replica(fixed_s=6.5e-3 * factor, sample_s=4e-4 * factor)
        return highest_server_rate([replica], limit_s=15e-3, **LAW).rate_per_s  # type: ignore[arg-type]

    assert rate(1.1) < 0.8 * rate(1.0)


def test_one_hot_accelerator_pulls_the_whole_server_down() -> None:
    """Queries are dealt in turn, so the slowest replica sets the tail."""
    cool, hot = Replica(fixed_s=1e-3, sample_s=1e-4), Replica(fixed_s=1e-3, sample_s=2e-4)
    all_cool = highest_server_rate([cool] * 4, limit_s=15e-3, **LAW).rate_per_s  # type: ignore[arg-type]
    one_hot = highest_server_rate([cool] * 3 + [hot], limit_s=15e-3, **LAW).rate_per_s  # type: ignore[arg-type]
    assert one_hot < 0.65 * all_cool


def test_no_rate_where_even_one_query_is_too_slow() -> None:
    found = highest_server_rate([Replica(fixed_s=0.1, sample_s=0.1)], limit_s=0.015, **LAW)  # type: ignore[arg-type]
    assert found.rate_per_s == 0.0


def test_the_same_seed_is_the_same_answer() -> None:
    replica = [Replica(fixed_s=1e-3, sample_s=1e-4)]
    first = highest_server_rate(replica, limit_s=15e-3, **LAW)  # type: ignore[arg-type]
    assert first == highest_server_rate(replica, limit_s=15e-3, **LAW)  # type: ignore[arg-type]


def test_a_stream_estimate_is_above_the_mean_and_scales() -> None:
    one = stream_estimate_s(1e-3, percentile=0.9, queries=1024, seed=3)
    assert 1.005e-3 < one < 1.05e-3
    assert stream_estimate_s(2e-3, percentile=0.9, queries=1024, seed=3) == pytest.approx(2 * one)
