"""The child's side of one test: it ends with a whole outcome file, or with one that says why not.

The main thread only waits, so that a signal is always heard; StartTest has a thread of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from coldmark.core.errors import ColdmarkError
from coldmark.core.nouns import State
from coldmark.loadgen.progress import FILE_NAME, Phase, Progress

OUTCOME = "outcome.json"
LOG_GRACE_S = 0.05
"""What LoadGen's logger needs to write out what it holds before the process leaves."""

_PR_SET_PDEATHSIG = 1


class Child:
    """The process that runs one test in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.progress = Progress(directory / FILE_NAME, create=True)
        self.progress.set("pid", os.getpid())
        self._dying = threading.Lock()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        die_with_parent()

    def phase(self, phase: Phase) -> None:
        """Say what is being done."""
        self.progress.enter(phase)

    def finish(self, outcome: dict[str, Any]) -> None:
        """Write the outcome of a test that came to its own end."""
        self.phase(Phase.DONE)
        write_outcome(self.directory, {"state": State.COMPLETE.value, **outcome})

    def fail(self, error: BaseException) -> NoReturn:
        """Write why, give LoadGen's logger its moment, and leave: never through a normal end."""
        self._leave({"state": State.FAILED.value, "error": describe_error(error)}, 70)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        error = {"kind": "Interrupted", "message": f"stopped by {name}", "where": None, "hint": None}
        self._leave({"state": State.INTERRUPTED.value, "error": error}, 128 + number)

    def _leave(self, outcome: dict[str, Any], code: int) -> NoReturn:
        if not self._dying.acquire(blocking=False):
            time.sleep(10)  # another thread is already on its way out with the reason that came first
        running = self.progress.phase == Phase.RUNNING
        write_outcome(self.directory, outcome)
        if running:
            time.sleep(LOG_GRACE_S)
        sys.stderr.flush()
        os._exit(code)


def describe_error(error: BaseException) -> dict[str, Any]:
    """An error as plain data, so that the parent can raise it again as what it was."""
    if isinstance(error, ColdmarkError):
        return {
            "kind": type(error).__name__,
            "message": error.message,
            "where": error.where,
            "hint": error.hint,
        }
    traceback.print_exception(error, file=sys.stderr)
    return {
        "kind": "RunError",
        "message": f"{type(error).__name__}: {error}",
        "where": None,
        "hint": "the child's log has the traceback",
    }


def write_outcome(directory: Path, outcome: dict[str, Any]) -> None:
    """Write the outcome aside, then rename it: it is there whole or not at all."""
    aside = directory / f".{OUTCOME}.part"
    aside.write_text(json.dumps(outcome, indent=2) + "\n", encoding="utf-8")
    aside.replace(directory / OUTCOME)


def die_with_parent() -> None:
    """Ask Linux to stop this process when its parent dies, so that a killed run leaves no stray."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() == 1:
        os.kill(os.getpid(), signal.SIGTERM)
