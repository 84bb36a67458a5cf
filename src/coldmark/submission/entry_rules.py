"""Rules on one benchmark-scenario: its files, its two runs, its measurements, its compliance, its result."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field, replace

from coldmark.core.nouns import Scenario, Severity, Suite
from coldmark.core.submission import TreeResult
from coldmark.rules.book import Benchmark, LengthRule, RuleBook
from coldmark.rules.submission_book import FolderBook, Inferred, PowerBook
from coldmark.submission import conf_rules
from coldmark.submission import measurement_rules as measurements
from coldmark.submission.accuracy_rules import AccuracyCase, AccuracyFound, check_accuracy
from coldmark.submission.compliance_rules import ComplianceCase, check_compliance
from coldmark.submission.findings import Findings
from coldmark.submission.log_rules import LogCase, add_problems, check_log
from coldmark.submission.place import Entry, name_in, submission_of
from coldmark.submission.power_rules import PowerCase, check_power
from coldmark.submission.scan import DetailLog, scan_detail
from coldmark.submission.summary_rules import check_summary
from coldmark.submission.tree import Tree, Unreadable

DETAIL, SUMMARY = "mlperf_log_detail.txt", "mlperf_log_summary.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryCase:
    """An entry, and all that decides what is asked of it."""

    tree: Tree
    entry: Entry
    book: RuleBook
    benchmark: Benchmark
    suites: tuple[Suite, ...]
    closed: bool
    findings: Findings
    network: bool = False
    length: LengthRule | None = None
    full_logs: str = ""
    digests: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class EntryFound:
    """What an entry came to."""

    scenario: Scenario | None
    result: TreeResult | None = None
    valid: bool = False  # no error in it
    run_crc: int = 0  # of its performance log
    inferred: bool = False
    accuracy: AccuracyFound = field(default_factory=AccuracyFound)


def check_entry(case: EntryCase) -> EntryFound:
    """All rules on an entry; without an error in it, its result is one of the tree's."""
    part, entry = submission_of(case.book), case.entry
    before = case.findings.errors
    scenario = part.scenario_folders.get(entry.scenario)
    if scenario is None:
        known = " | ".join(part.scenario_folders)
        case.findings.add(entry.path, "tree.scenario", known, entry.scenario, part.clause)
        return EntryFound(scenario=None)
    found = EntryFound(scenario=scenario)
    power = case.tree.get(f"{entry.path}/performance/power") is not None
    for when in ("always", *(["power"] if power else [])):
        check_folders(case, when, power=power)
    check_runs(case)
    check_outputs(case)
    performance = _read_log(case, "performance/run_1")
    accuracy = _read_log(case, "accuracy")
    samples = accuracy.number("qsl_reported_total_count") if accuracy else None
    logged = _logged(case, performance)
    if performance is not None and logged is not None:
        found.run_crc = performance.crc
        found.inferred = logged is not scenario
        found.result = _result(case, performance, scenario, logged)
        _check_performance(case, performance, logged)
    if accuracy is not None:
        _check_accuracy_log(case, accuracy, performance)
    found.accuracy = check_accuracy(_accuracy_case(case, logged or scenario, samples))
    if found.result is not None:
        found.result = replace(found.result, accuracy=found.accuracy.value)
    if power and performance is not None and logged is not None:
        found.result = _with_power(case, performance, scenario, logged, found.result)
    _check_measurements(case, performance, logged or scenario)
    _check_compliance(case, performance, samples)
    found.valid = case.findings.errors == before and found.result is not None
    return found


def check_runs(case: EntryCase) -> None:
    """As many performance runs as the round asks for, and no more."""
    part = submission_of(case.book)
    runs = [n for n in case.tree.below(f"{case.entry.path}/performance") if n.startswith("run_")]
    most = part.performance_runs.get(case.entry.scenario, part.performance_runs["default"])
    for name in sorted(set(runs) - {f"run_{i}" for i in range(1, most + 1)}):
        path = f"{case.entry.path}/performance/{name}"
        case.findings.add(path, "tree.runs", f"{most} run", "another", part.clause, Severity.WARNING)


# -- files ------------------------------------------------------------------------------------------


def check_folders(case: EntryCase, when: str, *, power: bool = False) -> None:
    """The folders of a condition hold the files that the book asks for."""
    part = submission_of(case.book)
    for folder in part.folders.values():
        if folder.when != when or folder.path in ("systems", "code/{model}"):
            continue
        tests = case.benchmark.compliance if "{test}" in folder.path else ("",)
        for test in [t for t in tests if not folder.tests or t in folder.tests]:
            _check_folder(case, folder, case.entry.expand(folder.path, test), power=power)


def _check_folder(case: EntryCase, folder: FolderBook, path: str, *, power: bool) -> None:
    lies = case.tree.get(path)
    if lies is None:
        case.findings.add(path, "tree.folder", "a folder", "none", folder.clause)
        return
    required = [name.replace("{system}", case.entry.system) for name in folder.required]
    for name in required:
        if "*" not in name and name not in lies.files:  # a name with * has a rule of its own
            case.findings.add(f"{path}/{name}", "tree.missing", "a file", "none", folder.clause)
    if folder.others == "allowed" or (folder.when in ("power", "test01_unequal") and not folder.optional):
        return
    known = [*required, *folder.optional, *_elsewhere(case, folder, power=power)]
    for name in [n for n in lies.files if not any(fnmatch.fnmatchcase(n, k) for k in known)][:10]:
        case.findings.add(f"{path}/{name}", "tree.extra", "only the round's files", "another", folder.clause)


def check_outputs(case: EntryCase) -> None:
    """Outputs that the round wants to see, images for example; any ending will do."""
    for name in case.benchmark.accuracy_files:
        above, _, stem = name.rpartition("/")
        path = f"{case.entry.path}/accuracy/{above}".rstrip("/")
        folder = case.tree.get(path)
        if folder is None or not any(n.partition(".")[0] == stem for n in folder.files):
            clause = f"{case.book.sources.get('checker', 'checker')}: REQUIRED_ACC_BENCHMARK"
            case.findings.add(f"{path}/{stem}.*", "tree.missing", "a file", "none", clause)


def _elsewhere(case: EntryCase, folder: FolderBook, *, power: bool) -> list[str]:
    """Files that another condition asks for in the same folder."""
    part, names = submission_of(case.book), list[str]()
    for other in part.folders.values():
        if other is folder or other.path != folder.path:
            continue
        if other.when != "power" or power:
            names += other.required + other.optional
    return names


# -- the two runs -----------------------------------------------------------------------------------


def _read_log(case: EntryCase, below: str) -> DetailLog | None:
    path = f"{case.entry.path}/{below}/{DETAIL}"
    if not case.tree.has(path):
        return None
    try:
        return scan_detail(case.tree, path)
    except Unreadable as error:
        case.findings.add(path, "log.readable", "a readable log", error, submission_of(case.book).clause)
        return None


def _logged(case: EntryCase, log: DetailLog | None) -> Scenario | None:
    """The scenario of a log, where it may stand for the folder's."""
    if log is None:
        return None
    part, text = submission_of(case.book), log.word("effective_scenario")
    line = log.lines.get("effective_scenario", 0)
    folder = part.scenario_folders[case.entry.scenario]
    if text not in list(Scenario):
        case.findings.add(log.path, "log.scenario", folder, text or "none", part.clause, line=line)
        add_problems(log, case.findings)
        return None
    logged = Scenario(text)
    if logged is not folder and _inference(case, folder, logged) is None:
        may = [i.source for i in part.inferred if i.scenario is folder]
        expected = " | ".join([folder, *(f"{s} (inferred)" for s in may)])
        case.findings.add(log.path, "log.scenario", expected, logged, part.clause, line=line)
        return None
    return logged


def _inference(case: EntryCase, folder: Scenario, logged: Scenario) -> Inferred | None:
    for one in submission_of(case.book).inferred:
        allowed = not case.closed or not case.suites or any(s in one.suites for s in case.suites)
        if (one.scenario, one.source) == (folder, logged) and allowed:
            return one
    return None


def _check_performance(case: EntryCase, log: DetailLog, logged: Scenario) -> None:
    check_log(
        LogCase(
            log=log, book=case.book, benchmark=case.benchmark, scenario=logged, accuracy_run=False,
            findings=case.findings, length=case.length,
        )
    )  # fmt: skip
    check_summary(case.tree, f"{case.entry.path}/performance/run_1/{SUMMARY}", log, case.findings, case.book)
    part = submission_of(case.book)
    if case.network and part.network and part.network.sut_name_contains not in log.word("sut_name"):
        expected = f"a name with {part.network.sut_name_contains!r}"
        line, clause = log.lines.get("sut_name", 0), part.network.clause
        case.findings.add(log.path, "log.sut_name", expected, log.word("sut_name"), clause, line=line)


def _check_accuracy_log(case: EntryCase, log: DetailLog, performance: DetailLog | None) -> None:
    text = log.word("effective_scenario")
    if text not in list(Scenario):
        part = submission_of(case.book)
        case.findings.add(log.path, "log.scenario", "a scenario", text or "none", part.clause)
        add_problems(log, case.findings)
        return
    check_log(
        LogCase(
            log=log, book=case.book, benchmark=case.benchmark, scenario=Scenario(text), accuracy_run=True,
            findings=case.findings, length=case.length,
        )
    )  # fmt: skip
    if performance is None:
        return
    expected, found = performance.values.get("effective_scenario"), log.values.get("effective_scenario")
    if expected != found:
        clause, line = "rules: performance and accuracy are runs of one SUT", log.lines["effective_scenario"]
        case.findings.add(
            log.path, "log.pair", f"{expected}, as the performance run", found, clause, line=line
        )
    needed = case.benchmark.accuracy_sample_counts.get(Scenario(text), case.benchmark.accuracy_sample_count)
    total = log.number("qsl_reported_total_count")
    if needed and case.closed and case.length is None and (total is None or total < needed):
        line = log.lines.get("qsl_reported_total_count", 0)
        clause = f"rules: {case.benchmark.dataset}, the whole evaluation set"
        case.findings.add(log.path, "log.dataset", f">= {needed} samples", total, clause, line=line)


def _accuracy_case(case: EntryCase, scenario: Scenario, samples: float | None) -> AccuracyCase:
    return AccuracyCase(
        tree=case.tree,
        path=f"{case.entry.path}/accuracy",
        book=case.book,
        benchmark=case.benchmark,
        findings=case.findings,
        closed=case.closed,
        scenario=scenario,
        samples=samples,
        full_logs=case.full_logs,
        digests=case.digests,
    )


# -- result, measurements, compliance -----------------------------------------------------------------


def _result(case: EntryCase, log: DetailLog, folder: Scenario, logged: Scenario) -> TreeResult | None:
    rule = case.book.scenario(name_in(case.book, case.benchmark), folder)
    if logged is folder:
        raw = log.number(rule.result_field)
        value = raw * rule.scale if raw else None
    else:
        one = _inference(case, folder, logged)
        assert one is not None
        raw = log.number(one.field)
        if not raw:
            line = log.lines.get(one.field, 0)
            case.findings.add(log.path, "log.inferred", f"{one.field} > 0", raw, one.clause, line=line)
            return None
        value = raw * one.multiply if one.multiply else (one.divide or 0) / raw
    if value is None:
        return None
    entry = case.entry
    return TreeResult(
        path=entry.path, division=entry.division, submitter=entry.submitter, system=entry.system,
        model=entry.model, benchmark=case.benchmark.official_name, scenario=folder.value, value=value,
        unit=rule.unit, inferred=logged is not folder,
    )  # fmt: skip


def _with_power(
    case: EntryCase, log: DetailLog, folder: Scenario, logged: Scenario, result: TreeResult | None
) -> TreeResult | None:
    part = submission_of(case.book)
    if part.power is None:
        return result
    if part.power.documents_required:
        _check_documents(case, part.power)
    ranging = _read_log(case, "performance/ranging")
    if ranging is not None and ranging.word("effective_scenario") == logged.value:
        check_summary(
            case.tree, f"{case.entry.path}/performance/ranging/{SUMMARY}", ranging, case.findings, case.book
        )
    power = check_power(
        PowerCase(
            tree=case.tree, path=f"{case.entry.path}/performance", book=part.power, findings=case.findings,
            testing=log, ranging=ranging, folder=folder, logged=logged,
        ),
        case.book.scenarios[Scenario.MULTI_STREAM].samples_per_query,
    )  # fmt: skip
    if result is None or power is None:
        return result
    unit = part.power.units.get(folder, "")
    return replace(result, power=power, power_unit=unit)


def _check_documents(case: EntryCase, book: PowerBook) -> None:
    """One of each document of power, in the folder of the run or in one above it."""
    folders = [case.tree.get(case.entry.expand(path)) for path in book.document_folders]
    names = [name for folder in folders if folder is not None for name in folder.files]
    for pattern in book.documents:
        if not fnmatch.filter(names, pattern):
            path = f"{case.entry.at('measurements')}/{pattern}"
            case.findings.add(path, "power.document", "a document of power", "none", book.clause)


def _check_measurements(case: EntryCase, log: DetailLog | None, logged: Scenario) -> None:
    if case.tree.get(case.entry.at("measurements")) is None:
        return  # the folder's rule says so
    measurements.check_implementation(case.tree, case.entry, case.book, case.findings)
    clause = submission_of(case.book).folders["measurements"].clause
    measurements.check_readme(case.tree, case.entry, clause, case.findings)
    name = name_in(case.book, case.benchmark)
    conf_rules.check_mlperf_conf(case.tree, case.entry, case.book, name, logged, case.findings)
    conf_rules.check_user_conf(case.tree, case.entry, case.book, log, logged, case.findings)


def _check_compliance(case: EntryCase, log: DetailLog | None, samples: float | None) -> None:
    """Closed: every test. Open: the round asks for none; what is there is checked, and cannot reject."""
    there = case.tree.get(case.entry.at("compliance")) is not None
    if not there and not case.closed:
        return
    findings = case.findings if case.closed else Findings()
    inner = replace(case, findings=findings)
    submitted = log if log and log.word("effective_scenario") in list(Scenario) else None
    if case.closed or there:
        check_folders(inner, "closed")
        if "TEST01" in case.benchmark.compliance:
            check_folders(inner, "test01")
    check_compliance(
        ComplianceCase(
            tree=case.tree, entry=case.entry, book=case.book, benchmark=case.benchmark, findings=findings,
            submitted=submitted, length=case.length, accuracy_samples=samples,
        )
    )  # fmt: skip
    if not case.closed:
        for one in findings.kept:
            severity = Severity.WARNING if one.severity is Severity.ERROR else one.severity
            case.findings.kept.append(replace(one, severity=severity))
