"""Tune everything a suite demands: what is tuned already is passed over, so it goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from coldmark.core.errors import ColdmarkError, Interrupted, RunError
from coldmark.core.nouns import Scenario
from coldmark.core.record import RunSpec
from coldmark.core.suite import SuiteEntry, SuiteSpec
from coldmark.core.tuned import TunedRecord
from coldmark.runs.suite import check_scopes, demanded, run_spec
from coldmark.runs.tuned import change
from coldmark.runs.tuning.make import NoneHolds, OnSay, TuneSpec, plan_tune, tune, tune_key
from coldmark.runs.tuning.search import OnTrial
from coldmark.store.tuned import list_tuned, ready, tuned_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneLine:
    """One benchmark-scenario as it stands."""

    entry: SuiteEntry
    record: TunedRecord | None = None
    error: str = ""
    was_there: bool = False  # tuned before this command
    verdict: bool = False  # whether `error` is what the search found: that nothing meets the limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """Who is told what a search does."""

    say: OnSay
    on_trial: OnTrial


OnLines = Callable[[Sequence[TuneLine], int], None]
"""Called with all lines and the index of the one that is tuned now."""


def plan_suite_tuning(suite: SuiteSpec, template: TuneSpec, root: Path, *, again: bool) -> list[TuneLine]:
    """What the suite demands, and what of it is tuned by the software that is here now."""
    entries = demanded(suite)
    check_scopes(suite, entries)
    there = {r.id: r for r in list_tuned(root) if not isinstance(r, ColdmarkError)}
    lines = []
    for entry in entries:
        spec = _spec(suite, template, entry)
        record = None if again else there.get(tuned_id(tune_key(spec)))
        if record and (change(record, spec.run) or _lacks_rate(record, spec)):
            record = None
        lines.append(TuneLine(entry=entry, record=record, was_there=record is not None))
    return lines


def _lacks_rate(record: TunedRecord, spec: TuneSpec) -> bool:
    """Whether the time was too short for its Server rate, and there is more of it now."""
    server = record.key.scenario is Scenario.SERVER
    return server and record.server is None and spec.budget_s > record.budget_s


def _spec(suite: SuiteSpec, template: TuneSpec, entry: SuiteEntry) -> TuneSpec:
    run: RunSpec = run_spec(suite, entry)
    return replace(template, run=run)


def tune_all(
    suite: SuiteSpec,
    template: TuneSpec,
    root: Path,
    *,
    again: bool,
    on_lines: OnLines,
    ticks: Callable[[SuiteEntry], Ticks],
) -> list[TuneLine]:
    """Tune what is left; each result is kept at once. What fails is noted and the others go on.

    Raises Interrupted when the user stops it, RunError where the machine never calms: the rest would fare
    no better.
    """
    ready(root)  # known before an hour of work
    lines = plan_suite_tuning(suite, template, root, again=again)
    for at, line in enumerate(lines):
        on_lines(lines, at)
        if line.record is None:
            lines[at] = _tuned(line, _spec(suite, template, line.entry), root, ticks(line.entry))
    on_lines(lines, len(lines))
    return lines


def _tuned(line: TuneLine, spec: TuneSpec, root: Path, ticks: Ticks) -> TuneLine:
    try:
        record, _ = tune(plan_tune(spec, on_say=ticks.say), root, on_trial=ticks.on_trial, on_say=ticks.say)
    except Interrupted:
        raise
    except RunError as error:
        if error.where == "coldmark tune":
            raise
        return replace(line, error=str(error))
    except ColdmarkError as error:
        return replace(line, error=str(error))
    except NoneHolds as none:
        return replace(line, error=f"no configuration meets the limits: {none}", verdict=True)
    return replace(line, record=record)
