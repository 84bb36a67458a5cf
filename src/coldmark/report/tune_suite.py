"""A suite's tuning as a table: default and tuned side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from coldmark.core.codec import to_plain
from coldmark.core.nouns import Scenario
from coldmark.core.suite import SuiteEntry, SuiteSpec
from coldmark.core.tuned import TunedRecord
from coldmark.report.suite import clock
from coldmark.report.text import number, table
from coldmark.report.tune import ratio_text, value_text

HEAD = ("benchmark", "scenario", "default", "tuned", "ratio", "outcome", "Server rate", "configuration")


class Line(Protocol):
    """One benchmark-scenario as it stands."""

    @property
    def entry(self) -> SuiteEntry: ...
    @property
    def record(self) -> TunedRecord | None: ...
    @property
    def error(self) -> str: ...
    @property
    def was_there(self) -> bool: ...


def suite_tuning_text(suite: SuiteSpec, lines: Sequence[Line], budget_s: float) -> str:
    """The whole screen."""
    head = f"{suite.suite} suite, {suite.model}, rules of {suite.round}; measured here"
    if any(line.record and line.record.key.scenario is Scenario.SERVER for line in lines):
        head += "; of Server, service times that were measured are played, and the rate is through LoadGen"
    return "\n".join([head, "", tuning_table(lines), "", tuning_foot(lines, budget_s)])


def tuning_table(lines: Sequence[Line], running: int = -1, doing: str = "") -> str:
    """All lines, done or not."""
    return table(HEAD, [_cells(line, doing if at == running else "") for at, line in enumerate(lines)])


def tuning_foot(lines: Sequence[Line], budget_s: float) -> str:
    """How far it is: `3 of 14 tuned (2 wins, 1 tie), at most 33:00 min left`."""
    done = [line.record for line in lines if line.record is not None]
    count = Counter(r.outcome for r in done)
    failed = sum(bool(line.error) for line in lines)
    left = len(lines) - len(done) - failed
    text = f"{len(done)} of {len(lines)} tuned"
    if done:
        text += f" ({count['win'] + count['only']} better than the default, {count['tie']} tied with it"
        text += (f", {count['default']} where it is the fastest" if count["default"] else "") + ")"
    if failed:
        text += f", {failed} failed"
    return text + (f", about {clock(left * budget_s)} left" if left else "")


def line_text(line: Line) -> str:
    """One benchmark-scenario on one line."""
    if line.record is None:
        return f"{line.entry.name}: {line.error or 'to be tuned'}"
    record = line.record
    before = ", tuned before" if line.was_there else ""
    rate = f", rate: {found}" if (found := _rate(record)) else ""
    return f"{line.entry.name}: {ratio_text(record.ratio)} {record.outcome}, {record.best.name}{rate}{before}"


def _cells(line: Line, doing: str) -> list[str]:
    head = [line.entry.benchmark, line.entry.scenario.value]
    record = line.record
    if record is None:
        return [*head, line.error.partition("\n")[0] or doing or "to be tuned", "", "", "", "", ""]
    return [
        *head,
        value_text(record.default_value),
        value_text(record.value),
        ratio_text(record.ratio),
        record.outcome + (", before" if line.was_there else ""),
        _rate(record),
        record.best.name,
    ]


def _rate(record: TunedRecord) -> str:
    """The rate that a Server run will ask for, or why there is none."""
    if record.key.scenario is not Scenario.SERVER:
        return ""
    if record.server is None:
        return "not found: coldmark tune --show " + record.id
    if not record.server.reachable:
        return f"none holds {record.server.bound_ms:g} ms"
    return f"{number(record.server.rate_qps)} queries/s, {record.server.margin:.1%} below its limit"


def suite_tuning_json(suite: SuiteSpec, lines: Sequence[Line]) -> dict[str, Any]:
    """The table for machines."""
    return {
        "suite": suite.suite.value,
        "model": suite.model,
        "round": suite.round,
        "entries": [
            {
                "benchmark": line.entry.benchmark,
                "scenario": line.entry.scenario.value,
                "was_there": line.was_there,
                "error": line.error,
                "tuned": to_plain(line.record) if line.record else None,
            }
            for line in lines
        ],
    }
