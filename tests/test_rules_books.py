"""The rule books of all rounds: every value against what the round's own checker held."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coldmark.core.codec import from_plain, to_plain
from coldmark.core.errors import ConfigError
from coldmark.core.nouns import DRIVEN, Scenario, Suite
from coldmark.core.record import RunSpec
from coldmark.rules.book import Benchmark, RuleBook, Target, load_book, rounds
from coldmark.rules.diff import diff_books
from coldmark.runs.resolve import resolve

OLD = ["v0.5", "v0.7", "v1.0", "v1.1", "v2.0", "v2.1", "v3.0"]
ROUNDS = [*OLD, "v3.1", "v4.0", "v4.1", "v5.0", "v5.1", "v6.0", "v6.1"]
BOOKS = Path(__file__).parents[1] / "src" / "coldmark" / "rules" / "books"


def test_every_round_has_its_book_and_they_are_in_order() -> None:
    assert rounds() == ROUNDS


@pytest.fixture(scope="module")
def extracted(shared: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((shared / "rules" / "rulebook_extracted.json").read_text())
    return data


def names(scenarios: Any) -> set[str]:
    return {str(s) for s in scenarios}


def pairs(flat: list[Any]) -> dict[str, float]:
    """['ROUGE1', 42.5, 'ROUGE2', 19.9] as a table."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def lower(targets: dict[str, Target]) -> dict[str, float]:
    return {metric: target.target for metric, target in targets.items() if target.target is not None}


@pytest.mark.parametrize("name", ROUNDS)
def test_models_and_their_names(name: str, extracted: dict[str, Any]) -> None:
    book, theirs = load_book(name), extracted[name]
    assert [b.official_name for b in book.benchmarks.values()] == theirs["models"]
    assert book.model_mapping.items() >= theirs["model_mapping"].items()


@pytest.mark.parametrize("name", ROUNDS)
def test_scenarios_of_each_suite(name: str, extracted: dict[str, Any]) -> None:
    theirs = extracted[name]
    for entry in load_book(name).benchmarks.values():
        official = entry.official_name
        for suite in Suite:
            for kind, ours in (("required", entry.suites), ("optional", entry.optional)):
                asked = (
                    set(theirs[f"{kind}-scenarios-{suite}"].get(official, []))
                    if (f"{kind}-scenarios-{suite}" in theirs)
                    else set()
                )
                assert names(ours.get(suite, ())) == asked, (official, suite, kind)
        for kind, both in (("required", entry.both), ("optional", entry.both_optional)):
            asked = set(theirs.get(f"{kind}-scenarios-datacenter-edge", {}).get(official, []))
            assert names(both) == asked, (official, kind)


@pytest.mark.parametrize("name", ROUNDS)
def test_targets_with_both_bounds_by_metric_and_scenario(name: str, extracted: dict[str, Any]) -> None:
    theirs = extracted[name]
    for entry in load_book(name).benchmarks.values():
        official = entry.official_name
        asked = theirs["accuracy-target"][official]
        by_scenario = asked if isinstance(asked, dict) else dict.fromkeys((*map(str, DRIVEN),), asked)
        for scenario, flat in by_scenario.items():
            ours = lower(entry.targets_in(Scenario(scenario)))
            assert list(ours) == list(pairs(flat)), official
            assert ours == pytest.approx(pairs(flat), rel=1e-11), (official, scenario)
        upper = {m: t.upper for m, t in entry.targets.items() if t.upper is not None}
        assert upper == pytest.approx(pairs(theirs.get("accuracy-upper-limit", {}).get(official, []))), (
            official
        )
        delta = {m: t.audit_tolerance for m, t in entry.targets.items() if t.audit_tolerance is not None}
        percent = theirs.get("accuracy-delta-perc", {}).get(official, {})
        assert delta == pytest.approx({m: p / 100 for m, p in percent.items()}), official


@pytest.mark.parametrize("name", ROUNDS)
def test_sample_counts(name: str, extracted: dict[str, Any]) -> None:
    theirs = extracted[name]
    for entry in load_book(name).benchmarks.values():
        official = entry.official_name
        assert entry.performance_sample_count == theirs["performance-sample-count"][official]
        if "dataset-size" in theirs:
            assert entry.dataset_size == theirs["dataset-size"][official], official
        asked = theirs.get("accuracy-sample-count", {}).get(official)
        if isinstance(asked, dict):
            assert {str(s): n for s, n in entry.accuracy_sample_counts.items()} == asked, official
        elif asked is not None:
            assert entry.accuracy_sample_count == asked, official


@pytest.mark.parametrize("name", ROUNDS)
def test_latencies_and_least_queries(name: str, extracted: dict[str, Any]) -> None:
    theirs = extracted[name]
    for entry in load_book(name).benchmarks.values():
        official = entry.official_name
        whole = {
            str(s): v.end_to_end_ms * 1e6 for s, v in entry.latency.items() if v.end_to_end_ms is not None
        }
        assert whole == theirs.get("latency-constraint", {}).get(official, {}), official
        queries = {str(s): n for s, n in entry.min_queries.items()}
        assert queries == theirs.get("min-queries", {}).get(official, {}), official


@pytest.mark.parametrize("name", ROUNDS)
def test_seeds_and_known_errors(name: str, extracted: dict[str, Any]) -> None:
    book, theirs = load_book(name), extracted[name]
    for key, value in theirs["seeds"].items():
        assert getattr(book.seeds, key.removesuffix("_rng_seed")) == value
    for key, value in theirs.get("test05_seeds", {}).items():
        assert getattr(book.seeds, f"test05_{key.removesuffix('_rng_seed')}") == value
    assert book.submission is not None
    assert book.submission.log is not None
    assert list(book.submission.log.errors_known) == theirs["ignore_errors"]


@pytest.mark.parametrize("name", ["v6.0", "v6.1"])
def test_audit_tests_where_the_checker_lists_them(name: str, extracted: dict[str, Any]) -> None:
    for entry in load_book(name).benchmarks.values():
        listed = {
            key.removeprefix("models_")
            for key, models in extracted[name].items()
            if key.startswith("models_TEST") and entry.official_name in models
        }
        assert set(entry.compliance) == listed, entry.official_name


# -- numbers by hand, and what holds in every book ----------------------------------------------------


def test_numbers_of_several_rounds() -> None:
    sdxl = load_book("v4.1").benchmarks["stable-diffusion-xl"].targets
    assert (sdxl["FID_SCORE"].target, sdxl["FID_SCORE"].upper) == (23.01085758, 23.95007626)
    llama = load_book("v5.1").benchmarks["llama2-70b-99"]
    assert (llama.latency[Scenario.SERVER].ttft_ms, llama.latency[Scenario.INTERACTIVE].tpot_ms) == (2000, 40)
    assert llama.targets["TOKENS_PER_SAMPLE"].upper == 323.895
    qwen = load_book("v6.1").benchmarks["qwen3-vl-235b-a22b"]
    assert qwen.targets_in(Scenario.INTERACTIVE)["F1_HIERARCHICAL"].target == 0.779922
    assert qwen.targets_in(Scenario.OFFLINE)["F1_HIERARCHICAL"].target == 0.782397
    assert load_book("v0.7").benchmarks["rnnt"].min_queries[Scenario.SERVER] == 90112
    assert load_book("v1.0").scenarios[Scenario.OFFLINE].min_duration_ms == 600_000
    assert load_book("v0.7").scenarios[Scenario.OFFLINE].min_duration_ms == 60_000


def test_results_are_taken_where_the_round_takes_them() -> None:
    field = "result_field"
    assert getattr(load_book("v4.0").scenarios[Scenario.SERVER], field) == "result_scheduled_samples_per_sec"
    assert getattr(load_book("v4.1").scenarios[Scenario.SERVER], field) == "result_completed_samples_per_sec"
    assert getattr(load_book("v1.1").scenarios[Scenario.SINGLE_STREAM], field).startswith("result_90.00")
    tokens = load_book("v5.0").scenario("llama2-70b-99", Scenario.OFFLINE)
    assert (tokens.result_field, tokens.unit) == ("result_tokens_per_second", "tokens/s")
    plain = load_book("v5.0").scenario("resnet50", Scenario.OFFLINE)
    assert (plain.result_field, plain.unit) == ("result_samples_per_second", "samples/s")
    assert load_book("v5.0").scenario("bert-99", Scenario.OFFLINE).min_query_count == 10833


@pytest.mark.parametrize("name", ROUNDS)
def test_what_a_book_says_holds_together(name: str) -> None:
    book = load_book(name)
    submission = book.submission
    assert submission is not None
    for entry in book.benchmarks.values():
        asked = {s for by in (entry.suites, entry.optional) for of in by.values() for s in of}
        assert asked <= set(book.scenarios), entry.official_name
        assert set(entry.overrides) <= set(book.scenarios)
        assert set(entry.compliance) <= set(book.compliance), entry.official_name
        for metric, target in entry.targets.items():
            assert metric in submission.accuracy_text, metric
            assert target.target is not None or target.upper is not None
            if target.reference is not None and target.ratio is not None:
                assert target.target is not None
                assert target.reference * target.ratio == pytest.approx(target.target, rel=1e-9)
            if target.upper is not None and target.target is not None:
                assert target.upper > target.target
    for text in submission.accuracy_text.values():
        found = re.search(text.pattern, text.example)
        assert found is not None
        assert float(found[1]) > 0
    for conflict in book.conflicts:
        assert conflict.used
        assert conflict.why
        assert len({r.value for r in conflict.readings}) == len(conflict.readings) >= 2
        assert len({r.source for r in conflict.readings}) == len(conflict.readings)
    if "*.*.qsl_rng_seed" in book.conf:
        assert int(book.conf["*.*.qsl_rng_seed"]) == book.seeds.qsl


def test_interactive_is_a_scenario_from_v51_on() -> None:
    having = [name for name in ROUNDS if Scenario.INTERACTIVE in load_book(name).scenarios]
    assert having == ["v5.1", "v6.0", "v6.1"]


def test_the_submission_part_of_v21() -> None:
    book = load_book("v2.1").submission
    assert book is not None
    assert {k: len(g.fields) for k, g in book.system.items()} == {
        "base": 16, "since_v1": 17, "rules_only": 2, "power": 14, "network": 13,
    }  # fmt: skip
    every = {f for g in book.system.values() for f in g.fields.values()}
    assert all(f.about.endswith(".") for f in every)
    assert all(f.choices for f in every if f.kind == "choice")
    assert book.accuracy_log is not None
    assert book.accuracy_log.max_bytes == 10240 > book.accuracy_log.head_bytes + book.accuracy_log.tail_bytes
    assert book.power is not None
    assert (book.power.duration_tolerance, book.power.clock_difference_ms) == (0.05, 500)
    assert {(i.source, i.scenario) for i in book.inferred} == {
        (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM),
        (Scenario.SINGLE_STREAM, Scenario.OFFLINE),
        (Scenario.MULTI_STREAM, Scenario.OFFLINE),
    }
    assert all((i.multiply is None) != (i.divide is None) for i in book.inferred)
    width = load_book("v2.1").benchmarks["dlrm-99"].bandwidth
    assert width is not None
    assert width.ingress_elements == {"numerical": 270 * 13, "categorical": 270 * 26}


# -- a book is a file ---------------------------------------------------------------------------------


def test_adding_a_round_is_adding_a_file(tmp_path: Path) -> None:
    text = (BOOKS / "v2.1.toml").read_text().replace('round = "v2.1"', 'round = "v9.9"', 1)
    (tmp_path / "v9.9.toml").write_text(text)
    shutil.copy(BOOKS / "v3.0.toml", tmp_path / "v3.0.toml")
    assert rounds(tmp_path) == ["v3.0", "v9.9"]
    assert load_book("v9.9", tmp_path).rule("resnet50", Suite.EDGE, Scenario.OFFLINE).round == "v9.9"
    with pytest.raises(ConfigError, match=r"did you mean 'v9\.9'"):
        load_book("v9.8", tmp_path)


def test_a_book_that_says_another_round_is_refused(tmp_path: Path) -> None:
    shutil.copy(BOOKS / "v3.0.toml", tmp_path / "v9.9.toml")
    with pytest.raises(ConfigError, match=r"says it is round 'v3\.0'"):
        load_book("v9.9", tmp_path)


def test_a_misspelt_key_of_a_book_is_named_with_its_place(tmp_path: Path) -> None:
    text = (BOOKS / "v2.1.toml").read_text().replace('round = "v2.1"', 'round = "v9.9"', 1)
    (tmp_path / "v9.9.toml").write_text(
        text.replace("performance_sample_count = 64", "perf_sample_count = 64")
    )
    with pytest.raises(ConfigError, match="perf_sample_count") as caught:
        load_book("v9.9", tmp_path)
    assert "retinanet" in str(caught.value)


def test_a_book_survives_the_way_to_json_and_back() -> None:
    book = load_book("v6.1")
    assert from_plain(json.loads(json.dumps(to_plain(book))), RuleBook, where="json") == book


# -- what cannot be run is refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "scenario", "words"),
    [
        ("v1.0", Scenario.MULTI_STREAM, "before v2.0"),
        ("v0.5", Scenario.OFFLINE, "no scenario at all"),
        ("v5.1", Scenario.INTERACTIVE, "has no scenario Interactive"),
    ],
)
def test_a_scenario_that_cannot_be_run_is_refused(name: str, scenario: Scenario, words: str) -> None:
    spec = RunSpec(workload="resnet50", scenario=scenario, suite=Suite.EDGE, round=name)
    with pytest.raises(ConfigError, match=words):
        resolve(spec)


def test_token_latencies_are_no_latencies_of_whole_answers() -> None:
    rule = load_book("v5.1").rule("llama2-70b-99", Suite.DATACENTER, Scenario.SERVER)
    assert "token" in rule.refusal
    assert "token" in load_book("v5.1").rule("llama2-70b-99", Suite.DATACENTER, Scenario.INTERACTIVE).refusal
    assert not load_book("v5.1").rule("llama2-70b-99", Suite.DATACENTER, Scenario.OFFLINE).refusal


def test_another_round_is_run_by_its_own_rules() -> None:
    spec = RunSpec(workload="resnet50", scenario=Scenario.SINGLE_STREAM, suite=Suite.EDGE, round="v3.1")
    rule = resolve(spec).rule
    assert (rule.seeds.qsl, rule.book.min_query_count) == (148687905518835231, 100)


# -- showing and comparing ----------------------------------------------------------------------------


def test_diff_says_what_came_went_and_changed() -> None:
    found = diff_books(load_book("v2.0"), load_book("v2.1"))
    assert found.added == ("benchmarks.retinanet", "compliance.TEST04")
    assert set(found.removed) >= {"benchmarks.ssd-mobilenet", "compliance.TEST04-A"}
    changed = {c.key: (c.before, c.after) for c in found.changes}
    assert changed["benchmarks.3d-unet-99.targets.DICE.target"] == (0.8546769, 0.853083)
    assert not any("retinanet." in key and key.startswith("benchmarks") for key in changed)


@pytest.mark.parametrize("name", ROUNDS)
def test_a_round_does_not_differ_from_itself(name: str) -> None:
    found = diff_books(load_book(name), load_book(name))
    assert (found.added, found.removed, found.changes) == ((), (), ())


def test_a_change_of_one_value_is_one_line(tmp_path: Path) -> None:
    text = (BOOKS / "v2.1.toml").read_text()
    (tmp_path / "v2.1.toml").write_text(text.replace("end_to_end_ms = 15 ", "end_to_end_ms = 16 "))
    (change,) = diff_books(load_book("v2.1"), load_book("v2.1", tmp_path)).changes
    assert (change.key, change.before, change.after) == (
        "benchmarks.resnet50.latency.Server.end_to_end_ms", 15, 16,
    )  # fmt: skip


def test_show_and_diff_as_a_user_types_them(coldmark: Callable[..., Any]) -> None:
    shown = coldmark("rules", "show", "v2.1")
    assert shown.returncode == 0, shown.stderr
    assert "acc 75.6954 %" in shown.stdout
    assert "0.86330 (rules)" in shown.stdout
    one = coldmark("rules", "show", "v2.1", "resnet")
    assert "TEST01 TEST04 TEST05" in one.stdout
    entry = json.loads(coldmark("rules", "show", "v5.1", "llama2-70b-99", "--json").stdout)
    assert entry["latency"]["Interactive"] == {"end_to_end_ms": None, "ttft_ms": 450, "tpot_ms": 40}
    assert json.loads(coldmark("rules", "diff", "v2.0", "v2.1", "--json").stdout)["removed"]
    for args, words in (
        (("rules", "show", "v2.3"), "did you mean 'v2.1'"),
        (("rules", "diff", "v2.1", "v33"), "known: v0.5"),
        (("rules", "show", "v2.1", "retinant"), "did you mean 'retinanet'"),
    ):
        done = coldmark(*args)
        assert done.returncode == 2
        assert words in done.stderr


def test_a_benchmark_is_shown_with_all_it_has() -> None:
    from coldmark.report.rules import benchmark_text, book_text

    for name in ROUNDS:
        book = load_book(name)
        assert all(n in book_text(book) for n in book.benchmarks)
        for benchmark, entry in book.benchmarks.items():
            text = benchmark_text(book, benchmark)
            assert all(metric in text for metric in entry.targets)
    text = benchmark_text(load_book("v2.1"), "3d-unet-99")
    assert "0.86330 (rules)" in text
    assert "0.86330" not in benchmark_text(load_book("v2.1"), "bert-99")


def test_the_first_metric_is_what_tables_show() -> None:
    entry: Benchmark = load_book("v5.0").benchmarks["llama3.1-405b"]
    assert (entry.accuracy.metric, entry.accuracy.target) == ("ROUGEL", 21.449934)
