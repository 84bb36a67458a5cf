"""Channels for Prometheus, by its conventions: base units, `_total` for counters, a component as a label.

coldmark_temperature_celsius{family="nvml",component="gpu0"} 61.0
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from coldmark.core.errors import TelemetryError
from coldmark.core.telemetry import Measured
from coldmark.core.trace import QUANTITIES, Kind

_BASE = {  # unit -> word of the base unit, factor to it
    "degC": ("celsius", 1.0),
    "K": ("kelvins", 1.0),
    "MHz": ("hertz", 1e6),
    "W": ("watts", 1.0),
    "J": ("joules", 1.0),
    "s": ("seconds", 1.0),
    "V": ("volts", 1.0),
    "A": ("amperes", 1.0),
    "rpm": ("revolutions_per_second", 1 / 60),
    "l/min": ("cubic_meters_per_second", 1e-3 / 60),
    "kPa": ("pascals", 1e3),
}
_SUFFIXES = (
    "_degc",
    "_k",
    "_mhz",
    "_w",
    "_j",
    "_s",
    "_v",
    "_a",
    "_rpm",
    "_l_per_min",
    "_kpa",
    "_share",
    "_count",
)


def metric_of(quantity: str) -> tuple[str, float]:
    """Name of a quantity's metric, without `_total`, and the factor to its unit.

    >>> metric_of("clock_mhz")
    ('coldmark_clock_hertz', 1000000.0)
    """
    unit, kind = QUANTITIES[quantity]
    stem = next((quantity.removesuffix(s) for s in _SUFFIXES if quantity.endswith(s)), quantity)
    if quantity.endswith("_share"):
        return f"coldmark_{stem}_ratio", 1.0
    if unit in _BASE:
        word, factor = _BASE[unit]
        return f"coldmark_{stem}_{word}", factor
    return f"coldmark_{stem}" + (
        "_events" if kind is Kind.COUNTER and quantity.endswith("_count") else ""
    ), 1.0


class Collector:
    """What prometheus_client asks at every scrape; missing values are left out."""

    def __init__(self, latest: Callable[[], Iterable[Measured]]) -> None:
        self._latest = latest

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families: dict[str, Any] = {}
        for m in self._latest():
            if math.isnan(m.value):
                continue
            name, factor = metric_of(m.channel.quantity)
            kind = CounterMetricFamily if m.channel.kind is Kind.COUNTER else GaugeMetricFamily
            text = f"{m.channel.quantity.rpartition('_')[0] or m.channel.quantity} by sensor family"
            if name not in families:
                families[name] = kind(name, text.replace("_", " "), labels=["family", "component"])
            families[name].add_metric([m.channel.family, m.channel.component], m.value * factor)
        yield from families.values()


def serve(latest: Callable[[], Iterable[Measured]], host: str, port: int) -> tuple[int, Callable[[], None]]:
    """Answer scrapes in a thread: the port that is listened on, and how to stop. Raises TelemetryError."""
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(Collector(latest))
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise TelemetryError(
            f"cannot listen on {host}:{port}: {error.strerror}", where="--prometheus", hint="another port"
        ) from None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return int(server.server_address[1]), stop
