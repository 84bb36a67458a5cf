"""The Server rate search: in virtual time against a limit that is known, and through the real LoadGen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.core.codec import from_plain, to_plain
from coldmark.core.errors import BackendError, ConfigError
from coldmark.core.nouns import Mode, Scenario, Suite
from coldmark.core.record import RunSpec
from coldmark.core.server_rate import ServerRate
from coldmark.runs.resolve import resolve
from coldmark.runs.tuning import server_rate
from coldmark.runs.tuning.rate_search import Goal, Observed, play, search
from coldmark.runs.tuning.server_rate import Trials, find_server_rate
from coldmark.stats.control import Control, Pair, control
from coldmark.stats.early_stopping import most_over
from coldmark.stats.queueing import Service, observed_service, pooled
from coldmark.stats.tail_fit import Posterior, Tail, design_effect, logit, shape_of, straight

OFFICIAL = Goal(bound_s=0.015, percentile=0.99, least_queries=270_336, duration_s=600)


def scattered(scale: float, seed: int = 0, n: int = 4096) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.exp(np.random.default_rng(seed).normal(0, scale, n))


MACHINE = Service(batch_s=tuple(0.0008 + 0.0007 * b for b in range(1, 9)), noise=scattered(0.08))
"""Answers 8 at a time in 6.4 ms: 1 250 a second at the most."""
BARE = replace(MACHINE, batch_s=tuple(0.93 * t for t in MACHINE.batch_s), noise=scattered(0.05, 1, 500))
"""The same as its bare times would have it: faster, and steadier."""


@dataclass
class Virtual:
    """Trials of a queue in virtual time, each with arrivals of its own."""

    service: Service
    seed: int
    goal: Goal = OFFICIAL
    bare: tuple[float, ...] = (1250.0,)
    made: int = 0

    def __call__(self, rate: float, seconds: float, number: int) -> Observed:
        rng = np.random.default_rng([self.seed, number])
        came = np.cumsum(rng.exponential(1 / rate, max(2, rng.poisson(rate * seconds))))
        took = self.service.latencies(came)
        self.made += 1
        bare = self.bare[min(number, len(self.bare) - 1)]
        return Observed(
            rate=rate,
            seconds=seconds,
            times_s=np.stack([came, came + took], axis=1),
            late=took > self.goal.bound_s,
            percentile_s=float(np.quantile(took, self.goal.percentile)),
            spent_s=seconds + 3,
            bare_before=bare,
            bare_after=bare,
        )


def late_of(service: Service, rate: float, queries: int, seed: Any) -> int:
    came = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, queries))
    return int((service.latencies(came) > OFFICIAL.bound_s).sum())


@pytest.fixture(scope="module")
def true_limit() -> float:
    """The rate at which an official run of the machine has as many late queries as it can bear."""
    low, high, bearable = 800.0, 1200.0, most_over(OFFICIAL.least_queries, 0.99)
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        holds = late_of(MACHINE, middle, OFFICIAL.least_queries, 99) <= bearable
        low, high = (middle, high) if holds else (low, middle)
    return low


def test_the_rate_found_is_near_the_true_one_and_valid_at_official_length(true_limit: float) -> None:
    played = play(BARE, OFFICIAL)
    assert np.exp(played.shape.x0) > 1.05 * true_limit  # what the bare times alone would have promised
    found = [search(Virtual(MACHINE, seed), played, OFFICIAL, first=700, budget_s=180) for seed in range(12)]
    shares = np.array([f.rate_qps / true_limit for f in found])
    valid = [
        late_of(MACHINE, f.rate_qps, f.official_queries, [7, seed])
        <= most_over(f.official_queries, OFFICIAL.percentile)
        for seed, f in enumerate(found)
    ]
    assert np.mean(shares) >= 0.97
    assert (shares >= 0.97).sum() >= 7
    assert sum(valid) == 12
    assert all(f.confidence >= 0.99 for f in found)
    assert all(f.limit_low_qps < f.limit_qps < f.limit_high_qps for f in found)
    assert all(sum(t.seconds + 3 for t in f.trials) <= 180 for f in found)


def test_a_record_of_it_is_read_back() -> None:
    shown: list[Any] = []
    played = play(BARE, OFFICIAL)
    found = search(Virtual(MACHINE, 1), played, OFFICIAL, first=700, budget_s=60, on_trial=shown.append)
    assert from_plain(to_plain(found), ServerRate, where="here") == found
    assert len(shown) == len(found.trials)
    assert found.trials[-1].confirms
    assert 0 < found.margin < 0.2
    assert any("budget ended the search" in note for note in found.notes)


def test_a_machine_that_changes_is_said_and_its_trials_count_less() -> None:
    virtual = Virtual(MACHINE, 1, bare=(1250.0, 1250.0, 700.0, 1250.0))
    found = search(virtual, play(BARE, OFFICIAL), OFFICIAL, first=700, budget_s=70)
    assert [t.weight for t in found.trials[:4]] == [1.0, 1.0, 0.25, 1.0]
    assert any("the machine changed in 1 of" in note for note in found.notes)


def test_a_bound_that_no_rate_holds_is_said_with_the_best_latency_and_an_open_bound() -> None:
    slow = Service(batch_s=(0.02,), noise=scattered(0.05))
    virtual = Virtual(slow, 3)
    found = search(virtual, play(slow, OFFICIAL), OFFICIAL, first=10, budget_s=120)
    assert not found.reachable
    assert found.rate_qps == 0
    assert virtual.made == 2  # at a quarter and at a twentieth of capacity
    assert found.best_latency_ms is not None
    assert found.open_bound_ms is not None
    assert 20 < found.best_latency_ms < found.open_bound_ms < 100
    assert any("no rate holds 15 ms" in note for note in found.notes)


FAST = replace(MACHINE, batch_s=tuple(0.00006 + 0.000105 * b for b in range(1, 9)))
"""Answers 8 at a time in 0.9 ms: its limit is steep, as a bound of 15 ms is long for it."""


def test_a_first_rate_that_is_far_too_low_costs_few_trials() -> None:
    found = search(Virtual(FAST, 2), play(FAST, OFFICIAL), OFFICIAL, first=150, budget_s=120)
    rates = [t.rate_qps for t in found.trials]
    assert rates[1] > 2.5 * rates[0]
    assert 0.95 * 8700 < found.rate_qps < 8800  # 8 717 by benchmarks/server_rate_virtual.py
    assert any(t.over for t in found.trials)


def test_a_search_that_saw_nothing_late_says_that_the_limit_lies_higher() -> None:
    found = search(Virtual(FAST, 2), play(FAST, OFFICIAL), OFFICIAL, first=150, budget_s=17)
    assert not any(t.over for t in found.trials)
    assert any("the limit lies higher" in note for note in found.notes)


def test_the_shape_of_a_steep_queue_is_played_not_assumed() -> None:
    played = play(FAST, OFFICIAL)
    assert played.known
    slope = (played.shape.logit[-1] - played.shape.logit[0]) / (played.shape.x[-1] - played.shape.x[0])
    assert slope > 40


def test_a_trial_far_above_the_limit_does_not_make_the_others_surer() -> None:
    virtual = Virtual(MACHINE, 5)
    found = search(virtual, play(BARE, OFFICIAL), OFFICIAL, first=1300, budget_s=60)
    assert found.trials[0].over > found.trials[0].queries / 10
    near = [t for t in found.trials if t.over < t.queries / 20]
    assert near
    assert all(t.effective_queries < t.queries for t in near)  # lateness comes in bursts of dozens here
    assert found.rate_qps < 1000


def test_a_budget_too_small_for_one_trial_is_refused_before_it_is_made() -> None:
    virtual = Virtual(MACHINE, 0)
    with pytest.raises(ConfigError, match=r"too few: \d+ s to begin with, and one trial"):
        search(virtual, play(BARE, OFFICIAL), OFFICIAL, first=700, budget_s=3)
    assert virtual.made == 0


# -- the fit -----------------------------------------------------------------------------------------------


def test_a_shape_goes_on_straight_beyond_its_points() -> None:
    shape = straight(100, 10, 0.01)
    assert shape(np.log(np.array([100.0])))[0] == pytest.approx(logit(0.01))
    for rate in (1.0, 30.0, 200.0, 5000.0):
        expected = logit(0.01) + 10 * np.log(rate / 100)
        assert shape(np.log(np.array([rate])))[0] == pytest.approx(expected)


def test_a_shape_crosses_the_allowed_share_where_the_shares_do() -> None:
    rates = np.array([80.0, 90.0, 100.0, 110.0, 120.0])
    shape = shape_of(rates, np.array([0.001, 0.003, 0.01, 0.04, 0.2]), 0.01)
    assert shape is not None
    assert np.exp(shape.x0) == pytest.approx(100, rel=1e-6)
    assert shape_of(rates, np.full(5, 0.3), 0.01) is None


@given(late=st.floats(0, 60), rate=st.floats(60, 160))
def test_more_late_queries_never_raise_the_limit(late: float, rate: float) -> None:
    def limit(n: float) -> float:
        trial = Tail(rate=rate, effective=1000, late=n)
        return Posterior(straight(100, 12, 0.01), [trial], 0.01, 2.0, doubt=0.35).limit()

    assert limit(late + 5) <= limit(late) * 1.0001


def test_chance_falls_with_the_rate_and_many_trials_find_the_limit() -> None:
    # 1 % late at 100 a second, with a slope of 12: 0.536 % at 95, 1.78 % at 105
    trials = [
        Tail(rate=rate, effective=40_000, late=40_000 * share)
        for rate, share in ((95.0, 0.00543), (100.0, 0.01), (105.0, 0.01782))
    ]
    found = Posterior(straight(120, 15, 0.01), trials, 0.01, 1.0, doubt=0.35)
    assert found.limit() == pytest.approx(100, rel=0.004)
    chances = [found.chance_valid(rate, 270_336) for rate in (90.0, 97.0, 99.0, 100.0, 103.0)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.99
    assert chances[-1] < 0.05
    assert found.chance_valid(90, 458) == 0  # too few queries for any claim
    assert found.rate_at(0.95, 270_336, 600) < found.rate_at(0.5, 270_336, 600) < 100


def test_lateness_in_bursts_counts_for_less() -> None:
    rng = np.random.default_rng(0)
    alone = rng.random(40_000) < 0.01
    bursts = np.repeat(rng.random(4000) < 0.01, 10)
    assert design_effect(alone) < 2
    assert 5 < design_effect(bursts) < 20
    assert design_effect(np.zeros(1000, np.bool_)) == 1


def test_a_queue_on_the_same_arrivals_takes_their_luck_out() -> None:
    slow = Service(batch_s=(0.016,), noise=scattered(0.05))
    shape = play(slow, replace(OFFICIAL, bound_s=0.13)).shape
    rate = float(np.exp(shape.x0))
    pairs = []
    for number in range(60):
        came = np.cumsum(np.random.default_rng([1, number]).exponential(1 / rate, 900))
        late, played = (
            slow.rolled(place).latencies(came) > 0.13 for place in (0.1 + number / 100, number / 100)
        )
        pairs.append(Pair(late=late, played=played, share=0.01))
    found = control(pairs)
    assert found is not None
    assert found.weight > 0.8
    raw, freed = (np.array([f(p) for p in pairs]) for f in (lambda p: p.late.mean(), found.share))
    assert freed.std() < 0.5 * raw.std()
    assert freed.mean() == pytest.approx(0.01, rel=0.25)
    assert found.effect < 0.3 * design_effect(np.concatenate([p.late for p in pairs]))


def test_a_queue_that_says_nothing_is_not_followed() -> None:
    rng = np.random.default_rng(0)
    pairs = [Pair(late=rng.random(4000) < 0.01, played=rng.random(4000) < 0.01, share=0.01) for _ in range(9)]
    found = control(pairs)
    assert found is not None
    assert found.weight < 0.15
    assert 0.7 < found.effect < 1.3
    never = Pair(late=np.zeros(400, np.bool_), played=np.zeros(400, np.bool_), share=0.0)
    assert control([never]) is None
    assert Control(weight=1.0, effect=1.0).share(never) == 0


def test_a_share_is_one_at_the_most() -> None:
    half = np.arange(1000) < 500
    pair = Pair(late=np.arange(1000) < 550, played=half, share=0.97)
    assert Control(weight=1.0, effect=1.0).share(pair) == 1.0


def test_waiting_for_company_is_not_taken_for_service() -> None:
    true = replace(MACHINE, delay_s=0.001)
    came = np.cumsum(np.random.default_rng(1).exponential(1 / 600, 8000))
    found = observed_service(np.stack([came, came + true.latencies(came)], axis=1), true)
    assert found is not None
    assert found.delay_s == true.delay_s
    assert np.array(found.batch_s) == pytest.approx(np.array(true.batch_s), rel=0.05)
    assert pooled([found, found]).delay_s == true.delay_s


def test_batch_times_are_recovered_from_when_queries_came_and_were_answered() -> None:
    for servers in (1, 2):
        true = Service(batch_s=(0.004, 0.005, 0.006, 0.007), noise=scattered(0.02, 2), servers=servers)
        bare = replace(true, batch_s=tuple(0.8 * t for t in true.batch_s))
        came = np.cumsum(np.random.default_rng(1).exponential(1 / (300 * servers), 5000))
        found = observed_service(np.stack([came, came + true.latencies(came)], axis=1), bare)
        assert found is not None
        assert np.array(found.batch_s) == pytest.approx(np.array(true.batch_s), rel=0.03)
    assert observed_service(np.zeros((3, 2)), bare) is None


def test_a_stall_is_added_to_a_batch_and_does_not_grow_with_it() -> None:
    # One at a time in 10 ms; the third was held up for 90 ms.
    took = np.full(40, 0.01)
    took[2] = 0.1
    came = np.arange(40.0)
    found = observed_service(np.stack([came, came + took], axis=1), Service(batch_s=(0.01, 0.02), noise=took))
    assert found is not None
    assert found.stalls_s is not None
    assert found.stalls_s[2] == pytest.approx(0.1 - 0.015)
    assert found.stalls_s.sum() == pytest.approx(found.stalls_s[2])
    again = found.latencies(came)
    assert again == pytest.approx(took)


# -- this machine --------------------------------------------------------------------------------------------


def spec(**changes: Any) -> RunSpec:
    values: dict[str, Any] = {
        "workload": "resnet50",
        "scenario": Scenario.SERVER,
        "suite": Suite.DATACENTER,
        "modes": (Mode.PERFORMANCE,),
        "options": {"harness.bare_s": "0.1", "backend.batch": "2", "backend.streams": "1"},
    }
    return RunSpec(**(values | changes))


def test_other_scenarios_have_no_rate_to_search() -> None:
    with pytest.raises(ConfigError, match="no arrival rate"):
        find_server_rate(spec(scenario=Scenario.OFFLINE), budget_s=60)


@pytest.mark.loadgen
def test_a_trial_through_loadgen_tells_when_each_query_came_and_was_answered(tmp_path: Path) -> None:
    trials = Trials(resolve(spec()), tmp_path)
    assert trials.goal == replace(OFFICIAL, short=(459, 60.0))
    service, first = trials.probe()
    assert len(service.batch_s) == 2
    assert 0 < first < service.capacity
    seen = trials(20.0, 1.0, 0)
    came, done = seen.times_s[:, 0], seen.times_s[:, 1]
    assert len(came) == len(seen.late) >= 5
    assert (np.diff(came) >= 0).all()
    assert (done > came).all()
    # LoadGen counts at least what we do, and lateness is judged by its clock
    assert seen.percentile_s >= float(np.quantile(done - came, 0.99)) * 0.9
    assert seen.bare_before
    assert seen.bare_after
    other = trials(20.0, 1.0, 1).times_s[:, 0]
    assert np.abs(np.diff(other)[:4] - np.diff(came)[:4]).max() > 1e-3  # other arrivals


def test_a_trial_that_fails_names_no_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: Any, **kwargs: Any) -> Any:
        raise BackendError("it died", hint=f"its record is {tmp_path}; coldmark runs resume probe")

    monkeypatch.setattr(server_rate, "run_child", failing)
    with pytest.raises(BackendError, match="it died") as failed:
        find_server_rate(spec(), budget_s=60, folder=tmp_path)
    assert (failed.value.where, failed.value.hint) == ("Server rate, probe", None)


@pytest.mark.loadgen
def test_a_budget_that_the_probe_spends_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"too few: \d+ s to begin with, and one trial"):
        find_server_rate(spec(), budget_s=1, folder=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["probe"]
