"""Build a submission's tree from runs: every file from a record or a log, nothing guessed."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coldmark.core.codec import dump_json, from_plain, read_json
from coldmark.core.errors import ConfigError, DataError
from coldmark.core.nouns import Division, Length, Provenance, Scenario, State, Suite
from coldmark.core.record import RunRecord
from coldmark.core.settings import SourcedSettings, TestSettings
from coldmark.rules.book import RuleBook, load_book
from coldmark.store.rundir import changed_files, read_compliance, read_record, sha256
from coldmark.submission import assemble, describe
from coldmark.submission.manifest import NAME, Manifest
from coldmark.submission.place import scenarios_of, submission_of

MARK = "-NOT-FOR-SUBMISSION"
"""Ends the submitter's folder of a tree that no round takes."""
OURS = ("mini", "full")
"""Model sources that are no benchmark's model: a tree of them is for tests."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_ORDER = (Length.SMOKE, Length.SHORT, Length.OFFICIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run, as a tree needs it."""

    path: Path
    record: RunRecord
    settings: TestSettings
    facts: dict[str, str]
    serves: str = ""  # the looser benchmark it stands for here, where that is not its own

    @property
    def benchmark(self) -> str:
        """The benchmark it stands for in the tree."""
        return self.serves or self.record.spec.workload

    @property
    def model(self) -> str:
        """Its folder's name: the workload, and what the model is where it is not the round's."""
        source, workload = self.record.spec.model, self.benchmark
        if source == "official":
            return workload
        return f"{workload}-{source if source in OURS else Path(source).stem}"

    @property
    def why_not(self) -> list[str]:
        """Why no round takes it; empty where one may."""
        spec, why = self.record.spec, []
        if spec.model in OURS:
            why.append(f"{self.model} is no model of the round ({self.facts.get('weights', 'made here')})")
        if spec.length is not Length.OFFICIAL:
            why.append(f"runs are of {spec.length} length")
        used = self.record.quantised
        if spec.model == "official" and used and not used.official:
            why.append(f"the calibration list of {self.model} is none of MLPerf's")
        return why


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be built, all of it known."""

    runs: tuple[Run, ...]
    book: RuleBook
    division: Division
    submitter: str  # folder, mark and all
    system: str
    description: dict[str, Any]
    implementation: dict[str, Any]  # what a person said of it; the rest is in each run's record
    infer: bool
    why_not: tuple[str, ...] = ()

    @property
    def length(self) -> Length:
        """The shortest length of the runs."""
        return min((run.record.spec.length for run in self.runs), key=_ORDER.index)


def load_runs(paths: Sequence[Path], serving: Sequence[tuple[Path, str]] = ()) -> tuple[Run, ...]:
    """The runs of a tree; `serving` names runs that also stand for a looser benchmark.

    Raises ConfigError or DataError, with the run, where one cannot stand in a tree.
    """
    runs = tuple(_load(path) for path in paths)
    runs += tuple(replace(_load(path), serves=benchmark) for path, benchmark in serving)
    if not runs:
        raise ConfigError("no run given", where="--runs", hint="coldmark runs lists them")
    rounds = {run.record.spec.round for run in runs}
    if len(rounds) > 1:
        raise ConfigError(f"runs of several rounds: {', '.join(sorted(rounds))}", where="--runs")
    taken: dict[tuple[str, Scenario], Run] = {}
    for run in runs:
        key = (run.model, run.record.spec.scenario)
        if key in taken:
            text = f"{run.path.name} and {taken[key].path.name} are both {' '.join(key)}"
            raise ConfigError(text, where="--runs", hint="one run of a benchmark-scenario stands in a tree")
        taken[key] = run
    _same_machine(runs)
    return runs


def _load(path: Path) -> Run:
    record = read_record(path)
    where = str(path)
    if record.provenance is not Provenance.MEASURED:
        raise ConfigError(f"a {record.provenance} run is no result", where=where)
    if record.state is not State.COMPLETE or record.verdict != "VALID":
        why = "; ".join(record.reasons) or record.reason
        raise ConfigError(f"the run is {record.state}, {record.verdict}: {why}", where=where)
    changed = changed_files(path)
    if changed:
        raise DataError(f"changed since the run was sealed: {', '.join(changed[:5])}", where=where)
    if not (path / "accuracy" / "accuracy.txt").is_file() or not (path / "performance").is_dir():
        reason = record.accuracy.reason if record.accuracy else ""
        raise ConfigError(
            f"no accuracy was measured{': ' + reason if reason else ''}",
            where=where,
            hint="a tree needs performance and accuracy: run without --mode",
        )
    settings = path / "performance" / "settings.json"
    return Run(
        path=path,
        record=record,
        settings=from_plain(read_json(settings), SourcedSettings, where=str(settings)).settings,
        facts={k: str(v) for k, v in read_json(path / "task.json").items()},
    )


def _same_machine(runs: tuple[Run, ...]) -> None:
    names = ("host_processor_model_name", "host_memory_capacity", "accelerator_model_name")
    first = read_json(runs[0].path / "system.json")
    for run in runs[1:]:
        other = read_json(run.path / "system.json")
        for name in names:
            if first.get(name) != other.get(name):
                text = f"{name} was {first.get(name)!r} and {other.get(name)!r}"
                raise ConfigError(f"runs of different machines: {text}", where=str(run.path))


def plan_build(
    runs: tuple[Run, ...],
    *,
    submitter: str,
    system: str,
    division: Division,
    answers: Mapping[str, Mapping[str, Any]],
    infer: bool = False,
) -> tuple[Plan, list[describe.Question]]:
    """What is to be built, and what nobody has said yet.

    Raises ConfigError for a name that cannot be a folder's, and where the division does not take the runs.
    """
    for name, where in ((submitter, "--submitter"), (system, "--system")):
        if not _PLAIN.fullmatch(name):
            hint = "letters, digits and . _ + -"
            raise ConfigError(f"{name!r} is no folder's name", where=where, hint=hint)
    book = load_book(runs[0].record.spec.round)
    part = submission_of(book)
    why_not = tuple(dict.fromkeys(reason for run in runs for reason in run.why_not))
    if division is not Division.OPEN:
        _refuse_closed(runs, division, why_not)
    elif why_not and not submitter.endswith(MARK):
        submitter += MARK
    power = any((run.path / "power").is_dir() for run in runs)
    known = describe.detected(read_json(runs[0].path / "system.json"), part) | {"system_name": system}
    known |= software_of(runs)
    known["system_type"] = _system_type(runs)
    if why_not:
        known["status"] = "rdi"  # what is not for submission is research by its nature
    known |= answers.get("system", {})
    implementation = dict(answers.get("implementation", {}))
    _refuse_contradiction(runs, implementation)
    open_ = describe.questions(
        describe.asked_system(part, power=power), known, "system", describe.SET_BY_BUILD
    )
    asked = describe.known_implementation(part)
    open_ += describe.questions(asked, said_by_all(runs) | implementation, "implementation")
    known |= {"division": division.value, "submitter": submitter}
    plan = Plan(
        runs=runs,
        book=book,
        division=division,
        submitter=submitter,
        system=system,
        description=known,
        implementation=implementation,
        infer=infer,
        why_not=why_not,
    )
    return plan, open_


def said_by_all(runs: tuple[Run, ...]) -> dict[str, str]:
    """What every run's record says of its implementation, so nobody is asked for it; the first's values."""
    said = [assemble.implementation(run.record, run.facts) for run in runs]
    return {name: value for name, value in said[0].items() if all(name in each for each in said)}


def software_of(runs: tuple[Run, ...]) -> dict[str, str]:
    """The description's texts on software, of all runs: tuned ones may be of several backends."""
    systems = [read_json(run.path / "system.json") for run in runs]
    found = {}
    for name in ("framework", "other_software_stack"):
        if said := dict.fromkeys(text for system in systems if (text := system.get(name))):
            found[name] = "; ".join(said)
    return found


def _refuse_contradiction(runs: tuple[Run, ...], answers: Mapping[str, Any]) -> None:
    """An answer is for the runs whose records say nothing; one that no run is of is refused."""
    said = [assemble.implementation(run.record, run.facts) for run in runs]
    for name, value in answers.items():
        if all(each.get(name, value) != value for each in said):
            raise ConfigError(
                f"{value!r} is not what the record of {runs[0].path.name} says: {said[0][name]!r}",
                where=f"[implementation] {name}",
                hint="leave it out: it is written for each run from its record",
            )


def complete(plan: Plan, answers: Mapping[str, Mapping[str, Any]]) -> Plan:
    """The plan with the answers to its questions."""
    return replace(
        plan,
        description=plan.description | dict(answers.get("system", {})),
        implementation=plan.implementation | dict(answers.get("implementation", {})),
    )


def _refuse_closed(runs: tuple[Run, ...], division: Division, why_not: tuple[str, ...]) -> None:
    unfit = [run for run in runs if not run.record.submittable]
    if why_not or unfit:
        why = "; ".join(why_not) or f"{unfit[0].path.name} is not submittable"
        raise ConfigError(
            f"the {division} division does not take these runs: {why}",
            where="--division",
            hint="--division open builds a tree for tests of them, under a name that says so",
        )


def _system_type(runs: tuple[Run, ...]) -> str:
    suites = {run.record.spec.suite for run in runs}
    return ",".join(s.value for s in (Suite.DATACENTER, Suite.EDGE) if s in suites)


# -- writing ------------------------------------------------------------------------------------------


def build(plan: Plan, out: Path) -> Path:
    """Write the tree aside, then rename it to `out`, which must not exist. Raises DataError."""
    if out.exists():
        raise ConfigError("already there", where=str(out), hint="give --out a new folder")
    aside = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            _write_tree(plan, aside)
            aside.replace(out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror or error}", where=str(out)) from None
    return out


def _write_tree(plan: Plan, root: Path) -> None:
    top = root / plan.division.value / plan.submitter
    full_logs: dict[str, str] = {}
    where: dict[str, str] = {}
    for run in plan.runs:
        scenario = run.record.spec.scenario
        for folder in (scenario, *_inferred(plan, run)):
            place = f"{plan.system}/{run.model}/{folder.value}"
            where[f"results/{place}"] = run.record.run_id
            full_logs |= _write_results(plan, run, top, place)
            _write_measurements(plan, run, top / "measurements" / place, folder)
            full_logs |= _write_compliance(plan, run, top, place)
    _text(top / "systems" / f"{plan.system}.json", json.dumps(plan.description, indent=4) + "\n")
    for model in sorted({run.model for run in plan.runs}):
        mine = [run for run in plan.runs if run.model == model]
        commands = [assemble.command(run.record) for run in mine]
        software = {name: version for run in mine for name, version in run.record.software.items()}
        text = assemble.code_readme(model, commands, software)
        _text(top / "code" / model / "README.md", text)
    _text(top / "README.md", assemble.top_readme(plan.submitter, plan.why_not))
    _write_manifest(plan, top, where, full_logs)


def _inferred(plan: Plan, run: Run) -> list[Scenario]:
    """The scenarios that stand as copies of a run: required, not run, and inferred from this one first."""
    if not plan.infer:
        return []
    spec, part = run.record.spec, submission_of(plan.book)
    have = {r.record.spec.scenario for r in plan.runs if r.model == run.model}
    needed = scenarios_of(plan.book.benchmark(run.benchmark), (spec.suite,)) - have
    found = []
    for scenario in sorted(needed):
        sources = [i.source for i in part.inferred if i.scenario is scenario and spec.suite in i.suites]
        nearest = next((s for s in sources if s in have), None)
        if nearest is spec.scenario:
            found.append(scenario)
    return found


def _write_results(plan: Plan, run: Run, top: Path, place: str) -> dict[str, str]:
    part, results = submission_of(plan.book), top / "results" / place
    performance, accuracy = part.folders["performance"], part.folders["accuracy"]
    _copy(run.path / "performance", results / "performance/run_1", performance.required)
    if (run.path / "power").is_dir():
        _write_power(plan, run, results / "performance", top / "measurements" / place)
    log = "mlperf_log_accuracy.json"
    _copy(run.path / "accuracy", results / "accuracy", tuple(n for n in accuracy.required if n != log))
    digest = _cut(plan, run.path / "accuracy" / log, results / "accuracy" / log)
    return {f"results/{place}/accuracy/{log}": digest}


def _write_power(plan: Plan, run: Run, performance: Path, measurements: Path) -> None:
    """What the official power workflow left beside a run: its two sessions, the meter's logs, its documents.

    The run directory holds them as that workflow names them: `power/`, `ranging/`, and `spl.txt` of the
    testing phase in `performance/`. Raises DataError where one of them is missing.
    """
    part = submission_of(plan.book)
    assert part.power is not None
    for folder in ("power", "ranging"):
        _copy(run.path / folder, performance / folder, part.folders[folder].required)
    _copy(run.path / "performance", performance / "run_1", part.folders["performance_power"].required)
    for pattern in part.power.documents:
        found = sorted(file.name for file in (run.path / "power").glob(pattern))
        _copy(run.path / "power", measurements, tuple(found))


def _cut(plan: Plan, source: Path, target: Path) -> str:
    """Write an accuracy log cut to its ends; returns sha256 of the whole one, which accuracy.txt must say."""
    book = submission_of(plan.book).accuracy_log
    assert book is not None
    data, digest = assemble.cut_log(source, book)
    said = source.with_name("accuracy.txt")
    if f"hash={digest}" not in said.read_text(encoding="utf-8").splitlines():
        raise DataError("its hash= is not of the log beside it", where=str(said))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return digest


def _write_measurements(plan: Plan, run: Run, folder: Path, scenario: Scenario) -> None:
    said = plan.implementation | assemble.implementation(run.record, run.facts)
    name = f"{plan.system}_{run.record.spec.backend}_{scenario.value}.json"
    _text(folder / name, json.dumps(said, indent=4) + "\n")
    _text(folder / "mlperf.conf", assemble.mlperf_conf(plan.book))
    _text(folder / "user.conf", assemble.user_conf(run.settings))
    _text(folder / "README.md", assemble.measurement_readme(run.record))
    _text(folder / "calibration_process.adoc", assemble.calibration_text(run.record))


def _write_compliance(plan: Plan, run: Run, top: Path, place: str) -> dict[str, str]:
    """The audit tests that were run. Raises ConfigError where the closed division lacks one."""
    found: dict[str, str] = {}
    benchmark = plan.book.benchmark(run.benchmark)
    log = "accuracy/mlperf_log_accuracy.json"
    for test in benchmark.compliance:
        source, target = run.path / "compliance" / test, top / "compliance" / place / test
        if wrong := _audit_amiss(run, test):
            if plan.division is not Division.OPEN:
                hint = f"coldmark compliance {run.path.name}"
                raise ConfigError(f"{test} {wrong}", where=str(run.path), hint=hint)
            if wrong != FAILED:
                continue
        names = sorted(p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file())
        kept = [n for n in names if _of_tree(n)]
        _copy(source, target, tuple(n for n in kept if n != log))
        if log in kept:
            found[f"compliance/{place}/{test}/{log}"] = _cut(plan, source / log, target / log)
    return found


FAILED = "did not pass"


def _audit_amiss(run: Run, test: str) -> str:
    """Why an audit test of a run is none that a closed tree may have; empty where it is one."""
    source = run.path / "compliance" / test
    if not source.is_dir():
        return "was not run"
    logs = source / "performance" / "run_1"
    needed = [logs / "mlperf_log_detail.txt", logs / "mlperf_log_summary.txt"]
    if not all(file.is_file() for file in needed) or not any(source.glob("verify_*.txt")):
        return "was not run to its end"
    record = read_compliance(run.path)
    verdict = record.tests.get(test) if record else None
    return FAILED if verdict and not verdict.passed else ""


def _of_tree(name: str) -> bool:
    """Whether a file of an audit test's folder stands in a tree: not what the child process left."""
    above, _, last = name.rpartition("/")
    if above == "performance/run_1":
        return last in ("mlperf_log_detail.txt", "mlperf_log_summary.txt")
    return above == "accuracy" or (above == "" and last.startswith("verify_"))


def _write_manifest(plan: Plan, top: Path, where: dict[str, str], full_logs: dict[str, str]) -> None:
    files = sorted(p for p in top.rglob("*") if p.is_file())
    software: dict[str, str] = {}
    for run in plan.runs:
        software |= run.record.software
    manifest = Manifest(
        round=plan.book.round,
        division=plan.division.value,
        submitter=plan.submitter,
        length=plan.length,
        eligible=not plan.why_not,
        why_not=plan.why_not,
        runs=where,
        models={r.model: plan.book.benchmark(r.benchmark).official_name for r in plan.runs},
        full_accuracy_logs=full_logs,
        sha256={p.relative_to(top).as_posix(): sha256(p) for p in files},
        software=software,
    )
    _text(top / NAME, dump_json(manifest))


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    for name in names:
        to = target / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_symlink() or not (source / name).is_file():
            raise DataError("no such file", where=str(source / name))
        shutil.copyfile(source / name, to)


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
