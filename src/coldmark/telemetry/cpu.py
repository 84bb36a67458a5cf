"""The processor on Linux: busy and stolen time, clocks, thermal throttling, straight from proc and sysfs.

A clock is only a channel where it is measured: by cpufreq, or by /proc/cpuinfo on processors with the
APERF and MPERF counters. Without either, /proc/cpuinfo repeats a nominal number, which is no measurement.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coldmark.core.errors import TelemetryError
from coldmark.core.telemetry import Missing, Why
from coldmark.core.trace import Array, Channel
from coldmark.telemetry.files import OpenNumbers, number_of
from coldmark.telemetry.sensor import Family, Found

_TICK_HZ = os.sysconf("SC_CLK_TCK")
_MHZ = re.compile(rb"^cpu MHz\s*:\s*([0-9.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the trees are; tests make their own."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")


class Load:
    """Busy and stolen seconds of all processors since boot, from /proc/stat."""

    family, rate_hz, blocking = "cpu", 10.0, False

    def __init__(self, options: Options) -> None:
        self._stat = options.proc / "stat"
        self._fd = os.open(self._stat, os.O_RDONLY | os.O_CLOEXEC)
        step = 1 / _TICK_HZ
        self.channels = tuple(
            Channel(family="cpu", component="cpu", quantity=q, rate_hz=_TICK_HZ, resolution=step)
            for q in ("busy_s", "steal_s")
        )
        count = len(re.findall(rb"^cpu\d+ ", self._stat.read_bytes(), re.MULTILINE))
        self.constants = {"cpu.processors": float(count)}

    def read(self, out: Array) -> None:
        line = os.pread(self._fd, 512, 0).split(b"\n", 1)[0].split()
        if len(line) < 9 or line[0] != b"cpu":
            raise TelemetryError("its first line is not the one of all processors", where=str(self._stat))
        user, nice, system, _idle, _wait, irq, soft, steal = (int(n) for n in line[1:9])
        out[0] = (user + nice + system + irq + soft) / _TICK_HZ
        out[1] = steal / _TICK_HZ

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


class Clocks:
    """Mean clock of all processors: one number, however many there are."""

    family, rate_hz, blocking = "cpu", 10.0, False

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = OpenNumbers(paths, "cpufreq")
        self.channels = (
            Channel(family="cpu", component="cpu", quantity="clock_mhz", rate_hz=100.0, resolution=0.001),
        )
        tops = [number_of(p.with_name("cpuinfo_max_freq")) for p in paths]
        top = max((t for t in tops if t > 0), default=0.0)
        self.constants = {"cpu.clock_max_mhz": top / 1000} if top else {}

    def read(self, out: Array) -> None:
        khz = [v for v in self._files.read() if v > 0]
        out[0] = sum(khz) / len(khz) / 1000 if khz else np.nan

    def close(self) -> None:
        self._files.close()


class CpuinfoClocks:
    """The same from /proc/cpuinfo, where its numbers are measured."""

    family, rate_hz, blocking = "cpu", 2.0, False  # the kernel prints every processor: not oftener

    def __init__(self, path: Path) -> None:
        self._path = path
        self.constants: dict[str, float] = {}
        self.channels = (
            Channel(family="cpu", component="cpu", quantity="clock_mhz", rate_hz=100.0, resolution=0.001),
        )

    def read(self, out: Array) -> None:
        try:
            found = _MHZ.findall(self._path.read_bytes())
        except OSError as error:
            raise TelemetryError(error.strerror or str(error), where=str(self._path)) from None
        out[0] = sum(map(float, found)) / len(found) if found else np.nan

    def close(self) -> None:
        """Nothing is held."""


class Throttling:
    """Thermal throttle counters of the kernel: events of all cores, and time in packages that count it."""

    family, rate_hz, blocking = "cpu", 10.0, False

    def __init__(self, counts: Sequence[Path], times: Sequence[Path]) -> None:
        self._counts, self._times = len(counts), len(times)
        self._files = OpenNumbers([*counts, *times], "thermal_throttle")
        channels = [_counter("throttle_count", 1.0)]
        if times:
            channels.append(_counter("throttle_s", 0.001))
        self.channels = tuple(channels)
        self.constants: dict[str, float] = {}

    def read(self, out: Array) -> None:
        values = self._files.read()
        out[0] = np.sum(values[: self._counts])
        if self._times:  # [ms]; the package that was throttled longest stands for the machine
            out[1] = np.max(values[self._counts :]) / 1000

    def close(self) -> None:
        self._files.close()


def _counter(quantity: str, resolution: float) -> Channel:
    return Channel(family="cpu", component="cpu", quantity=quantity, rate_hz=100.0, resolution=resolution)


def find(options: Options) -> Found:
    """What this processor tells, and what it does not."""
    try:
        load = Load(options)
    except OSError as error:
        text = f"{options.proc / 'stat'}: {error.strerror}"
        return Found(missing=(_missing("load", Why.NO_DEVICE, text),))
    clocks, no_clock = _clocks(options)
    throttling, no_throttling = _throttling(options)
    found = [s for s in (load, clocks, throttling) if s is not None]
    return Found(sensors=tuple(found), missing=tuple(m for m in (no_clock, no_throttling) if m))


def _missing(what: str, why: Why, detail: str, hint: str = "") -> Missing:
    return Missing(family="cpu", what=what, why=why, detail=detail, hint=hint)


def _clocks(options: Options) -> tuple[Clocks | CpuinfoClocks | None, Missing | None]:
    paths = sorted(options.sys.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
    if paths:
        try:
            return Clocks(paths), None
        except TelemetryError as error:
            return None, _missing(
                "clock", Why.NO_PERMISSION, f"{error.where}: {error.message}", "run as root"
            )
    path = options.proc / "cpuinfo"
    try:
        text = path.read_bytes()
    except OSError:
        text = b""
    if b" aperfmperf" in text and _MHZ.search(text):
        return CpuinfoClocks(path), None
    why = "no cpufreq, and /proc/cpuinfo only repeats a nominal clock (no aperfmperf)"
    hint = "a virtual machine shows no clock; its host does" if b" hypervisor" in text else ""
    return None, _missing("clock", Why.NO_DEVICE, why, hint)


def _throttling(options: Options) -> tuple[Throttling | None, Missing | None]:
    root = options.sys / "devices/system/cpu"
    counts = sorted(root.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    times = sorted(root.glob("cpu[0-9]*/thermal_throttle/package_throttle_total_time_ms"))
    if not counts:
        return None, _missing("throttle counters", Why.NO_DEVICE, "no thermal_throttle under sysfs")
    try:
        return Throttling(counts, times), None
    except TelemetryError as error:
        text = f"{error.where}: {error.message}"
        return None, _missing("throttle counters", Why.NO_PERMISSION, text, "run as root")


FAMILY = Family(options=Options, find=find)
