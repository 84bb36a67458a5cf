"""Every single fault is found, on a tree of our own and on a published one; and none where there is none."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import submission_tree
from coldmark.core.nouns import Severity
from coldmark.submission.check import check_tree
from submission_faults import FAULTS, Fault, Spot

IDS = [fault.name for fault in FAULTS]


ROUNDS = ("v2.0", "v3.0", "v3.1", "v4.0", "v4.1")
"""Rounds besides v2.1 whose trees are of the same shape."""


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return submission_tree.submission(tmp_path_factory.mktemp("submission"))


@pytest.fixture
def spot(whole: Path, tmp_path: Path) -> Spot:
    """A copy of the tree to break."""
    root = tmp_path / "tree"
    shutil.copytree(whole, root)
    return Spot(root, submission_tree.SUBMITTER, submission_tree.EDGE, submission_tree.CENTER)


def test_there_are_at_least_sixty_faults_and_no_name_twice() -> None:
    assert len(FAULTS) >= 60
    assert len(set(IDS)) == len(IDS)


def test_a_tree_without_fault_is_accepted_without_a_finding(whole: Path) -> None:
    found = check_tree(whole, "v2.1")
    assert found.findings == ()
    assert {(r.system, r.scenario): r.value for r in found.results} == {
        ("acme-center", "Offline"): 1000,
        ("acme-center", "Server"): 500,
        ("acme-edge", "MultiStream"): pytest.approx(12.01),
        ("acme-edge", "Offline"): 1000,
        ("acme-edge", "SingleStream"): pytest.approx(2.101),
    }


@pytest.fixture(scope="session", params=ROUNDS)
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A tree of another round."""
    return request.param, submission_tree.submission(tmp_path_factory.mktemp("submission"), request.param)


def test_a_tree_of_another_round_is_accepted_without_a_finding(other: tuple[str, Path]) -> None:
    round_, root = other
    found = check_tree(root, round_)
    assert found.findings == ()
    assert len(found.results) == found.entries == 5
    assert not check_tree(root, "v2.1").accepted  # its seeds and its tests are others


@pytest.fixture(scope="session", params=("v2.0", "v4.1"))
def changed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A tree of the first and of the last of them, to break."""
    return request.param, submission_tree.submission(tmp_path_factory.mktemp("submission"), request.param)


NOT_IN_V20 = ("TEST04", "network", "TEST05 20 % slower")


@pytest.mark.parametrize("fault", FAULTS, ids=IDS)
def test_a_single_fault_is_found_in_other_rounds(
    changed: tuple[str, Path], fault: Fault, tmp_path: Path
) -> None:
    round_, whole = changed
    if round_ == "v2.0" and any(word in fault.name for word in NOT_IN_V20):
        pytest.skip("v2.0 has another TEST04, compares another Server rate, and has no network division")
    shutil.copytree(whole, tmp_path / "tree")
    spot = Spot(tmp_path / "tree", submission_tree.SUBMITTER, submission_tree.EDGE, submission_tree.CENTER)
    fault.make(spot)
    found = check_tree(spot.root, round_, submitter="" if fault.rule == "tree.division" else spot.submitter)
    assert not found.accepted
    assert fault.rule in {f.rule for f in found.findings if f.severity is Severity.ERROR}


def assert_found(spot: Spot, fault: Fault) -> None:
    found = check_tree(spot.root, "v2.1", submitter="" if fault.rule == "tree.division" else spot.submitter)
    errors = [f for f in found.findings if f.severity is Severity.ERROR]
    mine = [f for f in errors if f.rule == fault.rule]
    assert mine, [f"{f.rule} {f.place}" for f in errors]
    assert any(fault.clause in f.clause for f in mine), [f.clause for f in mine]
    assert not found.accepted


@pytest.mark.parametrize("fault", FAULTS, ids=IDS)
def test_a_single_fault_is_found_with_its_clause(spot: Spot, fault: Fault) -> None:
    fault.make(spot)
    assert_found(spot, fault)


# -- the published submission -------------------------------------------------------------------------

REAL = ("A100_PCIE_80GBx20_TRT", "A100_SXM4_80GBX1_CUSTOM_TRT")


@pytest.fixture(scope="session")
def published(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole published submission, unpacked."""
    root = tmp_path_factory.mktemp("published")
    with tarfile.open(shared / "published" / "mlperf-inference-v2.1-closed-nettrix.tar.xz") as tar:
        tar.extractall(root, filter="data")
    return root


@pytest.fixture(scope="session")
def part(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its ResNet-50 runs of a datacenter and an edge system."""
    root = tmp_path_factory.mktemp("part")
    top = root / "closed/Nettrix"
    for system in REAL:
        for kind in ("results", "measurements", "compliance"):
            source = published / "closed/Nettrix" / kind / system / "resnet50"
            shutil.copytree(source, top / kind / system / "resnet50")
    shutil.copytree(published / "closed/Nettrix/systems", top / "systems")
    return root


@pytest.fixture
def real(part: Path, tmp_path: Path) -> Spot:
    root = tmp_path / "tree"
    shutil.copytree(part, root)
    return Spot(root, "Nettrix", REAL[1], REAL[0])


def test_a_published_submission_is_accepted_whole(published: Path) -> None:
    found = check_tree(published, "v2.1")
    assert [f for f in found.findings if f.severity is Severity.ERROR] == []
    assert len(found.results) == found.entries == 40
    # What is warned of is true of it: it was published without code, and its user.conf are not of the runs.
    assert {f.rule for f in found.findings if f.severity is Severity.WARNING} == {"code.folder", "conf.run"}


@pytest.mark.parametrize("fault", FAULTS, ids=IDS)
def test_a_single_fault_in_a_published_submission_is_found(real: Spot, fault: Fault) -> None:
    fault.make(real)
    assert_found(real, fault)


# -- the official checker, where it is given ------------------------------------------------------------


@pytest.fixture(scope="session")
def official(mlperf_inference: Callable[[str], Path | None]) -> Path:
    """The checker of v2.1, with the parser of logs that it imports."""
    mlperf_inference("tools/submission/log_parser.py")
    script = mlperf_inference("tools/submission/submission-checker.py")
    assert script is not None
    return script


def judge(script: Path, root: Path, csv: Path) -> tuple[int, dict[str, tuple[float, str]]]:
    """Exit status of the official checker, and its results with accuracies by place."""
    import csv as table

    command = [sys.executable, str(script), "--input", str(root), "--version", "v2.1", "--csv", str(csv)]
    status = subprocess.run(command, capture_output=True, check=False, cwd=csv.parent).returncode
    with csv.open() as file:
        rows = list(table.DictReader(file))
    return status, {r["Location"]: (float(r["Result"]), r["Accuracy"]) for r in rows}


def agree(script: Path, root: Path, csv: Path) -> None:
    status, theirs = judge(script, root, csv)
    ours = check_tree(root, "v2.1")
    assert status == 0
    assert ours.accepted
    assert {r.path for r in ours.results} == set(theirs)
    for result in ours.results:
        value, accuracy = theirs[result.path]
        assert result.value == pytest.approx(value, rel=1e-12), result.path
        assert result.accuracy == accuracy


def test_the_official_checker_and_ours_give_the_same_results(
    official: Path, whole: Path, published: Path, tmp_path: Path
) -> None:
    agree(official, whole, tmp_path / "own.csv")
    agree(official, published, tmp_path / "published.csv")


@pytest.fixture(params=["own", "published"])
def either(request: pytest.FixtureRequest) -> Spot:
    found: Spot = request.getfixturevalue("spot" if request.param == "own" else "real")
    return found


@pytest.mark.parametrize("fault", FAULTS, ids=IDS)
def test_what_the_official_checker_rejects_ours_rejects(
    official: Path, either: Spot, fault: Fault, tmp_path: Path
) -> None:
    fault.make(either)
    status, _ = judge(official, either.root, tmp_path / "o.csv")
    if status:
        assert not check_tree(either.root, "v2.1").accepted
