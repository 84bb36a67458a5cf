"""A Server rate searched on this machine: trials through the real LoadGen, each in a child of its own.

`rate_search.py` has the method; here a trial is made of the very configuration that will be run.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from coldmark.core.codec import from_plain, read_json
from coldmark.core.errors import ColdmarkError, ConfigError, Interrupted
from coldmark.core.nouns import Length, Mode, Scenario
from coldmark.core.record import RunSpec
from coldmark.core.server_rate import ServerRate
from coldmark.core.settings import SourcedSettings
from coldmark.loadgen.child import OUTCOME
from coldmark.loadgen.log import DETAIL, parse_detail
from coldmark.rules.book import load_length
from coldmark.runs.execute import pinned, run_child
from coldmark.runs.resolve import Plan, base_settings, open_task, resolve
from coldmark.runs.tuning.rate_search import Goal, Observed, OnTrial, play, search
from coldmark.runs.worker import SERVICE, TIMES, Job
from coldmark.stats.queueing import Service
from coldmark.workloads.cache import cache_dir

BARE_S = 0.5
"""How long the bare rate is measured around a trial."""
PROBE_S = 1.0
"""How long the probe runs that measures the service times."""


def find_server_rate(
    what: RunSpec | Plan,
    *,
    budget_s: float,
    on_trial: OnTrial | None = None,
    folder: Path | None = None,
) -> ServerRate:
    """The highest rate at which `what` would be VALID at official length, in about `budget_s` of trials.

    `on_trial` is shown each trial. Their logs go to `folder`, or are not kept. Raises ConfigError where
    `what` is not Server or the budget is too small, and whatever a trial ends with that fails.
    """
    plan = what if isinstance(what, Plan) else resolve(what)
    if plan.spec.scenario is not Scenario.SERVER:
        raise ConfigError(
            f"{plan.spec.scenario} has no arrival rate to search",
            where="--scenario",
            hint="--scenario Server",
        )
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="coldmark-") as aside:
            return _find(plan, Path(aside), budget_s, on_trial)
    folder.mkdir(parents=True, exist_ok=True)
    return _find(plan, folder, budget_s, on_trial)


def _find(plan: Plan, folder: Path, budget_s: float, on_trial: OnTrial | None) -> ServerRate:
    trials = Trials(plan, folder)
    started = time.monotonic()
    service, first = trials.probe()
    begun_s = time.monotonic() - started
    found = search(
        trials,
        play(service, trials.goal),
        trials.goal,
        first=first,
        budget_s=budget_s - begun_s,
        begun_s=begun_s,
        on_trial=on_trial,
    )
    return replace(found, searched_s=time.monotonic() - started)


class Trials:
    """Trials of one plan, each in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        options = {"harness.bare_s": str(BARE_S), **plan.spec.options}
        own = resolve(replace(plan.spec, options=options, target_qps=None))
        task = open_task(own, cache_dir())
        self._plan = pinned(own, task)
        self._folder = folder
        self._settings = base_settings(self._plan, task, Mode.PERFORMANCE)
        s, book = self._settings.settings, plan.rule.book
        short = replace(plan, spec=replace(plan.spec, length=Length.SHORT), length=load_length(Length.SHORT))
        t = base_settings(short, task, Mode.PERFORMANCE).settings
        self.goal = Goal(
            bound_s=(s.target_latency_ns or 0) / 1e9,
            percentile=s.target_latency_percentile or book.percentile,
            least_queries=book.min_query_count,
            duration_s=book.min_duration_ms / 1000,
            short=(t.min_query_count, t.min_duration_ms / 1000),
        )

    def probe(self) -> tuple[Service, float]:
        """How long batches take, measured bare, and the rate that `auto` would offer."""
        folder = self._run("probe", PROBE_S, {}, measure_service=True)
        path = folder / "settings.json"
        settings = from_plain(read_json(path), SourcedSettings, where=str(path)).settings
        plain = read_json(folder / SERVICE)
        service = Service(
            batch_s=tuple(plain["batch_s"]),
            noise=np.array(plain["noise"]),
            servers=plain["servers"],
            delay_s=plain["delay_s"],
        )
        return service, settings.target_qps or service.capacity / 2

    def __call__(self, rate: float, seconds: float, number: int) -> Observed:
        started = time.monotonic()
        seed = self._settings.settings.schedule_rng_seed + number  # arrivals of its own
        changes = {"target_qps": float(f"{rate:.6g}"), "schedule_rng_seed": seed}
        folder = self._run(f"trial-{number + 1:02}", seconds, changes)
        times_s = np.load(folder / TIMES, allow_pickle=False) * 1e-9
        latency_s, percentile_s = times_s[:, 1] - times_s[:, 0], self._percentile_s(folder)
        at = min(len(latency_s) - 1, int(len(latency_s) * self.goal.percentile))  # as LoadGen counts
        # LoadGen counts from when a query was due; what it waited before it reached us is added to all.
        unseen_s = max(0.0, percentile_s - float(np.partition(latency_s, at)[at]))
        outcome: dict[str, Any] = read_json(folder / OUTCOME)
        return Observed(
            rate=rate,
            seconds=seconds,
            times_s=times_s,
            late=latency_s + unseen_s > self.goal.bound_s,
            percentile_s=percentile_s,
            spent_s=time.monotonic() - started,
            bare_before=outcome.get("bare_before"),
            bare_after=outcome.get("bare_after"),
        )

    def _run(
        self, name: str, seconds: float, changes: dict[str, Any], *, measure_service: bool = False
    ) -> Path:
        folder = self._folder / name
        folder.mkdir()
        settings = self._settings.override(
            "Server rate search", min_duration_ms=int(seconds * 1000), min_query_count=1, **changes
        )
        job = Job(
            spec=self._plan.spec,
            mode=Mode.PERFORMANCE,
            cache=str(cache_dir()),
            settings=settings,
            trial=True,
            measure_service=measure_service,
        )
        try:
            run_child(self._plan, job, folder, on_tick=None)
        except Interrupted:
            raise
        except ColdmarkError as error:
            # Nothing of a trial can be resumed, and where nothing is kept its folder is gone by then.
            raise type(error)(error.message, where=error.where or f"Server rate, {name}") from None
        return folder

    def _percentile_s(self, folder: Path) -> float:
        """LoadGen's own latency at the percentile [s]."""
        key = f"result_{self.goal.percentile * 100:.2f}_percentile_latency_ns"
        return (parse_detail(folder / DETAIL).number(key) or 0.0) * 1e-9
