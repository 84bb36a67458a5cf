"""GPUs by the Prometheus page of a DCGM exporter.

Its violation counters are not taken: the unit differs between its versions. The page is as fresh as the
exporter makes it, 30 s by default. Source: dcgm-exporter, etc/default-counters.csv.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from coldmark.core.errors import ConfigError, TelemetryError
from coldmark.core.telemetry import Missing, Why
from coldmark.core.trace import Array, Channel, component_name
from coldmark.telemetry.counters import Growth
from coldmark.telemetry.peer import Peer
from coldmark.telemetry.sensor import MAX_CHANNELS, Family, Found

METRICS = {  # metric -> quantity, factor, whether 0 is a value
    "DCGM_FI_DEV_GPU_TEMP": ("temperature_degc", 1.0, False),
    "DCGM_FI_DEV_MEMORY_TEMP": ("memory_temperature_degc", 1.0, False),
    "DCGM_FI_DEV_SM_CLOCK": ("clock_mhz", 1.0, False),
    "DCGM_FI_DEV_MEM_CLOCK": ("memory_clock_mhz", 1.0, False),
    "DCGM_FI_DEV_POWER_USAGE": ("power_w", 1.0, False),
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": ("energy_j", 1e-3, False),
    "DCGM_FI_DEV_GPU_UTIL": ("utilisation_share", 0.01, True),
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": ("reasons", 1.0, True),
    "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": ("reasons", 1.0, True),
}
_BLANK = 2**31 - 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the exporter's page is."""

    url: str = ""  # http://127.0.0.1:9400/metrics; empty: none is asked
    verify: bool = True  # check its certificate; false is recorded with the run
    ca: str = ""  # file of the CA that signed it
    timeout_s: float = 5.0
    rate_hz: float = 1.0

    def __post_init__(self) -> None:
        if not 0.01 <= self.rate_hz <= 10:
            raise ConfigError(f"{self.rate_hz} is not in 0.01 to 10", where="--set dcgm.rate_hz")


class Dcgm:
    """The GPUs of one exporter."""

    family, blocking = "dcgm", True

    def __init__(self, peer: Peer, rate_hz: float) -> None:
        self._peer, self.rate_hz = peer, rate_hz
        first = dict(parse(self._page()))
        self._keys = list(first)[:MAX_CHANNELS]
        self.channels = tuple(
            Channel(
                family="dcgm",
                component=gpu,
                quantity=quantity,
                rate_hz=rate_hz,
                covers="gpu" if quantity in ("power_w", "energy_j") else "",
            )
            for gpu, quantity in self._keys
        )
        self.constants: dict[str, float] = {}
        self._growth = {key: Growth() for key in self._keys if key[1] == "energy_j"}

    def _page(self) -> str:
        data = self._peer.get(self._peer.path)
        if data is None:
            raise TelemetryError("no such page", where=self._peer.url + self._peer.path, hint="try /metrics")
        return data.decode("utf-8", "replace")

    def read(self, out: Array) -> None:
        now = dict(parse(self._page()))
        for i, key in enumerate(self._keys):
            value = now.get(key, math.nan)
            out[i] = self._growth[key].add(value) if key in self._growth else value

    def close(self) -> None:
        self._peer.close()


def parse(page: str) -> Iterator[tuple[tuple[str, str], float]]:
    """GPU and quantity with their value, from an exposition page. Raises TelemetryError for no such page."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        for metric in text_string_to_metric_families(page):
            for sample in metric.samples:
                name = sample.name.removesuffix("_total")  # which the parser adds to a counter's name
                if name not in METRICS or "gpu" not in sample.labels:
                    continue
                quantity, factor, zero = METRICS[name]
                value = float(sample.value)
                if not math.isfinite(value) or (value >= _BLANK and quantity != "energy_j") or value >= 9e18:
                    continue
                if value == 0 and not zero:
                    continue
                yield (component_name(f"gpu{sample.labels['gpu']}"), quantity), value * factor
    except (ValueError, KeyError, IndexError) as error:
        raise TelemetryError(f"not a Prometheus page: {error}", where="dcgm") from None


def find(options: Options) -> Found:
    """The GPUs on the named page. Raises ConfigError, or TelemetryError where it cannot be read."""
    if not options.url:
        hint = "--set dcgm.url=http://127.0.0.1:9400/metrics"
        text = "no address was given"
        return Found(
            missing=(Missing(family="dcgm", what="exporter", why=Why.NOT_CONFIGURED, detail=text, hint=hint),)
        )
    peer = Peer(
        options.url,
        where="--set dcgm.url",
        verify=options.verify,
        ca=options.ca,
        timeout_s=options.timeout_s,
    )
    try:
        made = Dcgm(peer, options.rate_hz)
    except BaseException:
        peer.close()
        raise
    insecure = () if options.verify or not options.url.startswith("https") else (options.url,)
    if not made.channels:
        made.close()
        text = f"{options.url} has no metric of a GPU"
        missing = Missing(family="dcgm", what="GPUs", why=Why.NO_DEVICE, detail=text)
        return Found(missing=(missing,), insecure=insecure)
    return Found(sensors=(made,), insecure=insecure)


FAMILY = Family(options=Options, find=find)
