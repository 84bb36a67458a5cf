"""Where Redfish keeps its readings: the deprecated Thermal and Power, and what replaced them.

Sources: DMTF DSP2046 (resource and schema guide): Thermal, Power (deprecated 2020.4), ThermalSubsystem with
ThermalMetrics, Fans, CoolantConnectors and LeakDetection, PowerSubsystem, EnvironmentMetrics,
ThermalEquipment with CDUs. Readings of the newer schemas are excerpts: {"Reading": 21.5}.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from coldmark.core.errors import TelemetryError
from coldmark.core.trace import Channel, component_name

Get = Callable[[str], dict[str, Any] | None]
Step = str | tuple[str, str]  # a key, or the member of a list whose identity is (key, value)

MAX_RESOURCES = 256
MAX_MEMBERS = 64
KWH_J = 3.6e6
_IDENTITY = ("MemberId", "DataSourceUri", "DeviceName", "Name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value: the resource it stands in, the way to it, and what it is."""

    path: str
    steps: tuple[Step, ...]
    channel: Channel
    factor: float = 1.0
    states: Mapping[str, float] | None = None  # words that are values
    constants: Mapping[str, float] = field(default_factory=dict)

    def value(self, data: Mapping[str, Any]) -> float:
        """The reading in a resource, in the channel's unit; NaN where it is missing or no number."""
        found = follow(data, self.steps)
        if self.states is not None:
            return self.states.get(found, math.nan) if isinstance(found, str) else math.nan
        number = as_number(found)
        return number * self.factor


def as_number(found: Any) -> float:
    """A number of JSON; NaN for anything else, and for what no sensor says."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        return math.nan
    return float(found) if -1e15 < found < 1e15 else math.nan


def follow(data: Any, steps: tuple[Step, ...]) -> Any:
    """What stands at the end of a way into a resource; None where it breaks off."""
    for step in steps:
        if isinstance(step, str):
            data = data.get(step) if isinstance(data, dict) else None
        else:
            members = data if isinstance(data, list) else []
            data = next((m for m in members if isinstance(m, dict) and m.get(step[0]) == step[1]), None)
        if data is None:
            return None
    return data


def crawl(get: Get, rate_hz: float) -> list[Reading]:
    """Every reading that can be reached from the service root and has a number now."""
    found = _Crawl(get, rate_hz)
    root = found.fetch("/redfish/v1/") or {}
    for chassis in found.members(root, "Chassis"):
        found.chassis(chassis)
    equipment = found.linked(root, "ThermalEquipment")
    for cdu in found.members(equipment, "CDUs"):
        found.cooling_unit(cdu)
    for system in found.members(root, "Systems"):
        for processor in found.members(system, "Processors"):
            found.environment(processor)
    return found.readings


class _Crawl:
    """Follows links, each resource once and no more than MAX_RESOURCES of them."""

    def __init__(self, get: Get, rate_hz: float) -> None:
        self._get, self._rate = get, rate_hz
        self._seen: dict[str, dict[str, Any] | None] = {}
        self.readings: list[Reading] = []

    def fetch(self, path: Any) -> dict[str, Any] | None:
        if not isinstance(path, str) or not path.startswith("/redfish/") or len(path) > 1024:
            return None
        if any(ord(c) <= 32 or ord(c) > 126 for c in path):
            return None
        if path not in self._seen:
            if len(self._seen) >= MAX_RESOURCES:
                return None
            self._seen[path] = self._fetch(path)
        return self._seen[path]

    def _fetch(self, path: str) -> dict[str, Any] | None:
        try:
            return self._get(path)
        except TelemetryError as error:
            if "credentials" in error.message or path == "/redfish/v1/":
                raise
            return None  # one broken resource does not hide the others

    def linked(self, data: Mapping[str, Any] | None, key: str) -> dict[str, Any] | None:
        return self.fetch(follow(data, (key, "@odata.id")))

    def members(self, data: Mapping[str, Any] | None, key: str) -> Iterator[dict[str, Any]]:
        collection = self.linked(data, key)
        listed = follow(collection, ("Members",))
        for member in (listed if isinstance(listed, list) else [])[:MAX_MEMBERS]:
            resource = self.fetch(follow(member, ("@odata.id",)))
            if resource is not None:
                yield resource

    # --- what a resource holds ----------------------------------------------------------------

    def chassis(self, data: dict[str, Any]) -> None:
        """The newer resources where they give anything, else the deprecated ones: never both."""
        name = component_name(data.get("Id", "chassis"))
        before = len(self.readings)
        thermal = self.linked(data, "ThermalSubsystem")
        if thermal is not None:
            self._thermal_subsystem(thermal, name)
        if len(self.readings) == before:
            self._thermal(self.linked(data, "Thermal"), name)
        before = len(self.readings)
        self.environment(data)
        for supply in self.members(self.linked(data, "PowerSubsystem"), "PowerSupplies"):
            self._supply_metrics(self.linked(supply, "Metrics"), name, supply)
        if not any(r.channel.quantity == "power_w" for r in self.readings[before:]):
            self._power(self.linked(data, "Power"), name)

    def _thermal_subsystem(self, data: dict[str, Any], name: str) -> None:
        metrics = self.linked(data, "ThermalMetrics")
        for member, identity in _listed(metrics, "TemperatureReadingsCelsius"):
            word = member.get("DeviceName") or str(member.get("DataSourceUri", "")).rpartition("/")[2]
            steps = ("TemperatureReadingsCelsius", identity, "Reading")
            self._add(metrics, steps, f"{name}-{word}", "temperature_degc")
        for fan in self.members(data, "Fans"):
            word = f"{name}-{fan.get('Id', 'fan')}"
            self._add(fan, ("SpeedPercent", "SpeedRPM"), word, "fan_rpm")
            self._add(fan, ("SpeedPercent", "Reading"), word, "fan_share", 0.01)
        for connector in self.members(data, "CoolantConnectors"):
            self._connector(connector, f"{name}-{connector.get('Id', '')}")
        leaks = self.linked(data, "LeakDetection")
        for detector in self.members(leaks, "LeakDetectors"):
            self._leak(detector, name)

    def cooling_unit(self, data: dict[str, Any]) -> None:
        name = component_name(data.get("Id", "cdu"))
        for key, side in (("PrimaryCoolantConnectors", "facility"), ("SecondaryCoolantConnectors", "loop")):
            for connector in self.members(data, key):
                self._connector(connector, f"{name}-{side}-{connector.get('Id', '')}")
        leaks = self.linked(data, "LeakDetection")
        for detector in self.members(leaks, "LeakDetectors"):
            self._leak(detector, name)
        self.environment(data)

    def _connector(self, data: dict[str, Any], name: str) -> None:
        for key, quantity in (
            ("SupplyTemperatureCelsius", "supply_temperature_degc"),
            ("ReturnTemperatureCelsius", "return_temperature_degc"),
            ("FlowLitersPerMinute", "flow_l_per_min"),
            ("SupplyPressurekPa", "pressure_kpa"),
        ):
            self._add(data, (key, "Reading"), name, quantity)

    def _leak(self, data: dict[str, Any], name: str) -> None:
        states = {"OK": 0.0, "Warning": 1.0, "Critical": 1.0}
        self._add(data, ("DetectorState",), f"{name}-{data.get('Id', 'leak')}", "leak", states=states)

    def environment(self, data: dict[str, Any]) -> None:
        """EnvironmentMetrics of a chassis, a processor or a cooling unit."""
        metrics, name = self.linked(data, "EnvironmentMetrics"), str(data.get("Id", "unit"))
        covers = "gpu" if data.get("ProcessorType") == "GPU" else ""
        for key, quantity, factor in (
            ("TemperatureCelsius", "temperature_degc", 1.0),
            ("PowerWatts", "power_w", 1.0),
            ("EnergykWh", "energy_j", KWH_J),
            ("EnergyJoules", "energy_j", 1.0),
            ("PowerLimitWatts", "power_limit_w", 1.0),
        ):
            self._add(metrics, (key, "Reading"), name, quantity, factor, covers=covers)

    def _supply_metrics(self, metrics: dict[str, Any] | None, name: str, supply: dict[str, Any]) -> None:
        word = f"{name}-{supply.get('Id', 'psu')}"
        self._add(metrics, ("InputPowerWatts", "Reading"), word, "power_w", covers="supply input")

    def _thermal(self, data: dict[str, Any] | None, name: str) -> None:
        for member, identity in _listed(data, "Temperatures"):
            slow = as_number(member.get("UpperThresholdCritical"))
            constants = {} if math.isnan(slow) or slow <= 0 else {"slowdown_degc": slow}
            steps = ("Temperatures", identity, "ReadingCelsius")
            self._add(data, steps, f"{name}-{_word(member)}", "temperature_degc", constants=constants)
        for member, identity in _listed(data, "Fans"):
            percent = member.get("ReadingUnits") == "Percent"
            quantity, factor = ("fan_share", 0.01) if percent else ("fan_rpm", 1.0)
            self._add(data, ("Fans", identity, "Reading"), f"{name}-{_word(member)}", quantity, factor)

    def _power(self, data: dict[str, Any] | None, name: str) -> None:
        for member, identity in _listed(data, "PowerControl"):
            steps = ("PowerControl", identity, "PowerConsumedWatts")
            self._add(data, steps, f"{name}-{_word(member)}", "power_w", covers="wall")
        for member, identity in _listed(data, "PowerSupplies"):
            steps = ("PowerSupplies", identity, "PowerInputWatts")
            self._add(data, steps, f"{name}-{_word(member)}", "power_w", covers="supply input")

    def _add(
        self,
        data: dict[str, Any] | None,
        steps: tuple[Step, ...],
        component: str,
        quantity: str,
        factor: float = 1.0,
        *,
        covers: str = "",
        states: Mapping[str, float] | None = None,
        constants: Mapping[str, float] | None = None,
    ) -> None:
        path = follow(data, ("@odata.id",))
        if data is None or not isinstance(path, str) or path not in self._seen:
            return
        channel = Channel(
            family="redfish",
            component=component_name(component),
            quantity=quantity,
            rate_hz=self._rate,
            covers=covers,
        )
        reading = Reading(
            path=path,
            steps=steps,
            channel=channel,
            factor=factor,
            states=states,
            constants=constants or {},
        )
        if not math.isnan(reading.value(data)):
            self.readings.append(reading)


def _listed(data: dict[str, Any] | None, key: str) -> Iterator[tuple[dict[str, Any], tuple[str, str]]]:
    """Members of an embedded list that can be told apart, each with its identity."""
    members = follow(data, (key,))
    for member in (members if isinstance(members, list) else [])[:MAX_MEMBERS]:
        if isinstance(member, dict):
            for name in _IDENTITY:
                if isinstance(member.get(name), str):
                    yield member, (name, member[name])
                    break


def _word(member: Mapping[str, Any]) -> str:
    return str(member.get("Name") or member.get("MemberId") or "")
