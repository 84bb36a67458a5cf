"""A BMC by IPMI over LAN (RMCP+), by pyghmi."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from coldmark.core.errors import ConfigError, TelemetryError
from coldmark.core.telemetry import Missing, Why
from coldmark.core.trace import Array, Channel, component_name, distinct
from coldmark.telemetry.bmc import HINT, credentials
from coldmark.telemetry.sensor import MAX_CHANNELS, Family, Found

_QUANTITY = {  # what pyghmi calls a unit -> quantity
    "°C": "temperature_degc",
    "W": "power_w",
    "RPM": "fan_rpm",
    "V": "voltage_v",
    "A": "current_a",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Who to ask. The password comes from the environment or a file, never from here."""

    host: str = ""  # empty: no BMC is asked
    port: int = 623
    rate_hz: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"{self.port} is no port", where="--set ipmi.port")
        if not 0.01 <= self.rate_hz <= 10:
            raise ConfigError(f"{self.rate_hz} is not in 0.01 to 10", where="--set ipmi.rate_hz")


class Ipmi:
    """The analogue sensors of a BMC's repository."""

    family, blocking = "ipmi", True

    def __init__(self, command: Any, options: Options) -> None:
        self._command, self._where, self.rate_hz = command, options.host, options.rate_hz
        self.constants: dict[str, float] = {}
        first = [r for r in _readings(command, self._where) if r.units in _QUANTITY and r.value is not None]
        self._names = [r.name for r in first[:MAX_CHANNELS]]
        self.channels = tuple(
            distinct(
                [
                    Channel(
                        family="ipmi",
                        component=component_name(r.name),
                        quantity=_QUANTITY[r.units],
                        rate_hz=options.rate_hz,
                        resolution=2 * r.imprecision if r.imprecision else None,
                    )
                    for r in first[:MAX_CHANNELS]
                ]
            )
        )

    def read(self, out: Array) -> None:
        # By name and not by place: a sensor that does not answer now is left out of what comes back.
        found: dict[str, list[float]] = {}
        for r in _readings(self._command, self._where):
            found.setdefault(r.name, []).append(math.nan if r.value is None else float(r.value))
        for i, name in enumerate(self._names):
            values = found.get(name)
            out[i] = values.pop(0) if values else math.nan

    def close(self) -> None:
        if self._command is not None:
            try:
                self._command.logout()
            except Exception:  # noqa: BLE001 - a BMC that is gone needs no goodbye
                self._command = None
        self._command = None


def _readings(command: Any, where: str) -> list[Any]:
    from pyghmi.exceptions import PyghmiException

    try:
        return list(command.get_sensor_data())
    except (PyghmiException, OSError) as error:
        raise TelemetryError(str(error) or type(error).__name__, where=where) from None


def find(options: Options) -> Found:
    """The named BMC's sensors. Raises ConfigError, or TelemetryError where it does not let us in."""
    if not options.host:
        hint = "--set ipmi.host=ADDRESS; who you are: see docs/how-to/sensors.md"
        text = "no address was given"
        return Found(
            missing=(Missing(family="ipmi", what="BMC", why=Why.NOT_CONFIGURED, detail=text, hint=hint),)
        )
    who = credentials()
    if who is None:
        raise ConfigError("IPMI needs a user and a password", where="--set ipmi.host", hint=HINT)
    from pyghmi.exceptions import PyghmiException
    from pyghmi.ipmi.command import Command

    try:
        command = Command(bmc=options.host, userid=who.user, password=who.password, port=options.port)
    except (PyghmiException, OSError) as error:
        text = str(error).replace(who.password, "...") or type(error).__name__
        raise TelemetryError(f"no session: {text}", where=options.host, hint=HINT) from None
    made = Ipmi(command, options)
    if not made.channels:
        text = f"{options.host} has no analogue sensor that answers"
        return Found(missing=(Missing(family="ipmi", what="sensors", why=Why.NO_DEVICE, detail=text),))
    return Found(sensors=(made,))


FAMILY = Family(options=Options, find=find)
