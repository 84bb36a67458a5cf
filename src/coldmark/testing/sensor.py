"""The contract of a sensor, as tests. A new family's own test file is three lines:

class TestMine(SensorConformance):
    def make(self, tmp_path): return MySensor(...)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from coldmark.core.trace import QUANTITIES, Array, Kind

MARKER = -12345.678


class SensorConformance:
    """Subclass it, say how the sensor is made, and let pytest collect it."""

    blocks_s = 5.0
    """A read takes no longer than this, whatever the device does."""

    def make(self, tmp_path: Path) -> Any:
        """The sensor to be tested, of a device that answers."""
        raise NotImplementedError

    @contextmanager
    def _made(self, tmp_path: Path) -> Iterator[Any]:
        sensor = self.make(tmp_path)
        try:
            yield sensor
        finally:
            sensor.close()

    def _read(self, sensor: Any) -> Array:
        row = np.full(len(sensor.channels), MARKER)
        sensor.read(row)
        return row

    def test_channels_speak_the_house_words_and_no_two_have_one_name(self, tmp_path: Path) -> None:
        with self._made(tmp_path) as sensor:
            assert sensor.channels
            names = [c.name for c in sensor.channels]
            assert len(set(names)) == len(names)
            for channel in sensor.channels:
                assert channel.family == sensor.family
                assert channel.quantity in QUANTITIES
                assert channel.rate_hz > 0
                assert channel.resolution is None or channel.resolution > 0
                assert channel.component == channel.component.lower()
                assert set(channel.component) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")

    def test_a_read_fills_every_place_with_a_value_or_nan(self, tmp_path: Path) -> None:
        with self._made(tmp_path) as sensor:
            row = self._read(sensor)
            assert not np.any(row == MARKER)
            assert not np.any(np.isinf(row))
            assert np.any(~np.isnan(row)), "a device that answers gives at least one value"

    def test_counters_only_grow(self, tmp_path: Path) -> None:
        with self._made(tmp_path) as sensor:
            first = self._read(sensor)
            time.sleep(0.02)
            second = self._read(sensor)
            for channel, a, b in zip(sensor.channels, first, second, strict=True):
                if channel.kind is Kind.COUNTER and not np.isnan(a) and not np.isnan(b):
                    assert b >= a, channel.name

    def test_a_read_comes_back(self, tmp_path: Path) -> None:
        with self._made(tmp_path) as sensor:
            done = threading.Event()

            def read() -> None:
                self._read(sensor)
                done.set()

            threading.Thread(target=read, daemon=True).start()
            assert done.wait(self.blocks_s), f"no answer in {self.blocks_s} s"

    def test_constants_name_its_components(self, tmp_path: Path) -> None:
        with self._made(tmp_path) as sensor:
            components = {c.component for c in sensor.channels}
            for key, value in sensor.constants.items():
                assert key.rpartition(".")[0] in components, key
                assert np.isfinite(value)

    def test_it_closes_twice(self, tmp_path: Path) -> None:
        sensor = self.make(tmp_path)
        sensor.close()
        sensor.close()
