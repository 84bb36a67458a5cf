"""Throughput over the timed window: when it became steady, its steps and drift, and what moved with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from coldmark.core.telemetry import Change, Throughput
from coldmark.core.trace import Array
from coldmark.stats.throughput import LEAST_DRIFT, Step, drift, steady_from, steps

METHOD = "MSER truncation, then binary segmentation and a line, intervals for correlated bins"
EXPLAINS = 0.3
"""A change of the clock explains one of the rate if it goes the same way and is this part of it or more."""
MOVED_LOAD = 0.01  # share of all processors
MOVED_K = 3.0
DRIFT_Z = 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Covariates:
    """What may move a rate, over the same bins [m]; None: no channel."""

    clock: Array | None = None
    temperature: Array | None = None
    steal: Array | None = None  # share of wanted processor time
    other: Array | None = None  # share of all processors, busy with something else
    active: dict[str, Array] = field(default_factory=dict)


def throughput(rate: Array, at: Array, around: Covariates) -> Throughput:
    """What can be said of a rate [m] in bins with edges [m + 1]. The first and last bin are left out."""
    inner = slice(1, -1) if len(rate) > 4 else slice(None)
    y, first = rate[inner], inner.start or 0
    width = float(at[1] - at[0])
    from_bin = steady_from(y)
    cut = from_bin or 0
    found = steps(y[cut:])
    changes = [_step_change(s, first + cut, at, around) for s in found]
    share, se = drift(y[cut:], [s.at for s in found])
    if abs(share) > DRIFT_Z * se and abs(share) >= LEAST_DRIFT:
        changes.append(_drift_change(share, cut, first, len(y), at, around))
    rest = y[cut:]
    mean = float(rest.mean()) if len(rest) else 0.0
    return Throughput(
        mean_per_s=float(np.average(rate, weights=np.diff(at))),
        noise_share=_noise(rest, [s.at for s in found]) / mean if mean else 0.0,
        bin_s=width,
        steady_after_s=None if from_bin is None else (float(at[first + cut] - at[0]) if cut else 0.0),
        changes=tuple(changes),
        method=METHOD,
    )


def _noise(y: Array, cuts: list[int]) -> float:
    bounds = [0, *cuts, len(y)]
    parts = [y[a:b] - y[a:b].mean() for a, b in pairwise(bounds) if b > a]
    return float(np.std(np.concatenate(parts))) if parts else 0.0


def _step_change(step: Step, shift: int, at: Array, around: Covariates) -> Change:
    share = step.after / step.before - 1 if step.before else 0.0
    middle = shift + step.at
    a, b = slice(shift + step.first, middle), slice(middle, shift + step.last)
    return Change(
        kind="step", at_s=float(at[middle] - at[0]), share=share, cause=cause_of(share, a, b, around)
    )


def _drift_change(share: float, cut: int, first: int, n: int, at: Array, around: Covariates) -> Change:
    third = max(1, (n - cut) // 3)
    a = slice(first + cut, first + cut + third)
    b = slice(first + n - third, first + n)
    return Change(
        kind="drift",
        at_s=float(at[first + cut] - at[0]),
        share=share,
        cause=cause_of(share * 2 / 3, a, b, around),
    )


def cause_of(share: float, a: slice, b: slice, around: Covariates) -> str:
    """What moved with a relative change of the rate between two stretches of bins.

    The clock comes first, since heat and power act through it; then time that went to others; temperature
    alone is named only where no clock is known, and then as a coincidence. "neither" needs a clock that stood
    still: without one the answer is that it is not known.
    """
    if around.clock is not None:
        before, after = _mean(around.clock, a), _mean(around.clock, b)
        moved = after / before - 1 if before > 0 else 0.0
        if moved * share > 0 and abs(moved) >= EXPLAINS * abs(share):
            grown = {n: _mean(x, b) - _mean(x, a) for n, x in around.active.items()}
            sign = 1 if share < 0 else -1
            best = max(grown, key=lambda n: sign * grown[n], default="")
            return f"clock ({best})" if best and sign * grown[best] > 0.1 else "clock"
    sign = 1 if share < 0 else -1
    for series, word in ((around.steal, "steal"), (around.other, "other load on the machine")):
        if series is not None and sign * (_mean(series, b) - _mean(series, a)) >= max(
            MOVED_LOAD, 0.2 * abs(share)
        ):
            return word
    if around.clock is None:
        if around.temperature is not None:
            moved = _mean(around.temperature, b) - _mean(around.temperature, a)
            if sign * moved >= MOVED_K:
                return f"temperature moved by {moved:+.1f} K with it; no clock channel"
        return "unknown: no clock channel"
    return "neither clock nor temperature"


def _mean(x: Array, part: slice) -> float:
    return float(np.mean(x[part])) if len(x[part]) else 0.0
