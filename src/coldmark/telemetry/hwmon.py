"""Temperatures, fans and power of the board, as the kernel's hwmon drivers give them.

Read from sysfs itself and not by psutil, which walks the whole tree at every call. Elsewhere than on Linux
psutil's own readings stand in. Source: Linux Documentation/hwmon/sysfs-interface.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from coldmark.core.errors import TelemetryError
from coldmark.core.telemetry import Missing, Why
from coldmark.core.trace import Array, Channel, component_name, distinct
from coldmark.telemetry.files import OpenNumbers, number_of, text_of
from coldmark.telemetry.sensor import MAX_CHANNELS, Family, Found

_INPUT = re.compile(r"(temp|fan|power|in|curr)(\d+)_(input|average)$")
_MEANING = {  # kind -> quantity, factor to its unit, least and greatest believable value
    "temp": ("temperature_degc", 1e-3, -60.0, 200.0),
    "fan": ("fan_rpm", 1.0, 0.0, 1e5),
    "power": ("power_w", 1e-6, 0.0, 1e5),
    "in": ("voltage_v", 1e-3, -100.0, 1e3),
    "curr": ("current_a", 1e-3, -1e4, 1e4),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the tree is; tests make their own."""

    sys: Path = Path("/sys")


SLOW_S = 0.005
"""Chips that take longer for one round, behind a slow bus, get a thread of their own."""


class Hwmon:
    """Every input of every hwmon device that could be opened."""

    family, rate_hz = "hwmon", 10.0

    def __init__(self, inputs: list[tuple[Path, Channel, float, float, float]]) -> None:
        self._files = OpenNumbers([i[0] for i in inputs], "hwmon")
        self.channels = tuple(distinct([i[1] for i in inputs]))
        self._scale = [i[2:] for i in inputs]
        self.constants = {
            f"{channel.component}.slowdown_degc": value / 1000
            for channel, (path, *_) in zip(self.channels, inputs, strict=True)
            if channel.quantity == "temperature_degc" and (value := _limit(path)) > 0
        }
        begin = time.monotonic()
        self._files.read()
        self.blocking = time.monotonic() - begin > SLOW_S

    def read(self, out: Array) -> None:
        for i, (value, (factor, low, high)) in enumerate(zip(self._files.read(), self._scale, strict=True)):
            scaled = value * factor
            out[i] = scaled if low <= scaled <= high else math.nan

    def close(self) -> None:
        self._files.close()


def _limit(path: Path) -> float:
    """A temperature's critical limit [m degC]; NaN or 0 where there is none."""
    return number_of(path.with_name(path.name.replace("_input", "_crit")))


class PsutilTemperatures:
    """psutil's temperatures and fans, where there is no sysfs."""

    family, rate_hz, blocking = "hwmon", 1.0, True

    def __init__(self) -> None:
        self.channels = tuple(distinct([channel for channel, _ in self._now()]))
        self.constants: dict[str, float] = {}

    def _now(self) -> Iterator[tuple[Channel, float]]:
        for call, quantity in (
            ("sensors_temperatures", "temperature_degc"),
            ("sensors_fans", "fan_rpm"),
        ):
            read = getattr(psutil, call, None)
            for chip, entries in (read() if read else {}).items():
                for entry in entries:
                    name = component_name(f"{chip}-{entry.label}" if entry.label else chip)
                    channel = Channel(family="hwmon", component=name, quantity=quantity, rate_hz=1.0)
                    yield channel, float(entry.current)

    def read(self, out: Array) -> None:
        values = [value for _, value in self._now()]
        out[:] = math.nan
        out[: len(values)] = values[: len(out)]

    def close(self) -> None:
        """Nothing is held."""


def find(options: Options) -> Found:
    """The hwmon inputs of this machine."""
    if sys.platform != "linux":
        made = PsutilTemperatures()
        return Found(sensors=(made,)) if made.channels else Found(missing=(_nothing("psutil gives none"),))
    inputs, missing = [], []
    for path, channel, *scale in _inputs(options.sys / "class/hwmon"):
        try:
            with path.open("rb") as file:
                file.read(64)
        except PermissionError:
            text = f"{path} may not be read"
            hint = f"run as root, or: chmod a+r {path}"
            missing.append(
                Missing(family="hwmon", what=channel.name, why=Why.NO_PERMISSION, detail=text, hint=hint)
            )
            continue
        except OSError:
            continue  # an input whose chip has nothing connected
        inputs.append((path, channel, *scale))
    if not inputs:
        detail = f"no readable input under {options.sys / 'class/hwmon'}"
        return Found(missing=(*missing, _nothing(detail)))
    try:
        return Found(sensors=(Hwmon(inputs[:MAX_CHANNELS]),), missing=tuple(missing))  # type: ignore[arg-type]
    except TelemetryError as error:
        return Found(missing=(*missing, _nothing(str(error))))


def _nothing(detail: str) -> Missing:
    hint = "a virtual machine has none; on a machine of your own: modprobe coretemp or k10temp"
    return Missing(family="hwmon", what="temperatures and fans", why=Why.NO_DEVICE, detail=detail, hint=hint)


def _inputs(root: Path) -> Iterator[tuple[Path, Channel, float, float, float]]:
    for device in sorted(root.glob("hwmon*")):
        chip = text_of(device / "name") or device.name
        for path in sorted(device.iterdir()):
            match = _INPUT.match(path.name)
            if not match:
                continue
            kind, number, _ = match.groups()
            label = text_of(device / f"{kind}{number}_label") or f"{kind}{number}"
            quantity, factor, low, high = _MEANING[kind]
            covers = "package" if quantity == "power_w" and "socket" in label.lower() else ""
            channel = Channel(
                family="hwmon",
                component=component_name(f"{chip}-{label}"),
                quantity=quantity,
                rate_hz=10.0,
                resolution=factor,
                covers=covers,
            )
            yield path, channel, factor, low, high


FAMILY = Family(options=Options, find=find)
