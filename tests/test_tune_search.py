"""The search, on a made-up machine: it finds what is best, tells noise from gain, and sees other load."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldmark.backends.space import Axis, SpaceRequest, batches, delays, shares
from coldmark.core.errors import ColdmarkError, ConfigError, RunError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.tuned import Configuration, Trial
from coldmark.runs.tuning.reference import Reference
from coldmark.runs.tuning.search import Effort, NothingHolds, Reading, Search, TooLarge, TooSlow
from coldmark.runs.tuning.space import Branch, Space
from coldmark.stats.repeats import mean_interval, ratio_interval, spread
from tune_world import Machine, broken, flat, search, space, surface, values

BEST = 105.0
"""The highest rate of the surface."""


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_search_comes_within_3_percent_of_the_best_in_its_budget(seed: int) -> None:
    machine = Machine(seed=seed)
    found = search(machine, seed=seed)
    assert found.outcome == "win"
    assert surface(found.best) >= 0.97 * BEST
    assert machine.now <= 180 * 1.05
    assert found.ratio is not None
    true = surface(found.best) / surface(Configuration(backend="openvino", precision=Precision.FP32))
    assert found.ratio.value == pytest.approx(true, rel=0.03)


def test_where_nothing_is_gained_it_is_a_tie_and_the_default_stays() -> None:
    for seed in range(5):
        found = search(Machine(rate=flat, noise=0.05, seed=seed), seed=seed, budget_s=90)
        assert found.outcome == "tie"
        assert found.best == space().default
        assert found.best.options == {}


def test_a_default_that_nothing_beats_is_called_the_fastest() -> None:
    def rate(c: Configuration) -> float:
        return 100.0 if space().effective(c) == space().effective(space().default) else 80.0

    found = search(Machine(rate=rate), budget_s=90)
    assert found.outcome == "default"
    assert found.best == space().default
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(0.8, rel=0.02)  # of its best rival


def test_the_simplest_is_taken_among_those_that_win() -> None:
    def tried(*settings: str) -> Trial:
        options = dict(s.split("=") for s in settings)
        return Trial(
            configuration=Configuration(backend="openvino", precision=Precision.FP32, options=options),
            state="complete",
            value=1.0,
        )

    default = tried()
    sure = tried("backend.batch=16", "backend.streams=2")
    unsure = tried("backend.batch=16")  # simpler, and no worse that could be told, but no gain either
    wobble = [1.06, 0.97, 1.06, 0.97, 1.06, 0.97]
    readings = [[Reading(r, r) for r in rates] for rates in ([1.0] * 6, [1.02, 1.021] * 3, wobble)]
    machine = Machine()
    judge = Search(space=space(), world=machine.world(), effort=Effort(budget_s=1), unit="samples/s")
    judge._started = 0.0
    judge._reference = Reference(lambda: 1.0, machine.world().pause, machine.world().load, 0.1)
    found = judge._judge([default, sure, unsure], readings, default)
    assert (found.outcome, found.best) == ("win", sure.configuration)


def test_one_odd_reading_of_the_reference_corrects_nothing() -> None:
    readings = iter([100.0] * 5 + [50.0, 101.0, 100.0] + [50.0, 51.0, 100.0])
    world = Machine().world()
    reference = Reference(lambda: next(readings), world.pause, world.load, 0.1)
    reference.begin()
    assert reference.relative() == pytest.approx(1.0)  # what trials are divided by
    now = reference.relative()
    assert now == pytest.approx(0.51)
    assert reference.moved(now)


def test_leaders_are_open_together_only_where_memory_allows() -> None:
    machine = Machine()
    search(machine)
    assert machine.most_open == 4  # the default and three leaders, a MiB each
    for memory, most in ((3 << 20, 3), (1, 2)):
        machine = Machine()
        assert search(machine, memory_bytes=memory).outcome == "win"
        assert machine.most_open == most


def test_leaders_are_opened_only_where_there_is_time_for_them() -> None:
    """Large models: the search must not go on for long after its budget."""
    machine = Machine(open_s=lambda c: 25.0 if c.options else 2.0)
    found = search(machine, budget_s=150)
    assert found.outcome == "win"
    assert machine.most_open < 4
    assert found.took_s < 150 + 2 * 25


@pytest.mark.parametrize(
    ("error", "where", "hint"),
    [
        (TooLarge("took 2.00 GiB, 1.00 are allowed"), "--memory", "allow more"),
        (TooSlow("not ready after 180 s"), "--budget", "at least 360"),
    ],
)
def test_a_default_that_is_too_large_or_slow_once_it_is_read_is_refused(
    error: ColdmarkError, where: str, hint: str
) -> None:
    def rate(c: Configuration) -> float:
        raise error

    machine = Machine(rate=rate)
    with pytest.raises(ConfigError, match="the default configuration itself") as refused:
        search(machine)
    assert refused.value.where == where
    assert hint in str(refused.value.hint)
    assert machine.open_now == 0


def test_another_precision_is_found_where_it_is_faster() -> None:
    found = search(Machine(), space(Precision.FP32, Precision.INT8))
    assert found.best.precision is Precision.INT8
    assert surface(found.best) >= 0.97 * 2 * BEST


def test_what_is_clearly_worse_is_given_up_after_one_slice() -> None:
    found = search(Machine())
    rejected = [t for t in found.trials if t.state == "rejected"]
    assert rejected
    assert all(t.slices == 1 for t in rejected)
    assert max(surface(t.configuration) for t in rejected) < 0.97 * BEST


def test_no_configuration_is_tried_twice_and_none_is_impossible() -> None:
    found = search(Machine(), budget_s=400)
    seen = [space().effective(t.configuration) for t in found.trials if t.state != "failed"]
    assert len(seen) == len(set(seen))
    assert all(
        int(values(t.configuration)["threads"]) >= int(values(t.configuration)["streams"])
        for t in found.trials
    )


def test_the_same_seed_tries_the_same() -> None:
    one, two = search(Machine(), budget_s=60), search(Machine(), budget_s=60)
    assert [t.configuration for t in one.trials] == [t.configuration for t in two.trials]


def test_a_failed_trial_is_noted_with_its_reason_and_the_search_goes_on() -> None:
    machine = Machine(fails=lambda c: broken("out of memory") if values(c)["batch"] == "16" else None)
    found = search(machine)
    failed = [t for t in found.trials if t.state == "failed"]
    assert failed
    assert {t.reason for t in failed} == {"out of memory"}
    assert found.outcome == "win"


def test_a_leader_that_fails_in_the_final_is_left_out() -> None:
    opened: list[Configuration] = []

    def fails(c: Configuration) -> object:
        opened.append(c)
        return broken("gone") if opened.count(c) > 1 else None

    found = search(Machine(fails=fails))  # type: ignore[arg-type]
    assert found.outcome == "tie"
    assert found.trials[-1].reason == "gone"


def test_what_meets_no_limit_in_the_final_falls_out() -> None:
    machine = Machine()
    machine.rate = lambda c: 0.0 if machine.opened.count(c) > 1 else surface(c)  # leaders are opened twice
    found = search(machine)
    assert found.outcome == "tie"
    assert found.best == space().default
    assert any(t.state == "infeasible" for t in found.trials)


def test_a_default_that_meets_no_limit_gives_way_to_what_does() -> None:
    def rate(c: Configuration) -> float:
        return 0.0 if values(c)["streams"] == "1" else surface(c)

    found = search(Machine(rate=rate))
    assert found.outcome == "only"
    assert found.default_value is None
    assert values(found.best)["streams"] != "1"


def test_limits_that_nothing_meets_are_said() -> None:
    with pytest.raises(NothingHolds, match="no rate meets 15 ms"):
        search(Machine(rate=lambda c: 0.0), budget_s=30)


def test_a_budget_too_small_for_one_trial_names_the_least_that_would_do() -> None:
    with pytest.raises(ConfigError, match="too few for one trial") as refused:
        search(Machine(), budget_s=3)
    assert refused.value.exit_code == 2
    least = int(str(refused.value.hint).removeprefix("at least "))
    assert search(Machine(), budget_s=least).trials


def test_a_part_of_the_budget_that_is_too_small_is_said_as_the_whole() -> None:
    with pytest.raises(ConfigError, match=r"6 s \(of which 50% are for the config") as refused:
        search(Machine(), budget_s=3, share=0.5)
    least = int(str(refused.value.hint).removeprefix("at least "))
    assert search(Machine(), budget_s=least / 2, share=0.5).trials


def test_a_machine_that_changes_once_is_said_and_the_trial_repeated() -> None:
    machine = Machine(load=lambda t: 1.0 if t < 40 else 1.6)
    found = search(machine)
    assert [f.rule for f in found.findings] == ["tune.machine"]
    assert "-3" in found.findings[0].found  # 1 / 1.6 is 37 or 38 % less
    assert surface(found.best) >= 0.97 * BEST
    assert len(machine.opened) > len([t for t in found.trials if t.slices])
    # What was read before the change and after it is on one scale.
    base = surface(space().default)
    for t in found.trials:
        if t.state == "complete" and t.relative is not None:
            assert t.relative == pytest.approx(surface(t.configuration) / base, rel=0.06)


def test_a_machine_that_never_calms_ends_the_search() -> None:
    rng = np.random.default_rng(3)
    machine = Machine(load=lambda t: 1.0 if t < 20 else float(rng.uniform(1, 4)))
    with pytest.raises(RunError, match="changes under the search") as ended:
        search(machine)
    assert ended.value.exit_code == 5
    assert "--drift" in str(ended.value.hint)
    assert machine.open_now == 0


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from(list(Scenario)[:4]), st.integers(1, 96))
def test_a_space_never_suggests_what_cannot_be(seed: int, scenario: Scenario, processors: int) -> None:
    from coldmark.backends.onnxruntime import BACKEND as ONNX
    from coldmark.backends.openvino import BACKEND as OPENVINO

    request = SpaceRequest(
        scenario=scenario, processors=processors, batch=8, samples_per_query=8, limit_s=0.015
    )
    for backend in (OPENVINO, ONNX):
        axes = tuple(backend.space(request))
        branch = Branch(backend=backend.name, precision=Precision.FP32, axes=axes)
        over = Space(
            branches=(branch,), default=Configuration(backend=backend.name, precision=Precision.FP32)
        )
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        chosen = {k.partition(".")[2]: v for k, v in over.suggest(study.ask()).options.items()}
        for axis in axes:
            assert axis.usual in axis.values
            if axis.at_least:
                assert int(chosen[axis.name]) >= int(chosen[axis.at_least])
        if "threads" in chosen:
            assert int(chosen["threads"]) <= processors


def test_starts_are_what_they_say() -> None:
    over = space(Precision.FP32, Precision.INT8)
    study = optuna.create_study()
    found = []
    for start in over.starts():
        study.enqueue_trial(start)
        found.append(over.suggest(study.ask()))
    assert [c.precision for c in found] == [Precision.FP32, Precision.INT8] * 3
    assert over.effective(found[0]) == over.effective(over.default)
    assert (values(found[2])["streams"], values(found[2])["batch"]) == ("4", "2")
    # A sample in each stream: what large models want, and what they have no time to come upon by chance.
    assert (values(found[4])["streams"], values(found[4])["batch"]) == ("4", "1")


def test_batches_that_take_too_long_are_not_tried() -> None:
    slow = space().bounded(rate=1.0)  # one sample a second: no batch over three, but for the usual one
    assert slow.branches[0].axes[0].values == (1, 2, 4, 8)


def test_the_space_counts_its_configurations() -> None:
    # batch 7 x pin 2 x (streams 1: 3 threads, 2: 2, 4: 1)
    assert space().count() == 7 * 2 * 6


def test_values_worth_trying_by_hand() -> None:
    assert shares(6) == (1, 3, 6)
    assert shares(1) == (1,)
    offline = SpaceRequest(scenario=Scenario.OFFLINE, processors=2, batch=8)
    assert batches(offline) == (1, 2, 4, 8, 16, 32, 64, 128)
    single = SpaceRequest(scenario=Scenario.SINGLE_STREAM, processors=2, batch=1)
    assert batches(single) == (1,)
    server = SpaceRequest(scenario=Scenario.SERVER, processors=2, batch=8, limit_s=0.005)
    assert delays(server) == (0, 100, 300, 1000)
    assert Axis(name="threads", values=(1, 2), usual=2, at_least="streams").allowed({"streams": 4}) == (4,)


def test_a_ratio_of_pairs_by_hand() -> None:
    # Logarithms of 2, 2 and 2: no scatter at all.
    found = ratio_interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert (found.value, found.low, found.high, found.n) == pytest.approx((2.0, 2.0, 2.0, 3))
    # Logarithms to base 2 are 0, 1 and 2: mean 1, deviation 1; t(0.975, 2) / sqrt(3) = 4.3027 / 1.7321.
    mean = mean_interval([1.0, 2.0, 4.0], "s")
    assert (mean.value, mean.low, mean.high) == pytest.approx((2.0, 2**-1.48416, 2**3.48416), rel=1e-4)
    assert mean_interval([1.0], "s").low is None
    assert spread([10.0, 10.0, 11.0, 9.0, 10.0]) == 0.0
    for bad in (([1.0], [0.0]), ([1.0], [1.0, 2.0])):
        with pytest.raises(ValueError, match="readings"):
            ratio_interval(*bad)


@given(st.lists(st.tuples(st.floats(0.1, 1e6), st.floats(0.1, 1e6)), min_size=2, max_size=20))
def test_a_ratio_and_its_inverse_are_one_statement(pairs: list[tuple[float, float]]) -> None:
    above, below = [a for a, _ in pairs], [b for _, b in pairs]
    one, other = ratio_interval(above, below), ratio_interval(below, above)
    assert one.low is not None
    assert other.high is not None
    assert one.value == pytest.approx(1 / other.value)
    assert one.low == pytest.approx(1 / other.high)
    assert one.low <= one.value * (1 + 1e-12)
