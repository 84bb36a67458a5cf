"""NVIDIA GPUs by NVML: temperatures, clocks, power, energy, limits and why the clock is not higher.

NVML marks what a GPU does not have by an error, by 0, or by the largest integer: all are missing values. A
violation time of 0 is a value. Source: NVML API reference; the package is nvidia-ml-py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from coldmark.core.errors import TelemetryError
from coldmark.core.telemetry import Missing, Why
from coldmark.core.trace import Array, Channel
from coldmark.telemetry.counters import Growth
from coldmark.telemetry.sensor import Family, Found

BLANK = 9.0e18
"""NVML's blank 64-bit values lie above; its blank 32-bit values are BLANK_32 and above."""
BLANK_32 = 2**31 - 17

FIELDS: dict[str, tuple[int, float]] = {  # quantity -> NVML field, factor to the unit
    "memory_temperature_degc": (82, 1.0),
    "energy_j": (83, 1e-3),
    "power_w": (185, 1e-3),
    "power_instant_w": (186, 1e-3),
    "power_violation_s": (74, 1e-9),
    "board_limit_violation_s": (77, 1e-9),
    "thermal_violation_s": (269, 1e-9),
    "hardware_thermal_violation_s": (270, 1e-9),
    "power_brake_violation_s": (271, 1e-9),
}
CALLS: dict[str, tuple[str, tuple[int, ...], float]] = {  # quantity -> function, arguments, factor
    "temperature_degc": ("nvmlDeviceGetTemperatureV", (0,), 1.0),
    "clock_mhz": ("nvmlDeviceGetClockInfo", (1,), 1.0),
    "memory_clock_mhz": ("nvmlDeviceGetClockInfo", (2,), 1.0),
    "power_w": ("nvmlDeviceGetPowerUsage", (), 1e-3),
    "power_limit_w": ("nvmlDeviceGetEnforcedPowerLimit", (), 1e-3),
    "reasons": ("nvmlDeviceGetCurrentClocksEventReasons", (), 1.0),
    "margin_k": ("nvmlDeviceGetMarginTemperature", (), 1.0),
    "fan_share": ("nvmlDeviceGetFanSpeed", (), 0.01),
}
FALLBACK = {
    "nvmlDeviceGetTemperatureV": "nvmlDeviceGetTemperature",
    "nvmlDeviceGetCurrentClocksEventReasons": "nvmlDeviceGetCurrentClocksThrottleReasons",
}
"""What an older driver has instead."""
CONSTANTS: dict[str, tuple[str, tuple[int, ...], float]] = {
    "shutdown_degc": ("nvmlDeviceGetTemperatureThreshold", (0,), 1.0),
    "slowdown_degc": ("nvmlDeviceGetTemperatureThreshold", (1,), 1.0),
    "memory_max_degc": ("nvmlDeviceGetTemperatureThreshold", (2,), 1.0),
    "operating_max_degc": ("nvmlDeviceGetTemperatureThreshold", (3,), 1.0),
    "clock_max_mhz": ("nvmlDeviceGetMaxClockInfo", (1,), 1.0),
    "memory_clock_max_mhz": ("nvmlDeviceGetMaxClockInfo", (2,), 1.0),
}
ZERO_IS_A_VALUE = {"reasons", "margin_k", "fan_share", "utilisation_share"}
RESOLUTION = {
    "temperature_degc": 1.0,
    "memory_temperature_degc": 1.0,
    "margin_k": 1.0,
    "clock_mhz": 1.0,
    "memory_clock_mhz": 1.0,
    "power_w": 0.001,
    "power_instant_w": 0.001,
    "power_limit_w": 0.001,
    "energy_j": 0.001,
    "fan_share": 0.01,
    "utilisation_share": 0.01,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Nothing to set."""


class Gpu:
    """One GPU behind an NVML handle."""

    def __init__(self, lib: Any, index: int) -> None:
        self.lib, self.name = lib, f"gpu{index}"
        self._handle = lib.nvmlDeviceGetHandleByIndex(index)
        self._fields = [field for field, _ in FIELDS.values()]
        self._calls = dict(CALLS)
        self._growth = Growth()
        first = self.values()
        if not math.isnan(first["power_w"]) and "power_w" in self._from_fields():
            del self._calls["power_w"]
        self.quantities = [q for q, value in first.items() if not math.isnan(value)]
        self.lacks = [q for q, value in first.items() if math.isnan(value)]
        self._calls = {q: c for q, c in self._calls.items() if q in self.quantities}
        self.constants = {
            f"{self.name}.{key}": value
            for key, (function, arguments, factor) in CONSTANTS.items()
            if (value := self._call(function, arguments) * factor) > 0
        }

    def values(self) -> dict[str, float]:
        """Every quantity now; NaN where it is missing."""
        found = dict.fromkeys([*FIELDS, *CALLS, "utilisation_share"], math.nan)
        for quantity, (function, arguments, factor) in self._calls.items():
            value = self._call(function, arguments)
            found[quantity] = value * factor if value or quantity in ZERO_IS_A_VALUE else math.nan
        found |= self._from_fields()
        found["utilisation_share"] = self._utilisation()
        found["energy_j"] = self._growth.add(found["energy_j"])
        return found

    def _from_fields(self) -> dict[str, float]:
        found: dict[str, float] = {}
        try:
            answers = self.lib.nvmlDeviceGetFieldValues(self._handle, self._fields)
        except self.lib.NVMLError:
            return found
        for (quantity, (_, factor)), answer in zip(FIELDS.items(), answers, strict=True):
            value = _value(answer) if answer.nvmlReturn == 0 else math.nan
            if value == 0 and not quantity.endswith("violation_s"):
                value = math.nan
            if not math.isnan(value):
                found[quantity] = value * factor
        return found

    def _utilisation(self) -> float:
        try:
            return float(self.lib.nvmlDeviceGetUtilizationRates(self._handle).gpu) / 100
        except self.lib.NVMLError:
            return math.nan

    def _call(self, function: str, arguments: Sequence[int]) -> float:
        for name in (function, FALLBACK.get(function, "")):
            call: Callable[..., Any] | None = getattr(self.lib, name, None) if name else None
            if call is None:
                continue
            try:
                value = float(call(self._handle, *arguments))
            except self.lib.NVMLError:
                continue
            return value if abs(value) < BLANK_32 else math.nan
        return math.nan


def _value(answer: Any) -> float:
    """A field's number by its type; NaN for a blank one."""
    member = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
    if not 0 <= answer.valueType < len(member):
        return math.nan
    value = float(getattr(answer.value, member[answer.valueType]))
    narrow = answer.valueType in (1, 5)
    return math.nan if not math.isfinite(value) or value >= (BLANK_32 if narrow else BLANK) else value


class Nvml:
    """All GPUs of this machine."""

    family, rate_hz, blocking = "nvml", 10.0, True

    def __init__(self, lib: Any) -> None:
        self._lib = lib
        self.gpus = [Gpu(lib, i) for i in range(lib.nvmlDeviceGetCount())]
        self.channels = tuple(_channel(gpu.name, q) for gpu in self.gpus for q in gpu.quantities)
        self.constants = {key: value for gpu in self.gpus for key, value in gpu.constants.items()}

    def read(self, out: Array) -> None:
        at = 0
        for gpu in self.gpus:
            values = gpu.values()
            for quantity in gpu.quantities:
                out[at] = values[quantity]
                at += 1
        if at and all(math.isnan(v) for v in out):
            raise TelemetryError("no GPU answers any more", where="nvml", hint="see dmesg for Xid errors")

    def close(self) -> None:
        if self._lib is not None:
            self._lib.nvmlShutdown()
        self._lib = None


def _channel(component: str, quantity: str) -> Channel:
    # On the A100 power is a slow average; the energy counter is what energy is computed from.
    slow = {"power_w": 10.0, "energy_j": 10.0, "utilisation_share": 6.0}
    return Channel(
        family="nvml",
        component=component,
        quantity=quantity,
        rate_hz=slow.get(quantity, 50.0),
        resolution=RESOLUTION.get(quantity, 1e-9 if quantity.endswith("violation_s") else None),
        covers="gpu" if quantity in ("power_w", "power_instant_w", "energy_j") else "",
    )


def find(options: Options) -> Found:
    """The GPUs that the driver shows."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Found(missing=(_absent(str(error)),))
    try:
        made = Nvml(pynvml)
    except pynvml.NVMLError as error:
        pynvml.nvmlShutdown()
        return Found(missing=(_absent(str(error)),))
    if not made.gpus:
        made.close()
        return Found(missing=(_absent("the driver shows no GPU"),))
    lacks = tuple(
        Missing(
            family="nvml",
            what=f"{gpu.name}.{quantity}",
            why=Why.NO_DEVICE,
            detail="this GPU or driver does not give it",
        )
        for gpu in made.gpus
        for quantity in gpu.lacks
    )
    return Found(sensors=(made,), missing=lacks)


def _absent(detail: str) -> Missing:
    why = Why.NO_PERMISSION if "ermission" in detail else Why.NO_DEVICE
    hint = "with an NVIDIA GPU: install its driver; in a container: run it with the GPU passed through"
    return Missing(family="nvml", what="NVIDIA GPUs", why=why, detail=f"NVML: {detail}", hint=hint)


FAMILY = Family(options=Options, find=find)
