"""NVML as it answered on an A100: a stand-in for the driver's library, for tests without a GPU."""
# ruff: noqa: N802, N815 - the names are NVML's

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class NVMLError(Exception):
    """As pynvml's."""


@dataclass
class Value:
    ullVal: int = 0
    uiVal: int = 0


@dataclass
class FieldValue:
    value: Value
    valueType: int = 3
    nvmlReturn: int = 0


class Driver:
    """NVML as recorded on an A100 of 400 W, one state a read; what it lacks raises as NVML does."""

    NVMLError = NVMLError

    def __init__(self, states: list[dict[str, Any]], gpus: int = 2) -> None:
        self.states, self.gpus, self.at, self.closed = states, gpus, 0, 0

    def state(self) -> dict[str, Any]:
        return self.states[min(self.at, len(self.states) - 1)]

    def get(self, key: str) -> Any:
        value = self.state().get(key)
        if value is None:
            raise NVMLError("Not Supported")
        return value

    def nvmlDeviceGetCount(self) -> int:
        return self.gpus

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return int(self.get("degc")) + handle

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:
        return int(self.get("mhz" if kind == 1 else "mem_mhz"))

    def nvmlDeviceGetMaxClockInfo(self, handle: int, kind: int) -> int:
        return 1410 if kind == 1 else 1593

    def nvmlDeviceGetTemperatureThreshold(self, handle: int, which: int) -> int:
        return [92, 89, 95, 85][which]

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return int(self.get("mw"))

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return 400_000

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:
        return int(self.get("bits"))

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return type("Rates", (), {"gpu": self.get("busy")})()

    def nvmlDeviceGetFieldValues(self, handle: int, fields: list[int]) -> list[FieldValue]:
        known = self.state().get("fields", {})
        return [
            FieldValue(Value(ullVal=known[f])) if f in known else FieldValue(Value(), 3, 3) for f in fields
        ]

    def nvmlShutdown(self) -> None:
        self.closed += 1


LOADED = {
    "degc": 61,
    "mhz": 1275,
    "mem_mhz": 1593,
    "mw": 398_500,
    "bits": 0x4,
    "busy": 98,
    "fields": {82: 71, 83: 5_000_000, 74: 3_000_000_000, 269: 0, 185: 397_000, 186: 401_250},
}
