"""What is shown live: sensors of the machine, and the counters of a run that another process has going."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coldmark.core.trace import Array, Channel, Kind
from coldmark.loadgen.progress import FILE_NAME
from coldmark.runs.telemetry.sample import RunCounters, unique_names
from coldmark.store.rundir import find_run, is_held
from coldmark.telemetry.sampler import Sampler
from coldmark.telemetry.sensor import Found

_SHOWN = (
    "completed",
    "temperature_degc",
    "memory_temperature_degc",
    "margin_k",
    "clock_mhz",
    "power_w",
    "energy_j",
    "reasons",
    "utilisation_share",
    "supply_temperature_degc",
    "return_temperature_degc",
    "flow_l_per_min",
    "leak",
    "throttle_count",
    "throttle_s",
    "busy_s",
    "steal_s",
    "fan_rpm",
    "fan_share",
)
"""What is shown without --all, in this order."""

_AS_RATE = {  # counters are shown by what they grow by in a second
    "completed": ("samples/s", "rate"),
    "energy_j": ("W", "power"),
    "busy_s": ("processors", "busy"),
    "steal_s": ("processors", "stolen"),
    "throttle_s": ("s/s", "throttled"),
    "throttle_count": ("events/s", "throttle events"),
}
ALARM_BITS = 0x20 | 0x40 | 0x80 | 0x8


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRow:
    """One channel as it is shown: `values` of the last minute, a counter as its growth per second."""

    channel: Channel
    name: str
    unit: str
    values: tuple[float, ...]
    alarm: bool  # the hardware slows down for heat or for its supply

    @property
    def last(self) -> float:
        return self.values[-1] if self.values else float("nan")


def live_rows(sampler: Sampler, *, show_all: bool = False) -> list[LiveRow]:
    """The channels worth a line, the most telling first."""
    found = []
    for channel, t_ns, values in sampler.history():
        quantity = channel.quantity
        if quantity == "issued" or (quantity not in _SHOWN and not show_all) or np.isnan(values).all():
            continue
        rank = _SHOWN.index(quantity) if quantity in _SHOWN else len(_SHOWN)
        found.append((channel.family != "run", rank, channel.name, _row(channel, t_ns / 1e9, values)))
    return [row for *_, row in sorted(found, key=lambda x: x[:3])]


def _row(channel: Channel, t_s: Array, values: Array) -> LiveRow:
    unit, word = channel.unit, channel.quantity.rpartition("_")[0] or channel.quantity
    if channel.kind is Kind.COUNTER:
        unit, word = _AS_RATE.get(channel.quantity, (f"{unit}/s", word))
        values = growth(t_s, values)
    alarm = channel.quantity == "reasons" and len(values) > 0 and int(np.nan_to_num(values[-1])) & ALARM_BITS
    return LiveRow(
        channel=channel,
        name=f"{channel.family} {channel.component} {word.replace('_', ' ')}",
        unit=unit,
        values=tuple(values.tolist()),
        alarm=bool(alarm) or (channel.quantity == "leak" and bool(values[-1:] > 0)),
    )


def growth(t_s: Array, values: Array, over_s: float = 1.0) -> Array:
    """Growth per second of a counter at each reading, over about the last `over_s`; t_s, values [n]."""
    there = ~np.isnan(values)
    t, v = t_s[there], values[there]
    if len(t) < 2:
        return np.full(0, np.nan)
    first = np.minimum(np.searchsorted(t, t - over_s), np.arange(len(t)) - 1)[1:]
    first = np.maximum(first, 0)
    found: Array = (v[1:] - v[first]) / np.maximum(t[1:] - t[first], 1e-9)
    return found


def running_test(root: Path, run_id: str | None) -> Path | None:
    """The folder of the test that is going now: of a run by its id, else of the newest that is held."""
    if run_id is not None:
        runs = [find_run(root, run_id)]
    else:
        runs = (
            sorted((p for p in root.iterdir() if p.is_dir() and is_held(p)), reverse=True)
            if root.is_dir()
            else []
        )
    tests = [p.parent for run in runs[:1] for p in run.glob(f"*/{FILE_NAME}")]
    return max(tests, key=lambda p: (p / FILE_NAME).stat().st_mtime_ns, default=None)


@contextmanager
def watching(found: Found, test: Path | None) -> Iterator[Sampler]:
    """Sample without writing, while the block runs."""
    counters = RunCounters()
    if test is not None:
        counters.follow(test)
    sampler = Sampler([*([counters] if test else []), *found.sensors])
    unique_names(sampler)
    sampler.start()
    try:
        yield sampler
    finally:
        sampler.stop()
