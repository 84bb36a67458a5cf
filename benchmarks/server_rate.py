"""The Server rate that the search finds over the true highest VALID rate, and how often it is confirmed.

The true one comes from a fine sweep around the rate found: the highest rate of which more than half of the
runs were VALID. Runs have early stopping and the length that --confirm-s says; the search aims at official
length, so a shorter confirmation asks for a little more than it promises. Sweep and confirmations are
interleaved, so that a machine that changes does so in both.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from common import machine, parser, report, run, spec

from coldmark.core.nouns import Length, Scenario
from coldmark.core.record import RunSpec
from coldmark.core.server_rate import ServerTrial
from coldmark.runs.tuning.server_rate import find_server_rate

WORKLOADS = ("resnet50", "retinanet", "rnnt", "bert-99", "dlrm-99")


def confirmed(what: RunSpec, rate: float) -> bool:
    """Whether a run at a rate is VALID; to its end, so that each costs the same."""
    options = {**what.options, "harness.go_on": "true"}
    record, _, _ = run(replace(what, target_qps=rate, options=options))
    return record.verdict == "VALID"


def measure(workload: str, model: str, given: argparse.Namespace) -> dict[str, Any]:
    """The search, then sweep and confirmations in turn."""
    options = {"test.min_query_count": "459"}
    what = spec(model, Scenario.SERVER, workload=workload, seconds=given.confirm_s, options=options)
    what = replace(what, length=Length.SHORT)
    searched = replace(what, options={"harness.bare_s": "0.5"})

    def tell(trial: ServerTrial) -> None:
        print(f"  {workload} {trial.rate_qps:.5g}/s: {trial.over} of {trial.queries} late", flush=True)

    found = find_server_rate(searched, budget_s=given.budget_s, on_trial=tell)
    row: dict[str, Any] = {
        "workload": workload,
        "model": model,
        "rate_qps": found.rate_qps,
        "confidence": found.confidence,
        "limit_qps": [found.limit_low_qps, found.limit_qps, found.limit_high_qps],
        "searched_s": found.searched_s,
        "trials": len(found.trials),
        "notes": list(found.notes),
        "confirmed": 0,
        "confirmations": 0,
        "true_qps": None,
        "ratio": None,
    }
    if not found.reachable:
        return row
    factors = [1 + given.step * k for k in range(-given.steps, given.steps + 1)]
    valid = dict.fromkeys(factors, 0)
    for number in range(max(given.repeats, given.confirmations)):
        if number < given.confirmations:
            row["confirmations"] += 1
            row["confirmed"] += confirmed(what, found.rate_qps)
        if number < given.repeats:
            for factor in factors:
                valid[factor] += confirmed(what, found.rate_qps * factor)
    holding = [f for f in factors if valid[f] > given.repeats / 2]
    row["sweep"] = {f"{f:.3f}": n for f, n in valid.items()}
    if holding:
        row["true_qps"] = found.rate_qps * max(holding)
        row["ratio"] = 1 / max(holding)
    return row


def show(row: dict[str, Any]) -> list[str]:
    low, middle, high = row["limit_qps"]
    return [
        f"{row['workload']} {row['model']}",
        f"{row['rate_qps']:.4g}",
        f"{middle:.4g} ({low:.4g} to {high:.4g})",
        f"{row['confidence']:.3f}",
        "-" if row["true_qps"] is None else f"{row['true_qps']:.4g}",
        "-" if row["ratio"] is None else f"{row['ratio']:.3f}",
        f"{row['confirmed']} of {row['confirmations']}",
        f"{row['searched_s']:.0f} s, {row['trials']}",
    ]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--only", action="append", help="workloads; may be repeated")
    options.add_argument("--model", action="append", help="mini, full; may be repeated [mini]")
    options.add_argument("--budget-s", type=float, default=180, help="of each search")
    options.add_argument("--confirm-s", type=float, default=60, help="length of sweep and confirmation runs")
    options.add_argument("--confirmations", type=int, default=20, help="runs at the rate found")
    options.add_argument("--steps", type=int, default=6, help="rates of the sweep on either side")
    options.add_argument("--step", type=float, default=0.01, help="between them, as a share of the rate")
    given = options.parse_args()
    where = machine()
    rows = [
        measure(workload, model, given)
        for model in given.model or ["mini"]
        for workload in given.only or WORKLOADS
    ]
    report(
        "Server rate: found over true",
        ["workload", "found /s", "limit it saw /s", "confidence", "true /s", "ratio", "confirmed", "search"],
        rows,
        show,
        where,
        given.json,
    )


if __name__ == "__main__":
    main()
