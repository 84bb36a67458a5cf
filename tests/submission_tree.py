"""A small submission of an invented submitter in LoadGen's own wording: it holds every rule of its round."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from coldmark.rules.book import RuleBook, load_book

BOOK = load_book("v2.1")
SUBMITTER = "Acme"
EDGE, CENTER = "acme-edge", "acme-center"
SCENARIOS = {EDGE: ("SingleStream", "MultiStream", "Offline"), CENTER: ("Server", "Offline")}
TOTAL = 50000
START = "08-04-2022 08:00:00.000"

# Each run is consistent in itself: count times latency, or count over rate, is the time between the marks.
RUNS: dict[str, dict[str, Any]] = {
    "Offline": {
        "seconds": 660.0,
        "samples_per_query": 660000,
        "results": {
            "result_query_count": 1,
            "result_samples_per_second": 1000,
            "result_min_latency_ns": 5_000_000,
            "result_max_latency_ns": 660_000_000_000,
            "result_mean_latency_ns": 330_000_000_000,
            "result_50.00_percentile_latency_ns": 330_000_000_000,
            "result_90.00_percentile_latency_ns": 594_000_000_000,
            "result_95.00_percentile_latency_ns": 627_000_000_000,
            "result_97.00_percentile_latency_ns": 640_000_000_000,
            "result_99.00_percentile_latency_ns": 653_000_000_000,
            "result_99.90_percentile_latency_ns": 659_000_000_000,
        },
    },
    "Server": {
        "seconds": 600.0,
        "samples_per_query": 1,
        "results": {
            "early_stopping_met": True,
            "result_query_count": 300000,
            "result_overlatency_query_count": 2000,
            "result_scheduled_samples_per_sec": 500,
            "result_completed_samples_per_sec": 499.9,
            "result_min_latency_ns": 2_000_000,
            "result_max_latency_ns": 40_000_000,
            "result_mean_latency_ns": 5_000_000,
            "result_50.00_percentile_latency_ns": 4_500_000,
            "result_90.00_percentile_latency_ns": 8_000_000,
            "result_95.00_percentile_latency_ns": 9_000_000,
            "result_97.00_percentile_latency_ns": 10_000_000,
            "result_99.00_percentile_latency_ns": 13_000_000,
            "result_99.90_percentile_latency_ns": 20_000_000,
        },
    },
    "SingleStream": {
        "seconds": 612.0,
        "samples_per_query": 1,
        "results": {
            "early_stopping_met": True,
            "result_query_count": 306000,
            "result_qps_with_loadgen_overhead": 500,
            "result_qps_without_loadgen_overhead": 505,
            "early_stopping_latency_ss": 2_101_000,
            "early_stopping_latency_ms": 2_402_000,
            "result_min_latency_ns": 1_500_000,
            "result_max_latency_ns": 9_000_000,
            "result_mean_latency_ns": 1_980_000,
            "result_50.00_percentile_latency_ns": 1_950_000,
            "result_90.00_percentile_latency_ns": 2_100_000,
            "result_95.00_percentile_latency_ns": 2_200_000,
            "result_97.00_percentile_latency_ns": 2_300_000,
            "result_99.00_percentile_latency_ns": 2_400_000,
            "result_99.90_percentile_latency_ns": 3_000_000,
        },
    },
    "MultiStream": {
        "seconds": 2700.0,
        "samples_per_query": 8,
        "results": {
            "early_stopping_met": True,
            "result_query_count": 270336,
            "early_stopping_latency_ms": 12_010_000,
            "result_min_query_latency_ns": 8_000_000,
            "result_max_query_latency_ns": 30_000_000,
            "result_mean_query_latency_ns": 9_900_000,
            "result_50.00_percentile_per_query_latency_ns": 9_800_000,
            "result_90.00_percentile_per_query_latency_ns": 10_500_000,
            "result_99.00_percentile_per_query_latency_ns": 12_000_000,
            "result_99.90_percentile_per_query_latency_ns": 15_000_000,
            "result_mean_latency_ns": 9_900_000,
            "result_99.00_percentile_latency_ns": 12_000_000,
        },
    },
}
CONF = {"Offline": 1, "Server": 270336, "SingleStream": 1024, "MultiStream": 270336}


def entry(key: str, value: Any, *, error: bool = False) -> str:
    """A line of a detail log."""
    meta = {"is_error": error, "is_warning": False, "file": "loadgen.cc", "line_no": 1, "pid": 7, "tid": 7}
    said = {
        "key": key,
        "value": value,
        "time_ms": 0.01,
        "namespace": "mlperf::logging",
        "event_type": "POINT_IN_TIME",
        "metadata": meta,
    }
    return ":::MLLOG " + json.dumps(said) + "\n"


def _at(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"08-04-2022 {8 + int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{rest:06.3f}"


def detail(
    scenario: str,
    *,
    accuracy: bool = False,
    test: str = "",
    scale: float = 1.0,
    sut: str = "Acme SUT",
    book: RuleBook = BOOK,
) -> str:
    """A detail log. `scale` makes a rate larger or a latency smaller, time and all."""
    run = RUNS[scenario]
    seeds = book.seeds
    kind = "test05_" if test == "TEST05" else ""
    audit01, audit04 = test == "TEST01", test in ("TEST04", "TEST04-B")
    values: dict[str, Any] = {
        "loadgen_version": f"{book.loadgen_version} @ 0000000000",
        "test_datetime": "2022-08-04T08:00:00Z",
        "sut_name": sut,
        "qsl_name": "Acme QSL",
        "qsl_reported_total_count": TOTAL,
        "qsl_reported_performance_count": 1024,
        "effective_scenario": scenario,
        "effective_test_mode": "AccuracyOnly" if accuracy else "PerformanceOnly",
        "effective_samples_per_query": run["samples_per_query"],
        "effective_target_qps": 500 if scenario == "Server" else 1000,
        "effective_target_latency_ns": 15_000_000 if scenario == "Server" else 0,
        "effective_target_latency_percentile": book.scenarios[scenario].percentile,  # type: ignore[index]
        "effective_min_duration_ms": 600000,
        "effective_max_duration_ms": 0,
        "effective_min_query_count": CONF[scenario],
        "effective_max_query_count": 0,
        "effective_qsl_rng_seed": getattr(seeds, kind + "qsl"),
        "effective_sample_index_rng_seed": getattr(seeds, kind + "sample_index"),
        "effective_schedule_rng_seed": getattr(seeds, kind + "schedule"),
        "effective_accuracy_log_rng_seed": 720381539243781796 if audit01 else 0,
        "effective_accuracy_log_probability": 0,
        "effective_accuracy_log_sampling_target": 4096 if audit01 else 0,
        "effective_performance_issue_unique": test == "TEST04-A",
        "effective_performance_issue_same": audit04,
        "effective_performance_issue_same_index": 3 if audit04 else 0,
        "effective_performance_sample_count": 1024,
    }
    if accuracy:
        values |= {"power_begin": START, "power_end": _at(60.0)}
        return "".join(entry(k, v) for k, v in values.items())
    values |= {"power_begin": START, "power_end": _at(run["seconds"])}
    values |= {"result_validity": "VALID", "result_min_duration_met": True, "result_min_queries_met": True}
    values |= run["results"]
    if scale != 1.0:
        _scale(values, scenario, scale)
    return "".join(entry(k, v) for k, v in values.items())


def _scale(values: dict[str, Any], scenario: str, scale: float) -> None:
    values["effective_min_query_count"] = min(values["effective_min_query_count"], 2048)
    for key, value in list(values.items()):
        if key.endswith(("_per_sec", "_per_second")):
            values[key] = value * scale
        elif (
            scenario != "Offline"
            and "latency" in key
            and key.startswith(("result_", "early"))
            and "overlatency" not in key
        ):
            values[key] = int(value / scale)
    if scenario == "Offline":
        values["effective_samples_per_query"] = int(values["effective_samples_per_query"] * scale)
    elif scenario == "Server":
        values["effective_target_qps"] *= scale
        values["result_query_count"] = int(values["result_query_count"] * scale)
    else:
        values["result_query_count"] = int(values["result_query_count"] * scale)


def summary(scenario: str, sut: str = "Acme SUT") -> str:
    """The summary of the same run, as far as the checks read it."""
    results = RUNS[scenario]["results"]
    head = {
        "Offline": f"Samples per second: {results.get('result_samples_per_second')}",
        "Server": f"Scheduled samples per second : {results.get('result_scheduled_samples_per_sec')}",
        "SingleStream": f"90th percentile latency (ns) : {results.get('result_90.00_percentile_latency_ns')}",
        "MultiStream": "99th percentile latency (ns) : "
        f"{results.get('result_99.00_percentile_per_query_latency_ns')}",
    }[scenario]
    extra = (
        f" * Early stopping 90th percentile estimate: {results['early_stopping_latency_ss']}\n"
        if scenario == "SingleStream"
        else ""
    )
    return (
        "================\nMLPerf Results Summary\n================\n"
        f"SUT name : {sut}\n"
        f"Scenario : {scenario}\nMode     : PerformanceOnly\n{head}\nResult is : VALID\n"
        "  Min duration satisfied : Yes\n  Min queries satisfied : Yes\n" + extra
    )


@cache
def accuracy_log() -> tuple[bytes, str]:
    """A cut accuracy log of 50 000 answers, and sha256 of the whole one."""
    entries = [f'{{ "seq_id" : {i}, "qsl_idx" : {i}, "data" : "{i % 1000:08X}" }}' for i in range(TOTAL)]
    whole = ("[\n" + ",\n".join(entries) + "\n]\n").encode()
    book = BOOK.submission.accuracy_log  # type: ignore[union-attr]
    assert book is not None
    cut = whole[: book.head_bytes] + book.between.encode() + whole[-book.tail_bytes :]
    return cut, hashlib.sha256(whole).hexdigest()


def system(name: str, book: RuleBook = BOOK, **changes: Any) -> dict[str, Any]:
    """A system's description with every field that its round asks for."""
    groups = book.submission.system  # type: ignore[union-attr]
    asked = [key for key in groups if key in ("base", "since_v1", "since_v3_1")]
    said: dict[str, Any] = {f: "none" for key in asked for f in groups[key].fields}
    said |= {
        "division": "closed",
        "submitter": SUBMITTER,
        "status": "available",
        "system_name": name,
        "system_type": "edge" if name == EDGE else "datacenter",
        "number_of_nodes": 1,
        "host_processors_per_node": 2,
        "host_processor_core_count": "16",
        "accelerators_per_node": 1,
    }
    return said | changes


def write(path: Path, data: str | bytes | dict[str, Any]) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(data, dict):
        data = json.dumps(data, indent=4)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def user_conf(scenario: str) -> str:
    """A user.conf that says what the run did."""
    rate = {"Server": 500, "Offline": 1000}.get(scenario)
    text = f"*.{scenario}.target_qps = {rate}\n" if rate else f"*.{scenario}.target_latency = 2\n"
    return text + "*.*.performance_sample_count_override = 1024\n"


def submission(root: Path, round_: str = "v2.1") -> Path:
    """Write the whole tree of a round; returns its root."""
    book = load_book(round_)
    top = root / "closed" / SUBMITTER
    cut, digest = accuracy_log()
    conf = "".join(f"{key} = {value}\n" for key, value in book.conf.items())
    write(top / "code/resnet50/README.md", "the code\n")
    for name, scenarios in SCENARIOS.items():
        write(top / f"systems/{name}.json", system(name, book))
        for scenario in scenarios:
            results = top / f"results/{name}/resnet50/{scenario}"
            write(
                results / "accuracy/accuracy.txt",
                f"accuracy=76.072%, good=38036, total=50000\nhash={digest}\n",
            )
            write(results / "accuracy/mlperf_log_accuracy.json", cut)
            write(results / "accuracy/mlperf_log_detail.txt", detail(scenario, accuracy=True, book=book))
            write(results / "accuracy/mlperf_log_summary.txt", "\nNo errors encountered during test.\n")
            write(results / "performance/run_1/mlperf_log_detail.txt", detail(scenario, sut=name, book=book))
            write(results / "performance/run_1/mlperf_log_summary.txt", summary(scenario, name))
            said = top / f"measurements/{name}/resnet50/{scenario}"
            fields = book.submission.implementation.fields  # type: ignore[union-attr]
            write(said / f"{name}_acme_{scenario}.json", dict.fromkeys(fields, "fp32"))
            write(said / "README.md", "how to run it\n")
            write(said / "user.conf", user_conf(scenario))
            write(said / "mlperf.conf", conf)
            compliance(top / f"compliance/{name}/resnet50/{scenario}", scenario, cut, digest, book)
    return root


def compliance(folder: Path, scenario: str, cut: bytes, digest: str, book: RuleBook = BOOK) -> None:
    """The tests of a run, a little slower each."""
    for test in book.benchmarks["resnet50"].compliance:
        log = detail(scenario, test=test, scale=0.98, book=book)
        write(folder / test / "performance/run_1/mlperf_log_detail.txt", log)
        write(folder / test / "performance/run_1/mlperf_log_summary.txt", "Result is : VALID\n")
        values = {e["key"]: e["value"] for e in (json.loads(line[9:]) for line in log.splitlines())}
        if test == "TEST04-B":
            continue  # judged against TEST04-A, in the folder of A
        rule = book.scenarios[scenario]  # type: ignore[index]
        field = rule.audit_field or rule.result_field
        write(
            folder / test / "verify_performance.txt",
            f"Verifying performance.\nreference score = {RUNS[scenario]['results'][field]}\n"
            f"test score = {values[field]}\nTEST PASS\n",
        )
    write(folder / "TEST01/verify_accuracy.txt", "num_perf_log_data_mismatch = 0\nTEST PASS\n")
    write(folder / "TEST01/accuracy/mlperf_log_accuracy.json", cut)
    write(folder / "TEST01/accuracy/accuracy.txt", f"hash={digest}\n")
