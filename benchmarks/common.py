"""What the benchmark scripts share: the machine's words, ratios with their spread, table and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from coldmark.core.nouns import Length, Mode, Precision, Scenario, Suite
from coldmark.core.record import RunRecord, RunSpec
from coldmark.report.text import table
from coldmark.runs.execute import execute, software_versions
from coldmark.runs.resolve import resolve
from coldmark.telemetry.inventory import detect

SUITES = {
    Scenario.SINGLE_STREAM: Suite.EDGE,
    Scenario.MULTI_STREAM: Suite.EDGE,
    Scenario.SERVER: Suite.DATACENTER,
    Scenario.OFFLINE: Suite.DATACENTER,
}


def parser(text: str) -> argparse.ArgumentParser:
    """Options that every script has."""
    out = argparse.ArgumentParser(description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    out.add_argument("--repeats", type=int, default=3, help="interleaved repetitions of each pair")
    out.add_argument("--seconds", type=float, default=8.0, help="length of each measurement")
    out.add_argument("--json", type=Path, help="also write the rows and the machine here")
    return out


def spec(
    model: str,
    scenario: Scenario,
    *,
    workload: str = "resnet50",
    backend: str = "openvino",
    precision: Precision = Precision.FP32,
    seconds: float,
    options: dict[str, str] | None = None,
    target_qps: float | None = None,
) -> RunSpec:
    """A performance run of so many seconds."""
    return RunSpec(
        workload=workload,
        scenario=scenario,
        suite=SUITES[scenario],
        model=model,
        backend=backend,
        precision=precision,
        modes=(Mode.PERFORMANCE,),
        length=Length.SMOKE,
        target_qps=target_qps,
        options={"test.min_duration_ms": str(int(seconds * 1000)), "harness.bare_s": "1", **(options or {})},
    )


def run(what: RunSpec) -> tuple[RunRecord, dict[str, Any], dict[str, Any]]:
    """Execute in a folder of its own: the record, the child's outcome, LoadGen's values."""
    with tempfile.TemporaryDirectory() as folder:
        record, path = execute(what, Path(folder))
        outcome = json.loads((path / "performance" / "outcome.json").read_text())
        return record, outcome, record.results


def spread(values: Sequence[float]) -> str:
    """Median, and least to greatest."""
    if not values:
        return "-"
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    system = detect()
    return {
        "processor": system.host_processor_model_name,
        "processors": os.cpu_count(),
        "memory": system.host_memory_capacity,
        "operating_system": system.operating_system,
        "python": platform.python_version(),
        "load_before": list(os.getloadavg()),
        "software": software_versions(resolve(spec("mini", Scenario.OFFLINE, seconds=1))),
    }


def report(
    title: str,
    head: Sequence[str],
    rows: Sequence[dict[str, Any]],
    show: Callable[[dict[str, Any]], Sequence[str]],
    where: dict[str, Any],
    path: Path | None,
) -> None:
    """Print the table with the machine above it, and write JSON if asked."""
    print(title)
    print(
        f"{where['processor']}, {where['processors']} processors, load before {where['load_before'][0]:.2f}"
    )
    print(", ".join(f"{k} {v}" for k, v in where["software"].items()))
    print(table(head, [list(show(row)) for row in rows]))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"title": title, "machine": where, "rows": list(rows)}, indent=2) + "\n")
        print(f"written to {path}", file=sys.stderr)
