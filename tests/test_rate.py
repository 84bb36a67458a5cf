"""Latencies that nobody typed, and how long LoadGen's streams take with them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.core.nouns import Mode, Scenario
from coldmark.core.settings import SourcedSettings, TestSettings
from coldmark.core.sut import SystemUnderTest
from coldmark.rules.run_checks import issued_at_least
from coldmark.runs.rate import QUERY_FLOOR_S, fill_open

NOT_ASKED = cast("SystemUnderTest", object())


def stream(scenario: Scenario, **changes: Any) -> SourcedSettings:
    """Settings of ten minutes whose expected latency is open."""
    values: dict[str, Any] = {
        "scenario": scenario,
        "mode": Mode.PERFORMANCE,
        "min_duration_ms": 600_000,
        "min_query_count": 64,
        "qsl_rng_seed": 1,
        "sample_index_rng_seed": 1,
        "schedule_rng_seed": 1,
        "performance_sample_count": 42,
    }
    return SourcedSettings(settings=TestSettings(**(values | changes)))


@given(st.floats(1e-3, 1e5))
def test_equal_issue_takes_a_third_longer_than_it_must_and_at_most_a_pass_more(latency_s: float) -> None:
    open_ = stream(Scenario.SINGLE_STREAM, sample_concatenate_permutation=True, min_query_count=1)
    s = fill_open(open_, NOT_ASKED, 1 / latency_s).settings
    assert s.expected_latency_ns == pytest.approx(1.5e9 * latency_s)
    passes_s = 42 * latency_s
    assert 800 - 1e-3 <= issued_at_least(s) * latency_s <= 800 + passes_s + 1e-3


def test_equal_issue_lasts_as_long_as_it_must_with_a_backend_that_takes_no_time() -> None:
    open_ = stream(Scenario.SINGLE_STREAM, sample_concatenate_permutation=True)
    s = fill_open(open_, NOT_ASKED, 1e12).settings
    assert 800 <= issued_at_least(s) * QUERY_FLOOR_S < 801


@pytest.mark.parametrize(
    ("scenario", "changes", "expected_ns"),
    [
        (Scenario.SINGLE_STREAM, {}, 9_000_000),
        (Scenario.MULTI_STREAM, {"samples_per_query": 8}, 72_000_000),
        (Scenario.MULTI_STREAM, {"samples_per_query": 8, "sample_concatenate_permutation": True}, 72_000_000),
    ],
)
def test_other_streams_expect_a_little_less_than_measured(
    scenario: Scenario, changes: dict[str, Any], expected_ns: int
) -> None:
    filled = fill_open(stream(scenario, **changes), NOT_ASKED, 100.0)
    assert filled.settings.expected_latency_ns == expected_ns
