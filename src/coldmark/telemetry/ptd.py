"""A wall meter's log as SPEC PTDaemon's client writes it (`spl.txt`), read after the run.

    Time,07-22-2022 03:20:00.500,Watts,412.1,Volts,229.8,Amps,1.84,PF,0.97,Mark,x_testing

-1 stands for what the meter could not read. Stamps carry no time zone: `utc_offset_h` says theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from coldmark.core.errors import ConfigError, DataError
from coldmark.core.telemetry import Missing, Why
from coldmark.core.trace import Channel, Series
from coldmark.telemetry.sensor import Family, Found

STAMP = "%m-%d-%Y %H:%M:%S.%f"
MAX_BYTES = 256 * 1024 * 1024
_LINE = re.compile(rb"^Time,([^,\r\n]+),Watts,([^,\r\n]+)(?:,Volts,([^,\r\n]+))?(?:,Amps,([^,\r\n]+))?", re.M)
_QUANTITIES = (("power_w", 1e9), ("voltage_v", 1e5), ("current_a", 1e5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which log belongs to the run."""

    log: str = ""  # path of spl.txt; empty: there is none
    utc_offset_h: float = 0.0  # of the clock that stamped it

    def __post_init__(self) -> None:
        if not -24 <= self.utc_offset_h <= 24:
            raise ConfigError(f"{self.utc_offset_h} is not in -24 to 24", where="--set ptd.utc_offset_h")


def find(options: Options) -> Found:
    """Nothing is sampled live; a log that is named is read when the run has ended."""
    if options.log:
        return Found()
    text, hint = "no power log was named", "--set ptd.log=FILE of a wall meter's spl.txt"
    return Found(
        missing=(Missing(family="ptd", what="wall power", why=Why.NOT_CONFIGURED, detail=text, hint=hint),)
    )


def read_log(path: Path, *, begin_unix_s: float = 0.0, utc_offset_h: float = 0.0) -> list[Series]:
    """The meter's channels on a clock that begins at `begin_unix_s`. Raises DataError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"larger than {MAX_BYTES >> 20} MiB, not read", where=str(path))
        data = path.read_bytes()
    except OSError as error:
        raise DataError(error.strerror or str(error), where=str(path)) from None
    return read_bytes(data, str(path), begin_unix_s + 3600 * utc_offset_h)


def read_bytes(data: bytes, where: str, begin_unix_s: float = 0.0) -> list[Series]:
    """The same from a log's bytes. Raises DataError where there is no reading in it."""
    rows = [row for match in _LINE.finditer(data) if (row := _row(match)) is not None]
    if not rows:
        raise DataError("no line of a power meter", where=where, hint="is it PTDaemon's spl.txt?")
    table = np.array(sorted(rows))
    found = []
    for i, (quantity, most) in enumerate(_QUANTITIES, start=1):
        keep = (table[:, i] > 0) & (table[:, i] < most)
        if keep.any():
            channel = Channel(family="ptd", component="wall", quantity=quantity, rate_hz=1.0, covers="wall")
            found.append(Series(channel=channel, t_s=table[keep, 0] - begin_unix_s, value=table[keep, i]))
    return found


def _row(match: re.Match[bytes]) -> tuple[float, ...] | None:
    try:
        at = datetime.strptime(match[1].decode("ascii"), STAMP).replace(tzinfo=UTC).timestamp()
        return (at, *(float(match[i]) if match[i] else -1.0 for i in (2, 3, 4)))
    except ValueError:
        return None


FAMILY = Family(options=Options, find=find)
