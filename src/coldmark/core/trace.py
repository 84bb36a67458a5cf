"""What sensors say over time: channels, series, marks, on one clock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Kind(StrEnum):
    """What a value is: a gauge is read off, a counter only grows, bits are flags."""

    GAUGE = "gauge"
    COUNTER = "counter"
    BITS = "bits"


QUANTITIES: Mapping[str, tuple[str, Kind]] = {
    "temperature_degc": ("degC", Kind.GAUGE),
    "memory_temperature_degc": ("degC", Kind.GAUGE),
    "margin_k": ("K", Kind.GAUGE),  # to the slow-down temperature, where the device tells only that
    "clock_mhz": ("MHz", Kind.GAUGE),
    "memory_clock_mhz": ("MHz", Kind.GAUGE),
    "power_w": ("W", Kind.GAUGE),  # averaged by the device
    "power_instant_w": ("W", Kind.GAUGE),
    "power_limit_w": ("W", Kind.GAUGE),
    "energy_j": ("J", Kind.COUNTER),
    "utilisation_share": ("1", Kind.GAUGE),
    "reasons": ("bits", Kind.BITS),  # clock-event reasons, bits as NVML has them
    "power_violation_s": ("s", Kind.COUNTER),
    "thermal_violation_s": ("s", Kind.COUNTER),
    "hardware_thermal_violation_s": ("s", Kind.COUNTER),
    "power_brake_violation_s": ("s", Kind.COUNTER),
    "board_limit_violation_s": ("s", Kind.COUNTER),
    "throttle_s": ("s", Kind.COUNTER),
    "throttle_count": ("1", Kind.COUNTER),
    "busy_s": ("s", Kind.COUNTER),  # processor time, all processors
    "steal_s": ("s", Kind.COUNTER),  # wanted, and given to other guests by the hypervisor
    "load_share": ("1", Kind.GAUGE),
    "fan_rpm": ("rpm", Kind.GAUGE),
    "fan_share": ("1", Kind.GAUGE),
    "voltage_v": ("V", Kind.GAUGE),
    "current_a": ("A", Kind.GAUGE),
    "flow_l_per_min": ("l/min", Kind.GAUGE),
    "supply_temperature_degc": ("degC", Kind.GAUGE),
    "return_temperature_degc": ("degC", Kind.GAUGE),
    "pressure_kpa": ("kPa", Kind.GAUGE),
    "leak": ("bits", Kind.BITS),  # 0: none
    "completed": ("1", Kind.COUNTER),  # samples a run has answered
    "issued": ("1", Kind.COUNTER),
    "phase": ("1", Kind.GAUGE),
}
"""Quantity -> unit and kind. A sensor speaks in these alone, so that whoever reads a trace knows them."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def component_name(text: object, fallback: str = "unnamed") -> str:
    """A device's own name as a short safe word: a peer may send anything.

    >>> component_name("PSU 1: In/Out")
    'psu-1-in-out'
    """
    return _UNSAFE.sub("-", str(text)[:200]).strip("-").lower()[:48] or fallback


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One value that a sensor gives again and again."""

    family: str
    component: str  # "gpu0", "cpu", "psu-1"
    quantity: str  # one of QUANTITIES
    rate_hz: float  # how often the source has a new value, at most
    resolution: float | None = None  # smallest step, in the unit; None: not known
    covers: str = ""  # power and energy: what the meter sees (gpu, package, memory, wall)

    @property
    def name(self) -> str:
        return f"{self.family}.{self.component}.{self.quantity}"

    @property
    def unit(self) -> str:
        return QUANTITIES[self.quantity][0]

    @property
    def kind(self) -> Kind:
        return QUANTITIES[self.quantity][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something began at a time [s] of the trace: baseline, performance.running, cooldown."""

    name: str
    t_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One channel over time: t_s [n] seconds, ascending; value [n]. What was missing is not there."""

    channel: Channel
    t_s: Array
    value: Array

    def between(self, begin_s: float, end_s: float) -> Series:
        """The part with begin <= t <= end."""
        keep = (self.t_s >= begin_s) & (self.t_s <= end_s)
        return Series(channel=self.channel, t_s=self.t_s[keep], value=self.value[keep])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All channels of one run on one clock: seconds since sampling began."""

    series: Mapping[str, Series]  # by channel name
    marks: tuple[Mark, ...] = ()
    constants: Mapping[str, float] = field(default_factory=dict)  # "nvml.gpu0.slowdown_degc" -> 89
    begin_unix_s: float = 0.0  # wall-clock time of t = 0

    def of(self, quantity: str, *, component: str = "", family: str = "") -> list[Series]:
        """Series of a quantity that hold anything, of components that begin with a word."""
        return [
            s
            for s in self.series.values()
            if s.channel.quantity == quantity
            and s.channel.component.startswith(component)
            and (not family or s.channel.family == family)
            and len(s.t_s)
        ]

    def constant(self, channel: Channel, name: str) -> float | None:
        """A constant of the channel's device, e.g. `slowdown_degc`."""
        return self.constants.get(f"{channel.family}.{channel.component}.{name}")

    def mark(self, name: str) -> float | None:
        """When a mark was set [s]; the last where there are several."""
        times = [m.t_s for m in self.marks if m.name == name]
        return times[-1] if times else None


def distinct(channels: Sequence[Channel]) -> Iterator[Channel]:
    """The channels with names made unique: a second fan called `fan` becomes `fan-2`."""
    from dataclasses import replace

    seen: set[str] = set()
    for channel in channels:
        made, n = channel, 1
        while made.name in seen:
            n += 1
            made = replace(channel, component=f"{channel.component}-{n}")
        seen.add(made.name)
        yield made
