"""The rule book against the round's own numbers, and each run check kept and broken once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Length, Mode, Scenario, Severity, Suite
from coldmark.core.runlog import LogLine, RunLog
from coldmark.core.settings import TestSettings
from coldmark.rules.book import load_book, load_length, rounds
from coldmark.rules.run_checks import CHECKS, CheckedRun, check_run, expected_effective, issued_at_least

BOOK = load_book("v2.1")


def test_v21_is_here_and_an_unknown_round_names_the_nearest() -> None:
    assert "v2.1" in rounds()
    with pytest.raises(ConfigError, match=r"did you mean 'v2\.1'"):
        load_book("v2.2")


# Numbers of the round as its checker and mlperf.conf hold them.
@pytest.mark.parametrize(
    ("name", "target", "samples", "limit_ms", "test04"),
    [
        ("resnet50", 75.6954, 1024, 15, True),
        ("retinanet", 37.1745, 64, 100, False),
        ("rnnt", 91.62252, 2513, 1000, False),
        ("bert-99", 89.96526, 10833, 130, False),
        ("bert-99.9", 90.783126, 10833, 130, False),
        ("dlrm-99", 79.4475, 204800, 30, False),
        ("dlrm-99.9", 80.16975, 204800, 30, False),
        ("3d-unet-99", 0.853083, 42, None, False),
        ("3d-unet-99.9", 0.8608383, 42, None, False),
    ],
)
def test_targets_counts_and_bounds_of_v21(
    name: str, target: float, samples: int, limit_ms: int | None, test04: bool
) -> None:
    entry = BOOK.benchmarks[name]
    assert entry.accuracy.target == target
    assert entry.accuracy.reference * entry.accuracy.ratio == pytest.approx(target, rel=1e-9)
    assert (entry.performance_sample_count, entry.server_latency_ms) == (samples, limit_ms)
    assert ("TEST04" in entry.compliance) is test04


def test_a_suite_asks_for_16_and_14_benchmark_scenarios() -> None:
    counts = {s: sum(len(b.suites.get(s, ())) for b in BOOK.benchmarks.values()) for s in Suite}
    assert counts == {Suite.DATACENTER: 16, Suite.EDGE: 14}


def test_seeds_of_v21() -> None:
    assert BOOK.seeds.qsl == 0xC63BB0C8C280FDEF
    assert BOOK.seeds.sample_index == 0x39C9343412051148
    assert BOOK.seeds.schedule == 0x04267CF482328355


def test_every_conflict_names_what_is_used_and_at_least_two_readings() -> None:
    assert len(BOOK.conflicts) >= 4
    for conflict in BOOK.conflicts:
        assert conflict.used
        assert conflict.why
        assert len({r.value for r in conflict.readings}) >= 2


def test_the_book_agrees_with_what_the_rounds_checker_held(shared: Path) -> None:
    theirs = json.loads((shared / "rules" / "rulebook_extracted.json").read_text())["v2.1"]
    for name, entry in BOOK.benchmarks.items():
        official = entry.official_name
        metric, target = theirs["accuracy-target"][official]
        assert (entry.accuracy.metric, entry.accuracy.target) == (metric, pytest.approx(target, rel=1e-12)), (
            name
        )
        assert entry.performance_sample_count == theirs["performance-sample-count"][official]
        for suite in Suite:
            asked = set(theirs[f"required-scenarios-{suite}"].get(official, []))
            assert {s.value for s in entry.suites.get(suite, ())} == asked, (name, suite)
        limit = theirs["latency-constraint"].get(official, {}).get("Server")
        assert (entry.server_latency_ms or 0) * 1_000_000 == (limit or 0)
        for scenario, count in theirs["min-queries"][official].items():
            if scenario != "Offline":
                assert BOOK.scenarios[Scenario(scenario)].min_query_count == count
    assert BOOK.seeds.qsl == theirs["seeds"]["qsl_rng_seed"]
    assert BOOK.seeds.test05_schedule == theirs["test05_seeds"]["schedule_rng_seed"]


def test_a_scenario_the_suite_lacks_is_refused_with_the_suites_list() -> None:
    with pytest.raises(ConfigError) as caught:
        BOOK.rule("resnet50", Suite.DATACENTER, Scenario.MULTI_STREAM)
    text = str(caught.value)
    assert "Server, Offline" in text
    assert "--suite edge" in text


def test_only_official_is_official() -> None:
    assert [length for length in Length if load_length(length).official] == [Length.OFFICIAL]


# -- run checks: a run that keeps every rule, then one broken rule at a time --------------------------


def good_run(scenario: Scenario = Scenario.SERVER, **changes: Any) -> CheckedRun:
    suite = Suite.DATACENTER if scenario in (Scenario.SERVER, Scenario.OFFLINE) else Suite.EDGE
    rule = BOOK.rule("resnet50", suite, scenario)
    settings = TestSettings(
        scenario=scenario,
        mode=Mode.PERFORMANCE,
        min_duration_ms=600_000,
        min_query_count=rule.book.min_query_count,
        qsl_rng_seed=BOOK.seeds.qsl,
        sample_index_rng_seed=BOOK.seeds.sample_index,
        schedule_rng_seed=BOOK.seeds.schedule,
        performance_sample_count=1024,
        target_latency_percentile=None if scenario is Scenario.OFFLINE else rule.book.percentile,
        target_latency_ns=rule.target_latency_ns,
        target_qps=1000.0,
        samples_per_query=8 if scenario is Scenario.MULTI_STREAM else None,
    )
    settings = replace(settings, **changes)
    results = {
        "result_validity": "VALID",
        "result_min_duration_met": True,
        "result_min_queries_met": True,
        "early_stopping_met": True,
        "result_query_count": 600_000,
        "result_scheduled_samples_per_sec": 1000.5,
        "result_samples_per_second": 100.0,
        "effective_samples_per_query": 66_000,
        "result_max_latency_ns": 660_000_000_000,
        "early_stopping_latency_ss": 1_010_000,
        "result_90.00_percentile_latency_ns": 1_000_000,
        "early_stopping_latency_ms": 8_010_000,
        "result_99.00_percentile_per_query_latency_ns": 8_000_000,
    }
    values = results | expected_effective(settings)
    log = RunLog(path="mlperf_log_detail.txt", values=values)
    return CheckedRun(log=log, settings=settings, rule=rule, length=Length.OFFICIAL)


def broken(run: CheckedRun) -> set[str]:
    return {f.rule for f in check_run(run) if f.severity is not Severity.NOTE}


def with_values(run: CheckedRun, **values: Any) -> CheckedRun:
    return replace(run, log=replace(run.log, values=run.log.values | values))


@pytest.mark.parametrize("scenario", list(Scenario))
def test_a_run_that_keeps_every_rule_has_no_finding(scenario: Scenario) -> None:
    assert check_run(good_run(scenario)) == []


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("duration.min", {"min_duration_ms": 60_000}),
        ("queries.min", {"min_query_count": 100}),
        ("seeds.qsl", {"qsl_rng_seed": 1}),
        ("seeds.sample_index", {"sample_index_rng_seed": 1}),
        ("seeds.schedule", {"schedule_rng_seed": 1}),
        ("latency.limit", {"target_latency_ns": 100_000_000}),
        ("latency.percentile", {"target_latency_percentile": 0.9}),
        ("samples.performance_count", {"performance_sample_count": 64}),
        ("settings.performance_issue_same", {"performance_issue_same": True}),
        ("settings.performance_issue_unique", {"performance_issue_unique": True}),
        ("settings.accuracy_log_sampling_target", {"accuracy_log_sampling_target": 64}),
        ("settings.accuracy_log_rng_seed", {"accuracy_log_rng_seed": 5}),
        ("settings.sample_concatenate_permutation", {"sample_concatenate_permutation": True}),
    ],
)
def test_a_setting_that_departs_from_the_round_is_found(rule: str, changes: dict[str, Any]) -> None:
    assert broken(good_run(**changes)) == {rule}
    shorter = replace(good_run(**changes), length=Length.SHORT)
    assert broken(shorter) == set()  # a note: only official runs are held to the round
    assert rule in {f.rule for f in check_run(shorter)}


@pytest.mark.parametrize(
    ("latency_ns", "count", "least", "issued"),
    [
        (1_126_400_000, 43, 1024, 1075),  # published v2.1 logs, 600 s
        (552_000_000, 43, 1024, 2193),
        (600_000_000, 43, 1024, 2021),
        (None, 42, 100, 126),
        (None, 42, 84, 126),  # one pass more where the count is whole already
    ],
)
def test_equal_issue_goes_over_the_loaded_set_in_whole_passes(
    latency_ns: int | None, count: int, least: int, issued: int
) -> None:
    settings = replace(
        good_run(Scenario.SINGLE_STREAM).settings,
        min_duration_ms=600_000,
        min_query_count=least,
        performance_sample_count=count,
        expected_latency_ns=latency_ns,
        sample_concatenate_permutation=True,
    )
    assert issued_at_least(settings) == issued
    assert issued_at_least(replace(settings, sample_concatenate_permutation=False)) == least


def test_samples_a_query_are_the_rounds() -> None:
    assert broken(good_run(Scenario.MULTI_STREAM, samples_per_query=4)) == {"samples.per_query"}


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("loadgen.valid", {"result_validity": "INVALID", "result_invalid_reason": "slow"}),
        ("early_stopping.met", {"early_stopping_met": False}),
        ("duration.met", {"result_min_duration_met": False}),
        ("queries.met", {"result_min_queries_met": False}),
        ("result.plausible", {"result_scheduled_samples_per_sec": 10_000.0}),
        ("settings.effective", {"effective_schedule_rng_seed": 1}),
        ("settings.effective", {"effective_target_latency_ns": 100_000_000}),
        ("settings.effective", {"effective_min_duration_ms": 10_000}),
    ],
)
def test_a_log_that_says_otherwise_is_found(rule: str, values: dict[str, Any]) -> None:
    assert broken(with_values(good_run(), **values)) == {rule}


@pytest.mark.parametrize(
    ("scenario", "values"),
    [
        (Scenario.OFFLINE, {"result_samples_per_second": 1000.0}),
        (Scenario.SINGLE_STREAM, {"early_stopping_latency_ss": 100_000}),
        (Scenario.MULTI_STREAM, {"early_stopping_latency_ms": 800_000}),
    ],
)
def test_a_result_that_does_not_follow_from_its_log_is_doubted(
    scenario: Scenario, values: dict[str, Any]
) -> None:
    assert broken(with_values(good_run(scenario), **values)) == {"result.plausible"}


def test_a_query_that_equal_issue_padded_is_counted_as_it_was_issued() -> None:
    # 84 samples in 22 s; LoadGen planned 50 and issued two whole passes of 42.
    values = {"effective_samples_per_query": 50, "result_max_latency_ns": 22_000_000_000}
    run = with_values(good_run(Scenario.OFFLINE), **values, result_samples_per_second=84 / 22)
    assert "result.plausible" in broken(run)
    assert "result.plausible" not in broken(with_values(run, generated_samples_per_query=84))


def test_the_rate_of_few_arrivals_may_scatter() -> None:
    values = {"result_query_count": 100, "result_scheduled_samples_per_sec": 1250.0}
    assert broken(with_values(good_run(), **values)) == set()
    assert broken(with_values(good_run(), **(values | {"result_query_count": 100_000}))) == {
        "result.plausible"
    }


def test_an_error_line_breaks_a_run_that_says_valid() -> None:
    run = good_run()
    line = LogLine(line=7, key="error_runtime", text="completed twice")
    assert broken(replace(run, log=replace(run.log, errors=(line,)))) == {"log.errors"}


def test_a_log_that_breaks_off_is_no_result() -> None:
    run = good_run()
    values = {k: v for k, v in run.log.values.items() if not k.startswith(("result", "early"))}
    assert broken(replace(run, log=replace(run.log, values=values))) == {"log.finished"}


def test_every_check_says_what_it_is_and_every_finding_its_clause() -> None:
    assert all(check.__doc__ for check in CHECKS)
    worst = with_values(good_run(min_duration_ms=1, qsl_rng_seed=1), result_validity="INVALID")
    assert all(f.clause and f.expected and f.found for f in check_run(worst))
