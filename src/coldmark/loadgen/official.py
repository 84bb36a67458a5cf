"""The official LoadGen from Python: the only file that imports the wheel.

What the wheel does to a careless harness, and what is done here against it:
an exception that leaves a callback unwinds through C++ and kills the process, so none leaves;
a wrong id is a wild pointer, so each is looked up first; StartTest in the main thread makes Ctrl-C such an
exception, so it runs in a thread of its own; traces cost 1.15 microseconds a sample, so they are off;
one giant completion stamps all its samples at once, so completions go in chunks.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import mlperf_loadgen as lg
import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.core.nouns import Mode, Scenario
from coldmark.core.settings import TestSettings
from coldmark.core.sut import Answers, Ids, SampleLibrary, SystemUnderTest
from coldmark.loadgen.outstanding import BLOCK_MIN, Dated, HarnessFault, Kept, Outstanding
from coldmark.loadgen.progress import COMPLETED, ISSUED, OVER, QUERIES, Progress

CHUNK = 4096
"""Largest completion handed to LoadGen at once."""

SWITCH_INTERVAL_S = 0.0005
"""How long one Python thread may keep another waiting while the clock runs."""


_MODES = {Mode.PERFORMANCE: "PerformanceOnly", Mode.ACCURACY: "AccuracyOnly"}

_PREFIX = {
    Scenario.SINGLE_STREAM: "single_stream",
    Scenario.MULTI_STREAM: "multi_stream",
    Scenario.SERVER: "server",
    Scenario.OFFLINE: "offline",
}

# Fields whose name in LoadGen carries the scenario. Offline calls its rate the expected one.
_SCENARIO_FIELDS = (
    "target_latency_percentile",
    "target_latency_ns",
    "target_qps",
    "expected_latency_ns",
    "samples_per_query",
)


def _to_loadgen(settings: TestSettings) -> Any:
    """LoadGen's own settings object, every value set by hand: none is left to the wheel."""
    out = lg.TestSettings()
    out.scenario = getattr(lg.TestScenario, settings.scenario.value)
    out.mode = getattr(lg.TestMode, _MODES[settings.mode])
    out.performance_sample_count_override = settings.performance_sample_count
    prefix = _PREFIX[settings.scenario]
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name in ("scenario", "mode", "performance_sample_count") or value is None:
            continue
        name = field.name
        if name in _SCENARIO_FIELDS:
            name = (
                "offline_expected_qps" if (prefix, name) == ("offline", "target_qps") else f"{prefix}_{name}"
            )
            if prefix == "offline" and name == "offline_target_latency_percentile":
                continue  # Offline has no latency to bound
        if not hasattr(out, name):
            raise HarnessFault(f"this LoadGen has no setting {name!r}")
        setattr(out, name, value)
    return out


class OfficialTest:
    """One LoadGen test over a SUT and a sample library.

    `on_failure(reason)` is called at most once, from any thread: nothing can be trusted after it, and
    the process is expected to leave without waiting for LoadGen. `keep_times` is for trials of Server: it
    costs a pair of integers a query.
    """

    def __init__(
        self,
        sut: SystemUnderTest,
        library: SampleLibrary,
        settings: TestSettings,
        progress: Progress,
        on_failure: Callable[[BaseException], None],
        *,
        keep_times: bool = False,
    ) -> None:
        self._sut = sut
        self._library = library
        self._settings = settings
        self._slots = progress.slots
        self._progress = progress
        self._on_failure = on_failure
        self._failed = False
        self._keep = settings.mode is Mode.ACCURACY or settings.accuracy_log_sampling_target > 0
        self._table = Outstanding()
        bound = settings.target_latency_ns if settings.scenario is Scenario.SERVER else None
        # Only a performance test can be doomed by its latencies.
        table = Kept if keep_times else Dated
        self._dated = table(bound) if bound and settings.mode is Mode.PERFORMANCE else None
        self._lock = threading.Lock()
        self._local = threading.local()
        self.counters = {"queries": 0, "issued": 0, "completed": 0, "completions": 0}

    def times_ns(self) -> NDArray[np.int64]:
        """When each Server query came and was answered, shape [n, 2]; empty unless they were to be kept."""
        return self._dated.times_ns() if isinstance(self._dated, Kept) else np.empty((0, 2), np.int64)

    def fail(self, error: BaseException) -> None:
        """Note the first failure and stop talking to LoadGen."""
        with self._lock:
            first, self._failed = not self._failed, True
        if first:
            self._on_failure(error)

    # -- callbacks: nothing may leave them --------------------------------------------------------

    def _issue(self, ids: list[int], indices: list[int]) -> None:
        try:
            if self._failed:
                return
            n = len(ids)
            array = np.array(ids, dtype=np.uint64)
            with self._lock:
                if self._dated is not None:
                    self._dated.add(ids)
                else:
                    self._table.add(ids if n < BLOCK_MIN else array)
                self._slots[QUERIES] += 1
                self._slots[ISSUED] += n
            self._sut.issue(array, np.array(indices, dtype=np.int64))
        except BaseException as error:  # noqa: BLE001 - a thread edge
            self.fail(error)

    def _flush(self) -> None:
        try:
            if not self._failed:
                self._sut.flush()
        except BaseException as error:  # noqa: BLE001 - a thread edge
            self.fail(error)

    def _load(self, indices: list[int]) -> None:
        try:
            self._library.load(np.array(indices, dtype=np.int64))
        except BaseException as error:  # noqa: BLE001 - a thread edge
            self.fail(error)

    def _unload(self, indices: list[int]) -> None:
        try:
            self._library.unload(np.array(indices, dtype=np.int64))
        except BaseException as error:  # noqa: BLE001 - a thread edge
            self.fail(error)

    def complete(self, ids: Ids, answers: Answers) -> None:
        """What the SUT calls: look the ids up, then hand them to LoadGen in chunks."""
        try:
            if self._failed:
                return
            n = len(ids)
            if len(answers) != n:
                raise HarnessFault(f"the SUT gave {len(answers)} answers for {n} ids")
            plain = ids.tolist()
            with self._lock:
                if self._dated is None:
                    self._table.take(ids)
                elif late := self._dated.take(plain):
                    self._slots[OVER] += late
                self._slots[COMPLETED] += n
                self.counters["completions"] += 1
            if n <= CHUNK:
                self._hand_over(plain, answers if self._keep else None)
                return
            for at in range(0, n, CHUNK):
                self._hand_over(plain[at : at + CHUNK], answers[at : at + CHUNK] if self._keep else None)
        except BaseException as error:  # noqa: BLE001 - a thread edge
            self.fail(error)

    def _hand_over(self, ids: list[int], answers: Answers | None) -> None:
        pool = self._pool(len(ids))
        if answers is None:
            for response, response_id in zip(pool, ids, strict=True):
                response.id = response_id
        else:
            for response, response_id, answer in zip(pool, ids, answers, strict=True):
                response.id = response_id
                response.data = answer.__array_interface__["data"][0]
                response.size = answer.nbytes
        lg.QuerySamplesComplete(pool)

    def _pool(self, n: int) -> list[Any]:
        """n response objects of this thread, made once a size: only their ids change."""
        try:
            return self._local.pools[n]  # type: ignore[no-any-return]
        except AttributeError:
            self._local.pools = {}
        except KeyError:
            pass
        pool = self._local.pools[n] = [lg.QuerySampleResponse(0, 0, 0) for _ in range(n)]
        return pool

    # -- the test ------------------------------------------------------------------------------

    def run(self, directory: Path) -> float:
        """Run the test with its logs in `directory`; returns wall seconds once LoadGen has ended.

        Call from the main thread, with the SUT started on this object's `complete` and `fail`. Only
        `on_failure` can end it early. Raises DataError where the folder cannot be written.
        """
        if not directory.is_dir():
            raise DataError("no such folder", where=str(directory), hint="LoadGen would abort without it")
        settings = _to_loadgen(self._settings)
        logs = lg.LogSettings()
        logs.enable_trace = False
        logs.log_output.outdir = str(directory)
        logs.log_output.copy_summary_to_stdout = False
        logs.log_output.copy_detail_to_stdout = False
        sut = lg.ConstructFastSUT(self._issue, self._flush)
        qsl = lg.ConstructQSL(
            self._library.count, self._settings.performance_sample_count, self._load, self._unload
        )
        # LoadGen silently obeys an audit.config in the working directory; this name is never there.
        audit = str(directory / "no-audit.config")
        thread = threading.Thread(
            target=lg.StartTestWithLogSettings,
            args=(sut, qsl, settings, logs, audit),
            name="loadgen",
            daemon=True,
        )
        _quiet_interpreter()
        self._progress.set("started_ns", time.time_ns())
        started = time.monotonic()
        thread.start()
        thread.join()
        wall = time.monotonic() - started
        lg.DestroyQSL(qsl)
        lg.DestroyFastSUT(sut)
        for name in ("queries", "issued", "completed"):
            self.counters[name] = int(getattr(self._progress, name))
        if left := len(self._table if self._dated is None else self._dated):
            raise HarnessFault(f"LoadGen ended with {left} samples outstanding")
        return wall


def _quiet_interpreter() -> None:
    """No collection while the clock runs, and short turns for the threads that answer."""
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
