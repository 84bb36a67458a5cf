"""What this machine, and what the user named, can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from coldmark.core.codec import from_strings
from coldmark.core.errors import ConfigError, SetupError, TelemetryError, did_you_mean
from coldmark.core.telemetry import Measured, Missing, Why
from coldmark.telemetry import SENSORS
from coldmark.telemetry.sensor import Family, Found, Sensor

_NAMED_BY = ("url", "host", "log")
"""An option of this name points a family at a device of the user's; that one must then answer."""


def family_of(name: str) -> Family:
    """A family without what it may need installed: its options are known in any case."""
    import importlib

    module, _, attribute = SENSORS[name].target.partition(":")
    found: Family = getattr(importlib.import_module(module), attribute)
    return found


def option_keys() -> dict[str, tuple[str, str]]:
    """`redfish.url` -> ("redfish", "url"), for every family."""
    return {f"{name}.{f.name}": (name, f.name) for name in SENSORS for f in fields(family_of(name).options)}


def family_options(given: Mapping[str, str]) -> dict[str, Any]:
    """Options typed by a user, by family. Raises ConfigError naming the nearest right key."""
    keys, values = option_keys(), dict[str, dict[str, str]]()
    for key, text in given.items():
        if key not in keys:
            raise ConfigError(f"no sensor option {key!r}", where="--set", hint=did_you_mean(key, keys))
        family, name = keys[key]
        values.setdefault(family, {})[name] = text
    return {
        name: from_strings(values.get(name, {}), family_of(name).options, where=f"--set {name}.")
        for name in SENSORS
    }


def discover(options: Mapping[str, Any], *, strict: bool) -> Found:
    """Every sensor that answers, and what is missing and why.

    `strict`: a device that the user named and that does not answer is an error (TelemetryError, ConfigError,
    SetupError); else it is listed as missing.
    """
    sensors: list[Sensor] = []
    missing: list[Missing] = []
    insecure: list[str] = []
    for name in SENSORS:
        chosen = options.get(name) or family_of(name).options()
        named = any(getattr(chosen, key, "") for key in _NAMED_BY)
        try:
            found = _find(name, chosen)
        except (TelemetryError, ConfigError, SetupError) as error:
            if named and strict:
                _close(sensors)
                raise
            why = Why.NOT_INSTALLED if isinstance(error, SetupError) else Why.FAILED
            found = Found(
                missing=(
                    Missing(
                        family=name,
                        what=SENSORS[name].summary,
                        why=why,
                        detail=f"{error.where}: {error.message}" if error.where else error.message,
                        hint=error.hint or "",
                    ),
                )
            )
        sensors += found.sensors
        missing += found.missing
        insecure += found.insecure
    return Found(sensors=tuple(sensors), missing=tuple(missing), insecure=tuple(insecure))


def _find(name: str, options: Any) -> Found:
    family: Family = SENSORS.load(name)
    return family.find(options)


def _close(sensors: list[Sensor]) -> None:
    for sensor in sensors:
        sensor.close()


def read_once(found: Found) -> list[Measured]:
    """Every channel with its value now, NaN where it gives none; the sensors are closed after it."""
    measured = []
    for sensor in found.sensors:
        row = np.full(len(sensor.channels), np.nan)
        try:
            sensor.read(row)
        except (TelemetryError, OSError):
            row[:] = np.nan
        finally:
            sensor.close()
        measured += [Measured(channel=c, value=float(v)) for c, v in zip(sensor.channels, row, strict=True)]
    return measured
