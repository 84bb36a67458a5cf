"""Sensors, live values and a run's telemetry as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from coldmark.core.telemetry import Measured, Missing, Telemetry
from coldmark.core.trace import Kind
from coldmark.report.text import number, table

_BLOCKS = "▁▂▃▄▅▆▇█"
_UNITS = {"degC": "°C", "bits": "", "1": ""}
REASON_WORDS = (
    (0x20, "thermal (software)"),
    (0x40, "thermal (hardware)"),
    (0x80, "power brake"),
    (0x4, "power limit"),
    (0x8, "hardware slow-down"),
    (0x200, "board limit"),
    (0x10, "sync boost"),
    (0x2, "clock setting"),
    (0x1, "idle"),
)


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Values as blocks between their least and greatest; a blank where one is missing.

    >>> sparkline([0, 1, 2, 3], 4)
    '▁▃▆█'
    """
    n = len(values)
    if not n:
        return ""
    cells = min(width, n)
    means = []
    for i in range(cells):
        part = [v for v in values[i * n // cells : (i + 1) * n // cells] if not math.isnan(v)]
        means.append(sum(part) / len(part) if part else math.nan)
    there = [m for m in means if not math.isnan(m)]
    if not there:
        return " " * cells
    low, span = min(there), max(there) - min(there)
    if span <= 1e-9 * max(abs(low), 1.0):
        return "".join(" " if math.isnan(m) else _BLOCKS[3] for m in means)
    top = len(_BLOCKS) - 1
    return "".join(" " if math.isnan(m) else _BLOCKS[round((m - low) / span * top)] for m in means)


def value_text(value: float, unit: str, kind: Kind = Kind.GAUGE) -> str:
    """A reading with its unit; a dash where it is missing."""
    if math.isnan(value):
        return "-"
    if kind is Kind.BITS:
        return reasons_text(int(value))
    if unit == "1":
        return f"{100 * value:.1f} %" if -1 <= value <= 1.5 else number(value)
    return f"{number(value)} {_UNITS.get(unit, unit)}".rstrip()


def reasons_text(bits: int) -> str:
    """Clock-event bits as words."""
    return ", ".join(word for bit, word in REASON_WORDS if bits & bit) or "none"


def sensors_text(found: Sequence[Measured], missing: Sequence[Missing]) -> str:
    """Every channel with its value now, unit, rate and resolution; then what is missing and why."""
    lines = []
    if found:
        rows = [
            [
                m.channel.name,
                value_text(m.value, m.channel.unit, m.channel.kind),
                m.channel.unit,
                f"{m.channel.rate_hz:g} Hz",
                "-" if m.channel.resolution is None else f"{m.channel.resolution:g}",
                m.channel.covers or "",
            ]
            for m in found
        ]
        lines.append(table(["channel", "now", "unit", "rate", "resolution", "covers"], rows))
    else:
        lines.append("no sensor answers on this machine")
    if missing:
        lines += ["", "missing"]
        for m in missing:
            lines.append(f"  {m.family:8} {m.what}: {m.why.value}: {m.detail}")
            if m.hint:
                lines.append(f"           {m.hint}")
    return "\n".join(lines)


def telemetry_text(t: Telemetry) -> str:
    """A run's telemetry in full, as `coldmark telemetry show` prints it."""
    lines = [t.line or t.why_not]
    if t.window_s is not None:
        lines.append(f"window      {t.window_s:.1f} s ({t.window_basis}); {t.device}")
    lines += [
        f"active      {r.reason}: {100 * r.share.value:.1f} % of the window"
        f"{_bounds(r.share.low, r.share.high)}  ({r.basis}; {r.share.method})"
        for r in t.reasons
    ]
    for x in t.losses:
        value = "not known" if x.value is None else f"{100 * x.value:.2f} %"
        lines.append(f"lost        {x.reason}: {value}{_bounds(x.low, x.high)}  ({x.method})")
    for level in t.levels:
        limit = "" if level.limit is None else f" of {number(level.limit)}"
        lines.append(
            f"level       {level.component} {level.name}: mean {number(level.mean)}, highest "
            f"{number(level.highest)}{limit} {level.unit}  ({level.basis})"
        )
    if t.throughput:
        r = t.throughput
        after = "not steady" if r.steady_after_s is None else f"steady after {r.steady_after_s:.1f} s"
        lines.append(
            f"rate        mean {number(r.mean_per_s)}/s, {after}, scatter {100 * r.noise_share:.1f} % "
            f"in bins of {r.bin_s:.2f} s"
        )
        lines += [
            f"            {c.kind} of {100 * c.share:+.1f} % at {c.at_s:.1f} s: {c.cause}" for c in r.changes
        ]
    for e in t.energy:
        per = "" if e.j_per_sample is None else f", {e.j_per_sample:.4g} J a sample"
        lines.append(
            f"energy      {e.covers}: {number(e.energy_j)} J, mean {number(e.mean_w)} W{per}  ({e.basis})"
        )
    lines += [f"unknown     {text}" for text in t.unknown]
    lines += [f"missing     {m.family} {m.what}: {m.why.value}: {m.detail}" for m in t.missing]
    lines += [f"INSECURE    the certificate of {url} was not checked" for url in t.insecure]
    if t.cost:
        lines.append(
            f"cost        {100 * t.cost.core_share:.2f} % of one core for {t.cost.channels} channels, "
            f"{t.cost.reads} reads, {t.cost.late} late"
        )
    return "\n".join([*lines, f"method      {t.method}"])


def _bounds(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({100 * low:.2f} to {100 * high:.2f})"


def live_value(value: float, unit: str, kind: Kind) -> str:
    """A value of the live table: bits as words, a counter's growth with the unit of the growth."""
    return value_text(value, unit, Kind.BITS if kind is Kind.BITS else Kind.GAUGE)


def live_range(values: Sequence[float]) -> str:
    """`41 to 63`; empty where nothing varied."""
    there = [v for v in values if not math.isnan(v)]
    if not there or max(there) - min(there) <= 1e-9 * max(1.0, abs(max(there))):
        return ""
    return f"{number(min(there))} to {number(max(there))}"
