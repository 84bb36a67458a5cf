"""Every workload: rate, share of the machine's peak, ratio to the reference way, harness share, memory.

Offline through LoadGen, the best of a few batches and streams. The reference way is what the official
harness does without LoadGen: ONNX Runtime, FP32, its defaults, one sample after another
(`reference_*.py`). Rounds of reference, FP32 and BF16 are interleaved; each ratio is within one round.
Peaks are measured just before: matrix products in each precision, and reading memory.
"""

from __future__ import annotations

import importlib
from typing import Any

from common import machine, parser, report, run, spec, spread
from peaks import gather_peak, product_peak, read_peak

from coldmark.core.errors import ColdmarkError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.record import RunSpec
from coldmark.runs.resolve import open_task, resolve
from coldmark.workloads.cache import cache_dir

CANDIDATES = {
    "resnet50": ((1, 2), (8, 1)),
    "retinanet": ((1, 1), (1, 2)),
    "3d-unet-99.9": ((1, 1), (1, 2)),
    "rnnt": ((32, 1), (64, 1)),
    "bert-99.9": ((1, 1), (4, 1)),
    "dlrm-99.9": ((1024, 1), (2048, 1)),
}
"""(batch, streams) tried in Offline, the first round deciding which is kept."""

SMALLER = {"3d-unet-99.9": {"data.scale": "0.3", "test.performance_sample_count": "4"}}
"""What makes a run short enough: cases of one window each, and four of them in turn instead of 42."""

REFERENCES = {
    "resnet50": "reference_resnet50",
    "retinanet": "reference_retinanet",
    "3d-unet-99.9": "reference_unet3d",
    "rnnt": "reference_rnnt",
    "bert-99.9": "reference_bert",
    "dlrm-99.9": "reference_dlrm",
}


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--only", nargs="*", default=list(CANDIDATES), help="ids")
    options.add_argument("--model", default="full")
    options.add_argument("--precisions", nargs="*", default=["fp32", "bf16"])
    options.add_argument("--setting", help="BATCHxSTREAMS, known to be best: nothing else is tried")
    options.add_argument("--bare", type=float, default=1.0, help="seconds of each bare rate")
    given = options.parse_args()
    if given.setting:
        batch, streams = map(int, given.setting.split("x"))
        CANDIDATES.update(dict.fromkeys(given.only, ((batch, streams),)))
    where = machine()
    peaks = {p: product_peak(Precision(p), 4.0) for p in given.precisions}
    memory = {"read": read_peak(2.0), "gather": gather_peak(2.0)}
    where |= {"peak_ops": peaks, "memory_bytes": memory}
    print({p: f"{v / 1e9:.0f} GOP/s" for p, v in peaks.items()}, end=" ")
    print({k: f"{v / 1e9:.1f} GB/s" for k, v in memory.items()})
    rows = []
    for name in given.only:
        rows += measure(name, given.model, given.precisions, given.repeats, given.seconds, given.bare, where)
    report(
        f"{given.model}, Offline through LoadGen",
        [
            "workload",
            "precision",
            "batch x streams",
            "samples/s",
            "of peak",
            "over the reference way",
            "harness share",
            "peak memory",
            "of memory",
        ],
        rows,
        _cells,
        where,
        given.json,
    )


def measure(
    name: str,
    model: str,
    precisions: list[str],
    repeats: int,
    seconds: float,
    bare_s: float,
    where: dict[str, Any],
) -> list[dict[str, Any]]:
    """Rounds of the reference way and of each precision at its best setting."""
    task = open_task(resolve(_what(name, model, "fp32", (1, 1), seconds, bare_s)), cache_dir())
    peer = importlib.import_module(REFERENCES[name]).reference_rate
    rows: dict[str, dict[str, Any]] = {}
    for precision in precisions:
        settings = CANDIDATES[name]
        tried = {}
        if len(settings) > 1:
            tried = {c: _run(_what(name, model, precision, c, seconds, bare_s)) for c in settings}
        best = max(settings, key=lambda c: tried[c]["rate"] if tried else 0.0)
        rows[precision] = {
            "workload": name,
            "precision": precision,
            "best": best,
            "runs": [tried[best]] if tried else [],
            "tried": {f"{b} x {s}": found["rate"] for (b, s), found in tried.items()},
            "reference": [],
            "ratio": [],
            "facts": task.facts,
        }
    for _ in range(repeats):
        reference = peer(getattr(task.model, "path", None), task, seconds)
        for precision in precisions:
            row = rows[precision]
            row["runs"].append(_run(_what(name, model, precision, row["best"], seconds, bare_s)))
            row["reference"].append(reference)
            row["ratio"].append(row["runs"][-1]["rate"] / reference)
    for precision, row in rows.items():
        macs, rates = int(task.facts["macs_per_sample"]), [r["rate"] for r in row["runs"]]
        row["of_peak"] = [2 * macs * rate / where["peak_ops"][precision] for rate in rates]
        moved = task.facts.get("bytes_per_sample")
        gather = where["memory_bytes"]["gather"]
        row["of_memory"] = [int(moved) * rate / gather for rate in rates] if moved else []
    return list(rows.values())


def _what(
    name: str, model: str, precision: str, setting: tuple[int, int], seconds: float, bare_s: float
) -> RunSpec:
    batch, streams = setting
    return spec(
        model,
        Scenario.OFFLINE,
        workload=name,
        precision=Precision(precision),
        seconds=seconds,
        options={"backend.batch": str(batch), "backend.streams": str(streams), "test.min_query_count": "1"}
        | {"harness.bare_s": str(bare_s)}
        | SMALLER.get(name, {}),
    )


def _run(what: RunSpec) -> dict[str, Any]:
    try:
        record, outcome, _ = run(what)
    except ColdmarkError as error:
        print(f"{what.workload} {what.precision.value} {what.options}: {error}")
        return {"rate": 0.0, "share": 0.0, "rss": 0}
    assert record.metric is not None
    assert record.harness is not None
    return {"rate": record.metric.value, "share": record.harness.share, "rss": outcome["peak_rss_bytes"]}


def _cells(row: dict[str, Any]) -> list[str]:
    runs = row["runs"]
    return [
        row["workload"],
        row["precision"],
        f"{row['best'][0]} x {row['best'][1]}",
        spread([r["rate"] for r in runs]),
        spread(row["of_peak"]),
        spread(row["ratio"]),
        spread([r["share"] for r in runs]),
        f"{max(r['rss'] for r in runs) / 2**30:.2f} GiB",
        spread(row["of_memory"]),
    ]


if __name__ == "__main__":
    main()
