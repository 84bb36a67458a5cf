"""Benchmarks of several metrics, of two bounds and of token latencies: each is checked, or named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import submission_tree
from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Scenario, Severity
from coldmark.core.submission import TreeFinding
from coldmark.rules.book import load_book
from coldmark.submission.accuracy_rules import AccuracyCase, check_accuracy
from coldmark.submission.check import check_tree
from coldmark.submission.compliance_rules import ComplianceCase, check_compliance
from coldmark.submission.findings import Findings
from coldmark.submission.log_rules import LogCase, latency_bound, queries_enough
from coldmark.submission.place import Entry, read_rounds
from coldmark.submission.scan import scan_detail
from coldmark.submission.tree import Tree, open_tree, walk

BOOK = load_book("v4.1")
LLAMA = {"rouge1": 44.4, "rouge2": 22.1, "rougeL": 28.7, "tokens_per_sample": 294.4}


def walked(root: Path) -> Tree:
    tree = open_tree(root, Findings())
    walk(tree, "a", Findings())
    return tree


def judged(root: Path, values: dict[str, float]) -> tuple[str, list[TreeFinding]]:
    """What is said of an accuracy.txt of Llama 2."""
    (root / "a").mkdir()
    (root / "a/accuracy.txt").write_text(f"{values}\nhash={'ab' * 32}\n")
    findings = Findings()
    found = check_accuracy(
        AccuracyCase(
            tree=walked(root), path="a", book=BOOK, benchmark=BOOK.benchmarks["llama2-70b-99"],
            findings=findings, closed=True, scenario=Scenario.OFFLINE,
        )
    )  # fmt: skip
    return found.value, findings.kept


def test_all_metrics_within_their_bounds_have_no_finding(tmp_path: Path) -> None:
    assert judged(tmp_path, LLAMA) == ("44.4", [])


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("rouge1", 43.98, ">= 43.986888 ROUGE1"),
        ("rouge2", 21.8, ">= 21.814848 ROUGE2"),
        ("rougeL", 28.3, ">= 28.330038 ROUGEL"),
        ("tokens_per_sample", 265.0, ">= 265.005 TOKENS_PER_SAMPLE"),
        ("tokens_per_sample", 323.9, "<= 323.895 TOKENS_PER_SAMPLE"),
    ],
)
def test_each_metric_and_both_bounds_reject(tmp_path: Path, metric: str, value: float, expected: str) -> None:
    _, (one,) = judged(tmp_path, LLAMA | {metric: value})
    assert (one.rule, one.severity, one.expected) == ("accuracy.target", Severity.ERROR, expected)


def test_a_metric_that_is_not_said_rejects(tmp_path: Path) -> None:
    _, (one,) = judged(tmp_path, {k: v for k, v in LLAMA.items() if k != "rougeL"})
    assert (one.rule, one.severity) == ("accuracy.metric", Severity.ERROR)


def tokens(root: Path, ttft: float, tpot: float, *, on: bool = True) -> list[TreeFinding]:
    """What is said of the token latencies of a Server run of Llama 2."""
    (root / "a").mkdir()
    values = {
        "requested_use_token_latencies": on,
        "effective_target_latency_ns": 0,
        "effective_target_latency_percentile": 0.99,
        "effective_min_query_count": 100,
        "result_query_count": 24576,
        "result_overlatency_query_count": 24576,
        "result_first_token_99.00_percentile_latency_ns": ttft,
        "result_time_per_output_token_99.00_percentile_ns": tpot,
    }
    (root / "a/log.txt").write_text("".join(submission_tree.entry(k, v) for k, v in values.items()))
    findings = Findings()
    case = LogCase(
        log=scan_detail(walked(root), "a/log.txt"), book=BOOK, benchmark=BOOK.benchmarks["llama2-70b-99"],
        scenario=Scenario.SERVER, accuracy_run=False, findings=findings,
    )  # fmt: skip
    latency_bound(case)
    queries_enough(case)
    return findings.kept


def test_tokens_in_time_are_accepted_and_what_is_not_counted_again_is_said(tmp_path: Path) -> None:
    (one,) = tokens(tmp_path, 1.9e9, 1.9e8)
    assert (one.rule, one.severity) == ("log.unchecked", Severity.NOTE)


@pytest.mark.parametrize(
    ("ttft", "tpot", "on", "rule"),
    [
        (2.1e9, 1e8, True, "log.latency"),
        (1e9, 2.1e8, True, "log.latency"),
        (1e9, 1e8, False, "log.tokens"),
    ],
)
def test_tokens_out_of_time_reject(tmp_path: Path, ttft: float, tpot: float, on: bool, rule: str) -> None:
    errors = [f.rule for f in tokens(tmp_path, ttft, tpot, on=on) if f.severity is Severity.ERROR]
    assert errors == [rule]


@pytest.mark.parametrize(("eos", "errors"), [("True", 0), ("False", 1)])
def test_the_lines_of_test06_are_read(tmp_path: Path, eos: str, errors: int) -> None:
    entry = Entry(division="a", submitter="b", system="s", model="m", scenario="Offline")
    folder = tmp_path / entry.at("compliance") / "TEST06"
    folder.mkdir(parents=True)
    lines = ("First token check pass: Skipped", f"EOS check pass: {eos}", "Sample length check pass: True")
    (folder / "verify_accuracy.txt").write_text("\n".join(lines))
    findings = Findings()
    check_compliance(
        ComplianceCase(
            tree=walked(tmp_path), entry=entry, book=BOOK, benchmark=BOOK.benchmarks["llama2-70b-99"],
            findings=findings, submitted=None, length=None, accuracy_samples=None,
        )
    )  # fmt: skip
    assert sum(f.severity is Severity.ERROR for f in findings.kept) == errors
    assert "compliance.unchecked" in {f.rule for f in findings.kept}


def test_images_that_a_round_wants_to_see_are_missed(tmp_path: Path) -> None:
    assert len(BOOK.benchmarks["stable-diffusion-xl"].accuracy_files) == 10
    top = submission_tree.submission(tmp_path, "v4.1") / "closed/Acme"
    for kind in ("results", "measurements", "compliance"):
        for system in (top / kind).iterdir():
            (system / "resnet50").rename(system / "stable-diffusion-xl")
    missing = [f.file for f in check_tree(tmp_path, "v4.1").findings if f.rule == "tree.missing"]
    assert "closed/Acme/results/acme-edge/stable-diffusion-xl/Offline/accuracy/images/4655.*" in missing


@pytest.mark.parametrize("change", ["hidden", "blank", "empty", "pycache", "loose"])
def test_names_that_later_rounds_refuse(tmp_path: Path, change: str) -> None:
    top = submission_tree.submission(tmp_path, "v3.1") / "closed/Acme"
    if change == "hidden":
        (top / "code/.secret").write_text("x")
    elif change == "blank":
        (top / "code/a b").write_text("x")
    elif change == "loose":
        (top.parent / "notes.txt").write_text("x")
    else:
        (top / "code" / ("__pycache__" if change == "pycache" else "nothing")).mkdir()
    rules = {f.rule for f in check_tree(tmp_path, "v3.1").findings if f.severity is Severity.ERROR}
    assert {"pycache": "tree.banned"}.get(change, f"tree.{change}") in rules


def test_an_empty_meaningful_field_rejects_since_v3_1(tmp_path: Path) -> None:
    root = submission_tree.submission(tmp_path, "v3.1")
    path = root / "closed/Acme/systems/acme-edge.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cooling": ""}))
    assert not check_tree(root, "v3.1").accepted


def test_rounds_that_are_not_read_are_refused_with_those_that_are(tmp_path: Path) -> None:
    assert read_rounds() == ["v2.0", "v2.1", "v3.0", "v3.1", "v4.0", "v4.1"]
    for name in ("v0.5", "v1.1", "v5.1", "v6.0"):
        with pytest.raises(ConfigError, match=f"trees of {name} are not read") as error:
            check_tree(tmp_path, name)
        assert "v2.0, v2.1, v3.0, v3.1, v4.0, v4.1" in str(error.value.hint)
