"""Why the clock was not higher: reasons in time, from NVML's bits and counters or the kernel's counters.

Where several reasons act at once the strongest counts, in the order of PRIORITY: thermal control lowers the
power limit itself, so heat comes before power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from coldmark.core.nouns import Measurement
from coldmark.core.telemetry import ReasonShare
from coldmark.core.trace import Array, Series, Trace
from coldmark.stats.throughput import binned_mean, mean_interval

HEAT, BRAKE, POWER, SLOWDOWN, BOARD = (
    "heat",
    "power brake",
    "power limit",
    "hardware slow-down",
    "board limit",
)
PRIORITY: tuple[tuple[str, int], ...] = (
    (HEAT, 0x20 | 0x40),
    (BRAKE, 0x80),
    (SLOWDOWN, 0x8),
    (POWER, 0x4),
    (BOARD, 0x200),
)
"""Reason and NVML's bits for it. HwSlowdown (0x8) is set beside 0x40 and 0x80: alone it is its own."""
COUNTERS = {
    HEAT: ("thermal_violation_s", "hardware_thermal_violation_s"),
    POWER: ("power_violation_s",),
    BRAKE: ("power_brake_violation_s",),
    BOARD: ("board_limit_violation_s",),
}
METHOD_COUNTED = "difference of the accumulated time over the window"
METHOD_SAMPLED = "share of samples, 95 % interval for correlated bins"
BUSY_SHARE = 0.05
"""A GPU in use for more than so much of the window is what did the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Reasons over the bins of a window: [m] shares of each bin, mean over components."""

    active: dict[str, Array] = field(default_factory=dict)
    shares: tuple[ReasonShare, ...] = ()
    basis: str = ""  # channels it rests on; empty: nothing is known


def gpus(trace: Trace, begin: float, end: float) -> tuple[str, str]:
    """The family whose GPUs did the work and how that is known; an empty family where none did."""
    for family in ("nvml", "dcgm"):
        used = [s.between(begin, end).value for s in trace.of("utilisation_share", family=family)]
        used = [u for u in used if len(u)]
        if used:
            mean = float(np.mean([u.mean() for u in used]))
            if mean > BUSY_SHARE:
                return family, f"gpu: utilisation {mean:.0%}"
            return "", f"cpu: GPU utilisation {mean:.1%}"
    return "", "cpu: no GPU was seen"


def gpu_activity(trace: Trace, family: str, at: Array) -> Activity:
    """Reasons of the GPUs of a family over bin edges [m + 1]."""
    sampled = [s for s in trace.of("reasons", family=family) if _covers(s, at)]
    counted = {name: _counted(trace, family, quantities, at) for name, quantities in COUNTERS.items()}
    active: dict[str, Array] = {}
    if sampled:
        each = [_primary(s, at) for s in sampled]
        active = {name: np.mean([a[name] for a in each], axis=0) for name, _ in PRIORITY}
    else:
        active = {name: np.clip(c, 0, 1) for name, c in counted.items() if c is not None}
    shares = []
    for name, _ in PRIORITY:
        total, both = counted.get(name), active.get(name)
        if total is not None:
            value = float(np.average(total, weights=np.diff(at)))
            m = Measurement(value=min(1.0, value), unit="1", low=None, high=None, method=METHOD_COUNTED)
            shares.append(ReasonShare(reason=name, share=m, basis=f"{family} {COUNTERS[name][0]}"))
        elif both is not None:
            shares.append(ReasonShare(reason=name, share=_sampled(both), basis=f"{family} reasons"))
    basis = f"{family} clock-event reasons" if sampled else f"{family} violation times" if active else ""
    return Activity(active=active, shares=tuple(shares), basis=basis)


def _covers(s: Series, at: Array) -> bool:
    """Samples in at least nine of ten bins: a sensor that died half way says nothing of the rest."""
    filled = np.histogram(s.t_s, at)[0] > 0
    slow = len(s.t_s) > 1 and float(np.median(np.diff(s.t_s))) > float(at[1] - at[0])
    reaches = len(s.t_s) > 1 and s.t_s[-1] >= at[-1] - 0.1 * (at[-1] - at[0])
    return bool(filled.mean() >= 0.9 or (slow and reaches))


def _primary(s: Series, at: Array) -> dict[str, Array]:
    """Share of each bin in which each reason was the strongest."""
    bits, taken, found = s.value.astype(np.int64), np.zeros(len(s.value), bool), {}
    for name, mask in PRIORITY:
        own = ((bits & mask) != 0) & ~taken
        taken |= own
        found[name] = np.clip(binned_mean(s.t_s, own.astype(float), at), 0, 1)
    return found


def _counted(trace: Trace, family: str, quantities: Sequence[str], at: Array) -> Array | None:
    """Mean over components of the growth of counters [s/s] in each bin; None where none covers the window."""
    per: dict[str, list[Array]] = {}
    for quantity in quantities:
        for s in trace.of(quantity, family=family):
            if _covers(s, at):
                per.setdefault(s.channel.component, []).append(growth_rate(s, at))
    if not per:
        return None
    found: Array = np.mean([np.max(parts, axis=0) for parts in per.values()], axis=0)
    return found


def growth_rate(s: Series, at: Array) -> Array:
    """Growth of a counter per second in each bin [m]."""
    return np.diff(np.interp(at, s.t_s, s.value)) / np.diff(at)


def _sampled(share: Array) -> Measurement:
    mean, low, high = mean_interval(share)
    return Measurement(
        value=mean,
        unit="1",
        low=max(0.0, low),
        high=min(1.0, high),
        n=len(share),
        method=METHOD_SAMPLED,
    )


def cpu_activity(trace: Trace, at: Array) -> Activity:
    """Heat on the CPU: throttled time where the kernel counts it, else bins in which a core was throttled."""
    for s in trace.of("throttle_s", family="cpu"):
        if _covers(s, at):
            rate = np.clip(growth_rate(s, at), 0, 1)
            value = float(np.average(rate, weights=np.diff(at)))
            m = Measurement(value=value, unit="1", method=METHOD_COUNTED)
            share = ReasonShare(reason=HEAT, share=m, basis="cpu throttle_s")
            return Activity(active={HEAT: rate}, shares=(share,), basis="the kernel's throttled time")
    for s in trace.of("throttle_count", family="cpu"):
        if _covers(s, at):
            any_ = (growth_rate(s, at) > 1e-9).astype(float)
            m = Measurement(value=float(any_.mean()), unit="1", method="share of bins with a throttle event")
            share = ReasonShare(reason=HEAT, share=m, basis="cpu throttle_count")
            return Activity(active={HEAT: any_}, shares=(share,), basis="the kernel's throttle events")
    return Activity()
