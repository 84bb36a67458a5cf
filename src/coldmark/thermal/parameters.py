"""A number with unit, source and uncertainty, as server and part files hold it, and the checks all of
them pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from coldmark.core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """`uncertainty` is one standard deviation in the same unit; 0 is a value fixed by definition or data
    sheet.
    """

    value: float
    unit: str
    uncertainty: float
    source: str


UNITS: dict[str, tuple[str, float, float]] = {
    "_k_per_w": ("K/W", 0.0, math.inf),
    "_j_per_k": ("J/K", 0.0, math.inf),
    "_w_per_k": ("W/K", 0.0, math.inf),
    "_l_per_min": ("L/min", 0.0, 1e5),
    "_m3_per_s": ("m3/s", 0.0, 1e3),
    "_kg_per_s": ("kg/s", 0.0, 1e4),
    "_gb_per_s": ("GB/s", 0.0, 1e6),
    "_pct_per_k": ("%/K", -1e-12, 10.0),
    "_per_k": ("1/K", -1e-12, 1.0),
    "_mv_per_mhz": ("mV/MHz", 0.0, 10.0),
    "_degc": ("degC", -60.0, 200.0),
    "_mhz": ("MHz", 0.0, 1e5),
    "_pa": ("Pa", 0.0, 1e7),
    "_share": ("1", -1e-12, 1.0),
    "_factor": ("1", 0.0, 1e3),
    "_exponent": ("1", 0.0, 5.0),
    "_w": ("W", -1e-12, 1e7),
    "_l": ("L", 0.0, 1e4),
    "_k": ("K", -1e-12, 200.0),
    "_s": ("s", 0.0, 1e6),
    "_v": ("V", 0.0, 10.0),
}
"""Ending of a key -> unit, and the open lower and closed upper bound of the permitted range."""


def unit_of(key: str) -> tuple[str, float, float]:
    """Unit and permitted range of a key by its ending. Raises KeyError for a key without a known one."""
    for ending in sorted(UNITS, key=len, reverse=True):
        if key.endswith(ending):
            return UNITS[ending]
    raise KeyError(key)


def check_parameters(noun: Any, where: str) -> None:
    """Every parameter below `noun` has the unit its key names and lies in the range. Raises ConfigError."""
    for path, key, p in walk(noun):
        unit, low, high = unit_of(key)
        place = f"{where}: {path}"
        if p.unit != unit:
            raise ConfigError(
                f"unit {p.unit!r} is not the one of this key", where=place, hint=f"use {unit!r}"
            )
        if not math.isfinite(p.value) or not low < p.value <= high:
            least = "0 or more" if -1e-9 < low < 0 else f"above {low:g}"
            upper = "" if math.isinf(high) else f", at most {high:g}"
            raise ConfigError(
                f"{p.value:g} {unit} is not permitted", where=place, hint=f"permitted: {least}{upper} {unit}"
            )
        if not math.isfinite(p.uncertainty) or p.uncertainty < 0:
            raise ConfigError(f"uncertainty {p.uncertainty:g} is negative", where=place)
        if not p.source.strip():
            raise ConfigError(
                "no source", where=place, hint="say where the number comes from, or '[M] estimate'"
            )


def walk(noun: Any, path: str = "") -> Iterator[tuple[str, str, Parameter]]:
    """(dotted path, key, parameter) of every parameter below a dataclass, dictionary or tuple."""
    if isinstance(noun, dict):
        items = list(noun.items())
    elif isinstance(noun, tuple):
        items = [(str(i), v) for i, v in enumerate(noun)]
    elif is_dataclass(noun):
        items = [(f.name, getattr(noun, f.name)) for f in fields(noun)]
    else:
        return
    for key, value in items:
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Parameter):
            yield here, str(key), value
        else:
            yield from walk(value, here)
