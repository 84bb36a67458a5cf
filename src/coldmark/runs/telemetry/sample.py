"""A run's sampling: from the idle baseline to the cool-down, with the run's own counters as channels."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from coldmark.core.errors import DataError
from coldmark.core.nouns import Finding, Mode, Severity
from coldmark.core.telemetry import Missing, SamplerCost
from coldmark.core.trace import Array, Channel, Mark, distinct
from coldmark.loadgen.progress import FILE_NAME, Phase, read_progress
from coldmark.store.trace import FOLDER, Header, TraceWriter
from coldmark.telemetry.discover import discover
from coldmark.telemetry.options import SamplingOptions
from coldmark.telemetry.sampler import Batch, Sampler
from coldmark.telemetry.sensor import Found

_TICK_HZ = os.sysconf("SC_CLK_TCK")

OnSampler = Callable[[Sampler], None]


class RunCounters:
    """What the test that is running counts, and the processor time of the process that runs it."""

    family, rate_hz, blocking = "run", 100.0, False

    def __init__(self) -> None:
        self._path: Path | None = None
        self._base = [0.0, 0.0, 0.0]
        self._last = [0.0, 0.0, 0.0]
        step = (1.0, 1.0, 1 / _TICK_HZ)
        self.channels = tuple(
            Channel(family="run", component="test", quantity=q, rate_hz=100.0, resolution=r)
            for q, r in zip(("completed", "issued", "busy_s"), step, strict=True)
        )
        self.constants: Mapping[str, float] = {}

    def follow(self, directory: Path) -> None:
        """From now on read the counters of the test in this folder. They go on from those of the last."""
        self._base, self._last = [a + b for a, b in zip(self._base, self._last, strict=True)], [0.0] * 3
        self._path = directory / FILE_NAME

    def read(self, out: Array) -> None:
        counters = read_progress(self._path) if self._path else None
        if counters is None:
            out[:] = math.nan
            return
        busy = _busy_s(counters["pid"])
        now = [float(counters["completed"]), float(counters["issued"]), busy]
        self._last = [a if math.isnan(b) else max(a, b) for a, b in zip(self._last, now, strict=True)]
        out[:] = [a + b for a, b in zip(self._base, self._last, strict=True)]

    def close(self) -> None:
        """Nothing is held."""


def _busy_s(pid: int) -> float:
    """Processor seconds of a process so far; NaN where it is gone, or elsewhere than on Linux."""
    if pid <= 0:
        return math.nan
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - ten times a second
            fields = file.read(1024).rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK_HZ
    except (OSError, IndexError, ValueError):
        return math.nan


class Sampling:
    """One attempt at a run, sampled into a folder of its own."""

    def __init__(
        self, folder: Path, found: Found, options: SamplingOptions, given: Mapping[str, str]
    ) -> None:
        self.folder, self.found = folder, found
        self._counters = RunCounters()
        self.sampler = Sampler(
            [self._counters, *found.sensors],
            rate_hz=options.sample_hz,
            sink=self._write,
            flush_s=options.flush_s,
        )
        unique_names(self.sampler)
        header = Header(
            begin_ns=time.monotonic_ns(),
            begin_unix_ns=time.time_ns(),
            channels=self.sampler.channels,
            constants={
                f"{s.sensor.family}.{key}": value
                for s in self.sampler.sources
                for key, value in s.sensor.constants.items()
            },
            options=dict(given),
        )
        self._begin_ns = header.begin_ns
        self._writer = TraceWriter(folder, header)
        self._tests: list[tuple[Mode, Path]] = []
        self._cooldown_ns = 0
        self.cost: SamplerCost | None = None

    def _write(self, batches: Sequence[Batch]) -> None:
        self._writer.write((b.channels, b.t_ns, b.values) for b in batches)

    def follow(self, mode: Mode, directory: Path) -> None:
        """A test begins in this folder."""
        self._tests.append((mode, directory))
        self._counters.follow(directory)

    def cool_down(self, seconds: float) -> None:
        """Go on sampling after the last test."""
        self._cooldown_ns = time.monotonic_ns()
        time.sleep(seconds)

    def finish(self) -> None:
        """Stop sampling and put the trace together."""
        self.cost = self.sampler.stop()
        marks = [Mark(name="baseline", t_s=0.0)]
        for mode, directory in self._tests:
            marks += phase_marks(mode, directory, self._begin_ns)
        if self._cooldown_ns:
            marks.append(Mark(name="cooldown", t_s=(self._cooldown_ns - self._begin_ns) / 1e9))
        try:
            self._writer.finish(marks)
        except DataError as error:  # a full disk costs the trace, not the run
            self.sampler.sink_error = str(error)

    def findings(self) -> list[Finding]:
        """What went wrong with the sensors while they were read."""
        found = [
            _finding(
                "telemetry.sensor-died",
                death.family,
                f"{death.channels} channels to the end of the run",
                f"gone after {(death.at_ns - self._begin_ns) / 1e9:.1f} s: {death.reason}",
            )
            for death in self.sampler.deaths
        ]
        if self.sampler.sink_error:
            found.append(
                _finding("telemetry.trace", str(self.folder), "a whole trace", self.sampler.sink_error)
            )
        lost = sum(s.lost for s in self.sampler.sources)
        if lost:
            found.append(
                _finding("telemetry.trace", str(self.folder), "a whole trace", f"{lost} readings lost")
            )
        return found


def unique_names(sampler: Sampler) -> None:
    """Channel names are unique over all sensors of a run."""
    names = list(distinct(sampler.channels))
    for source in sampler.sources:
        n = len(source.sensor.channels)
        source.channels, names = tuple(names[:n]), names[n:]


def _finding(rule: str, subject: str, expected: str, found: str) -> Finding:
    return Finding(
        rule=rule,
        severity=Severity.WARNING,
        subject=subject,
        expected=expected,
        found=found,
        clause="coldmark: docs/explanation/telemetry.md",
    )


def phase_marks(mode: Mode, directory: Path, begin_ns: int) -> list[Mark]:
    """When each phase of a test began, as its own process stamped it."""
    counters = read_progress(directory / FILE_NAME) or {}
    stamps = [(phase.name.lower(), counters.get(f"{phase.name.lower()}_ns", 0)) for phase in Phase]
    return [
        Mark(name=f"{mode.value}.{name}", t_s=(ns - begin_ns) / 1e9) for name, ns in stamps if ns > begin_ns
    ]


@contextmanager
def sampled(
    run_dir: Path,
    found: Found | None,
    options: SamplingOptions,
    given: Mapping[str, str],
    on_sampler: OnSampler | None = None,
) -> Iterator[Sampling | None]:
    """Sample while the block runs; None where sampling is turned off. The trace is whole however it ends."""
    if found is None:
        yield None
        return
    taken = len(list(run_dir.glob(f"{FOLDER}*")))
    sampling = Sampling(run_dir / (f"{FOLDER}-{taken + 1}" if taken else FOLDER), found, options, given)
    sampling.sampler.start()
    try:
        if on_sampler:
            on_sampler(sampling.sampler)
        time.sleep(options.baseline_s)
        yield sampling
        sampling.cool_down(options.cooldown_s)
    finally:
        sampling.finish()


def find_sensors(options: SamplingOptions, families: Mapping[str, object]) -> Found | None:
    """The sensors of this machine and those the user named; None where sampling is turned off.

    Raises TelemetryError, ConfigError or SetupError where a named one does not answer.
    """
    return discover(families, strict=True) if options.sampling else None


def missing_of(found: Found | None) -> tuple[Missing, ...]:
    return found.missing if found else ()
