"""Power runs in a tree: what is measured, and each single fault of a session."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import submission_runs
import submission_tree as tree
from coldmark.core.errors import DataError
from coldmark.core.nouns import Division, Severity
from coldmark.core.submission import CheckedTree
from coldmark.store.rundir import RunDir
from coldmark.submission.build import build, complete, load_runs, plan_build
from coldmark.submission.check import check_tree

BEGIN = datetime(2022, 8, 4, 8, 0, tzinfo=UTC)
STAMP = "%m-%d-%Y %H:%M:%S.%f"


def spl(seconds: int, watts: float) -> str:
    """A meter's log: a sample a second, from ten seconds before the run to ten after."""
    lines = []
    for second in range(-10, seconds + 10):
        at = (BEGIN + timedelta(seconds=second, milliseconds=500)).strftime(STAMP)[:-3]
        power = watts if 0 <= second < seconds else 5.0
        lines.append(f"Time,{at},Watts,{power:.6f},Volts,-1.0,Amps,-1.0,PF,-1.0,Mark,x_testing")
    return "\n".join(lines) + "\n"


def session(performance: Path, seconds: float) -> None:
    """client.json and server.json of a run with its hashes."""
    start = BEGIN.timestamp()
    phases = [
        [start - 20.0, 1.0],
        [start - 10.0, 2.0],
        [start + seconds + 5, 3.0],
        [start + seconds + 9, 4.0],
    ]
    session_ = tree.BOOK.submission.power.session  # type: ignore[union-attr]
    digests = {n: hashlib.sha1((performance / n).read_bytes()).hexdigest() for n in session_.hashed_files}
    both: dict[str, Any] = {
        "version": "1.0",
        "timezone": 0,
        "modules": {},
        "sources": {},
        "messages": [{"cmd": "hello", "reply": "OK"}, {"cmd": "time", "reply": "1"}],
        "uuid": {"client": "a", "server": "b"},
        "session_name": "one",
        "results": digests,
        "phases": {"ranging": phases, "testing": phases},
    }
    server = both | {
        "ptd_messages": [{"cmd": "Identify", "reply": "YokogawaWT330,version=1.9.2-x,OS=y"}],
        "ptd_config": {"device_type": 52},
    }
    tree.write(performance / "power/client.json", both)
    tree.write(performance / "power/server.json", server)


def metered(root: Path, system: str, scenario: str, watts: float) -> Path:
    """Add power to a run of the tree; returns its `performance` folder."""
    performance = (
        root / "closed" / tree.SUBMITTER / "results" / system / "resnet50" / scenario / "performance"
    )
    seconds = int(tree.RUNS[scenario]["seconds"])
    tree.write(performance / "ranging/mlperf_log_detail.txt", tree.detail(scenario, sut=system))
    tree.write(performance / "ranging/mlperf_log_summary.txt", tree.summary(scenario, system))
    for folder in ("ranging", "run_1"):
        tree.write(performance / folder / "spl.txt", spl(seconds, watts))
    for name in ("client.log", "server.log"):
        tree.write(performance / "power" / name, "a log\n")
    tree.write(performance / "power/ptd_logs.txt", "Uncertainty checking for YokogawaWT330 is activated\n")
    session(performance, seconds)
    return performance


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tree.submission(tmp_path / "tree")


@pytest.fixture
def performance(root: Path) -> Path:
    return metered(root, tree.CENTER, "Server", 800.0)


def errors(found: CheckedTree) -> set[str]:
    return {f.rule for f in found.findings if f.severity is Severity.ERROR}


def test_power_is_the_mean_between_the_marks_or_the_energy_of_a_query(root: Path) -> None:
    metered(root, tree.CENTER, "Server", 800.0)
    metered(root, tree.EDGE, "SingleStream", 60.0)
    metered(root, tree.EDGE, "MultiStream", 60.0)
    found = check_tree(root, "v2.1")
    assert errors(found) == set()
    power = {r.scenario: (r.power, r.power_unit) for r in found.results if r.power is not None}
    assert power["Server"] == (pytest.approx(800.0), "W")
    # 60 W for 612 s over 306 000 queries; 60 W for 2 700 s over 270 336 queries of 8.
    assert power["SingleStream"] == (pytest.approx(0.12), "J")
    assert power["MultiStream"] == (pytest.approx(60 * 2700 / 270336), "J")


def change(name: str, how: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def make(performance: Path) -> None:
        path = performance / "power" / name
        data = json.loads(path.read_text())
        how(data)
        path.write_text(json.dumps(data))

    return make


def text(name: str, old: str, new: str, *, hashed: bool = True) -> Callable[[Path], None]:
    """Change a file; with `hashed` the session is written anew, so that only the change itself is a fault."""

    def make(performance: Path) -> None:
        path = performance / name
        changed, count = re.subn(old, new, path.read_text())
        assert count
        path.write_text(changed)
        if hashed:
            session(performance, tree.RUNS["Server"]["seconds"])

    return make


def later(phase: str, seconds: float) -> Callable[[dict[str, Any]], object]:
    def how(data: dict[str, Any]) -> None:
        for pair in data["phases"][phase]:
            pair[0] += seconds

    return how


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a ranging run 10 % longer": (
        text("ranging/mlperf_log_detail.txt", r"08-04-2022 08:10:00\.000", "08-04-2022 08:11:00.000"),
        "power.durations",
    ),
    "clocks 600 ms apart": (change("server.json", later("testing", 0.6)), "power.clock"),
    "marks outside of their phase": (change("client.json", later("testing", 400)), "power.phases"),
    "no phases": (change("client.json", lambda d: d["phases"].pop("ranging")), "power.phases"),
    "another session": (change("server.json", lambda d: d.update(session_name="two")), "power.session"),
    "another uuid": (change("server.json", lambda d: d.update(uuid={})), "power.session"),
    "a field missing": (change("client.json", lambda d: d.pop("messages")), "power.session"),
    "other messages": (change("server.json", lambda d: d.update(messages=[])), "power.messages"),
    "messages that are none": (change("client.json", lambda d: d.update(messages=3)), "power.messages"),
    "an old PTDaemon": (
        change("server.json", lambda d: d.update(ptd_messages=[{"reply": "version=1.0.0-x"}])),
        "power.ptd",
    ),
    "an unknown meter": (
        change("server.json", lambda d: d.update(ptd_config={"device_type": 1})),
        "power.meter",
    ),
    "a log changed after the session": (
        text("run_1/spl.txt", "Watts,800", "Watts,80", hashed=False),
        "power.hash",
    ),
    "no uncertainty check": (text("power/ptd_logs.txt", "activated", "off"), "power.uncertainty"),
    "a meter's line that is none": (text("run_1/spl.txt", r"\ATime", "Tim"), "power.line"),
    "samples of another day": (text("run_1/spl.txt", "08-04-2022", "08-05-2022"), "power.samples"),
    "no meter's log": (lambda p: (p / "run_1/spl.txt").unlink(), "tree.missing"),
    "no ranging": (lambda p: [f.unlink() for f in (p / "ranging").iterdir()] and None, "tree.missing"),
    "no client": (lambda p: (p / "power/client.json").unlink(), "tree.missing"),
    "a client that is no JSON": (
        lambda p: (p / "power/client.json").write_text("{") and None,
        "power.session",
    ),
    "an extra file": (lambda p: (p / "power/x.bin").write_text("x") and None, "tree.extra"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_single_fault_of_a_session_is_found(root: Path, performance: Path, name: str) -> None:
    make, rule = FAULTS[name]
    make(performance)
    found = check_tree(root, "v2.1")
    assert rule in errors(found)
    assert not any(r.power for r in found.results)


def test_a_ranging_run_five_percent_off_is_at_the_bound(root: Path, performance: Path) -> None:
    text("ranging/mlperf_log_detail.txt", r"08-04-2022 08:10:00\.000", "08-04-2022 08:10:29.000")(performance)
    client = json.loads((performance / "power/client.json").read_text())
    for pair in client["phases"]["ranging"][2:]:
        pair[0] += 60
    for name in ("client", "server"):
        path = performance / f"power/{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"phases": client["phases"]}))
    assert errors(check_tree(root, "v2.1")) == set()  # 629 s against 600 s is 4.6 % of the longer


def test_published_power_sessions_are_parsed(shared: Path, tmp_path: Path) -> None:
    """The meter's logs and sessions of two published systems: clocks, meter and PTDaemon of all hold."""
    import tarfile

    from coldmark.core.nouns import Scenario
    from coldmark.rules.book import load_book
    from coldmark.submission.findings import Findings
    from coldmark.submission.power_rules import (
        PowerCase,
        _check_device,
        _check_messages,
        _check_phases,
        _session,
    )
    from coldmark.submission.scan import DetailLog
    from coldmark.submission.tree import Tree

    archive = shared / "published" / "mlperf-inference-v2.1-summaries.tar.xz"
    with tarfile.open(archive) as tar:
        wanted = [m for m in tar if m.name.endswith(("power/client.json", "power/server.json"))]
        tar.extractall(tmp_path, members=wanted, filter="data")
    places = sorted({m.name.rpartition("/power/")[0] for m in wanted})
    assert len(places) == 28
    book = load_book("v2.1").submission
    assert book is not None
    assert book.power is not None
    for place in places:
        findings = Findings()
        case = PowerCase(
            tree=Tree(root=str(tmp_path)), path=place, book=book.power, findings=findings,
            testing=DetailLog(path=""), ranging=None, folder=Scenario.OFFLINE, logged=Scenario.OFFLINE,
        )  # fmt: skip
        client, server = (_session(case, f"power/{name}.json") for name in ("client", "server"))
        assert client is not None
        assert server is not None
        _check_messages(case, client["messages"], server["messages"])
        _check_phases(case, client["phases"], server["phases"])
        _check_device(case, server)
        assert findings.kept == []


def powered_run(root: Path) -> Path:
    """A run of ours with what the power workflow leaves beside it."""
    run, seconds = submission_runs.run(root / "runs", "Offline"), int(tree.RUNS["Offline"]["seconds"])
    performance = root / "performance"  # as a tree has it: the session's hashes are of these names
    shutil.copytree(run / "performance", performance / "run_1")
    shutil.copytree(run / "performance", performance / "ranging")
    for folder in ("ranging", "run_1"):
        tree.write(performance / folder / "spl.txt", spl(seconds, 250.0))
    for name in ("client.log", "server.log"):
        tree.write(performance / "power" / name, "a log\n")
    tree.write(performance / "power/ptd_logs.txt", "Uncertainty checking for YokogawaWT330 is activated\n")
    session(performance, seconds)
    shutil.copytree(performance / "power", run / "power")
    shutil.copytree(performance / "ranging", run / "ranging")
    shutil.copy(performance / "run_1/spl.txt", run / "performance/spl.txt")
    tree.write(run / "power/analyzer_table.md", "| a meter | its range |\n")
    RunDir(run).seal()
    return run


def built(root: Path, run: Path) -> Path:
    plan, open_ = plan_build(
        load_runs([run]), submitter="Acme", system="box", division=Division.OPEN, answers={}, infer=False
    )
    answers: dict[str, dict[str, str]] = {"system": {}, "implementation": {}}
    for question in open_:
        answers[question.part][question.name] = question.field.example or "something"
    return build(complete(plan, answers), root / "tree")


def test_a_run_with_power_is_built_with_its_power_and_passes(tmp_path: Path) -> None:
    root = built(tmp_path, powered_run(tmp_path))
    found = check_tree(root, "v2.1")
    assert [f.rule for f in found.findings if f.severity is Severity.ERROR] == []
    (result,) = found.results
    assert (result.power, result.power_unit) == (pytest.approx(250.0), "W")
    names = {p.name for p in root.rglob("*") if p.is_file()}
    assert {"client.json", "server.json", "ptd_logs.txt", "spl.txt", "analyzer_table.md"} <= names
    (spoilt,) = root.rglob("run_1/spl.txt")
    spoilt.write_text(spl(int(tree.RUNS["Offline"]["seconds"]), 25.0))
    assert not check_tree(root, "v2.1").accepted


@pytest.mark.parametrize("lost", ["ranging/spl.txt", "power/server.json", "performance/spl.txt"])
def test_a_power_run_that_lacks_a_file_is_refused_by_name(lost: str, tmp_path: Path) -> None:
    run = powered_run(tmp_path)
    (run / lost).unlink()
    RunDir(run).seal()
    with pytest.raises(DataError, match="no such file") as caught:
        built(tmp_path, run)
    assert lost in str(caught.value)
    assert not (tmp_path / "tree").exists()


def test_a_run_without_power_has_no_power_folders(tmp_path: Path) -> None:
    root = built(tmp_path, submission_runs.run(tmp_path / "runs", "Offline"))
    assert not [p for p in root.rglob("*") if p.name in ("power", "ranging", "spl.txt")]
