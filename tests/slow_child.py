"""A child process whose SUT takes a given time for each sample, under the real LoadGen.

Usage: python slow_child.py DIRECTORY SECONDS [queued], with the test's settings.json in the directory
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from pathlib import Path

from coldmark.core.codec import from_plain, read_json
from coldmark.core.nouns import Scenario
from coldmark.core.settings import SourcedSettings
from coldmark.core.sut import Ids, Indices
from coldmark.loadgen.child import Child
from coldmark.loadgen.official import OfficialTest
from coldmark.loadgen.progress import Phase
from faulty_child import FaultySut, Library


class SlowSut(FaultySut):
    """Sleeps before each answer, in the thread that issues."""

    def __init__(self, answer_s: float) -> None:
        super().__init__("none")
        self._answer_s = answer_s

    def issue(self, ids: Ids, indices: Indices) -> None:
        for at in range(len(ids)):
            time.sleep(self._answer_s)
            self._answer(ids[at : at + 1])


class QueuedSut(SlowSut):
    """Takes every query at once, and answers one after another in a thread of its own."""

    def __init__(self, answer_s: float) -> None:
        super().__init__(answer_s)
        self._queue: queue.SimpleQueue[tuple[Ids, Indices]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            super().issue(*self._queue.get())

    def issue(self, ids: Ids, indices: Indices) -> None:
        self._queue.put((ids, indices))


def main() -> None:
    directory, answer_s = Path(sys.argv[1]), float(sys.argv[2])
    path = directory / "settings.json"
    settings = from_plain(read_json(path), SourcedSettings, where=str(path)).settings
    child = Child(directory)
    if settings.scenario is Scenario.OFFLINE:
        samples = int(1.1 * (settings.target_qps or 0) * settings.min_duration_ms / 1000)
        child.progress.set("expected", max(samples, settings.min_query_count))
    sut = (QueuedSut if "queued" in sys.argv else SlowSut)(answer_s)
    test = OfficialTest(sut, Library("none"), settings, child.progress, child.fail)
    sut.start(test.complete, child.fail)
    child.phase(Phase.RUNNING)
    test.run(directory)
    child.finish({"counters": test.counters})


if __name__ == "__main__":
    main()
