"""Single faults of a submission: how each is made, and the rule that must find it.

A fault works on any tree that has ResNet-50 of a datacenter and of an edge system in the closed division, so
the same table runs on a tree of our own and on a published one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spot:
    """A submission's folders, and how its parts are found."""

    root: Path
    submitter: str
    edge: str
    center: str
    model: str = "resnet50"

    @property
    def top(self) -> Path:
        return self.root / "closed" / self.submitter

    def at(self, part: str, scenario: str) -> Path:
        """A scenario's folder below results, measurements or compliance; Offline is the datacenter's."""
        system = self.center if scenario in ("Server", "Offline") else self.edge
        return self.top / part / system / self.model / scenario

    def run(self, scenario: str) -> Path:
        return self.at("results", scenario) / "performance/run_1/mlperf_log_detail.txt"

    def test(self, name: str, scenario: str = "Server") -> Path:
        return self.at("compliance", scenario) / name

    def accuracy(self, name: str = "accuracy.txt", scenario: str = "Server") -> Path:
        return self.at("results", scenario) / "accuracy" / name

    def system(self) -> Path:
        return self.top / "systems" / f"{self.center}.json"

    def said(self, name: str, scenario: str = "Server") -> Path:
        folder = self.at("measurements", scenario)
        return next(folder.glob("*.json")) if name == "json" else folder / name


Make = Callable[[Spot], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault by name: how it is made, the rule that must say so, and words of its clause."""

    name: str
    make: Make
    rule: str
    clause: str


def value(path: Path, key: str, change: object) -> None:
    """Set a key of a detail log, or change it by a function of its value."""
    done = 0
    lines = path.read_text().splitlines(keepends=True)
    for at, line in enumerate(lines):
        if line.startswith(f':::MLLOG {{"key": "{key}"'):
            entry = json.loads(line[9:])
            entry["value"] = change(entry["value"]) if callable(change) else change
            lines[at] = ":::MLLOG " + json.dumps(entry) + "\n"
            done += 1
    assert done, (path, key)
    path.write_text("".join(lines))


def without(path: Path, key: str) -> None:
    """Drop a key of a detail log."""
    lines = [x for x in path.read_text().splitlines(keepends=True) if f'"key": "{key}"' not in x]
    path.write_text("".join(lines))


def log(scenario: str, key: str, change: object) -> Make:
    return lambda s: value(s.run(scenario), key, change)


def audit(test: str, key: str, change: object, scenario: str = "Server") -> Make:
    return lambda s: value(s.test(test, scenario) / "performance/run_1/mlperf_log_detail.txt", key, change)


def text(where: Callable[[Spot], Path], old: str, new: str) -> Make:
    """Replace in a text by a regular expression; it must be there."""

    def make(s: Spot) -> None:
        path = where(s)
        changed, count = re.subn(old, new, path.read_text(), flags=re.MULTILINE)
        assert count, (path, old)
        path.write_text(changed)

    return make


def put(where: Callable[[Spot], Path], data: bytes, *, after: bool = False) -> Make:
    """Put bytes in the place of a file, or at its end."""
    return lambda s: where(s).write_bytes(where(s).read_bytes() + data if after else data) and None


def gone(where: Callable[[Spot], Path]) -> Make:
    """Remove a file or folder."""

    def make(s: Spot) -> None:
        path = where(s)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return make


def moved(source: Callable[[Spot], Path], target: Callable[[Spot], Path]) -> Make:
    return lambda s: shutil.copyfile(source(s), target(s)) and None


def field(name: str, change: object) -> Make:
    """Set a field of the system's description."""
    return lambda s: json_field(s.system(), name, change)


def json_field(path: Path, name: str, change: object) -> None:
    data = json.loads(path.read_text())
    if change is None:
        del data[name]
    else:
        data[name] = change
    path.write_text(json.dumps(data, indent=4))


def times(factor: float) -> Callable[[float], float]:
    return lambda found: type(found)(found * factor)


def all_latencies(scenario: str, factor: float) -> Make:
    def make(s: Spot) -> None:
        path = s.run(scenario)
        keys = re.findall(r'"key": "((?:result|early_stopping)_[^"]*latency[^"]*)"', path.read_text())
        for key in keys:
            if "overlatency" not in key:
                value(path, key, times(factor))

    return make


def both(*makes: Make) -> Make:
    def make(s: Spot) -> None:
        for one in makes:
            one(s)

    return make


def cut_hash(s: Spot) -> None:
    digest = hashlib.sha256(s.accuracy("mlperf_log_accuracy.json").read_bytes()).hexdigest()
    text(lambda x: x.accuracy(), "^hash=.*$", f"hash={digest}")(s)


def dummy(s: Spot, name: str) -> Path:
    return s.at("results", "Server") / "performance/run_1" / name


PERFORMANCE_RULES = "checker"
OFFLINE_RATE, SERVER_RATE = "result_samples_per_second", "result_scheduled_samples_per_sec"
SS, MS = "early_stopping_latency_ss", "early_stopping_latency_ms"

FAULTS: tuple[Fault, ...] = (
    # -- a performance log
    Fault("verdict INVALID", log("Offline", "result_validity", "INVALID"), "log.valid", "checker"),
    Fault("verdict missing", lambda s: without(s.run("Server"), "result_validity"), "log.valid", "checker"),
    Fault("QSL seed", log("Server", "effective_qsl_rng_seed", 1), "log.seeds", "rng_seed"),
    Fault("sample seed", log("Server", "effective_sample_index_rng_seed", 1), "log.seeds", "rng_seed"),
    Fault("schedule seed", log("Offline", "effective_schedule_rng_seed", 1), "log.seeds", "rng_seed"),
    Fault("duration 60 s", log("Server", "effective_min_duration_ms", 60000), "log.duration", "conf"),
    Fault(
        "Offline 100 samples",
        log("Offline", "effective_samples_per_query", 100),
        "log.samples",
        "OFFLINE_MIN_SPQ",
    ),
    Fault("minimum queries 0", log("Server", "effective_min_query_count", 0), "log.min_queries", "conf"),
    Fault("too few queries", log("Server", "result_query_count", 400), "log.queries", "Early stopping"),
    Fault(
        "too many over the bound",
        log("Server", "result_overlatency_query_count", times(100)),
        "log.queries",
        "Early stopping",
    ),
    Fault(
        "SingleStream 60 queries",
        log("SingleStream", "result_query_count", 60),
        "log.queries",
        "Early stopping",
    ),
    Fault(
        "MultiStream 600 queries",
        log("MultiStream", "result_query_count", 600),
        "log.queries",
        "Early stopping",
    ),
    Fault("Server bound 1000 ms", log("Server", "effective_target_latency_ns", 10**9), "log.latency", "conf"),
    Fault(
        "p99 above the bound",
        log("Server", "result_99.00_percentile_latency_ns", 15_000_001),
        "log.latency",
        "conf",
    ),
    Fault(
        "percentile 90 in Server",
        log("Server", "effective_target_latency_percentile", 0.9),
        "log.percentile",
        "conf",
    ),
    Fault(
        "early stopping not met",
        log("Server", "early_stopping_met", False),
        "log.early_stopping",
        "Early stopping",
    ),
    Fault(
        "few distinct samples",
        log("Offline", "effective_performance_sample_count", 512),
        "log.sample_count",
        "performance-sample-count",
    ),
    Fault(
        "MultiStream of 4",
        log("MultiStream", "effective_samples_per_query", 4),
        "log.samples_per_query",
        "conf",
    ),
    Fault("Offline result x10", log("Offline", OFFLINE_RATE, times(10)), "log.result", "plausibility"),
    Fault("Server result x10", log("Server", SERVER_RATE, times(10)), "log.result", "plausibility"),
    Fault("Server result 2 % higher", log("Server", SERVER_RATE, times(1.02)), "log.result", "plausibility"),
    Fault("SingleStream result / 10", log("SingleStream", SS, times(0.1)), "log.result", "plausibility"),
    Fault("MultiStream result / 10", log("MultiStream", MS, times(0.1)), "log.result", "plausibility"),
    Fault("every SingleStream latency / 10", all_latencies("SingleStream", 0.1), "log.time", "plausibility"),
    Fault("every MultiStream latency / 10", all_latencies("MultiStream", 0.1), "log.time", "plausibility"),
    Fault(
        "Offline result and latency",
        both(log("Offline", OFFLINE_RATE, times(10)), all_latencies("Offline", 0.1)),
        "log.time",
        "plausibility",
    ),
    Fault("result missing", lambda s: without(s.run("Offline"), OFFLINE_RATE), "log.result", "conf"),
    Fault("result 0", log("SingleStream", SS, 0), "log.result", "conf"),
    Fault(
        "an error line",
        text(lambda s: s.run("Server"), '"is_error": false', '"is_error": true'),
        "log.errors",
        "find_error",
    ),
    Fault(
        "a line that is no JSON",
        text(lambda s: s.run("Server"), '"namespace": "mlperf::logging"', '"namespace": ml'),
        "log.line",
        "MLPerfLog",
    ),
    Fault(
        "a line of something else",
        put(lambda s: s.run("Server"), b"hello\n", after=True),
        "log.line",
        "MLPerfLog",
    ),
    Fault(
        "bytes that are no UTF-8",
        put(lambda s: s.run("Server"), b"\xff\xfe\n", after=True),
        "log.line",
        "MLPerfLog",
    ),
    Fault(
        "a second result",
        put(
            lambda s: s.run("Offline"),
            b':::MLLOG {"key": "result_samples_per_second", '
            b'"value": 5, "metadata": {"is_error": false, "is_warning": false}}\n',
            after=True,
        ),
        "log.contradiction",
        "MLPerfLog",
    ),
    Fault("an empty log", put(lambda s: s.run("Offline"), b""), "log.empty", "MLPerfLog"),
    Fault(
        "Offline's log as Server's",
        moved(lambda s: s.run("Offline"), lambda s: s.run("Server")),
        "log.scenario",
        "check_results_dir",
    ),
    Fault(
        "accuracy's log as performance's",
        moved(lambda s: s.accuracy("mlperf_log_detail.txt"), lambda s: s.run("Server")),
        "log.mode",
        "modes",
    ),
    Fault(
        "performance's log as accuracy's",
        moved(lambda s: s.run("Server"), lambda s: s.accuracy("mlperf_log_detail.txt")),
        "log.mode",
        "modes",
    ),
    Fault(
        "accuracy of another scenario",
        moved(
            lambda s: s.accuracy("mlperf_log_detail.txt", "Offline"),
            lambda s: s.accuracy("mlperf_log_detail.txt"),
        ),
        "log.pair",
        "one SUT",
    ),
    Fault(
        "percentiles out of order",
        log("Server", "result_90.00_percentile_latency_ns", 1),
        "log.order",
        "plausibility",
    ),
    Fault("the run was shorter", log("Server", "power_end", "01-01-2022 00:00:00.000"), "log.window", "conf"),
    Fault("no marks", lambda s: without(s.run("Offline"), "power_begin"), "log.window", "conf"),
    Fault("minimum duration not met", log("Offline", "result_min_duration_met", False), "log.met", "checker"),
    Fault("minimum queries not met", log("Offline", "result_min_queries_met", False), "log.met", "checker"),
    Fault(
        "an audit setting left on",
        log("Server", "effective_performance_issue_same", True),
        "log.audit",
        "audit",
    ),
    Fault(
        "a sampling audit left on",
        log("Server", "effective_accuracy_log_sampling_target", 4096),
        "log.audit",
        "audit",
    ),
    # -- files of the results
    Fault("no detail log", gone(lambda s: s.run("Server")), "tree.missing", "REQUIRED_PERF_FILES"),
    Fault(
        "no summary log",
        gone(lambda s: dummy(s, "mlperf_log_summary.txt")),
        "tree.missing",
        "REQUIRED_PERF_FILES",
    ),
    Fault(
        "an extra file", lambda s: dummy(s, "tool.py").write_text("x") and None, "tree.extra", "files_diff"
    ),
    Fault("no performance run", gone(lambda s: s.run("Server").parent), "tree.folder", "REQUIRED_PERF_FILES"),
    Fault(
        "the summary says another rate",
        text(
            lambda s: dummy(s, "mlperf_log_summary.txt"),
            r"^(Scheduled samples per second *: )\S+",
            r"\g<1>999999.99",
        ),
        "summary.detail",
        "one run",
    ),
    Fault(
        "the summary says INVALID",
        text(lambda s: dummy(s, "mlperf_log_summary.txt"), "Result is : VALID", "Result is : INVALID"),
        "summary.detail",
        "one run",
    ),
    Fault(
        "an empty summary",
        put(lambda s: dummy(s, "mlperf_log_summary.txt"), b""),
        "summary.verdict",
        "checker",
    ),
    # -- accuracy
    Fault(
        "accuracy too low",
        both(text(lambda s: s.accuracy(), r"^accuracy=[\d.]+%, good=\d+", "accuracy=70.000%, good=35000")),
        "accuracy.target",
        "accuracy-target",
    ),
    Fault(
        "accuracy not of its counts",
        text(lambda s: s.accuracy(), r"^accuracy=[\d.]+", "accuracy=77.123"),
        "accuracy.counts",
        "plausibility",
    ),
    Fault("no hash", text(lambda s: s.accuracy(), "^hash=.*$", ""), "accuracy.hash", "truncate"),
    Fault(
        "a hash of 63 digits", text(lambda s: s.accuracy(), "^hash=.", "hash="), "accuracy.hash", "truncate"
    ),
    Fault("the hash of the cut log", cut_hash, "accuracy.hash", "truncate"),
    Fault(
        "the hash of nothing",
        text(lambda s: s.accuracy(), "^hash=.*$", "hash=" + hashlib.sha256(b"").hexdigest()),
        "accuracy.hash",
        "truncate",
    ),
    Fault("no metric", text(lambda s: s.accuracy(), "^accuracy=.*$", "good"), "accuracy.metric", "truncate"),
    Fault(
        "two metrics",
        put(lambda s: s.accuracy(), b"accuracy=79.1%\n", after=True),
        "accuracy.metric",
        "truncate",
    ),
    Fault(
        "a number that is none",
        text(lambda s: s.accuracy(), r"^accuracy=[\d.]+", "accuracy=76.0.7"),
        "accuracy.metric",
        "accuracy-target",
    ),
    Fault(
        "accuracy.txt with a BOM",
        text(lambda s: s.accuracy(), r"\Aaccuracy", "\ufeffaccuracy"),
        "accuracy.text",
        "truncate",
    ),
    Fault(
        "a log that is not cut",
        put(lambda s: s.accuracy("mlperf_log_accuracy.json"), b" " * 9000, after=True),
        "accuracy.truncated",
        "MAX_ACCURACY_LOG_SIZE",
    ),
    Fault(
        "no accuracy log",
        gone(lambda s: s.accuracy("mlperf_log_accuracy.json")),
        "tree.missing",
        "REQUIRED_ACC_FILES",
    ),
    Fault("no accuracy.txt", gone(lambda s: s.accuracy()), "tree.missing", "REQUIRED_ACC_FILES"),
    Fault(
        "no accuracy detail",
        gone(lambda s: s.accuracy("mlperf_log_detail.txt")),
        "tree.missing",
        "REQUIRED_ACC_FILES",
    ),
    Fault(
        "an accuracy log of nothing",
        put(lambda s: s.accuracy("mlperf_log_accuracy.json"), b"nothing"),
        "accuracy.log",
        "truncate",
    ),
    Fault(
        "an answer to no sample",
        text(lambda s: s.accuracy("mlperf_log_accuracy.json"), r'"qsl_idx" : \d+', '"qsl_idx" : 50000'),
        "accuracy.log",
        "truncate",
    ),
    Fault(
        "an error in the accuracy run",
        text(lambda s: s.accuracy("mlperf_log_detail.txt"), '"is_error": false', '"is_error": true'),
        "log.errors",
        "find_error",
    ),
    Fault(
        "a part of the data set",
        lambda s: value(s.accuracy("mlperf_log_detail.txt"), "qsl_reported_total_count", 49999),
        "log.dataset",
        "whole evaluation set",
    ),
    # -- the system
    Fault("a BOM", put(lambda s: s.system(), b"\xef\xbb\xbf{}"), "system.json", "VALID_DIVISIONS"),
    Fault("no JSON", put(lambda s: s.system(), b"{,}"), "system.json", "VALID_DIVISIONS"),
    Fault("a list", put(lambda s: s.system(), b"[1]"), "system.json", "VALID_DIVISIONS"),
    Fault("deep nesting", put(lambda s: s.system(), b"[" * 100_000), "system.json", "VALID_DIVISIONS"),
    Fault("no such field", field("framework", None), "system.field", "SYSTEM_DESC_REQUIRED_FIELDS"),
    Fault("accelerators eight", field("accelerators_per_node", "eight"), "system.type", "SYSTEM_DESC"),
    Fault("nodes as a list", field("number_of_nodes", [1]), "system.type", "SYSTEM_DESC"),
    Fault("an unknown field", field("acelerators", 8), "system.unknown", "checker"),
    Fault(
        "submitter in capitals",
        lambda s: json_field(s.system(), "submitter", s.submitter.upper()),
        "system.submitter",
        "checker",
    ),
    Fault("another division", field("division", "open"), "system.division", "checker"),
    Fault("status sold", field("status", "sold"), "system.type", "SYSTEM_DESC"),
    Fault("type cloud", field("system_type", "cloud"), "system.type", "SYSTEM_DESC"),
    Fault("over a network", field("is_network", "True"), "system.network", "is_system_over_network"),
    Fault("memory without ECC", field("host_memory_configuration", "8x 32GB, non-ECC"), "system.ecc", "ECC"),
    Fault("ECC off", field("accelerator_memory_configuration", "HBM2 (ECC: off)"), "system.ecc", "ECC"),
    Fault("no description", gone(lambda s: s.system()), "system.file", "check_results_dir"),
    Fault(
        "a field twice", text(lambda s: s.system(), r"\A\{", '{"cooling": "air",'), "system.twice", "checker"
    ),
    # -- measurements
    Fault("no implementation", gone(lambda s: s.said("json")), "measurements.json", "SYSTEM_IMP"),
    Fault(
        "an implementation without a field",
        lambda s: json_field(s.said("json"), "retraining", None),
        "measurements.field",
        "SYSTEM_IMP",
    ),
    Fault(
        "an implementation that is no JSON",
        lambda s: s.said("json").write_text("{") and None,
        "measurements.json",
        "SYSTEM_IMP",
    ),
    Fault("no user.conf", gone(lambda s: s.said("user.conf")), "tree.missing", "REQUIRED_MEASURE_FILES"),
    Fault("no README", gone(lambda s: s.said("README.md")), "tree.missing", "REQUIRED_MEASURE_FILES"),
    Fault(
        "an empty README",
        put(lambda s: s.said("README.md"), b""),
        "measurements.readme",
        "REQUIRED_MEASURE_FILES",
    ),
    Fault(
        "mlperf.conf edited",
        text(lambda s: s.said("mlperf.conf"), r"(resnet50.Server.target_latency = )15", r"\g<1>99"),
        "conf.round",
        "mlperf.conf",
    ),
    Fault(
        "mlperf.conf with a line more",
        put(lambda s: s.said("mlperf.conf"), b"*.Server.min_duration = 1\n", after=True),
        "conf.round",
        "mlperf.conf",
    ),
    Fault(
        "user.conf with a seed",
        put(lambda s: s.said("user.conf"), b"*.*.qsl_rng_seed = 1\n", after=True),
        "conf.fixed",
        "user.conf",
    ),
    Fault(
        "user.conf with another rate",
        text(lambda s: s.said("user.conf"), r"target_qps = .*", "target_qps = 1"),
        "conf.run",
        "user.conf",
    ),
    Fault(
        "user.conf with more samples",
        text(
            lambda s: s.said("user.conf"),
            r"performance_sample_count_override = .*",
            "performance_sample_count_override = 50000",
        ),
        "conf.run",
        "user.conf",
    ),
    Fault(
        "user.conf that is none",
        put(lambda s: s.said("user.conf"), b"target_qps: 9\n", after=True),
        "conf.line",
        "user.conf",
    ),
    Fault(
        "no measurements",
        gone(lambda s: s.at("measurements", "Server")),
        "tree.folder",
        "REQUIRED_MEASURE_FILES",
    ),
    # -- compliance
    Fault("no TEST04", gone(lambda s: s.test("TEST04")), "compliance.missing", "TEST04"),
    Fault(
        "TEST05 failed",
        text(lambda s: s.test("TEST05") / "verify_performance.txt", "TEST PASS", "TEST FAIL"),
        "compliance.performance",
        "TEST05",
    ),
    Fault(
        "no verdict of TEST05",
        gone(lambda s: s.test("TEST05") / "verify_performance.txt"),
        "tree.missing",
        "compliance_perf_dir",
    ),
    Fault(
        "TEST05 with the round's seeds",
        audit("TEST05", "effective_qsl_rng_seed", 14284205019438841327),
        "log.seeds",
        "TEST05",
    ),
    Fault(
        "TEST01 without its audit",
        audit("TEST01", "effective_accuracy_log_rng_seed", 0),
        "log.audit",
        "TEST01",
    ),
    Fault(
        "TEST01 samples too few",
        audit("TEST01", "effective_accuracy_log_sampling_target", 1),
        "log.audit",
        "TEST01",
    ),
    Fault(
        "TEST04 without its audit",
        audit("TEST04", "effective_performance_issue_same", False),
        "log.audit",
        "TEST04",
    ),
    Fault(
        "TEST05 20 % slower",
        audit("TEST05", "result_completed_samples_per_sec", times(0.8)),
        "compliance.compare",
        "TEST05",
    ),
    Fault(
        "TEST04 30 % faster",
        audit("TEST04", "result_completed_samples_per_sec", times(1.3)),
        "compliance.compare",
        "TEST04",
    ),
    Fault(
        "answers differ",
        text(lambda s: s.test("TEST01") / "verify_accuracy.txt", "TEST PASS", "TEST FAIL"),
        "compliance.accuracy",
        "TEST01",
    ),
    Fault(
        "another score",
        text(
            lambda s: s.test("TEST01") / "verify_performance.txt",
            r"reference score = \S+",
            "reference score = 1.0",
        ),
        "compliance.score",
        "TEST01",
    ),
    Fault(
        "no answers of TEST01",
        gone(lambda s: s.test("TEST01") / "accuracy/mlperf_log_accuracy.json"),
        "tree.missing",
        "TEST01_ACC",
    ),
    Fault(
        "no accuracy of TEST01", gone(lambda s: s.test("TEST01") / "accuracy"), "tree.folder", "TEST01_ACC"
    ),
    Fault(
        "no run of TEST01",
        gone(lambda s: s.test("TEST01") / "performance/run_1/mlperf_log_detail.txt"),
        "tree.missing",
        "REQUIRED_COMP_PER_FILES",
    ),
    Fault("TEST01 INVALID", audit("TEST01", "result_validity", "INVALID"), "log.valid", "checker"),
    Fault(
        "TEST01 of another scenario",
        moved(
            lambda s: s.test("TEST01", "Offline") / "performance/run_1/mlperf_log_detail.txt",
            lambda s: s.test("TEST01") / "performance/run_1/mlperf_log_detail.txt",
        ),
        "log.scenario",
        "TEST01",
    ),
    # -- the tree
    Fault(
        "a scenario missing", gone(lambda s: s.at("results", "Server")), "tree.required", "check_results_dir"
    ),
    Fault(
        "a scenario of another suite",
        lambda s: (
            shutil.move(s.at("results", "Server"), s.at("results", "Server").with_name("SingleStream"))
            and None
        ),
        "tree.scenario",
        "check_results_dir",
    ),
    Fault(
        "a scenario that is none",
        lambda s: (
            shutil.move(s.at("results", "Server"), s.at("results", "Server").with_name("Batch")) and None
        ),
        "tree.scenario",
        "check_results_dir",
    ),
    Fault(
        "a model that is none",
        lambda s: (
            shutil.move(
                s.at("results", "Server").parent, s.at("results", "Server").parent.with_name("alexnet")
            )
            and None
        ),
        "tree.model",
        "models",
    ),
    Fault("a division that is none", lambda s: (s.root / "semi").mkdir(), "tree.division", "VALID_DIVISIONS"),
    Fault("a link", lambda s: (s.top / "results/link").symlink_to("/etc"), "tree.link", "plain files"),
    Fault(
        "a log that is a link",
        both(
            lambda s: shutil.move(s.run("Server"), s.root / "log"),
            lambda s: s.run("Server").symlink_to(s.root / "log"),
        ),
        "tree.link",
        "plain files",
    ),
    Fault("a pipe", lambda s: os.mkfifo(s.top / "results/pipe"), "tree.special", "plain files"),
    Fault("an odd name", lambda s: (s.top / "results/a\nb").mkdir(), "tree.name", "plain files"),
    Fault(
        "a name that is no UTF-8",
        lambda s: Path(os.fsdecode(bytes(s.top) + b"/systems/\xff")).touch(),
        "tree.name",
        "plain files",
    ),
    Fault(
        "folders without end",
        lambda s: (s.top / "/".join(["code", *"abcdefghijklmnopqrstuvwxyz"])).mkdir(parents=True),
        "tree.depth",
        "plain files",
    ),
)
