"""Small results trees of our own, in the wordings of several rounds, for the importer's tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RULE = "=" * 48


def summary(
    scenario: str = "Offline",
    *,
    headline: str = "Samples per second: 1000",
    verdict: str = "VALID",
    extra: str = "",
    stats: str = "",
    parameters: dict[str, Any] | None = None,
) -> str:
    """A summary log in LoadGen's layout; by default a whole and plausible Offline run of v2.1."""
    said = {"samples_per_query": 660000, "target_qps": 1000, "target_latency (ns)": 0}
    said |= {"min_duration (ms)": 600000, "min_query_count": 1} | (parameters or {})
    lines = [
        RULE,
        "MLPerf Results Summary",
        RULE,
        "SUT name : a SUT",
        f"Scenario : {scenario}",
        "Mode     : PerformanceOnly",
        headline,
        f"Result is : {verdict}",
        "  Min duration satisfied : Yes",
        "  Min queries satisfied : Yes",
        *([extra] if extra else []),
        "",
        RULE,
        "Additional Stats",
        RULE,
        stats or "Min latency (ns)                : 1000\nMax latency (ns)                : 660000000000",
        "",
        RULE,
        "Test Parameters Used",
        RULE,
        *(f"{key} : {value}" for key, value in said.items()),
        "",
        "No errors encountered during test.",
        "",
    ]
    return "\n".join(lines)


def server(rate: float = 500.0, target: float = 500.0) -> str:
    """A Server run of v2.1."""
    return summary(
        "Server",
        headline=f"Scheduled samples per second : {rate:.2f}",
        parameters={"samples_per_query": 1, "target_qps": target, "min_query_count": 270336},
    )


def single_stream(p90_ns: int = 2_000_000, p99_ns: int = 3_000_000, *, ordinal: str = "") -> str:
    """A SingleStream run since v2.0; `ordinal` is ".0" from v5.0 on."""
    return summary(
        "SingleStream",
        headline=f"90{ordinal}th percentile latency (ns) : {p90_ns - 100}",
        extra="Early Stopping Result:\n"
        " * Processed at least 64 queries (300000).\n"
        " * Would discard 2500 highest latency queries.\n"
        f" * Early stopping 90{ordinal}th percentile estimate: {p90_ns}\n"
        f" * Early stopping 99{ordinal}th percentile estimate: {p99_ns}",
        stats="QPS w/ loadgen overhead         : 499.90\nQPS w/o loadgen overhead        : 500.10\n\n"
        f"90.00 percentile latency (ns)   : {p90_ns - 100}\n99.00 percentile latency (ns)   : {p99_ns - 100}",
        parameters={"samples_per_query": 1},
    )


def multi_stream(p99_ns: int = 9_000_000) -> str:
    """A MultiStream run since v2.0."""
    return summary(
        "MultiStream",
        headline=f"99th percentile latency (ns) : {p99_ns - 100}",
        extra=f"Early Stopping Result:\n * Early stopping 99th percentile estimate: {p99_ns}",
        stats=f"Per-query latency:  \nMean latency (ns)               : 8000000\n"
        f"99.00 percentile latency (ns)   : {p99_ns - 100}",
        parameters={"samples_per_query": 8},
    )


def system(**changes: Any) -> str:
    """A system description as v2.1 has it."""
    said: dict[str, Any] = {
        "division": "closed",
        "submitter": "Acme",
        "status": "available",
        "system_type": "datacenter",
        "system_name": "Acme One",
        "number_of_nodes": "1",
        "host_processors_per_node": 2,
        "host_processor_core_count": 32,
        "host_processor_model_name": "CPU X",
        "accelerators_per_node": 8,
        "accelerator_model_name": "NVIDIA A100-SXM-80GB",
        "framework": "TensorRT",
        "operating_system": "Linux",
    }
    return json.dumps(said | changes, indent=2)


def entry(
    root: Path,
    log: str | bytes,
    *,
    system: str = "one",
    benchmark: str = "resnet50",
    scenario: str = "Offline",
    submitter: str = "Acme",
    division: str = "closed",
    run: int = 1,
    name: str = "mlperf_log_summary.txt",
) -> Path:
    """Write one run's log where a results tree has it; returns its folder."""
    results = root / division / submitter / "results" / system / benchmark / scenario
    return put(results / "performance" / f"run_{run}" / name, log).parent


def describe(
    root: Path,
    text: str | bytes,
    *,
    name: str = "one",
    submitter: str = "Acme",
    division: str = "closed",
) -> Path:
    """Write a system's description."""
    return put(root / division / submitter / "systems" / f"{name}.json", text)


def put(path: Path, data: str | bytes) -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def small_tree(root: Path) -> Path:
    """Three systems of two submitters with four runs, and files that are no results beside them."""
    describe(root, system())
    describe(root, system(system_name="Acme Two", accelerators_per_node=4), name="two")
    describe(
        root,
        system(
            submitter="Best",
            system_type="datacenter,edge",
            accelerator_model_name="N/A",
            accelerators_per_node="N/A",
        ),
        name="cpu",
        submitter="Best",
    )
    folder = entry(root, summary())
    put(folder.parents[1] / "accuracy" / "accuracy.txt", "accuracy=76.072%, good=38036, total=50000\n")
    slower = summary(headline="Samples per second: 600", parameters={"samples_per_query": 396000})
    entry(root, slower, system="two")
    entry(root, server(), scenario="Server")
    entry(root, single_stream(), system="cpu", submitter="Best", scenario="SingleStream")
    put(folder.parent / "ranging" / "mlperf_log_summary.txt", summary(headline="Samples per second: 9"))
    compliance = root / "closed/Acme/compliance/one/resnet50/Offline/TEST01/performance/run_1"
    put(compliance / "mlperf_log_summary.txt", summary(headline="Samples per second: 9"))
    return root
