"""Energy of CPU packages and memory: the powercap tree that intel-rapl (Intel and AMD) fills.

Counters wrap at max_energy_range_uj; at 200 W one of 262 kJ does so every 22 minutes. One wrap between two
reads is put right, so the channel only grows. Source: Linux Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coldmark.core.errors import TelemetryError
from coldmark.core.telemetry import Missing, Why
from coldmark.core.trace import Array, Channel, component_name, distinct
from coldmark.telemetry.counters import Growth
from coldmark.telemetry.files import OpenNumbers, number_of, text_of
from coldmark.telemetry.sensor import Family, Found

_COVERS = {"package": "package", "dram": "memory", "psys": "platform", "core": "cores", "uncore": "uncore"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the tree is; tests make their own."""

    sys: Path = Path("/sys")


class Rapl:
    """Joules since the first read, of every zone that could be opened."""

    family, rate_hz, blocking = "rapl", 10.0, False

    def __init__(self, zones: Sequence[tuple[Path, Channel, float]]) -> None:
        self._files = OpenNumbers([z / "energy_uj" for z, _, _ in zones], "powercap")
        self._grown = [Growth(r if r > 0 else None) for _, _, r in zones]
        self.channels = tuple(distinct([c for _, c, _ in zones]))
        self.constants: dict[str, float] = {}
        for channel, (zone, _, _) in zip(self.channels, zones, strict=True):
            if (limit := number_of(zone / "constraint_0_power_limit_uw")) > 0:
                self.constants[f"{channel.component}.power_limit_w"] = limit * 1e-6

    def read(self, out: Array) -> None:
        for i, now in enumerate(self._files.read()):
            out[i] = self._grown[i].add(now) * 1e-6

    def close(self) -> None:
        self._files.close()


def find(options: Options) -> Found:
    """The energy counters of this machine; one that may not be read names the permission that helps."""
    root = options.sys / "class/powercap"
    zones, missing = [], []
    # intel-rapl-mmio counts the same packages a second time, and is left out.
    for zone in sorted(root.glob("intel-rapl:*")):
        counter = zone / "energy_uj"
        if not counter.exists():
            continue
        name = text_of(zone / "name") or zone.name
        try:
            with counter.open("rb") as file:
                file.read(64)
        except OSError as error:
            missing.append(_unreadable(counter, name, error))
            continue
        covers = next((c for word, c in _COVERS.items() if name.startswith(word)), name)
        component = component_name(_full_name(zone, name))
        channel = Channel(
            family="rapl",
            component=component,
            quantity="energy_j",
            rate_hz=1000.0,
            resolution=1e-6,
            covers=covers,
        )
        zones.append((zone, channel, number_of(zone / "max_energy_range_uj")))
    if not zones and not missing:
        text = f"no intel-rapl zone under {root}"
        hint = "a virtual machine has none; else: modprobe intel_rapl_msr"
        missing.append(Missing(family="rapl", what="energy", why=Why.NO_DEVICE, detail=text, hint=hint))
    try:
        return Found(sensors=(Rapl(zones),) if zones else (), missing=tuple(missing))
    except TelemetryError as error:
        missing.append(Missing(family="rapl", what="energy", why=Why.FAILED, detail=str(error)))
        return Found(missing=tuple(missing))


def _unreadable(counter: Path, name: str, error: OSError) -> Missing:
    if not isinstance(error, PermissionError):
        return Missing(family="rapl", what=name, why=Why.FAILED, detail=f"{counter}: {error.strerror}")
    return Missing(
        family="rapl",
        what=f"energy of {name}",
        why=Why.NO_PERMISSION,
        detail=f"{counter} is readable by root alone",
        hint=f"run as root, or: sudo chmod a+r {counter} (energy can leak secrets: on a machine of your own)",
    )


def _full_name(zone: Path, name: str) -> str:
    """`package-0`, and for what lies in a package `package-0-dram`."""
    parts = zone.name.split(":")
    if len(parts) < 3:
        return name
    parent = text_of(zone.with_name(":".join(parts[:-1])) / "name")
    return f"{parent}-{name}" if parent else name


FAMILY = Family(options=Options, find=find)
