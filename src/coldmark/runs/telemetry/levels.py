"""Clock, temperature and power over the window, each against what bounds it."""

from __future__ import annotations

from coldmark.core.telemetry import Level
from coldmark.core.trace import Series, Trace

_CPU_TEMPERATURES = ("coretemp", "k10temp", "zenpower", "cpu", "soc")


def levels(
    trace: Trace, family: str, begin: float, end: float, best: tuple[float, str] | None
) -> tuple[Level, ...]:
    """Of the GPUs of a family, or of the CPU where the family is empty."""
    found = [
        level
        for s in trace.of("clock_mhz", family=family or "cpu")
        if (level := _level("clock", s, begin, end, best[0] if best else None, best[1] if best else ""))
    ]
    if family:
        for name, quantity, limit in (
            ("temperature", "temperature_degc", "slowdown_degc"),
            ("memory temperature", "memory_temperature_degc", "memory_max_degc"),
        ):
            for s in trace.of(quantity, family=family):
                level = _level(name, s, begin, end, trace.constant(s.channel, limit), limit)
                found += [level] if level else []
        found += _powers(trace, family, begin, end)
    else:
        found += _cpu_temperature(trace, begin, end)
    return tuple(found)


def _level(name: str, s: Series, begin: float, end: float, limit: float | None, basis: str) -> Level | None:
    value = s.between(begin, end).value
    if not len(value):
        return None
    return Level(
        name=name,
        component=s.channel.component,
        mean=float(value.mean()),
        highest=float(value.max()),
        limit=limit,
        unit=s.channel.unit,
        basis=f"{s.channel.name}; limit: {basis}" if limit is not None else s.channel.name,
    )


def _powers(trace: Trace, family: str, begin: float, end: float) -> list[Level]:
    found = []
    for s in trace.of("power_w", family=family):
        limits = [
            x.between(begin, end).value.mean()
            for x in trace.of("power_limit_w", family=family)
            if x.channel.component == s.channel.component and len(x.between(begin, end).value)
        ]
        level = _level("power", s, begin, end, float(limits[0]) if limits else None, "power_limit_w")
        found += [level] if level else []
    return found


def _cpu_temperature(trace: Trace, begin: float, end: float) -> list[Level]:
    """The hottest of the processor's own sensors, else nothing: a disk's temperature says nothing of it."""
    series = [
        s
        for s in trace.of("temperature_degc", family="hwmon")
        if s.channel.component.startswith(_CPU_TEMPERATURES) and len(s.between(begin, end).value)
    ]
    if not series:
        return []
    hottest = max(series, key=lambda s: float(s.between(begin, end).value.max()))
    level = _level(
        "temperature", hottest, begin, end, trace.constant(hottest.channel, "slowdown_degc"), "critical"
    )
    return [level] if level else []
