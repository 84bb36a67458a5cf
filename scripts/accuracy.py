"""Measure the accuracy of every shipped model in each precision, and write docs/reference/accuracy.json.

`scripts/reference.py` renders it. Takes some minutes; run it with nothing else on the machine:

python scripts/accuracy.py [--backend openvino] [--precisions fp32 bf16]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from coldmark.core.nouns import Length, Mode, Precision, Scenario, Suite
from coldmark.core.record import RunSpec
from coldmark.runs.execute import execute, software_versions
from coldmark.runs.resolve import resolve
from coldmark.store.rundir import write_whole
from coldmark.telemetry.inventory import detect
from coldmark.workloads.task import workloads

OUT = Path(__file__).parents[1] / "docs" / "reference" / "accuracy.json"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--backend", default="openvino")
    options.add_argument("--precisions", nargs="*", default=["fp32", "bf16"])
    given = options.parse_args()
    rows = []
    for name in strictest():
        for precision in given.precisions:
            rows.append(measure(name, given.backend, precision))
            print(json.dumps(rows[-1]), file=sys.stderr)
    system = detect()
    where = {
        "processor": system.host_processor_model_name,
        "software": software_versions(resolve(_spec(rows[0]["workload"], given.backend, "fp32"))),
    }
    write_whole(OUT, json.dumps({"machine": where, "rows": rows}, indent=1) + "\n")


def strictest() -> list[str]:
    """One id a workload folder: the last, which has the highest target."""
    return list({w.file.module: w.file.ids[-1] for w in workloads().values()}.values())


def _spec(name: str, backend: str, precision: str) -> RunSpec:
    return RunSpec(
        workload=name,
        scenario=Scenario.OFFLINE,
        suite=Suite.DATACENTER,
        backend=backend,
        precision=Precision(precision),
        modes=(Mode.ACCURACY,),
        length=Length.SMOKE,
    )


def measure(name: str, backend: str, precision: str) -> dict[str, Any]:
    """One accuracy run of the shipped model."""
    with tempfile.TemporaryDirectory() as folder:
        record, _ = execute(_spec(name, backend, precision), Path(folder))
    found = record.accuracy
    assert found is not None
    assert found.value is not None, found.reason
    return {
        "workload": name,
        "backend": backend,
        "precision": precision,
        "metric": found.metric,
        "unit": found.unit,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "samples": found.samples,
        "reference": found.reference,
    }


if __name__ == "__main__":
    main()
