"""The child process of one configuration: builds it, warms it, and measures whenever it is asked.

Started by `runs.tune_bench` as `python -m coldmark.runs.tuning.child JOB.json`. It speaks one JSON object a
line over its pipes, and stays warm between questions, so that configurations can be measured in turns.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.core.codec import from_plain, read_json
from coldmark.core.nouns import Scenario
from coldmark.core.record import RunSpec
from coldmark.core.sut import SystemUnderTest
from coldmark.loadgen.child import describe_error, die_with_parent
from coldmark.runs.rate import played_limit, service_times
from coldmark.runs.resolve import Plan, open_task, resolve
from coldmark.runs.worker import build_sut, peak_rss_bytes

LEAST_TIMES = 3
"""Queries at least behind a percentile, however long they take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneJob:
    """What the parent hands over."""

    spec: RunSpec
    cache: str


def main(path: Path) -> None:
    """Answer the parent's questions until it closes the pipe."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer

    def reply(**answer: Any) -> None:
        out.write(json.dumps({**answer, "peak_rss_bytes": peak_rss_bytes()}) + "\n")
        out.flush()

    die_with_parent()
    try:
        job = from_plain(read_json(path), TuneJob, where=str(path))
        plan = resolve(job.spec)
        task = open_task(plan, Path(job.cache))
        sut = build_sut(plan, task)
        sut.start(lambda ids, answers: None, lambda error: None)
        score = scorer(plan, sut)
        reply(ready=True, facts=sut.describe())
        for line in sys.stdin:
            asked = json.loads(line)
            seconds = float(asked["seconds"])
            reply(**score(seconds) if asked["measure"] == "score" else {"value": pulse(plan, sut, seconds)})
        sut.close()
    except Exception as error:  # noqa: BLE001 - the process edge: the parent raises it again
        reply(error=describe_error(error))
        sys.exit(70)


def pulse(plan: Plan, sut: SystemUnderTest, seconds: float) -> float:
    """How fast the machine is now [1/s], read on this configuration."""
    return 1 / float(np.median(query_times(plan, sut, seconds)))


def scorer(plan: Plan, sut: SystemUnderTest) -> Callable[[float], dict[str, Any]]:
    """What the scenario asks for: a rate, a percentile of latency, or the highest rate under the bound."""
    rule, scenario = plan.rule, plan.spec.scenario
    percentile = rule.book.percentile or 0.99

    def offline(seconds: float) -> dict[str, Any]:
        return {"value": sut.bare_rate(seconds, 1)}

    def stream(seconds: float) -> dict[str, Any]:
        times = query_times(plan, sut, seconds)
        return {"value": float(np.quantile(times, percentile)), "n": len(times)}

    def server(seconds: float) -> dict[str, Any]:
        # Without the margins of a rate to ask for: they would hide what delay and tail make of a rate.
        limit_s = plan.test_overrides.get("target_latency_ns", rule.target_latency_ns or 0) * 1e-9
        service, bare = service_times(sut), sut.bare_rate(seconds, 1)
        rate = min(played_limit(service, limit_s, percentile), bare)
        alone = service.batch_s[0] * float(np.quantile(service.noise, percentile))
        why = f"no rate meets {limit_s * 1e3:g} ms (p{percentile * 100:g} of one alone: {alone * 1e3:.3g} ms)"
        return {"value": rate, "infeasible": why if rate <= 0 else ""}

    return {Scenario.OFFLINE: offline, Scenario.SERVER: server}.get(scenario, stream)


def query_times(plan: Plan, sut: SystemUnderTest, seconds: float) -> NDArray[np.float64]:
    """Wall seconds of whole queries, one after another, without any harness; shape [n]."""
    samples = plan.rule.book.samples_per_query if plan.spec.scenario is Scenario.MULTI_STREAM else 1
    facts = sut.describe()
    whole = facts.get("unit", "samples") == "samples" and isinstance(facts.get("batch"), int)
    per = min(samples, int(facts["batch"])) if whole else 1
    parts = -(-samples // per)
    times = np.zeros(0)
    until = time.perf_counter() + 20 * seconds
    while len(times) < LEAST_TIMES * parts and (not len(times) or time.perf_counter() < until):
        times = np.concatenate([times, sut.bare_times(seconds, per)])
    if len(times) < parts:
        return np.array([float(np.mean(times)) * parts])
    whole_queries = times[: len(times) // parts * parts].reshape(-1, parts)
    return np.asarray(np.sum(whole_queries, axis=1), np.float64)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
