"""What tuning is worth: over the default, over OpenVINO's own tool, over the reference way, and how soon.

Each workload in Offline. (a) tuned over default, in the same precision and over the FP32 one, (b) tuned over
the best of `benchmark_app` with its two hints, the same ONNX files in the same precision: that does the
networks' part only (`benchmark_app.py`), (c) tuned INT8 over the reference way (`reference_*.py`). All of
them interleaved and repeated, each ratio within one round. (d) when the search had its first trial within
3 % of the best that a long search settles on, read in turns with the default at its end. INT8, of the 99 %
target where there are two, needs `coldmark calibrate` first; without it (c) is left out and (a), (b) are in
FP32. How far the machine could go at most is its peak of products in that precision, measured at the start.
"""

from __future__ import annotations

import importlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark_app import app_of
from common import machine, parser, report, spec, spread
from peaks import product_peak
from workloads import REFERENCES, SMALLER

from coldmark.core.errors import ColdmarkError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.record import RunSpec
from coldmark.core.tuned import Configuration, TunedRecord
from coldmark.runs.resolve import open_task, resolve
from coldmark.runs.tuning.bench import Opener, Room
from coldmark.runs.tuning.make import TuneSpec, plan_tune, tune
from coldmark.workloads.cache import cache_dir

PEAK_S = 4.0
COUNTED_S = 10.0
"""Length of the pass in which the calls of a pipeline are counted."""
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
    options.add_argument("--app-seconds", type=float, default=4.0, help="of each call of benchmark_app")
    options.add_argument("--drift", type=float, default=0.1)
    options.add_argument("--slice", type=float, default=0.4)
    given = options.parse_args()
    where = machine()
    where["peak_ops"] = {p.value: product_peak(p, PEAK_S) for p in Precision}
    print({p: f"{v / 1e9:.0f} GOP/s" for p, v in where["peak_ops"].items()}, flush=True)
    rows = [row for name in given.only if (row := measure(name, given, where["peak_ops"])) is not None]
    report(
        f"{given.model}, Offline, bare rates",
        [
            "workload",
            "precision",
            "tuned",
            "tuned over default",
            "over FP32 default",
            "over benchmark_app's best",
            "over the reference way",
            "of peak",
            f"within {1 - WITHIN:.0%} of the long search after",
        ],
        rows,
        _cells,
        where,
        given.json,
    )


def measure(name: str, given: Any, peaks: dict[str, float]) -> dict[str, Any] | None:
    """Both searches, then rounds of all that is compared."""
    what = replace(
        spec(
            given.model,
            Scenario.OFFLINE,
            workload=name.removesuffix(".9"),
            seconds=1,
            options=SMALLER.get(name, {}),
        ),
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
        "workload": what.workload,
        "precision": precision.value,
        "tuned": found.best.name,
        "long": long.best.name,
        "long_over_default": settled(long),
        "outcome": found.outcome,
        "reached_s": reached_s(found, long),
        "over_default": [],
        "over_fp32": [],
        "over_app": [],
        "over_reference": [],
        "app": [],
        "tuned_rates": [],
    }
    facts = _compare(row, name, what, precision, found, long, given)
    work = 2 * float(facts["macs_per_sample"])
    row["of_peak"] = [work * rate / peaks[precision.value] for rate in row["tuned_rates"]]
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
    """When the search had first tried what is within 3 % of the best that either search settled on.

    None: never; a lucky reading may make it sooner than it was. The best is the leader as it was read in
    turns at the end, not the luckiest of many short trials. Values of two searches are compared over the
    default of each, so a drift between them cancels.
    """
    best = max(settled(found), settled(long))
    ends = [t.ended_s for t in found.trials if t.state == "complete" and (t.relative or 0) >= WITHIN * best]
    return min(ends, default=None)


def settled(record: TunedRecord) -> float:
    """What a search kept, over its default."""
    return record.ratio.value if record.outcome == "win" and record.ratio else 1.0


def _compare(
    row: dict[str, Any],
    name: str,
    what: RunSpec,
    precision: Precision,
    found: TunedRecord,
    long: TunedRecord,
    given: Any,
) -> dict[str, Any]:
    """Rounds of default, tuned, OpenVINO's own tool and the reference way; the task's facts."""
    opener = Opener(
        spec=what, room=Room(cache=str(cache_dir()), memory_bytes=FREE), latency=False, others=what.options
    )
    default = Configuration(backend="openvino", precision=precision)
    plain = open_task(resolve(what), cache_dir())
    peer = importlib.import_module(REFERENCES[name]).reference_rate
    own = [resolve(opener.spec_of(c)) for c in (found.best, default)]
    app = app_of(
        [(plan, open_task(plan, cache_dir())) for plan in own], max(8, round(COUNTED_S * found.value.value))
    )
    benches = {"tuned": opener(found.best, LIMIT_S), "default": opener(default, LIMIT_S)}
    benches["fp32"] = opener(Configuration(backend="openvino", precision=Precision.FP32), LIMIT_S)
    try:
        for turn in range(given.repeats):
            order = list(benches) if turn % 2 == 0 else list(benches)[::-1]
            rates = {key: benches[key].score(given.seconds, LIMIT_S).value for key in order}
            row["tuned_rates"].append(rates["tuned"])
            row["over_default"].append(rates["tuned"] / rates["default"])
            row["over_fp32"].append(rates["tuned"] / rates["fp32"])
            row["app"].append(app.rate(given.app_seconds))
            row["over_app"].append(rates["tuned"] / row["app"][-1])
            if precision is Precision.INT8:
                reference = peer(getattr(plain.model, "path", None), plain, given.seconds)
                row["over_reference"].append(rates["tuned"] / reference)
    finally:
        for bench in benches.values():
            bench.close()
    return dict(plain.facts)


def _cells(row: dict[str, Any]) -> list[str]:
    reached = row["reached_s"]
    return [
        row["workload"],
        row["precision"],
        f"{row['tuned']} ({row['outcome']})",
        spread(row["over_default"]),
        spread(row["over_fp32"]),
        spread(row["over_app"]),
        spread(row["over_reference"]),
        spread(row["of_peak"]),
        f"{reached:.0f} s" if reached is not None else "never",
    ]


if __name__ == "__main__":
    main()
