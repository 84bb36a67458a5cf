"""A suite as a table: one line a benchmark-scenario, filled as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coldmark.core.codec import to_plain
from coldmark.core.nouns import State
from coldmark.core.record import RunRecord
from coldmark.core.suite import SuiteEntry, SuiteSpec
from coldmark.report.text import accuracy_text, harness_text, metric_text, record_json, table

HEAD = ("benchmark", "scenario", "result", "verdict", "accuracy", "harness", "time", "run")

RAN_WITH = "ran with"
"""A column more, where one at least ran as tuned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRow:
    """What the table shows of a benchmark-scenario."""

    entry: SuiteEntry
    record: RunRecord | None
    least_s: float
    taken_s: float
    may_serve: str = ""
    unused: str = ""  # why what was tuned for it is not used
    running: str = ""  # what it is doing, where it runs now


def suite_table(rows: Sequence[SuiteRow]) -> str:
    """All lines, done or not."""
    if not any(_ran_with(row).endswith("tuned") for row in rows):
        return table(HEAD, [_cells(row) for row in rows])
    return table((*HEAD, RAN_WITH), [[*_cells(row), _ran_with(row)] for row in rows])


def _ran_with(row: SuiteRow) -> str:
    """`openvino int8, tuned`; empty for what has not run."""
    if not _done(row) or row.record is None:
        return ""
    spec = row.record.spec
    return f"{spec.backend} {spec.precision}" + (", tuned" if spec.tuned else "")


def suite_head(spec: SuiteSpec, name: str) -> str:
    """What the table is of."""
    free = not spec.untuned and len(spec.given) < 2  # tuned ones may take the place of what was not given
    return (
        f"suite {name}: {spec.suite}, {spec.model}, {spec.backend} {spec.precision}"
        f"{' where not tuned' if free else ''}, rules of {spec.round}, {spec.length} length; "
        "measured here, not an official MLPerf result"
    )


def suite_foot(rows: Sequence[SuiteRow], left_s: float | None) -> str:
    """How far it is: `9 of 14 done (2 served by a stricter run), about 12 min left`."""
    done = [row for row in rows if _done(row)]
    served = sum(bool(row.entry.served_by) for row in done)
    text = f"{len(done)} of {len(rows)} done"
    if served:
        text += f" ({served} served by a stricter benchmark's run)"
    if tuned := sum(bool(row.record and row.record.spec.tuned) for row in done):
        text += f", {tuned} in a tuned configuration"
    least = sum(row.least_s for row in rows if not _done(row))
    if least:
        text += f"; about {clock(left_s)} left" if left_s is not None else f"; at least {clock(least)} left"
    else:
        text += f"; {clock(sum(row.taken_s for row in rows if not row.entry.served_by))} of runs in all"
    return text


def suite_text(spec: SuiteSpec, name: str, rows: Sequence[SuiteRow], left_s: float | None) -> str:
    """Head, table, how far it is, and what was tuned but is not used."""
    parts = [suite_head(spec, name), "", suite_table(rows), "", suite_foot(rows, left_s)]
    return "\n".join([*parts, *_unused(rows)])


def _unused(rows: Sequence[SuiteRow]) -> list[str]:
    """Each reason once, with whom it concerns."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.unused:
            found.setdefault(row.unused, []).append(row.entry.name)
    return [f"{', '.join(names)}: {why}" for why, names in found.items()]


def suite_json(spec: SuiteSpec, name: str, rows: Sequence[SuiteRow], runs: str) -> dict[str, Any]:
    """The suite for machines."""
    return {
        "name": name,
        "spec": to_plain(spec),
        "entries": [
            {
                **to_plain(row.entry),
                "done": _done(row),
                "least_s": row.least_s,
                "may_be_served_by": row.may_serve,
                "tuned_unused": row.unused,
                "record": record_json(row.record, f"{runs}/{row.entry.run_id}") if row.record else None,
            }
            for row in rows
        ],
    }


def _done(row: SuiteRow) -> bool:
    settled = row.record is not None and row.record.state in (State.COMPLETE, State.STOPPED)
    return settled and not row.entry.error


def _cells(row: SuiteRow) -> list[str]:
    entry, record = row.entry, row.record
    head = [entry.benchmark, entry.scenario.value]
    if row.running:
        return [*head, row.running, "", "", "", "", ""]
    if not _done(row) or record is None:
        return [*head, *_undone(row)]
    if record.state is State.STOPPED:
        return [*head, stopped_text(record), "", "", "", clock(row.taken_s), entry.run_id]
    return [
        *head,
        metric_text(record.metric),
        record.verdict,
        accuracy_text(record.accuracy),
        harness_text(record),
        "-" if entry.served_by else clock(row.taken_s),
        f"that of {entry.served_by}" if entry.served_by else entry.run_id,
    ]


def stopped_text(record: RunRecord) -> str:
    """Why a run was stopped, without what to do about it: `coldmark runs show` says that."""
    return record.reason.partition("\n")[0]


def _undone(row: SuiteRow) -> list[str]:
    if row.entry.error:
        return [f"failed: {row.entry.error}", "", "", "", "", row.entry.run_id]
    if row.record is not None:
        state = row.record.state.value
        return [f"{state}; will be resumed", "", "", "", f">= {clock(row.least_s)}", row.entry.run_id]
    how = f"served by {row.may_serve} if that meets its target" if row.may_serve else "to be run"
    return [how, "", "", "", f">= {clock(row.least_s)}", ""]


def clock(seconds: float | None) -> str:
    """`8 s`, `12:05`, `2:30 h`."""
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"
