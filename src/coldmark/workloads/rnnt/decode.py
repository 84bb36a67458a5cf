"""Greedy decoding of a batch: all utterances step together, and each step looks several frames ahead.

The reference walks one utterance: at a frame, ask prediction network and joint for the best symbol; a label
is said and changes the prediction network's state, a blank goes to the next frame. Between two labels that
state does not change, so the joint can be evaluated over a window of frames at once: the first frame whose
best symbol is no blank is where the reference would have said it. A step of the batch thus says one label
of each utterance (or finds a whole window blank), and the number of steps falls from labels plus frames to
little more than labels. What is said is the same, symbol for symbol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.core.sut import Tensors
from coldmark.workloads.rnnt.alphabet import BLANK

MOST_AT_A_FRAME = 30
"""Labels at one frame before the reference goes on without a blank."""

Step = Callable[[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]], Tensors]
"""symbol [n], state [s, n, p], heard [n, window, joint] -> logits [n, window, symbols], next state [s, n,
p]."""


class Greedy:
    """A decoder with its own buffers: for one thread.

    `sizes` are the batch sizes, ascending, that `step` may be called with: as utterances end, the batch
    shrinks.
    """

    def __init__(
        self, step: Step, sizes: Sequence[int], window: int, state: tuple[int, int], joint: int
    ) -> None:
        self._step = step
        self._sizes = tuple(sizes)
        self._ahead = np.arange(window)
        parts, width = state
        self._states = {n: np.zeros((parts, n, width), np.float32) for n in sizes}
        self._symbols = {n: np.zeros(n, np.int64) for n in sizes}
        self._windows = {n: np.zeros((n, window, joint), np.float32) for n in sizes}

    def __call__(self, heard: NDArray[np.float32], frames: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """heard [>= n, t, joint], of which utterance i has frames[i] <= t -> the labels said in each of n."""
        flat = heard.reshape(-1, heard.shape[-1])
        count = len(frames)
        batch = _Batch(self._sizes, frames, heard.shape[1])
        state, symbol = self._states[batch.size], self._symbols[batch.size]
        state[...] = 0.0
        symbol[...] = BLANK
        who: list[NDArray[np.int64]] = []
        what: list[NDArray[np.int64]] = []
        while batch.going:
            window = self._windows[batch.size]
            np.take(flat, batch.places(self._ahead), axis=0, out=window, mode="clip")
            logits, after = self._step(symbol, state, window)
            best = logits.argmax(axis=2)
            hit, labels = batch.advance(best, self._ahead)
            np.copyto(state, after, where=hit[:, None])
            np.copyto(symbol, labels, where=hit)
            who.append(batch.rows[hit])
            what.append(labels[hit])
            kept = batch.shrink()
            if kept is not None:
                state, symbol = self._moved(state, symbol, kept)
        return _sorted_out(who, what, count)

    def _moved(self, state: NDArray[Any], symbol: NDArray[Any], kept: NDArray[np.int64]) -> tuple[Any, Any]:
        """The kept rows in the buffers of the smaller size."""
        smaller = self._states[len(kept)], self._symbols[len(kept)]
        np.take(state, kept, axis=1, out=smaller[0], mode="clip")
        np.take(symbol, kept, out=smaller[1], mode="clip")
        return smaller


class _Batch:
    """Where each row of the batch stands: its utterance, its frame, and what it said at that frame."""

    def __init__(self, sizes: Sequence[int], frames: NDArray[np.int64], longest: int) -> None:
        self._sizes = sizes
        self._longest = longest
        self.size = next(n for n in sizes if n >= len(frames))
        self.rows = np.arange(self.size)
        self.rows[len(frames) :] = 0  # padding: rows that have ended
        self._end = np.zeros(self.size, np.int64)
        self._end[: len(frames)] = frames
        self._at = np.zeros(self.size, np.int64)
        self._run = np.zeros(self.size, np.int64)
        self._each = np.arange(self.size)
        self._left = self._end > 0
        self.going = bool(self._left.any())

    def places(self, ahead: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the flat frames each window takes, [size, window]; past an utterance's end its last
        again."""
        inside: NDArray[np.int64] = np.minimum(self._at[:, None] + ahead, self._longest - 1)
        inside += (self.rows * self._longest)[:, None]
        return inside

    def advance(
        self, best: NDArray[np.int64], ahead: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Go to the first label in each window, or past it: (whether a label was said, which), [size]
        each."""
        said = (best != BLANK) & (ahead < (self._end - self._at)[:, None])
        first = said.argmax(axis=1)
        hit = said[self._each, first]
        labels = best[self._each, first]
        moved = np.where(hit, first, len(ahead))
        self._run = np.where(moved == 0, self._run, 0) + hit
        full = self._run >= MOST_AT_A_FRAME
        self._at += moved + full
        self._run[full] = 0
        self._left = self._at < self._end
        self.going = bool(self._left.any())
        return hit, labels

    def shrink(self) -> NDArray[np.int64] | None:
        """The rows that are kept when those still going fit a smaller size; None where all stay."""
        left = int(np.count_nonzero(self._left))
        size = next(n for n in self._sizes if n >= left)
        if not left or size == self.size:
            return None
        kept = np.flatnonzero(self._left)
        kept = np.concatenate((kept, np.flatnonzero(~self._left)[: size - left]))
        self.size = size
        self.rows, self._end, self._at = self.rows[kept], self._end[kept], self._at[kept]
        self._run, self._left = self._run[kept], self._left[kept]
        self._each = self._each[:size]
        return kept


def _sorted_out(
    who: list[NDArray[np.int64]], what: list[NDArray[np.int64]], count: int
) -> list[NDArray[np.int64]]:
    """What was said step by step -> what each utterance said, in order."""
    if not who:
        return [np.zeros(0, np.int64)] * count
    rows, labels = np.concatenate(who), np.concatenate(what)
    order = np.argsort(rows, kind="stable")
    return np.split(labels[order], np.cumsum(np.bincount(rows, minlength=count))[: count - 1])
