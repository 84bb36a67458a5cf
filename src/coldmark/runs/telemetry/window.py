"""The timed window of a run's performance test, on the clock of its trace."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from coldmark.core.errors import ColdmarkError
from coldmark.core.nouns import Mode
from coldmark.core.trace import Trace
from coldmark.loadgen.power_log import marks
from coldmark.runs.telemetry.sample import phase_marks
from coldmark.runs.verdict import TestRun
from coldmark.store.trace import read_header, read_trace

QUARTER_S = 900.0
"""LoadGen stamps its marks in a time zone that it does not name; zones lie a quarter of an hour apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From begin to end [s] of a trace, and what says so."""

    begin_s: float
    end_s: float
    basis: str = ""


def run_trace(folders: Iterable[Path], test: TestRun) -> tuple[Trace, Window] | None:
    """The trace in which a performance test ran, with its window; None where no attempt's trace has it."""
    for folder in sorted(folders, reverse=True):
        try:
            header = read_header(folder)
        except ColdmarkError:
            continue
        stamps = {m.name: m.t_s for m in phase_marks(Mode.PERFORMANCE, test.directory, header.begin_ns)}
        begin, end = stamps.get("performance.running"), stamps.get("performance.closing")
        if begin is None or end is None or end <= begin:
            continue
        trace = read_trace(folder)
        last = max((float(s.t_s[-1]) for s in trace.series.values() if len(s.t_s)), default=0.0)
        if last >= end:
            return trace, _between_marks(test, header.begin_unix_ns / 1e9, begin, end)
    return None


def _between_marks(test: TestRun, begin_unix_s: float, begin: float, end: float) -> Window:
    """LoadGen's own marks where its log has them inside the test, else the process's stamps."""
    log = test.log()
    window = marks(log.get("power_begin"), log.get("power_end"))
    if window is not None:
        first, last = _unix(window.begin) - begin_unix_s, _unix(window.end) - begin_unix_s
        zone = round((first - begin) / QUARTER_S) * QUARTER_S
        first, last = first - zone, last - zone
        if begin - 0.5 <= first < last <= end + 0.5:
            return Window(begin_s=first, end_s=last, basis="LoadGen's power_begin and power_end")
    return Window(begin_s=begin, end_s=end, basis="the phases that the test's process stamped")


def _unix(at: datetime) -> float:
    return at.replace(tzinfo=UTC).timestamp()


def with_meter(trace: Trace, ptd: Any) -> Trace:
    """The trace with the channels of a wall meter's log, where the user named one. Raises DataError."""
    if ptd is None or not ptd.log:
        return trace
    from coldmark.telemetry.ptd import read_log

    series = read_log(Path(ptd.log), begin_unix_s=trace.begin_unix_s, utc_offset_h=ptd.utc_offset_h)
    return replace(trace, series={**trace.series, **{s.channel.name: s for s in series}})
