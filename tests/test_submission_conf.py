"""mlperf.conf beside a run: what the run reads of it must be the round's, other lines only should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldmark.core.nouns import Scenario, Severity
from coldmark.core.submission import TreeFinding
from coldmark.rules.book import load_book
from coldmark.submission.conf_rules import check_mlperf_conf
from coldmark.submission.findings import Findings
from coldmark.submission.place import Entry
from coldmark.submission.tree import open_tree, walk

BOOK = load_book("v2.1")
TEXT = "".join(f"{key} = {value}\n" for key, value in BOOK.conf.items())


def found(
    root: Path, text: str, benchmark: str = "resnet50", scenario: Scenario = Scenario.SERVER
) -> list[TreeFinding]:
    """What is said of an mlperf.conf beside a run."""
    entry = Entry(division="closed", submitter="Acme", system="s", model="m", scenario="Server")
    folder = root / entry.at("measurements")
    folder.mkdir(parents=True)
    (folder / "mlperf.conf").write_text(text)
    findings = Findings()
    tree = open_tree(root, findings)
    walk(tree, "closed/Acme", findings)
    check_mlperf_conf(tree, entry, BOOK, benchmark, scenario, findings)
    return findings.kept


def test_the_round_s_own_file_has_no_finding(tmp_path: Path) -> None:
    assert found(tmp_path, TEXT) == []


@pytest.mark.parametrize(
    ("benchmark", "scenario", "old", "new"),
    [
        ("resnet50", Scenario.SERVER, "resnet50.Server.target_latency = 15", "resnet50.Server.x = 1"),
        ("resnet50", Scenario.OFFLINE, "*.Offline.min_query_count = 24576", "*.Offline.min_query_count = 1"),
        ("bert-99", Scenario.SERVER, "bert.Server.target_latency = 130", "bert.Server.target_latency = 131"),
        ("3d-unet-99.9", Scenario.OFFLINE, "3d-unet.*.sample_concatenate_permutation = 1\n", ""),
        ("rnnt", Scenario.OFFLINE, "*.*.schedule_rng_seed = 299063814864929621", "*.*.schedule_rng_seed = 1"),
    ],
)
def test_a_line_that_the_run_reads_is_an_error(
    tmp_path: Path, benchmark: str, scenario: Scenario, old: str, new: str
) -> None:
    assert old in TEXT
    (one,) = found(tmp_path, TEXT.replace(old, new), benchmark, scenario)
    assert (one.rule, one.severity) == ("conf.round", Severity.ERROR)


@pytest.mark.parametrize(
    ("benchmark", "scenario", "old", "new"),
    [
        ("bert-99", Scenario.SERVER, "retinanet.Server.target_latency = 100\n", ""),
        ("resnet50", Scenario.OFFLINE, "*.Server.min_duration = 600000", "*.Server.min_duration = 1"),
        # hidden by the benchmark's own line
        ("resnet50", Scenario.SERVER, "*.Server.target_latency = 10\n", "*.Server.target_latency = 99\n"),
        ("resnet50", Scenario.SERVER, "rnnt.Server.", "resnet.Server."),
    ],
)
def test_a_line_of_another_run_is_a_warning(
    tmp_path: Path, benchmark: str, scenario: Scenario, old: str, new: str
) -> None:
    assert old in TEXT
    (one,) = found(tmp_path, TEXT.replace(old, new), benchmark, scenario)
    assert (one.rule, one.severity) == ("conf.round", Severity.WARNING)
    assert "does not read" in one.found


def test_another_round_s_file_is_named_and_its_seeds_are_an_error(tmp_path: Path) -> None:
    other = "".join(f"{key} = {value}\n" for key, value in load_book("v2.0").conf.items())
    (one,) = found(tmp_path, other)
    assert one.severity is Severity.ERROR
    assert one.expected == "qsl_rng_seed = 14284205019438841327 for resnet50 in Server"
    assert one.found.startswith("6655344265603136530")
    assert one.found.endswith("it is the file of v2.0")


def test_a_number_written_otherwise_is_the_same(tmp_path: Path) -> None:
    text = TEXT.replace("target_qps = 1.0", "target_qps = 1").replace("= 600000", "=600000")
    assert found(tmp_path, text) == []
