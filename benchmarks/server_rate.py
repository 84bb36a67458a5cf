"""The Server rate that the search finds over the true highest VALID rate, and how often it is confirmed.

The true one comes from a fine sweep upward from the rate found: runs of some seconds at each rate until far
too many queries are late, --repeats times with other arrivals, and a line through the logits of their pooled
late shares; it is where an official run has just as many late queries as early stopping bears. Confirmations
are what a user does with the rate: `run` at short length after `tune`, to its end, with a verdict; it asks
for less where its bare rate says that the machine is slower now. Sweep and confirmations are interleaved, so
that a machine that changes does so in both; runs of the sweep on what was another machine by that measure
are left out and counted.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import SUITES, machine, parser, report, run, spread

from coldmark.core.nouns import Length, Mode, Precision, Scenario
from coldmark.core.record import RunSpec
from coldmark.core.server_rate import ServerRate, ServerTrial
from coldmark.core.tuned import TunedUse
from coldmark.runs.resolve import resolve
from coldmark.runs.tuning.rate_search import MOVED, Observed
from coldmark.runs.tuning.server_rate import Trials, find_server_rate
from coldmark.stats.early_stopping import most_over

FAR = 10.0
"""A sweep goes no higher once so many times the allowed share was late in a run."""
LEAST_FAR = 2
LEAST_POINTS = 3
WORKLOADS = ("resnet50", "retinanet", "rnnt", "bert-99", "dlrm-99")


def what_of(workload: str, model: str, given: argparse.Namespace) -> RunSpec:
    """A short Server run as a user types it."""
    return RunSpec(
        workload=workload,
        scenario=Scenario.SERVER,
        suite=SUITES[Scenario.SERVER],
        model=model,
        backend="openvino",
        modes=(Mode.PERFORMANCE,),
        length=Length.SHORT,
        precision=given.precision,
        options=dict(pair.split("=", 1) for pair in given.set),
    )


def confirmed(what: RunSpec, found: ServerRate) -> tuple[bool, float]:
    """Whether a run as tuned is VALID, and which share of the rate found it asked for.

    To its end, so that each costs the same.
    """
    options, rate = {**what.options, "harness.go_on": "true"}, found.short_qps or found.rate_qps
    use = TunedUse(id="", when="", settings={}, server_qps=rate, server_bare_rate=found.bare_rate)
    record, outcome, _ = run(replace(what, options=options, tuned=use))
    return record.verdict == "VALID", outcome["target_qps"] / rate


def moved(seen: Observed, found: ServerRate) -> bool:
    """Whether a trial was made on what was another machine, by its bare rates."""
    rates = [rate for rate in (seen.bare_before, seen.bare_after) if rate and found.bare_rate]
    return any(abs(rate / (found.bare_rate or rate) - 1) > MOVED for rate in rates)


def measure(workload: str, model: str, given: argparse.Namespace) -> dict[str, Any]:
    """The search, then sweep and confirmations in turn."""
    what = what_of(workload, model, given)

    def tell(trial: ServerTrial) -> None:
        print(f"  {workload} {trial.rate_qps:.5g}/s: {trial.over} of {trial.queries} late", flush=True)

    found = find_server_rate(what, budget_s=given.budget_s, on_trial=tell)
    row: dict[str, Any] = {
        "workload": workload,
        "model": model,
        "precision": what.precision.value,
        "rate_qps": found.rate_qps,
        "short_qps": found.short_qps,
        "confidence": found.confidence,
        "limit_qps": [found.limit_low_qps, found.limit_qps, found.limit_high_qps],
        "searched_s": found.searched_s,
        "trials": len(found.trials),
        "notes": list(found.notes),
        "confirmed": 0,
        "confirmations": 0,
        "asked": [],
        "moved": 0,
        "bare_rate": found.bare_rate,
        "true_qps": None,
        "ratio": None,
        "sweep": [],
    }
    if found.reachable:
        with tempfile.TemporaryDirectory() as folder:
            _sweep_and_confirm(row, what, found, given, Path(folder))
    return row


def _sweep_and_confirm(
    row: dict[str, Any], what: RunSpec, found: ServerRate, given: argparse.Namespace, folder: Path
) -> None:
    trials = Trials(resolve(what), folder)
    sweep: dict[float, list[int]] = {}  # factor on the rate: late, queries
    allowed, seed = 1 - found.percentile, 1000  # arrivals that no trial of the search had
    for number in range(max(given.repeats, given.confirmations)):
        if number < given.confirmations:
            row["confirmations"] += 1
            valid, asked = confirmed(what, found)
            row["confirmed"] += valid
            row["asked"].append(asked)
            print(f"  confirmed: {row['confirmed']} of {row['confirmations']}, {asked:.3f}", flush=True)
        if number < given.repeats:
            far = 0  # rates in a row at which far too many were late; one alone may be a stall of the machine
            for step in range(-2, given.steps + 1):
                factor, seed = round(1 + given.step * step, 6), seed + 1
                seen = trials(found.rate_qps * factor, given.sweep_s, seed)
                if moved(seen, found):
                    row["moved"] += 1
                    continue
                late, queries = sweep.setdefault(factor, [0, 0])
                sweep[factor] = [late + int(seen.late.sum()), queries + len(seen.late)]
                far = far + 1 if seen.late.mean() > FAR * allowed else 0
                if far == LEAST_FAR:
                    break
            print("  sweep:", {f"{f:.2f}": f"{a / b:.4f}" for f, (a, b) in sweep.items()}, flush=True)
    row["sweep"] = [[f, *sweep[f]] for f in sorted(sweep)]
    row["at_rate"] = sweep.get(1.0)
    limit = true_limit(row["sweep"], found)
    if limit:
        row["true_qps"] = found.rate_qps * limit
        row["ratio"] = 1 / limit


def true_limit(sweep: list[list[float]], found: ServerRate) -> float | None:
    """The factor on the rate at which an official run bears what is late; None where the sweep never saw it.

    Where the line does not rise or has fewer than three points: the last factor below the first that does not
    bear it, and at least the lowest of the sweep.
    """
    share = most_over(found.official_queries, found.percentile) / found.official_queries
    some = [(math.log(f), late, n) for f, late, n in sweep if 0 < late < n / 2]
    beyond = min((f for f, late, n in sweep if late > share * n), default=None)
    if beyond is None:
        return None
    last = max((f for f, _, _ in sweep if f < beyond), default=beyond)
    if len(some) < LEAST_POINTS:
        return last
    x, late, n = np.array(some).T
    line = np.polyfit(x, np.log(late / (n - late)), 1, w=np.sqrt(late))
    if line[0] <= 0:
        return last
    return float(np.exp((math.log(share / (1 - share)) - line[1]) / line[0]))


def show(row: dict[str, Any]) -> list[str]:
    low, middle, high = row["limit_qps"]
    return [
        f"{row['workload']} {row['model']} {row['precision']}",
        f"{row['rate_qps']:.4g}",
        f"{middle:.4g} ({low:.4g} to {high:.4g})",
        f"{row['confidence']:.3f}",
        "-" if row["true_qps"] is None else f"{row['true_qps']:.4g}",
        "-" if row["ratio"] is None else f"{row['ratio']:.3f}",
        f"{row['confirmed']} of {row['confirmations']}, at {spread(row['asked'])} of it",
        f"{row['moved']}",
        f"{row['searched_s']:.0f} s, {row['trials']}",
    ]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--only", action="append", help="workloads; may be repeated")
    options.add_argument("--model", action="append", help="mini, full; may be repeated [mini]")
    options.add_argument("--budget-s", type=float, default=180, help="of each search")
    options.add_argument("--precision", type=Precision, default=Precision.FP32, help="fp32, bf16, int8")
    options.add_argument("--set", action="append", default=[], help="KEY=VALUE, as of run")
    options.add_argument("--confirmations", type=int, default=20, help="short runs at the rate for such")
    options.add_argument("--sweep-s", type=float, default=20, help="length of each run of the sweep")
    options.add_argument("--steps", type=int, default=12, help="most rates of the sweep above the one found")
    options.add_argument("--step", type=float, default=0.02, help="between them, as a share of the rate")
    given = options.parse_args()
    where = machine()
    rows = [
        measure(workload, model, given)
        for model in given.model or ["mini"]
        for workload in given.only or WORKLOADS
    ]
    report(
        "Server rate: found over true",
        [
            "workload",
            "found /s",
            "limit it saw /s",
            "confidence",
            "true /s",
            "ratio",
            "confirmed",
            "moved",
            "search",
        ],
        rows,
        show,
        where,
        given.json,
    )


if __name__ == "__main__":
    main()
