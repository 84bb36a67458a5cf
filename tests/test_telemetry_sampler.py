"""The sampler and what it leaves on disk: readings, deaths, segments, a kill in the middle."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.core.errors import DataError, TelemetryError
from coldmark.core.trace import Array, Channel, Mark
from coldmark.store.trace import (
    SEGMENTS,
    TRACE,
    Header,
    TraceWriter,
    export_csv,
    export_parquet,
    read_trace,
)
from coldmark.telemetry.ring import Ring
from coldmark.telemetry.sampler import GIVE_UP_AFTER, Batch, Sampler
from coldmark.telemetry.sensor import Recorded


def channel(component: str = "gpu0", quantity: str = "power_w", family: str = "made") -> Channel:
    return Channel(family=family, component=component, quantity=quantity, rate_hz=100.0)


def recorded(rows: list[list[float]], family: str = "made") -> Recorded:
    return Recorded(family=family, channels=(channel(family=family),), rows=rows, rate_hz=200.0)


def wait_for(condition: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


class Counting:
    """Gives 0, 1, 2, ... and may block or break."""

    family, rate_hz, blocking = "counting", 500.0, False

    def __init__(
        self, *, breaks_at: int = 10**9, hangs_at: int = 10**9, error: Exception | None = None
    ) -> None:
        self.channels = (channel(family="counting"),)
        self.constants: dict[str, float] = {}
        self.n, self.closed = 0, False
        self.breaks_at, self.hangs_at = breaks_at, hangs_at
        self.error = error or TelemetryError("unplugged")
        self.hold = threading.Event()
        self.blocking = hangs_at < 10**9

    def read(self, out: Array) -> None:
        self.n += 1
        if self.n >= self.breaks_at:
            raise self.error
        if self.n >= self.hangs_at:
            self.hold.wait(30)
        out[0] = self.n - 1

    def close(self) -> None:
        self.closed = True


def test_every_reading_reaches_the_sink_once_and_in_order() -> None:
    seen: list[float] = []
    times: list[int] = []

    def sink(batches: object) -> None:
        for batch in batches:  # type: ignore[attr-defined]
            assert isinstance(batch, Batch)
            seen.extend(batch.values[:, 0].tolist())
            times.extend(batch.t_ns.tolist())

    sensor = Counting()
    sampler = Sampler([sensor], rate_hz=200.0, sink=sink, flush_s=0.05)
    sampler.start()
    wait_for(lambda: sensor.n >= 30)
    cost = sampler.stop()
    assert seen == list(range(sensor.n))
    assert times == sorted(times)
    assert cost.reads == sensor.n
    assert cost.cpu_s > 0
    assert sensor.closed


def test_a_sensor_that_dies_is_a_finding_and_the_others_go_on() -> None:
    dying, living = Counting(breaks_at=5), Counting()
    sampler = Sampler([dying, living], rate_hz=200.0)
    sampler.start()
    wait_for(lambda: living.n >= 30)
    sampler.stop()
    (death,) = sampler.deaths
    assert (death.family, death.channels) == ("counting", 1)
    assert "unplugged" in death.reason
    assert dying.n == 4 + GIVE_UP_AFTER


def test_a_drivers_own_error_ends_its_sensor_at_once_and_no_other() -> None:
    dying, living = Counting(breaks_at=2, error=RuntimeError("driver bug")), Counting()
    sampler = Sampler([dying, living], rate_hz=200.0)
    sampler.start()
    wait_for(lambda: living.n >= 10)
    sampler.stop()
    assert "RuntimeError: driver bug" in sampler.deaths[0].reason
    assert dying.n == 2


def test_a_sensor_that_hangs_does_not_hold_the_others_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coldmark.telemetry.sampler.STOP_WAIT_S", 0.2)
    hanging, living = Counting(hangs_at=2), Counting()
    sampler = Sampler([hanging, living], rate_hz=200.0)
    sampler.start()
    wait_for(lambda: living.n >= 10)
    sampler.stop()
    hanging.hold.set()
    assert "never came back" in sampler.deaths[0].reason


def test_one_missed_reading_is_no_death() -> None:
    sensor = Counting()
    real, failed = sensor.read, threading.Event()

    def read(out: Array) -> None:
        if sensor.n == 3 and not failed.is_set():
            failed.set()
            raise TelemetryError("busy")
        real(out)

    sensor.read = read  # type: ignore[method-assign]
    sampler = Sampler([sensor], rate_hz=200.0)
    sampler.start()
    wait_for(lambda: sensor.n >= 10)
    sampler.stop()
    assert sampler.deaths == ()
    ((_, _, values),) = sampler.history()
    assert np.isnan(values).sum() == 1


def test_a_sink_that_fails_ends_the_trace_and_not_the_sampling() -> None:
    def sink(batches: object) -> None:
        raise OSError(28, "No space left on device")

    sensor = Counting()
    sampler = Sampler([sensor], rate_hz=200.0, sink=sink, flush_s=0.02)
    sampler.start()
    wait_for(lambda: bool(sampler.sink_error))
    at = sensor.n
    wait_for(lambda: sensor.n > at + 5)
    sampler.stop()
    assert "No space left" in sampler.sink_error


@given(st.integers(4, 20), st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_a_ring_gives_each_row_once_or_says_how_many_were_lost(capacity: int, bursts: list[int]) -> None:
    ring, seen, lost_in_all, first, written = Ring(capacity, 1), [], 0, 0, 0
    for burst in bursts:
        for _ in range(burst):
            ring.row()[0] = written
            ring.keep(written)
            written += 1
        t, v, lost = ring.since(first)
        assert t.tolist() == v[:, 0].tolist()
        seen += t.tolist()
        lost_in_all += lost
        first += lost + len(t)
    assert first == written
    assert len(seen) + lost_in_all == written
    assert seen == sorted(set(seen))


# --- on disk ------------------------------------------------------------------------------------


def header(*channels: Channel) -> Header:
    return Header(
        begin_ns=1000, begin_unix_ns=10**18, channels=channels, constants={"made.gpu0.limit_w": 5.0}
    )


def test_what_is_written_is_read_back_before_and_after_the_end(tmp_path: Path) -> None:
    a, b = channel(), channel("gpu1")
    writer = TraceWriter(tmp_path / "telemetry", header(a, b))
    t = np.array([1000, 2_000_001_000], np.int64)
    writer.write([((a, b), t, np.array([[1.0, math.nan], [2.0, 20.0]]))])
    writer.write([((b,), t + 10**9, np.array([[30.0], [math.nan]]))])
    for finished in (False, True):
        if finished:
            writer.finish([Mark(name="baseline", t_s=0.0)])
            assert not list((tmp_path / "telemetry").glob(SEGMENTS))
        found = read_trace(tmp_path / "telemetry")
        assert found.series[a.name].t_s.tolist() == [0.0, 2.0]
        assert found.series[a.name].value.tolist() == [1.0, 2.0]
        assert found.series[b.name].t_s.tolist() == [1.0, 2.0]
        assert found.series[b.name].value.tolist() == [30.0, 20.0]
        assert found.begin_unix_s == 1e9
    assert found.mark("baseline") == 0.0
    assert found.constant(a, "limit_w") == 5.0


def test_export_has_every_reading_with_its_unit(tmp_path: Path) -> None:
    a = channel()
    writer = TraceWriter(tmp_path / "t", header(a))
    writer.write([((a,), np.array([1000, 500_001_000], np.int64), np.array([[1.5], [2.5]]))])
    writer.finish([])
    trace = read_trace(tmp_path / "t")
    assert export_csv(trace, tmp_path / "x.csv") == 2
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert lines[0] == "t_s,unix_s,channel,unit,value"
    assert lines[2] == "0.500000,1000000000.500000,made.gpu0.power_w,W,2.5"
    assert export_parquet(trace, tmp_path / "x.parquet") == 2
    assert (tmp_path / "x.parquet").read_bytes()[:4] == b"PAR1"


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no telemetry"):
        read_trace(tmp_path)
    writer = TraceWriter(tmp_path / "t", header(channel()))
    writer.finish([])
    assert all(len(s.t_s) == 0 for s in read_trace(tmp_path / "t").series.values())
    (tmp_path / "t" / TRACE).write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(DataError, match="not a trace"):
        read_trace(tmp_path / "t")


KILLED = """
import sys, time
from pathlib import Path
from coldmark.core.trace import Channel
from coldmark.store.trace import Header, TraceWriter
from coldmark.telemetry.cpu import Load, Options
from coldmark.telemetry.sampler import Sampler
folder = Path(sys.argv[1])
sampler = Sampler([Load(Options())], rate_hz=50.0, flush_s=0.3)
writer = TraceWriter(folder, Header(begin_ns=time.monotonic_ns(), begin_unix_ns=time.time_ns(),
                                    channels=sampler.channels))
sampler.sink = lambda batches: writer.write((b.channels, b.t_ns, b.values) for b in batches)
sampler.start()
time.sleep(300)
"""


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no /proc/stat here")
def test_a_killed_process_leaves_the_trace_up_to_its_last_flush(tmp_path: Path) -> None:
    folder = tmp_path / "telemetry"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)])
    wait_for(lambda: len(list(folder.glob(SEGMENTS))) >= 2, 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = read_trace(folder).series["cpu.cpu.busy_s"]
    assert len(found.t_s) >= 3
    assert (np.diff(found.t_s) > 0).all()
    assert (np.diff(found.value) >= 0).all()
