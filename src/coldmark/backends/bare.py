"""The bare rate: the same slots on the same kind of samples, with no LoadGen and no queue around them.

It says what the harness costs, and from it rates that nobody typed are found. Of samples of unequal size a
few from the whole range are taken, and their rate is scaled to the mean size of the library.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from coldmark.backends.slots import Bench, Slot, alike, batch_ends
from coldmark.core.sut import Answers, Indices, SampleLibrary

SEED = 20220908
BATCHES = 8
"""Batches of unequal samples that are gone through in turn."""

LANDINGS = 3
"""Batches of each slot that are counted at least, however slow the model, ..."""

LONG = 10
"""... unless they take as many times the seconds given: then one."""

SINGLES = 48
"""Unequal samples at least, where queries are small."""


def typical_samples(bench: Bench, library: SampleLibrary) -> int:
    """Samples of mean size in the largest batch; at least one."""
    if bench.size is None or not bench.by_size:
        return bench.largest
    return max(1, round(bench.largest / mean_size(bench, library)))


def mean_size(bench: Bench, library: SampleLibrary) -> float:
    """Mean size of the library's samples; 1 where they are equal."""
    if bench.size is None:
        return 1.0
    return float(np.mean(bench.size(np.arange(library.count, dtype=np.int64))))


def _batches(bench: Bench, library: SampleLibrary, samples: int | None) -> list[Indices]:
    """Batches as a run would form them: of `samples`, or as large as they get."""
    per = samples or typical_samples(bench, library)
    if bench.size is None:
        per, loadable = min(per, bench.largest), min(library.count, library.performance_count)
        count = BATCHES * max(1, SINGLES // per // BATCHES) if bench.varied else 1
        return list((np.arange(count * per, dtype=np.int64) % loadable).reshape(count, per))
    size = bench.size(np.arange(library.count, dtype=np.int64))
    if samples is None:
        # As a whole Offline query would be cut, and of these a few over the whole range of sizes.
        cut = [part for part, _ in alike(size, bench.largest, bench.by_size)]
        cut.sort(key=lambda part: float(np.mean(size[part])))
        found = [cut[i] for i in _spread(len(cut), BATCHES)]
    else:
        order = np.argsort(size, kind="stable")
        drawn = order[_spread(len(order), max(SINGLES, BATCHES * per))]
        drawn = np.random.default_rng(SEED).permutation(drawn)
        found = [_fitting(bench, drawn[at : at + per]) for at in range(0, len(drawn), per)]
    return [found[i] for i in np.random.default_rng(SEED + 1).permutation(len(found))]


def _spread(count: int, wanted: int) -> list[int]:
    """So many indices below `count`, evenly spaced; all where there are fewer."""
    wanted = min(count, wanted)
    return [int((i + 0.5) * count / wanted) for i in range(wanted)]


def _fitting(bench: Bench, batch: Indices) -> Indices:
    """The first samples of a batch that one slot takes at a time."""
    if not bench.by_size or bench.size is None:
        return batch[: bench.largest]
    return batch[: batch_ends(bench.size(batch), bench.largest)[0]]


@contextmanager
def _loaded(library: SampleLibrary, batches: Sequence[Indices]) -> Iterator[None]:
    wanted = np.unique(np.concatenate(batches))
    library.load(wanted)
    try:
        yield
    finally:
        library.unload(wanted)


def _work(bench: Bench, batch: Indices) -> float:
    return float(len(batch) if bench.size is None else np.sum(bench.size(batch)))


def bare_inline(bench: Bench, library: SampleLibrary, seconds: float, samples: int) -> float:
    """Samples/s of batches of `samples`, one after another in this thread."""
    most = 1 if bench.by_size else bench.largest
    batches = _batches(bench, library, min(samples, most))
    with _loaded(library, batches):
        slot = bench.slots[0]
        slot.bare(min(batches, key=lambda batch: _work(bench, batch)))
        done, count, turn = 0.0, 0, cycle([(b, _work(bench, b)) for b in batches])
        now = started = time.perf_counter()
        while now < started + seconds or (count < LANDINGS and now < started + LONG * seconds):
            batch, work = next(turn)
            slot.bare(batch)
            done, count = done + work, count + 1
            now = time.perf_counter()
    return done / mean_size(bench, library) / (now - started)


def bare_times(bench: Bench, library: SampleLibrary, seconds: float, samples: int) -> NDArray[np.float64]:
    """Wall seconds of batches of `samples`, one after another on one slot, shape [n]."""
    if not bench.by_size:
        samples = min(samples, bench.largest)
    batches = _batches(bench, library, samples)
    times: list[float] = []
    with _loaded(library, batches):
        slot, turn = bench.slots[0], cycle(batches)
        slot.bare(batches[0])
        last = started = time.perf_counter()
        while last - started < seconds:
            slot.bare(next(turn))
            now = time.perf_counter()
            times.append(now - last)
            last = now
    return np.array(times)


def bare_queued(bench: Bench, library: SampleLibrary, seconds: float) -> float:
    """Samples/s of all slots, each restarted as it lands, at the largest batch."""
    batches = _batches(bench, library, None)
    with _loaded(library, batches):
        return _Round(bench, batches, seconds).rate() / mean_size(bench, library)


@dataclass(slots=True)
class _Turns:
    """One slot's batches in turn, and what it did between its first landing and its last."""

    batches: Iterator[tuple[Indices, float]]
    flying: float = 0.0  # the work of the batch it has
    first: float | None = None
    last: float = 0.0
    landings: int = 0  # after the first
    work: float = 0.0  # of these

    def land(self, now: float) -> None:
        if self.first is None:
            self.first = now
        else:
            self.landings += 1
            self.work += self.flying
        self.last = now

    @property
    def span(self) -> float:
        return 0.0 if self.first is None else self.last - self.first


class _Round:
    """All slots kept busy for a while.

    Each slot is counted between landings of its own, while all others were flying: what starts and ends with
    idle slots is not in it, which of a model that computes a batch a second is most of the time. Landings of
    all slots over one wall would count too many where slots land together.
    """

    def __init__(
        self,
        bench: Bench,
        batches: Sequence[Indices],
        seconds: float,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        # Each slot has batches of its own, so that what is in place stays in place.
        turns = [list(batches)] if len(batches) > 1 else [[b.copy() for b in batches] for _ in bench.slots]
        self._turns = {
            id(slot): _Turns(
                cycle([(b, _work(bench, b)) for b in turns[i % len(turns)][:: 1 if i % 2 == 0 else -1]])
            )
            for i, slot in enumerate(bench.slots)
        }
        self._slots, self._seconds, self._now = bench.slots, seconds, now
        self._lock, self._landed_all = threading.Lock(), threading.Event()
        self._over, self._left = False, len(bench.slots)
        self._errors = list[BaseException]()

    def rate(self) -> float:
        """Work a second. The first batch of each slot warms it up."""
        self._started = self._now()
        for slot in self._slots:
            self._start(slot)
        self._landed_all.wait()
        if self._errors:
            raise self._errors[0]
        turns = self._turns.values()
        return len(turns) * sum(t.work for t in turns) / sum(t.span for t in turns)

    def _start(self, slot: Slot) -> None:
        turns = self._turns[id(slot)]
        batch, turns.flying = next(turns.batches)
        slot.start_bare(batch, self._landed)

    def _landed(self, slot: Slot, answers: Answers | None, error: BaseException | None) -> None:
        with self._lock:
            if not self._over:
                now = self._now()
                self._turns[id(slot)].land(now)
                self._over = error is not None or self._enough(now - self._started)
            stop = self._over
            if stop:
                self._leave(error)
        if not stop:
            try:
                self._start(slot)
            except BaseException as problem:  # noqa: BLE001 - a thread edge
                with self._lock:
                    self._over = True
                    self._leave(problem)

    def _enough(self, spent: float) -> bool:
        """Whether every slot landed often enough for the time that took. Lock held."""
        if spent < self._seconds:
            return False
        least = min(turns.landings for turns in self._turns.values())
        return least >= (LANDINGS if spent < LONG * self._seconds else 1)

    def _leave(self, error: BaseException | None) -> None:
        """Note that a slot is started no more, and why if that is an error. Lock held."""
        if error is not None:
            self._errors.append(error)
        self._left -= 1
        if not self._left:
            self._landed_all.set()
