"""Energy of the timed window, from each meter with what it covers."""

from __future__ import annotations

import numpy as np

from coldmark.core.telemetry import Energy
from coldmark.core.trace import Series, Trace

_ORDER = ("nvml", "dcgm", "rapl", "ptd", "redfish", "ipmi", "hwmon")
_PARTS = ("cores", "uncore")
"""Zones that lie inside a package: counting them beside it would count energy twice."""
_GAP = 0.1
"""A meter must have been read within this share of the window at both ends of it."""


def energies(trace: Trace, begin: float, end: float, samples: float | None) -> tuple[Energy, ...]:
    """One line for each thing that a meter covers: by its energy counter, else by its mean power."""
    found = []
    covers = {
        s.channel.covers
        for quantity in ("energy_j", "power_w", "power_instant_w")
        for s in trace.of(quantity)
        if s.channel.covers and s.channel.covers not in _PARTS
    }
    for what in sorted(covers):
        energy = _of(trace, what, begin, end, samples)
        if energy is not None:
            found.append(energy)
    return tuple(found)


def _of(trace: Trace, covers: str, begin: float, end: float, samples: float | None) -> Energy | None:
    for quantity in ("energy_j", "power_w", "power_instant_w"):
        for family in _ORDER:
            series = [s for s in trace.of(quantity, family=family) if s.channel.covers == covers]
            parts = [_joules(s, begin, end) for s in series]
            if not parts or any(p is None for p in parts):
                continue  # a sum with a part missing is no sum
            joules = float(sum(p for p in parts if p is not None))
            if joules <= 0:
                continue
            how = "energy counter" if quantity == "energy_j" else "mean power"
            return Energy(
                covers=covers,
                energy_j=joules,
                mean_w=joules / (end - begin),
                j_per_sample=joules / samples if samples else None,
                samples_per_j=samples / joules if samples else None,
                basis=f"{family} {how} of {len(series)}",
            )
    return None


def _joules(s: Series, begin: float, end: float) -> float | None:
    """Energy between two times; None where the meter does not cover them."""
    slack = max(_GAP * (end - begin), 2.0 / s.channel.rate_hz)
    if len(s.t_s) < 2 or s.t_s[0] > begin + slack or s.t_s[-1] < end - slack:
        return None
    inside = (s.t_s > begin) & (s.t_s < end)
    if not inside.any() or _largest_gap(s.t_s[inside], begin, end) > slack:
        return None
    if s.channel.quantity == "energy_j":
        lower, upper = np.interp([begin, end], s.t_s, s.value)
        return float(upper - lower)
    # The mean of the samples strictly inside, as published power results are defined.
    return float(s.value[inside].mean()) * (end - begin)


def _largest_gap(t: np.ndarray[tuple[int, ...], np.dtype[np.float64]], begin: float, end: float) -> float:
    return float(np.diff(np.concatenate([[begin], t, [end]])).max())
