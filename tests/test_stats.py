"""Early stopping, intervals, the queue."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.stats.early_stopping import carries, floor_queries, min_passing, min_queries
from coldmark.stats.intervals import share_interval
from coldmark.stats.queueing import Service, batch_latencies, highest_rate


@pytest.mark.parametrize(
    ("over", "p99", "p90"),
    [
        (0, 459, 44),
        (1, 662, 64),
        (2, 838, 81),
        (5, 1307, 127),
        (10, 2010, 197),
        (50, 6898, 681),
        (100, 12571, 1246),
    ],
)
def test_queries_needed_are_the_published_ones(over: int, p99: int, p90: int) -> None:
    assert min_queries(over, 0.99) == p99
    assert min_queries(over, 0.90) == p90


def test_floors_are_what_loadgen_prints() -> None:
    assert floor_queries(0.90, estimate=True) == 64
    assert floor_queries(0.99, estimate=True) == 662
    assert floor_queries(0.99, estimate=False) == 459


def _binomial_cdf(t: int, n: int, q: float) -> float:
    return math.fsum(math.comb(n, x) * q**x * (1 - q) ** (n - x) for x in range(t + 1))


@given(st.integers(0, 12), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_the_bound_is_the_least_that_the_binomial_law_allows(over: int, percentile: float) -> None:
    n = min_queries(over, percentile)
    assert _binomial_cdf(over, n, 1 - percentile) <= 0.01 + 1e-9
    assert _binomial_cdf(over, n - 1, 1 - percentile) > 0.01 - 1e-9


@given(st.integers(0, 200))
def test_more_late_queries_need_more_good_ones(over: int) -> None:
    assert min_passing(over + 1, 0.99) > min_passing(over, 0.99)


@pytest.mark.parametrize(("over", "percentile"), [(-1, 0.9), (0, 0.0), (0, 1.0), (0, 1.5)])
def test_a_percentile_outside_its_domain_is_refused(over: int, percentile: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        min_passing(over, percentile)


def test_the_share_interval_of_nothing_in_ten_by_hand() -> None:
    low, high = share_interval(0, 10)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / 10))  # (1 - high)^10 = 0.025


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_share_lies_in_its_interval(case: tuple[int, int]) -> None:
    hits, n = case
    low, high = share_interval(hits, n)
    assert 0 <= low <= hits / n <= high <= 1


def test_two_arrivals_at_a_busy_server_by_hand() -> None:
    # Served 0 to 10; the arrivals at 1 and 2 wait and leave together at 10 + 15.
    latencies = batch_latencies(np.array([0.0, 1.0, 2.0]), [10.0, 15.0], np.ones(1))
    assert latencies.tolist() == [10.0, 24.0, 23.0]


def test_a_delay_lets_a_batch_fill_by_hand() -> None:
    # The first waits for company until 0.5 and finds one more; the third comes alone, and leaves at 3.5.
    arrivals = np.array([0.0, 0.3, 3.0])
    delayed = batch_latencies(arrivals, [1.0, 1.5, 2.0], np.ones(1), delay_s=0.5)
    assert delayed.tolist() == pytest.approx([2.0, 1.7, 1.5])
    # A batch that is full does not wait: of two at most, both leave at 0.3.
    full = batch_latencies(arrivals, [1.0, 1.5], np.ones(1), delay_s=0.5)
    assert full.tolist() == pytest.approx([1.8, 1.5, 1.5])
    assert (batch_latencies(arrivals, [1.0, 1.5], np.ones(1), delay_s=0.0)[0]) == 1.0


@given(st.integers(0, 2**32), st.floats(0.1, 20.0))
def test_no_latency_is_below_the_service_time(seed: int, rate: float) -> None:
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, 300))
    assert batch_latencies(arrivals, [0.1], np.ones(3)).min() >= 0.1 - 1e-12


def test_an_m_d_1_queue_waits_as_pollaczek_and_khinchine_say() -> None:
    rng = np.random.default_rng(1)
    service, load = 1.0, 0.7
    arrivals = np.cumsum(rng.exponential(service / load, 400_000))
    mean = float(batch_latencies(arrivals, [service], np.ones(1)).mean())
    assert mean == pytest.approx(service * (1 + load / (2 * (1 - load))), rel=0.02)


def test_the_rate_found_holds_its_bound_and_an_impossible_bound_has_none() -> None:
    rng = np.random.default_rng
    one = Service(batch_s=(0.01,), noise=np.ones(1))
    rate = highest_rate(one, limit_s=0.05, percentile=0.99, rng=rng(1))
    assert 40 < rate < 100
    assert highest_rate(one, limit_s=0.009, percentile=0.99, rng=rng(1)) == 0.0


def test_two_servers_of_one_queue_hold_more_than_twice_the_rate_of_one() -> None:
    rates = [
        highest_rate(
            Service(batch_s=(0.01,), noise=np.ones(1), servers=servers),
            limit_s=0.03,
            percentile=0.99,
            rng=np.random.default_rng(2),
            rel_tol=0.005,
        )
        for servers in (1, 2)
    ]
    assert 2 * rates[0] < rates[1] < 200


def test_a_looser_bound_allows_no_lower_rate() -> None:
    rates = [
        highest_rate(
            Service(batch_s=(0.01, 0.012), noise=np.ones(1)),
            limit_s=limit,
            percentile=0.99,
            rng=np.random.default_rng(3),
        )
        for limit in (0.015, 0.03, 0.06)
    ]
    assert rates == sorted(rates)
    assert rates[0] < rates[-1]


@given(st.integers(0, 60), st.integers(-30, 200), st.sampled_from([0.9, 0.95, 0.99]))
def test_queries_carry_a_claim_from_their_least_number_on(over: int, more: int, percentile: float) -> None:
    least = min_queries(over, percentile)
    assert carries(max(0, least + more), over, percentile) is (more >= 0)


def test_a_claim_over_hundreds_of_millions_of_queries_is_carried_within_its_share() -> None:
    # Of 366 124 427 queries 1 % is 3 661 244; about 4 429 fewer (2.326 sqrt(n p q)) may be over the bound.
    assert carries(366_124_427, 3_100_749, 0.99)
    assert carries(366_124_427, 3_656_000, 0.99)
    assert not carries(366_124_427, 3_658_000, 0.99)
    assert not carries(366_124_427, 3_661_300, 0.99)
