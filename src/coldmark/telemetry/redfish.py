"""A BMC or a CDU by Redfish, in both generations of its schema.

What to read is found once, by following links from the service root; then the same resources are fetched
again and again, and a value that disappears is a missing value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from coldmark.core.errors import ConfigError, TelemetryError
from coldmark.core.telemetry import Missing, Why
from coldmark.core.trace import Array, distinct
from coldmark.telemetry.bmc import credentials
from coldmark.telemetry.counters import Growth
from coldmark.telemetry.peer import Peer
from coldmark.telemetry.redfish_map import Reading, crawl
from coldmark.telemetry.sensor import MAX_CHANNELS, Family, Found

SERVICE_ROOT = "/redfish/v1/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Who to ask. The password comes from the environment or a file, never from here."""

    url: str = ""  # https://bmc.example; empty: no BMC is asked
    verify: bool = True  # check its certificate; false is recorded with the run
    ca: str = ""  # file of the CA that signed it, where the system does not know it
    timeout_s: float = 5.0  # longest wait for one answer
    rate_hz: float = 1.0  # readings a second

    def __post_init__(self) -> None:
        if not 0.1 <= self.timeout_s <= 120:
            raise ConfigError(f"{self.timeout_s} is not in 0.1 to 120", where="--set redfish.timeout_s")
        if not 0.01 <= self.rate_hz <= 10:
            raise ConfigError(f"{self.rate_hz} is not in 0.01 to 10", where="--set redfish.rate_hz")


class Redfish:
    """The readings of one service."""

    family, blocking = "redfish", True

    def __init__(self, peer: Peer, readings: list[Reading], rate_hz: float) -> None:
        self._peer, self.rate_hz = peer, rate_hz
        channels = tuple(distinct([r.channel for r in readings]))
        self.channels = channels
        self._of: dict[str, list[tuple[int, Reading]]] = {}
        for i, reading in enumerate(readings):
            self._of.setdefault(reading.path, []).append((i, reading))
        self._growth = {i: Growth() for i, c in enumerate(channels) if c.quantity == "energy_j"}
        self.constants = {
            f"{channel.component}.{key}": value
            for channel, reading in zip(channels, readings, strict=True)
            for key, value in reading.constants.items()
        }

    def read(self, out: Array) -> None:
        out[:] = math.nan
        failed: TelemetryError | None = None
        answered = False
        for path, wanted in self._of.items():
            try:
                data = self._peer.get_json(path)
            except TelemetryError as error:
                failed = error
                continue
            answered = True
            for i, reading in wanted:
                value = reading.value(data) if data is not None else math.nan
                out[i] = self._growth[i].add(value) if i in self._growth else value
        if not answered and failed is not None:
            raise failed

    def close(self) -> None:
        self._peer.close()


def find(options: Options) -> Found:
    """What the named service shows. Raises ConfigError, or TelemetryError where it does not answer."""
    if not options.url:
        hint = "--set redfish.url=https://bmc.example; who you are: see docs/how-to/sensors.md"
        text = "no address was given"
        return Found(
            missing=(Missing(family="redfish", what="BMC", why=Why.NOT_CONFIGURED, detail=text, hint=hint),)
        )
    peer = Peer(
        options.url,
        where="--set redfish.url",
        who=credentials(),
        verify=options.verify,
        ca=options.ca,
        timeout_s=options.timeout_s,
    )
    try:
        if peer.get_json(SERVICE_ROOT) is None:
            raise TelemetryError("no Redfish service root", where=options.url, hint="is it a BMC's address?")
        readings = crawl(peer.get_json, options.rate_hz)
    except BaseException:
        peer.close()
        raise
    insecure = () if options.verify or not options.url.startswith("https") else (options.url,)
    if not readings:
        peer.close()
        text = f"{options.url} shows no reading of temperature, power, fans or coolant"
        missing = Missing(family="redfish", what="readings", why=Why.NO_DEVICE, detail=text)
        return Found(missing=(missing,), insecure=insecure)
    return Found(sensors=(Redfish(peer, readings[:MAX_CHANNELS], options.rate_hz),), insecure=insecure)


FAMILY = Family(options=Options, find=find)
