"""Measure accuracy and rate of every shipped model in each precision, and write docs/reference/accuracy.json.

`scripts/reference.py` renders it. INT8 models are made by the search of `coldmark calibrate`, unless they are
there already; `--again` makes and measures them anew. Takes some minutes a workload; run it with nothing else
on the machine:

python scripts/accuracy.py [--only resnet50] [--backend openvino] [--again]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from coldmark.core.calibration import Calibration, Candidate
from coldmark.core.nouns import Length, Mode, Precision, Scenario, Suite
from coldmark.core.record import RunSpec
from coldmark.runs.calibration.make import CalibrateSpec, calibrate
from coldmark.runs.execute import execute, software_versions
from coldmark.runs.resolve import resolve
from coldmark.store.rundir import write_whole
from coldmark.telemetry.inventory import detect
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.task import workloads

OUT = Path(__file__).parents[1] / "docs" / "reference" / "accuracy.json"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--backend", default="openvino")
    options.add_argument("--only", nargs="*", default=strictest(), metavar="ID", choices=strictest())
    options.add_argument("--again", action="store_true", help="calibrate again what is kept")
    given = options.parse_args()
    for name in given.only:
        found = workload_rows(name, given.backend, again=given.again)
        print(json.dumps(found), file=sys.stderr)
        keep(name, found, given.backend)


def keep(name: str, found: list[dict[str, Any]], backend: str) -> None:
    """Put a workload's rows in the place of those it had, in the order of the workloads."""
    rows = json.loads(OUT.read_text())["rows"] if OUT.is_file() else []
    rows = [row for row in rows if row["workload"] != name] + found
    rows.sort(key=lambda row: strictest().index(row["workload"]))
    where = {
        "processor": detect().host_processor_model_name,
        "software": software_versions(resolve(_spec(name, backend, "fp32"))),
    }
    write_whole(OUT, json.dumps({"machine": where, "rows": rows}, indent=1) + "\n")


def workload_rows(name: str, backend: str, *, again: bool) -> list[dict[str, Any]]:
    """FP32, BF16 and INT8 of one workload: accuracy through the harness, rates from the calibration."""
    spec = CalibrateSpec(run=_spec(name, backend, "fp32"), again=again)
    made, _ = calibrate(spec, cache_dir(), lambda text: print(text, file=sys.stderr))
    floats = [c for c in made.front if c.precision is not Precision.INT8]
    rows = [measure(name, backend, c.precision.value) | _speed(c) for c in floats]
    return [*rows, _int8(name, backend, made)]


def _int8(name: str, backend: str, made: Calibration) -> dict[str, Any]:
    """The fastest INT8 model that holds the gate; where none does, the most accurate one and what is used."""
    chosen = best_int8(made)
    how = {
        "how": chosen.name if chosen else "none could be made",
        "layers_out": chosen.left_out if chosen else 0,
    }
    if made.quantisation is not None and chosen is not None:
        return measure(name, backend, "int8") | _speed(chosen) | how
    assert made.aim is not None
    instead = made.chosen.precision.value if made.chosen else "fp32"
    return {
        "workload": name,
        "backend": backend,
        "precision": "int8",
        "metric": made.aim.metric,
        "unit": made.aim.unit,
        "value": chosen.accuracy if chosen else None,
        "low": None,
        "high": None,
        "samples": None,
        "reference": made.aim.reference,
        "instead": instead,
        "reason": made.reason,
        **(_speed(chosen) if chosen else {}),
        **how,
    }


def best_int8(made: Calibration) -> Candidate | None:
    """The candidate that was kept; where none was, the most accurate one that was judged."""
    if made.int8 is not None:
        return made.int8
    tried = [c for c in made.front if c.precision is Precision.INT8 and c.accuracy is not None]
    return max(tried, key=lambda c: c.accuracy or 0.0, default=None)


def _speed(found: Candidate) -> dict[str, Any]:
    return {"speed": found.speed, "speed_low": found.speed_low, "speed_high": found.speed_high}


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
