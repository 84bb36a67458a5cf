"""A child process that counts how often LoadGen issues each sample with equal issue.

Usage: python equal_issue_child.py DIRECTORY SCENARIO
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from coldmark.core.nouns import Mode, Scenario
from coldmark.core.settings import TestSettings
from coldmark.core.sut import Complete, Fail, Ids, Indices
from coldmark.loadgen.child import Child
from coldmark.loadgen.official import OfficialTest
from coldmark.rules.book import load_book


class Library:
    name, count, performance_count = "counted", 43, 42

    def load(self, indices: Indices) -> None: ...

    def unload(self, indices: Indices) -> None: ...


class CountingSut:
    name = "counting"

    def __init__(self) -> None:
        self.issued: Counter[int] = Counter()

    def start(self, complete: Complete, fail: Fail) -> None:
        self._complete = complete

    def issue(self, ids: Ids, indices: Indices) -> None:
        self.issued.update(indices.tolist())
        self._complete(ids, np.zeros((len(ids), 1), np.uint8))

    def flush(self) -> None: ...


def main(directory: Path, scenario: Scenario) -> None:
    book, child, sut = load_book("v2.1"), Child(directory), CountingSut()
    settings = TestSettings(
        scenario=scenario,
        mode=Mode.PERFORMANCE,
        min_duration_ms=10,
        min_query_count=100,
        qsl_rng_seed=book.seeds.qsl,
        sample_index_rng_seed=book.seeds.sample_index,
        schedule_rng_seed=book.seeds.schedule,
        performance_sample_count=42,
        target_latency_percentile=None if scenario is Scenario.OFFLINE else 0.9,
        target_qps=1000.0 if scenario is Scenario.OFFLINE else None,
        expected_latency_ns=None if scenario is Scenario.OFFLINE else 1_000_000,
        sample_concatenate_permutation=True,
    )
    test = OfficialTest(sut, Library(), settings, child.progress, child.fail)  # type: ignore[arg-type]
    sut.start(test.complete, child.fail)
    test.run(directory)
    sys.stdout.write(json.dumps(sorted(sut.issued.values())))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Scenario(sys.argv[2]))
