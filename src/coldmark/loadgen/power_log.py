"""Wall power of a run from PTDaemon's `spl.txt`: the mean between two marks, and J per query.

Where the detail log with the marks is not published, the busiest stretch as long as the run stands for
them. On the metered Offline and Server runs of v2.1's closed division that were compared it lay within
0.16 % of the mean between the marks; the mean over the client's whole session lay up to 36 % below it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate

STAMP = "%m-%d-%Y %H:%M:%S.%f"
_SAMPLE = re.compile(rb"^Time,([^,\r\n]+),Watts,([^,\r\n]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The metered part of a run, in UTC."""

    begin: datetime
    end: datetime

    @property
    def duration_s(self) -> float:
        return (self.end - self.begin).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Mean power [W] over the samples strictly inside a window."""

    mean_w: float
    samples: int
    duration_s: float

    def per_query_j(self, queries: float) -> float:
        """Energy of one query [J]. Source: v2.1 checker, get_power_metric."""
        return self.mean_w * self.duration_s / queries


def marks(begin: object, end: object) -> Window | None:
    """The window of a detail log's power_begin and power_end, or None where they are no times."""
    try:
        window = Window(begin=_time(str(begin)), end=_time(str(end)))
    except ValueError:
        return None
    return window if window.begin < window.end else None


def _time(text: str) -> datetime:
    return datetime.strptime(text, STAMP).replace(tzinfo=UTC)


def compact(data: bytes) -> bytes:
    """The stamps and watts of a meter's log without its other columns."""
    return b"\n".join(b"Time,%s,Watts,%s" % sample for sample in _SAMPLE.findall(data))


def mean_power(data: bytes, window: Window) -> Power | None:
    """Mean of the meter's samples strictly inside the window, or None where there is none.

    Stamps are compared as text, year first: half a million samples a second, and no time zone moves them.
    """
    begin, end = _sortable(window.begin), _sortable(window.end)
    total, count = 0.0, 0
    for stamp, watts in _SAMPLE.findall(data):
        if begin < stamp[6:10] + stamp[:6] + stamp[10:] < end:
            try:
                value = float(watts)
            except ValueError:
                continue
            if 0 < value < 1e9:  # the meter writes -1 for what it could not read
                total, count = total + value, count + 1
    if not count:
        return None
    return Power(mean_w=total / count, samples=count, duration_s=window.duration_s)


def _sortable(at: datetime) -> bytes:
    text = at.strftime(STAMP)[:-3].encode("ascii")
    return text[6:10] + text[:6] + text[10:]


SLACK_S = 1.5
"""The meter reports about once a second: a stretch may be short of its length by so much."""


def busiest(data: bytes, duration_s: float) -> Power | None:
    """The largest mean over any stretch of `duration_s`; None where the log is shorter than that."""
    times, watts = _series(data)
    if not times or not 0 < duration_s <= times[-1] - times[0] + SLACK_S:
        return None
    sums = [0.0, *accumulate(watts)]
    best = Power(mean_w=0.0, samples=0, duration_s=duration_s)
    for first, begin in enumerate(times):
        if times[-1] - begin < duration_s - SLACK_S:
            break
        past = bisect_left(times, begin + duration_s)
        mean = (sums[past] - sums[first]) / (past - first)
        if mean > best.mean_w:
            best = Power(mean_w=mean, samples=past - first, duration_s=duration_s)
    return best if best.samples else None


def _series(data: bytes) -> tuple[list[float], list[float]]:
    """Times [s] and watts of a log whose stamps never go back; empty lists for one whose stamps do."""
    times: list[float] = []
    watts: list[float] = []
    for stamp, text in _SAMPLE.findall(data):
        try:
            at, value = _time(stamp.decode("ascii")).timestamp(), float(text)
        except ValueError:
            continue
        if 0 < value < 1e9:
            times.append(at)
            watts.append(value)
    return (times, watts) if times == sorted(times) else ([], [])
