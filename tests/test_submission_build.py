"""From runs to a tree: what it holds, what it refuses, and that any change to it is found."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import submission_runs
import submission_tree
from coldmark.core.calibration import Quantisation
from coldmark.core.codec import dump_json
from coldmark.core.compliance import ComplianceRecord, ScoreComparison, TestVerdict
from coldmark.core.errors import ConfigError, DataError
from coldmark.core.nouns import (
    Division,
    Finding,
    Length,
    Precision,
    Provenance,
    Scenario,
    Severity,
    State,
    Suite,
)
from coldmark.core.submission import CheckedTree
from coldmark.rules.submission_book import AccuracyLogBook
from coldmark.store.rundir import RunDir
from coldmark.submission.assemble import cut_log, implementation, user_conf
from coldmark.submission.build import MARK, build, complete, load_runs, plan_build
from coldmark.submission.check import check_tree
from coldmark.submission.describe import Question, read_answers, template
from coldmark.submission.manifest import NAME
from coldmark.submission.pack import pack
from coldmark.submission.texts import as_number, parse_conf

Call = Callable[..., subprocess.CompletedProcess[str]]
PART = submission_tree.BOOK.submission
assert PART is not None


def made(root: Path, runs: list[Path], *, division: Division = Division.OPEN, infer: bool = False) -> Path:
    """A tree of runs, every open field said."""
    answers = root / "system.toml"
    answers.write_text(submission_runs.answers())
    assert PART is not None
    plan, open_ = plan_build(
        load_runs(runs),
        submitter="Acme",
        system="box",
        division=division,
        answers=read_answers(answers, PART),
        infer=infer,
    )
    assert open_ == []
    return build(plan, root / "tree")


def errors(found: CheckedTree) -> list[str]:
    return [f"{f.rule} {f.place}" for f in found.findings if f.severity is Severity.ERROR]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of short runs of mini, as it is built."""
    root = tmp_path_factory.mktemp("built")
    names = ("SingleStream", "MultiStream", "Offline")
    return made(root, [submission_runs.run(root / "runs", name, compliance=True) for name in names])


def test_a_tree_of_short_runs_is_checked_as_marked_and_said_not_to_be_eligible(tree: Path) -> None:
    found = check_tree(tree, "v2.1")
    assert errors(found) == []
    assert found.accepted
    assert found.lengths == ("short",)
    assert {(r.scenario, r.value) for r in found.results} == {
        ("SingleStream", 2.101),
        ("MultiStream", 12.01),
        ("Offline", 1000.0),
    }
    warned = {f.rule for f in found.findings if f.severity is Severity.WARNING}
    assert {"manifest.eligible", "log.duration"} <= warned


def test_the_submitters_folder_says_that_it_is_not_for_submission(tree: Path) -> None:
    assert [p.name for p in (tree / "open").iterdir()] == [f"Acme{MARK}"]
    said = json.loads((tree / "open" / f"Acme{MARK}" / "systems/box.json").read_text())
    assert said["submitter"] == f"Acme{MARK}"


def test_accuracy_logs_are_cut_to_their_ends_with_the_hash_of_the_whole(tree: Path) -> None:
    folder = tree / "open" / f"Acme{MARK}" / "results/box/resnet50-mini/Offline/accuracy"
    whole, cut = (
        submission_runs.whole_log(submission_runs.SAMPLES),
        (folder / "mlperf_log_accuracy.json").read_bytes(),
    )
    assert len(cut) == 4096 + 7 + 4096
    assert cut == whole[:4096] + b"\n\n...\n\n" + whole[-4096:]
    assert f"hash={hashlib.sha256(whole).hexdigest()}" in (folder / "accuracy.txt").read_text()


def every_file(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def test_breaking_any_one_file_is_found_and_named(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tree, copy)
    names = every_file(copy)
    assert len(names) > 60
    for name in names:
        path = copy / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-2] + b"~" + whole[-1:])
        found = check_tree(copy, "v2.1")
        assert not found.accepted, name
        assert any(f.file == name for f in found.findings if f.severity is Severity.ERROR), name
        path.unlink()
        assert not check_tree(copy, "v2.1").accepted, name
        path.write_bytes(whole)
    assert check_tree(copy, "v2.1").accepted


def test_two_packings_are_equal_and_hold_the_tree(tree: Path, tmp_path: Path) -> None:
    for kind in ("tar.gz", "tar.xz"):
        first, second = pack(tree, tmp_path / f"a.{kind}", kind), pack(tree, tmp_path / f"b.{kind}", kind)
        assert first.read_bytes() == second.read_bytes()
        with tarfile.open(first) as tar:
            assert sorted(m.name for m in tar if m.isfile()) == every_file(tree)
            assert all((m.mtime, m.uid, m.uname) == (0, 0, "") for m in tar.getmembers())


def test_two_builds_of_the_same_runs_are_equal(tmp_path: Path) -> None:
    run = submission_runs.run(tmp_path / "runs", "Offline")
    archives = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        archives.append(
            pack(made(tmp_path / name, [run]), tmp_path / f"{name}.tar.gz", "tar.gz").read_bytes()
        )
    assert archives[0] == archives[1]


def test_a_link_in_a_tree_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="no plain file"):
        pack(tmp_path / "tree", tmp_path / "a.tar.gz", "tar.gz")
    assert list(tmp_path.glob("*.gz*")) == []


def test_official_runs_make_a_closed_tree_without_a_finding(tmp_path: Path) -> None:
    runs = [
        submission_runs.run(
            tmp_path / "runs", name, model="official", length=Length.OFFICIAL, compliance=True
        )
        for name in ("SingleStream", "MultiStream", "Offline")
    ]
    found = check_tree(made(tmp_path, runs, division=Division.CLOSED), "v2.1")
    assert found.findings == ()
    assert len(found.results) == 3


def test_a_closed_tree_needs_the_audit_tests(tmp_path: Path) -> None:
    run = submission_runs.run(tmp_path / "runs", "Offline", model="official", length=Length.OFFICIAL)
    with pytest.raises(ConfigError, match="TEST01 was not run"):
        made(tmp_path, [run], division=Division.CLOSED)
    assert not (tmp_path / "tree").exists()
    assert list(tmp_path.glob(".tree*")) == []


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (lambda folder: shutil.rmtree(folder / "TEST05/performance"), "TEST05 was not run to its end"),
        (lambda folder: (folder / "TEST05/verify_performance.txt").unlink(), "TEST05 was not run to its end"),
        (lambda folder: verdict(folder, "TEST05"), "TEST05 did not pass"),
    ],
)
def test_a_closed_tree_takes_no_audit_that_was_broken_off_or_failed(
    tmp_path: Path, breaks: Callable[[Path], None], said: str
) -> None:
    run = submission_runs.run(
        tmp_path / "runs", "Offline", model="official", length=Length.OFFICIAL, compliance=True
    )
    folder = run / "compliance"
    breaks(folder)
    RunDir(run).seal_added("compliance")
    with pytest.raises(ConfigError, match=said) as refused:
        made(tmp_path, [run], division=Division.CLOSED)
    assert refused.value.hint == f"coldmark compliance {run.name}"
    assert not (tmp_path / "tree").exists()
    made(tmp_path, [run])  # open takes what there is


def verdict(folder: Path, name: str) -> None:
    """The record of an audit that failed."""
    finding = Finding(rule="compliance.score", severity=Severity.ERROR, subject="", expected="", found="")
    score = ScoreComparison(
        field="f", lower_is_better=False, reference=1.0, test=2.0, tolerance=0.1, direction="within"
    )
    failed = TestVerdict(test=name, score=score, findings=(finding,))
    record = ComplianceRecord(
        run_id="r", round="v2.1", benchmark="resnet50", scenario="Offline", tests={name: failed},
        software={}, finished="",
    )  # fmt: skip
    (folder / "compliance.json").write_text(dump_json(record))


INT8 = Quantisation(
    id="ab",
    method="nncf-mixed",
    floating=Precision.FP32,
    excluded={},
    networks={"model": "1" * 64},
    set_name="shapes",
    set_sha256="2" * 64,
    samples=300,
    made_with={"nncf": "3.4"},
)


def test_each_run_says_its_own_precision_and_weights(tmp_path: Path) -> None:
    watched = {"redfish.url": "https://10.1.2.3", "ptd.log": "/home/me/spl.txt", "backend.batch": "4"}
    runs = [
        submission_runs.run(tmp_path / "runs", "SingleStream", spec={"options": watched}),
        submission_runs.run(tmp_path / "runs", "Offline", spec={"precision": Precision.INT8}, quantised=INT8),
    ]
    top = made(tmp_path, runs) / "open" / f"Acme{MARK}"
    said = {p.parent.name: json.loads(p.read_text()) for p in (top / "measurements").rglob("box_*.json")}
    assert {name: s["weight_data_types"] for name, s in said.items()} == {
        "SingleStream": "fp32",
        "Offline": "int8",
    }
    assert said["Offline"]["weight_transformations"] == "INT8 by nncf-mixed, see calibration_process.adoc"
    assert said["SingleStream"]["weight_transformations"] == "No"
    readmes = "".join(p.read_text() for p in top.rglob("README.md"))
    assert "backend.batch=4" in readmes
    assert "10.1.2.3" not in readmes
    assert "/home/me" not in readmes


def test_an_answer_that_no_run_bears_out_is_refused(tmp_path: Path) -> None:
    runs = load_runs([submission_runs.run(tmp_path, "Offline")])
    answers = {"implementation": {"weight_data_types": "int8"}}
    with pytest.raises(ConfigError, match=r"'int8' is not what the record of .* says: 'fp32'") as refused:
        plan_build(runs, submitter="Acme", system="box", division=Division.OPEN, answers=answers)
    assert "leave it out" in str(refused.value.hint)


def test_a_model_of_ones_own_is_named_without_its_folder(tmp_path: Path) -> None:
    (run,) = load_runs([submission_runs.run(tmp_path, "Offline", model="/home/me/secret/r50.onnx")])
    said = implementation(run.record, run.facts)["starting_weights_filename"]
    assert said.startswith("resnet50, model source r50.onnx; ")


def test_missing_scenarios_are_inferred_by_the_rules(tmp_path: Path) -> None:
    run = submission_runs.run(tmp_path / "runs", "SingleStream")
    found = check_tree(made(tmp_path, [run], infer=True), "v2.1")
    assert errors(found) == []
    values = {r.scenario: (r.value, r.inferred) for r in found.results}
    # 8 samples of 2.402 ms each; the rate without LoadGen's own time is the log's 505.
    assert values["MultiStream"] == (pytest.approx(19.216), True)
    assert values["Offline"] == (505, True)
    assert values["SingleStream"] == (2.101, False)


def test_a_run_longer_than_the_mark_passes_and_one_shorter_does_not(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tree, copy)
    manifest = next(copy.rglob(NAME))
    said = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(said | {"length": "smoke"}))
    assert check_tree(copy, "v2.1").accepted
    manifest.write_text(json.dumps(said | {"length": "official"}))
    assert any(e.startswith("log.duration") for e in errors(check_tree(copy, "v2.1")))


def test_a_mark_does_not_help_a_closed_tree(tmp_path: Path) -> None:
    whole = submission_tree.submission(tmp_path / "tree")
    top = whole / "closed" / submission_tree.SUBMITTER
    said = {"round": "v2.1", "division": "closed", "submitter": "Acme", "length": "short", "eligible": False}
    (top / NAME).write_text(json.dumps(said))
    assert any(e.startswith("manifest.closed") for e in errors(check_tree(whole, "v2.1")))


def test_a_hash_that_is_not_of_the_whole_log_is_found(tmp_path: Path) -> None:
    whole = submission_tree.submission(tmp_path / "tree")
    path = next((whole / "closed").rglob("results/*/resnet50/Server/accuracy/accuracy.txt"))
    path.write_text(path.read_text().replace("hash=", "hash=0")[:-2] + "\n")
    assert check_tree(whole, "v2.1").accepted  # nothing in the tree can tell
    logs = tmp_path / "logs" / path.parent.relative_to(whole)
    logs.mkdir(parents=True)
    entries = [f'{{ "seq_id" : {i}, "qsl_idx" : {i}, "data" : "{i % 1000:08X}" }}' for i in range(50000)]
    (logs / "mlperf_log_accuracy.json").write_text("[\n" + ",\n".join(entries) + "\n]\n")
    found = check_tree(whole, "v2.1", full_logs=tmp_path / "logs")
    assert errors(found) == [f"accuracy.hash {path.relative_to(whole).as_posix()}:2"]


# -- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "INVALID"}, "INVALID"),
        ({"state": State.FAILED}, "failed"),
        ({"provenance": Provenance.SIMULATED}, "simulated run is no result"),
    ],
)
def test_a_run_that_is_no_result_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    run = submission_runs.run(tmp_path, "Offline", **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=said):
        load_runs([run])


def test_a_run_that_was_changed_or_has_no_accuracy_is_refused(tmp_path: Path) -> None:
    run = submission_runs.run(tmp_path / "a", "Offline")
    with (run / "performance/mlperf_log_detail.txt").open("a") as file:
        file.write("\n")
    with pytest.raises(DataError, match=r"changed since .* mlperf_log_detail|changed since"):
        load_runs([run])
    other = submission_runs.run(tmp_path / "b", "Offline")
    (other / "accuracy/accuracy.txt").unlink()
    with pytest.raises((ConfigError, DataError)):
        load_runs([other])


def test_two_runs_of_one_scenario_or_of_two_machines_are_refused(tmp_path: Path) -> None:
    one, two = (submission_runs.run(tmp_path / "a", "Offline") for _ in range(2))
    with pytest.raises(ConfigError, match="are both"):
        load_runs([one, two])
    other = submission_runs.run(tmp_path / "b", "SingleStream", processor="CPU Y")
    with pytest.raises(ConfigError, match="different machines"):
        load_runs([one, other])
    with pytest.raises(ConfigError, match="no run given"):
        load_runs([])


@pytest.mark.parametrize("model", ["mini", "full"])
@pytest.mark.parametrize("division", [Division.CLOSED, Division.NETWORK])
def test_models_of_ours_are_refused_for_closed(tmp_path: Path, model: str, division: Division) -> None:
    runs = load_runs([submission_runs.run(tmp_path, "Offline", model=model, length=Length.OFFICIAL)])
    with pytest.raises(ConfigError, match="no model of the round"):
        plan_build(runs, submitter="Acme", system="box", division=division, answers={})


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b", "x" * 101])
def test_a_name_that_is_no_folders_is_refused(tmp_path: Path, name: str) -> None:
    runs = load_runs([submission_runs.run(tmp_path, "Offline")])
    with pytest.raises(ConfigError, match="no folder's name"):
        plan_build(runs, submitter=name, system="box", division=Division.OPEN, answers={})


def test_a_tree_is_not_written_over(tmp_path: Path) -> None:
    run = submission_runs.run(tmp_path / "runs", "Offline")
    made(tmp_path, [run])
    with pytest.raises(ConfigError, match="already there"):
        made(tmp_path, [run])


def test_an_accuracy_text_that_is_not_of_its_log_stops_the_build(tmp_path: Path) -> None:
    run = submission_runs.run(
        tmp_path / "runs", "Offline", extra={"accuracy/accuracy.txt": b"accuracy=1%\nhash=00\n"}
    )
    with pytest.raises(DataError, match="hash= is not of the log"):
        made(tmp_path, [run])
    assert not (tmp_path / "tree").exists()


def test_a_system_file_with_an_unknown_or_ill_typed_field_is_refused(tmp_path: Path) -> None:
    assert PART is not None
    for text, said in (
        ("[system]\ncoolin = 'air'", "unknown field 'coolin'"),
        ("[sistem]\n", "unknown table"),
        ("[system]\nstatus = 'sold'", "none of available"),
        ("[system]\nnumber_of_nodes = 'two'", "no whole number"),
        ("[system\n", "not TOML"),
    ):
        path = tmp_path / "system.toml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=said):
            read_answers(path, PART)


def test_open_questions_are_asked_with_their_explanation(tmp_path: Path) -> None:
    runs = load_runs([submission_runs.run(tmp_path, "Offline")])
    plan, open_ = plan_build(runs, submitter="Acme", system="box", division=Division.OPEN, answers={})
    names = {q.name for q in open_}
    assert {"cooling", "host_networking", "retraining"} <= names
    assert not names & {"host_processor_model_name", "division", "weight_data_types", "status"}
    assert all(q.field.about for q in open_)
    filled = complete(plan, {"system": {"cooling": "liquid"}})
    assert filled.description["cooling"] == "liquid"


def test_the_template_explains_every_field_and_is_a_system_file(tmp_path: Path) -> None:
    assert PART is not None
    text = template(PART, {"cooling": "air"}, {"weight_data_types"}, power=True)
    assert "# weight_data_types is written for each run from its record" in text
    path = tmp_path / "system.toml"
    path.write_text(text)
    assert read_answers(path, PART) == {"system": {"cooling": "air"}, "implementation": {}}
    assert "# accelerator_model_name = " in text or '# "accelerator_model_name" = ' in text
    for group in ("base", "since_v1", "power"):
        for field in PART.system[group].fields.values():
            assert field.about in text or "division" in field.about.lower() or "submit" in field.about.lower()


@given(st.binary(min_size=0, max_size=30000), st.integers(10, 9000))
def test_a_cut_log_is_bounded_and_keeps_both_ends(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, end: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(data)
    book = AccuracyLogBook(
        max_bytes=2 * end + 7, head_bytes=end, tail_bytes=end, between="\n\n...\n\n", hash_pattern="",
        significant_digits=5, clause="",
    )  # fmt: skip
    cut, digest = cut_log(path, book)
    assert digest == hashlib.sha256(data).hexdigest()
    assert len(cut) <= book.max_bytes
    assert (
        (cut == data) if len(data) <= book.max_bytes else (cut[:end], cut[-end:]) == (data[:end], data[-end:])
    )


@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Server", "Offline"])
def test_a_user_conf_says_what_the_run_was_told(scenario: str) -> None:
    conf = parse_conf(user_conf(submission_runs.settings(Scenario(scenario), 60000)))
    assert conf.broken == []
    found = conf.of("resnet50", scenario, "min_duration")
    assert found is not None
    assert as_number(found[0]) == 60000
    assert ("target_qps" in "".join(conf.values)) == (scenario in ("Server", "Offline"))


# -- the command ----------------------------------------------------------------------------------------


def test_the_command_builds_checks_and_says_what_is_missing(coldmark: Call, tmp_path: Path) -> None:
    run = submission_runs.run(tmp_path / "runs", "Offline", suite=Suite.EDGE)
    words = ("--submitter", "Acme", "--system", "box", "--runs", run.name, "--out", "tree")
    refused = coldmark("submission", "build", *words)
    assert refused.returncode == 2
    assert "[system] cooling: How heat leaves the system." in refused.stderr
    built = coldmark("submission", "build", *words, "--leave-empty")
    assert built.returncode == 0, built.stderr
    assert "not for submission, as Acme-NOT-FOR-SUBMISSION says" in built.stdout
    assert (tmp_path / "tree.tar.gz").is_file()
    checked = coldmark("submission", "check", "tree", "--json")
    assert checked.returncode == 0, checked.stdout
    said = json.loads(checked.stdout)
    assert (said["accepted"], said["errors"], said["lengths"]) == (True, 0, ["short"])
    assert coldmark("submission", "check", "tree", "--strict").returncode == 3
    system = tmp_path / "tree/open/Acme-NOT-FOR-SUBMISSION/systems/box.json"
    system.write_text("{}")
    broken = coldmark("submission", "check", "tree")
    assert broken.returncode == 3
    assert "manifest.changed" in broken.stdout
    assert "REJECTED" in broken.stdout
    template_ = coldmark("submission", "template", "--runs", run.name)
    assert template_.returncode == 0
    assert 'host_processor_model_name = "CPU X"' in template_.stdout


def test_the_command_refuses_what_it_cannot_check(coldmark: Call, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    assert coldmark("submission", "check", "tree", "--round", "v2.2").returncode == 2
    other = coldmark("submission", "check", "tree", "--round", "v0.5")
    assert other.returncode == 2
    assert "trees of v0.5 are not read" in other.stderr
    assert coldmark("submission", "check", "nowhere").returncode == 6
    empty = coldmark("submission", "check", "tree")
    assert empty.returncode == 3
    assert "tree.divisions" in empty.stdout
    (tmp_path / "tree" / "closed").mkdir()
    assert coldmark("submission", "check", "tree", "--submitter", "Acme").returncode == 2


# -- the command on a terminal ---------------------------------------------------------------------------


class Terminal:
    """`submission build` at a terminal of its own: what it asks comes here, what is typed goes there."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.mine, theirs = os.openpty()
        command = [sys.executable, "-m", "coldmark", "submission", "build", *words]
        environment = {**os.environ, "COLDMARK_RUNS_DIR": str(folder / "runs"), "NO_COLOR": "1"}
        self.child = subprocess.Popen(
            command, cwd=folder, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=environment
        )
        os.close(theirs)
        self.text = ""

    def until(self, *words: str) -> str:
        """Read until one of the words was said anew; returns which, or nothing at the end."""
        begun = len(self.text)
        while True:
            found = [w for w in words if w in self.text[begun:]]
            if found:
                return found[0]
            try:
                piece = os.read(self.mine, 4096)
            except OSError:  # the other side is closed
                piece = b""
            if not piece:
                return ""
            self.text += piece.decode("utf-8", "replace").replace("\r\n", "\n")

    def type(self, keys: str) -> None:
        os.write(self.mine, keys.encode())

    def end(self) -> int:
        self.until("\0")  # nothing says that: to the end
        status = self.child.wait(60)
        assert self.child.stdout is not None
        self.child.stdout.close()
        os.close(self.mine)
        return status


def asked_fields(run: Path) -> list[Question]:
    _, open_ = plan_build(
        load_runs([run]), submitter="Acme", system="box", division=Division.OPEN, answers={}, infer=False
    )
    return open_


def words_of(run: Path) -> tuple[str, ...]:
    return ("--submitter", "Acme", "--system", "box", "--runs", run.name, "--out", "tree", "--pack", "none")


def test_what_is_typed_at_the_prompts_stands_in_the_tree(tmp_path: Path) -> None:
    run = submission_runs.run(tmp_path / "runs", "Offline", suite=Suite.EDGE)
    fields = asked_fields(run)
    assert fields
    shell, typed = Terminal(tmp_path, *words_of(run)), dict[str, str]()
    for question in fields:
        assert shell.until(f"{question.name}: ")
        if question.field.choices:  # a wrong one first: it is said, and asked for again
            shell.type("nonsense\n")
            assert shell.until(f"{question.name}: nonsense")
            assert shell.until(f"{question.name}: ")
        value = question.field.choices[0] if question.field.choices else question.field.example or "1"
        typed[question.name] = value
        shell.type(f"{value}\n")
    assert shell.end() == 0, shell.text
    assert all(question.field.about[:30] in shell.text for question in fields)
    top = tmp_path / "tree/open/Acme-NOT-FOR-SUBMISSION"
    said = json.loads((top / "systems/box.json").read_text())
    for question in fields:
        if question.part == "system":
            assert str(said[question.name]) == typed[question.name]
    assert check_tree(tmp_path / "tree", "v2.1").accepted


@pytest.mark.parametrize("keys", ["\x04", "\x03"], ids=["Ctrl-D", "Ctrl-C"])
def test_leaving_in_the_middle_of_the_questions_leaves_nothing(keys: str, tmp_path: Path) -> None:
    run = submission_runs.run(tmp_path / "runs", "Offline", suite=Suite.EDGE)
    first = next(q for q in asked_fields(run) if not q.field.choices)
    shell = Terminal(tmp_path, *words_of(run))
    for question in asked_fields(run):
        assert shell.until(f"{question.name}: ")
        if question.name == first.name:
            break
        shell.type(f"{question.field.choices[0]}\n")
    shell.type("half a li\n" if keys == "\x04" else "half a li")
    if keys == "\x04":
        assert shell.until(": ", "\n\n")
    shell.type(keys)
    if keys == "\x03":  # no controlling terminal turns the key into a signal here
        shell.child.send_signal(signal.SIGINT)
    assert shell.end() == 130, shell.text
    assert "Traceback" not in shell.text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs"]
