"""Reads sensors at a steady rate in threads of the harness's own process, never in the measured one.

Sensors that answer at once share a thread; each that may block has its own. One more thread hands what was
read to a sink every few seconds, so that a killed run keeps its trace. A sensor that fails three times in a
row is given up, and the others go on.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from coldmark.core.errors import TelemetryError
from coldmark.core.telemetry import SamplerCost
from coldmark.core.trace import Array, Channel
from coldmark.telemetry.ring import Ring, Times
from coldmark.telemetry.sensor import Sensor

GIVE_UP_AFTER = 3
HISTORY_S = 120.0
STOP_WAIT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one sensor gave since the last batch: t_ns [n] on the monotonic clock, values [n, channels]."""

    channels: tuple[Channel, ...]
    t_ns: Times
    values: Array


Sink = Callable[[Sequence[Batch]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A sensor that stopped answering."""

    family: str
    channels: int
    at_ns: int
    reason: str


class Source:
    """One sensor, its ring and how it fares."""

    def __init__(self, sensor: Sensor, rate_hz: float) -> None:
        self.sensor, self.channels = sensor, sensor.channels
        self.period_ns = round(1e9 / min(rate_hz, sensor.rate_hz))
        rows = max(16, math.ceil(HISTORY_S * 1e9 / self.period_ns))
        self.ring = Ring(rows, len(sensor.channels))
        self.next_ns = 0
        self.flushed = self.failures = self.reads = self.late = self.lost = 0
        self.reading_since = 0
        self.death: Death | None = None

    def read(self) -> None:
        """One reading at the middle of the time it took; a failed one is a row of missing values."""
        row = self.ring.row()
        self.reading_since = begin = time.monotonic_ns()
        try:
            self.sensor.read(row)
            self.failures = 0
        except (TelemetryError, OSError, ValueError) as error:
            row[:] = math.nan
            self.failures += 1
            if self.failures >= GIVE_UP_AFTER:
                self._die(begin, str(error))
        except Exception as error:  # noqa: BLE001 - a driver's own error must not end the sampling of others
            row[:] = math.nan
            self._die(begin, f"{type(error).__name__}: {error}")
        end = time.monotonic_ns()
        self.reading_since = 0
        self.ring.keep((begin + end) // 2)
        self.reads += 1

    def _die(self, at_ns: int, reason: str) -> None:
        self.death = Death(
            family=self.sensor.family, channels=len(self.sensor.channels), at_ns=at_ns, reason=reason[:300]
        )

    def plan(self, now: int) -> None:
        """When to read next; readings that are already due are skipped and counted."""
        behind = (now - self.next_ns) // self.period_ns
        if behind > 0:
            self.late += behind
        self.next_ns += (behind + 1) * self.period_ns


class _Halt:
    """An event whose wait is one call into the interpreter's own lock: it is made at every reading."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()
        self._set = False

    def wait(self, seconds: float) -> bool:
        """Whether it was set, at the latest after so many seconds."""
        if not self._gate.acquire(timeout=seconds):
            return False
        self._gate.release()
        return True

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        if not self._set:
            self._set = True
            self._gate.release()


class Sampler:
    """Samples from `start` to `stop`. `rate_hz` is the most; a sensor that is slower sets its own pace."""

    def __init__(
        self,
        sensors: Iterable[Sensor],
        *,
        rate_hz: float = 10.0,
        sink: Sink | None = None,
        flush_s: float = 5.0,
    ) -> None:
        self.sources = [Source(sensor, rate_hz) for sensor in sensors]
        self.sink, self._flush_s = sink, flush_s
        self._halt = _Halt()
        self._threads: list[threading.Thread] = []
        self._cpu: dict[str, float] = {}
        self.begin_ns = 0
        self._end_ns = 0
        self.sink_error = ""

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(c for source in self.sources for c in source.channels)

    def start(self) -> None:
        """Begin to read, now."""
        self.begin_ns = time.monotonic_ns()
        for source in self.sources:
            source.next_ns = self.begin_ns
        groups = [[s] for s in self.sources if s.sensor.blocking]
        if shared := [s for s in self.sources if not s.sensor.blocking]:
            groups.append(shared)
        for i, group in enumerate(groups):
            name = f"sample-{i}-{group[0].sensor.family}"
            self._spawn(name, lambda name=name, group=group: self._loop(name, group))  # type: ignore[misc]
        if self.sink is not None:
            self._spawn("sample-flush", self._flush_loop)

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _loop(self, name: str, group: list[Source]) -> None:
        alive = group
        while alive and not self._halt.is_set():
            due = min(source.next_ns for source in alive)
            wait = (due - time.monotonic_ns()) / 1e9
            if wait > 0 and self._halt.wait(wait):
                break
            now = time.monotonic_ns()
            for source in alive:
                if source.next_ns <= now:
                    source.read()
                    source.plan(time.monotonic_ns())
            alive = [s for s in alive if s.death is None]
            self._cpu[name] = time.thread_time()

    def _flush_loop(self) -> None:
        while not self._halt.wait(self._flush_s):
            self._flush()
            self._cpu["sample-flush"] = time.thread_time()

    def _flush(self) -> None:
        batches = []
        for source in self.sources:
            t, v, lost = source.ring.since(source.flushed)
            source.flushed += lost + len(t)
            source.lost += lost
            if len(t):
                batches.append(Batch(channels=source.channels, t_ns=t, values=v))
        if not batches or self.sink is None or self.sink_error:
            return
        try:
            self.sink(batches)
        except Exception as error:  # noqa: BLE001 - a full disk ends the trace, not the run
            self.sink_error = f"{type(error).__name__}: {error}"

    def stop(self) -> SamplerCost:
        """End sampling, hand over what is left, close the sensors and say what it all cost."""
        self._halt.set()
        for thread in self._threads:
            thread.join(STOP_WAIT_S)
        stuck = {t.name for t in self._threads if t.is_alive()}
        before = time.thread_time()
        self._end_ns = self._end_ns or time.monotonic_ns()
        for source in self.sources:
            if source.death is None and source.reading_since and stuck:
                source._die(source.reading_since, "a read that never came back")
        self._flush()
        for source in self.sources:
            if source.death is None or not source.reading_since:
                source.sensor.close()
        self._cpu["sample-stop"] = time.thread_time() - before
        wall = max(1e-9, (self._end_ns - self.begin_ns) / 1e9)
        cpu = sum(self._cpu.values())
        return SamplerCost(
            cpu_s=cpu,
            wall_s=wall,
            core_share=cpu / wall,
            channels=len(self.channels),
            reads=sum(s.reads for s in self.sources),
            late=sum(s.late for s in self.sources),
        )

    def cpu_s(self, thread: str) -> float:
        """Processor time of one of its threads so far."""
        return self._cpu.get(thread, 0.0)

    @property
    def deaths(self) -> tuple[Death, ...]:
        return tuple(s.death for s in self.sources if s.death is not None)

    def latest(self) -> list[tuple[Channel, float]]:
        """The newest reading of every channel, NaN where it is missing or its sensor is gone."""
        found = []
        for source in self.sources:
            _, v, _ = source.ring.since(max(0, source.ring.head - 1))
            gone = not len(v) or source.death is not None
            row = [math.nan] * len(source.channels) if gone else v[-1].tolist()
            found += list(zip(source.channels, row, strict=True))
        return found

    def history(self, seconds: float = 60.0) -> list[tuple[Channel, Times, Array]]:
        """The last readings of every channel: times [n] ns and values [n], missing ones as NaN."""
        least = time.monotonic_ns() - round(seconds * 1e9)
        found = []
        for source in self.sources:
            t, v, _ = source.ring.since(max(0, source.ring.head - source.ring.capacity + 1))
            keep = t >= least
            for i, channel in enumerate(source.channels):
                found.append((channel, t[keep], np.ascontiguousarray(v[keep, i])))
        return found
