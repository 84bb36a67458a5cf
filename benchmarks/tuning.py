"""What tuning is worth: over the default, over OpenVINO's own tool, over the reference way, and how soon.

Each workload in Offline. (a) tuned over default, (b) tuned over the best of `benchmark_app` with its two
hints, the same ONNX file in the same precision (networks whose input rows are samples only: a pipeline is
more than one network), (c) tuned INT8 over the reference way (`reference_*.py`), interleaved and repeated,
each ratio within one round. (d) when the search had its first trial within 3 % of the best that a long
search finds. INT8 needs `coldmark calibrate` first; without it (c) is left out and (a), (b) are in FP32.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import machine, parser, report, spec, spread
from workloads import REFERENCES, SMALLER

from coldmark.core.errors import ColdmarkError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.record import RunSpec
from coldmark.core.sut import Model
from coldmark.core.tuned import Configuration, TunedRecord
from coldmark.runs.resolve import open_task, resolve
from coldmark.runs.tuning.bench import Opener, Room
from coldmark.runs.tuning.make import TuneSpec, plan_tune, tune
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.task import Task

HINTS = ("throughput", "latency")
WITHIN = 0.97
LIMIT_S = 600.0
FREE = 1 << 40
"""Memory that a child may take here: all there is."""


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--only", nargs="*", default=list(REFERENCES), help="ids")
    options.add_argument("--model", default="full")
    options.add_argument("--precision", default="int8")
    options.add_argument("--budget", type=float, default=180.0, help="seconds of the search that is judged")
    options.add_argument("--long", type=float, default=600.0, help="seconds of the long search")
    options.add_argument("--drift", type=float, default=0.1)
    options.add_argument("--slice", type=float, default=0.4)
    given = options.parse_args()
    where = machine()
    rows = [row for name in given.only if (row := measure(name, given)) is not None]
    report(
        f"{given.model}, Offline, bare rates",
        [
            "workload",
            "precision",
            "tuned",
            "tuned over default",
            "over benchmark_app's best",
            "over the reference way",
            f"within {1 - WITHIN:.0%} of the long search after",
        ],
        rows,
        _cells,
        where,
        given.json,
    )


def measure(name: str, given: Any) -> dict[str, Any] | None:
    """Both searches, then rounds of all that is compared."""
    what = replace(
        spec(given.model, Scenario.OFFLINE, workload=name, seconds=1, options=SMALLER.get(name, {})),
        options={k: v for k, v in SMALLER.get(name, {}).items() if k.startswith("data.")},
    )
    precision = _available(what, Precision(given.precision))
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = _search(what, precision, given.budget, 0, given, Path(folder))
            long = _search(what, precision, given.long, 1, given, Path(folder))
        except ColdmarkError as error:
            print(f"{name}: {error}")
            return None
    row: dict[str, Any] = {
        "workload": name,
        "precision": precision.value,
        "tuned": found.best.name,
        "long": long.best.name,
        "outcome": found.outcome,
        "reached_s": reached_s(found, long),
        "over_default": [],
        "over_app": [],
        "over_reference": [],
        "app": [],
    }
    _compare(row, what, precision, found, long, given)
    return row


def _available(what: RunSpec, precision: Precision) -> Precision:
    """The precision asked for, or FP32 where it cannot be run."""
    try:
        open_task(resolve(replace(what, precision=precision)), cache_dir())
    except ColdmarkError as error:
        print(f"{what.workload}: {error}; FP32 instead")
        return Precision.FP32
    return precision


def _search(
    what: RunSpec, precision: Precision, budget_s: float, seed: int, given: Any, root: Path
) -> TunedRecord:
    asked = TuneSpec(
        run=what,
        precision=precision,
        backend="openvino",
        budget_s=budget_s,
        seed=seed,
        drift=given.drift,
        slice_s=given.slice,
    )
    record, _ = tune(plan_tune(asked), root)
    return record


def reached_s(found: TunedRecord, long: TunedRecord) -> float | None:
    """When the search had first tried what is within 3 % of the best of both searches; None: never.

    Values of two searches are compared over the default of each, so that a drift between them cancels.
    """
    best = max(t.relative or 0 for r in (found, long) for t in r.trials if t.state == "complete")
    ends = [t.ended_s for t in found.trials if t.state == "complete" and (t.relative or 0) >= WITHIN * best]
    return min(ends, default=None)


def _compare(
    row: dict[str, Any],
    what: RunSpec,
    precision: Precision,
    found: TunedRecord,
    long: TunedRecord,
    given: Any,
) -> None:
    """Rounds of default, tuned, OpenVINO's own tool and the reference way."""
    opener = Opener(
        spec=what, room=Room(cache=str(cache_dir()), memory_bytes=FREE), latency=False, others=what.options
    )
    default = Configuration(backend="openvino", precision=precision)
    task = open_task(resolve(replace(what, precision=precision)), cache_dir())
    plain = open_task(resolve(what), cache_dir())
    peer = importlib.import_module(REFERENCES[row["workload"]]).reference_rate
    benches = {"tuned": opener(found.best, LIMIT_S), "default": opener(default, LIMIT_S)}
    try:
        for turn in range(given.repeats):
            order = list(benches) if turn % 2 == 0 else list(benches)[::-1]
            rates = {key: benches[key].score(given.seconds, LIMIT_S).value for key in order}
            row["over_default"].append(rates["tuned"] / rates["default"])
            if isinstance(task.model, Model):
                apps = {hint: app_rate(task, precision, hint, given.seconds) for hint in HINTS}
                row["app"].append(apps)
                row["over_app"].append(rates["tuned"] / max(apps.values()))
            if precision is Precision.INT8:
                reference = peer(getattr(plain.model, "path", None), plain, given.seconds)
                row["over_reference"].append(rates["tuned"] / reference)
    finally:
        for bench in benches.values():
            bench.close()


def app_rate(task: Task, precision: Precision, hint: str, seconds: float) -> float:
    """Samples/s that OpenVINO's own benchmark tool reports with one hint, and the batch the hint prefers.

    The file's batch is open; the tool takes one batch as given, so those that the default and a throughput
    setting would use are tried and the best counts. It computes on random data, without post-processing.
    """
    assert isinstance(task.model, Model)
    floating = task.quantised.floating if task.quantised else precision
    hints = {Precision.FP32: "f32", Precision.BF16: "bf16"}
    best = 0.0
    for batch in (1, 8) if hint == "throughput" else (1,):
        shapes = ",".join(
            f"{i.name}[{','.join(str(n) for n in (batch, *i.shape))}]" for i in task.model.inputs
        )
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", "from openvino.tools.benchmark.main import main; main()"]
            command += [
                "-m",
                str(task.model.path),
                "-d",
                "CPU",
                "-hint",
                hint,
                "-t",
                str(max(1, round(seconds))),
            ]
            command += ["-shape", shapes, "-infer_precision", hints[floating], "-json_stats"]
            command += ["-report_type", "no_counters", "-report_folder", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
            files = list(Path(folder).glob("*.json"))
            if done.returncode or not files:
                print(f"benchmark_app {hint}: {done.stdout[-300:]}{done.stderr[-300:]}")
                continue
            stats = json.loads(files[0].read_text())["execution_results"]
            best = max(best, float(stats["throughput"]))
    if not best:
        raise RuntimeError(f"benchmark_app gave no figure for {task.model.path.name}")
    return best


def _cells(row: dict[str, Any]) -> list[str]:
    reached = row["reached_s"]
    return [
        row["workload"],
        row["precision"],
        f"{row['tuned']} ({row['outcome']})",
        spread(row["over_default"]),
        spread(row["over_app"]) if row["over_app"] else "a pipeline",
        spread(row["over_reference"]),
        f"{reached:.0f} s" if reached is not None else "never",
    ]


if __name__ == "__main__":
    main()
