"""A child process whose SUT breaks the contract in one named way, under the real LoadGen.

Usage: python faulty_child.py DIRECTORY SCENARIO FAULT
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from coldmark.core.nouns import Mode, Scenario
from coldmark.core.settings import TestSettings
from coldmark.core.sut import Complete, Fail, Ids, Indices, Tensors
from coldmark.loadgen.child import Child
from coldmark.loadgen.official import OfficialTest
from coldmark.loadgen.progress import Phase
from coldmark.rules.book import load_book

AFTER = 20  # queries (Offline: samples) answered rightly first


class Library:
    name, count, performance_count = "faulty", 2000, 1024

    def __init__(self, fault: str) -> None:
        self._fault = fault

    def load(self, indices: Indices) -> None:
        if self._fault == "load-raises":
            raise OSError("the disk is gone")

    def unload(self, indices: Indices) -> None:
        pass

    def fill(self, indices: Indices, inputs: Tensors) -> None:
        pass


class FaultySut:
    name = "faulty"

    def __init__(self, fault: str) -> None:
        self._fault = fault
        self._seen = 0
        self._complete: Complete
        self._last: Ids | None = None

    def start(self, complete: Complete, fail: Fail) -> None:
        self._complete, self._fail = complete, fail

    def _answer(self, ids: Ids) -> None:
        self._complete(ids, np.full((len(ids), 4), 7, np.uint8))

    def issue(self, ids: Ids, indices: Indices) -> None:
        self._seen += 1
        if len(ids) > AFTER:  # Offline
            self._answer(ids[:AFTER])
            ids = ids[AFTER:]
        elif self._seen <= AFTER or self._fault == "none":
            self._last = ids
            self._answer(ids)
            return
        self._break(ids)

    def _break(self, ids: Ids) -> None:
        fault = self._fault
        if fault == "none":
            self._answer(ids)
        elif fault == "twice":
            self._answer(ids)
            self._answer(ids)
        elif fault == "unknown":
            self._answer(ids + np.uint64(1))
        elif fault == "zero":
            self._answer(np.zeros(len(ids), np.uint64))
        elif fault == "late":
            assert self._last is not None
            self._answer(self._last)
        elif fault == "short-answers":
            self._complete(ids, np.zeros((0, 4), np.uint8))
        elif fault == "raises":
            raise ValueError("the model fell over")
        elif fault == "never":
            pass
        elif fault == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif fault == "worker-dies":
            threading.Thread(target=lambda: self._fail(RuntimeError("worker 3 is gone"))).start()
        elif fault == "deaf":  # holds the interpreter, so that no signal handler ever runs
            list(range(10**9)).sort()
            time.sleep(60)

    def flush(self) -> None:
        if self._fault == "flush-raises":
            raise ValueError("flush fell over")

    def bare_rate(self, seconds: float, samples: int) -> float:
        return 1.0

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


def settings(scenario: Scenario, mode: Mode) -> TestSettings:
    seeds = load_book("v2.1").seeds
    return TestSettings(
        scenario=scenario,
        mode=mode,
        min_duration_ms=1 if scenario is Scenario.OFFLINE else 300,
        min_query_count=200_000 if scenario is Scenario.OFFLINE else 100,
        qsl_rng_seed=seeds.qsl,
        sample_index_rng_seed=seeds.sample_index,
        schedule_rng_seed=seeds.schedule,
        performance_sample_count=1024,
        target_latency_percentile=None if scenario is Scenario.OFFLINE else 0.9,
        target_latency_ns=10_000_000_000 if scenario is Scenario.SERVER else None,
        target_qps=1000.0 if scenario in (Scenario.SERVER, Scenario.OFFLINE) else None,
        expected_latency_ns=5000 if scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM) else None,
        samples_per_query=8 if scenario is Scenario.MULTI_STREAM else None,
    )


def main() -> None:
    directory, scenario, fault = Path(sys.argv[1]), Scenario(sys.argv[2]), sys.argv[3]
    mode = Mode.ACCURACY if fault == "none-accuracy" else Mode.PERFORMANCE
    fault = "none" if fault.startswith("none") else fault
    child = Child(directory)
    sut, library = FaultySut(fault), Library(fault)
    test = OfficialTest(sut, library, settings(scenario, mode), child.progress, child.fail)
    sut.start(test.complete, child.fail)
    child.phase(Phase.RUNNING)
    out = directory / "nowhere" if fault == "no-folder" else directory
    try:
        test.run(out)
    except Exception as error:  # noqa: BLE001 - the process edge, as in the real worker
        child.fail(error)
    child.finish({"counters": test.counters})


if __name__ == "__main__":
    main()
