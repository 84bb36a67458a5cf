"""The parent's side of one test: it starts the child, watches it, and says how it ended.

A stall, a dead child or Ctrl-C ends in a result that says so. Nothing is ever completed on LoadGen's
behalf to bring it to an end: that would be a fabricated result.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldmark.core.errors import DataError, Doomed
from coldmark.core.nouns import State
from coldmark.loadgen.child import OUTCOME, write_outcome
from coldmark.loadgen.progress import FILE_NAME, Phase, read_progress

POLL_S = 0.2
KILL_AFTER_S = 5.0
CHILD_LOG = "child.log"
WORDS_BYTES = 2000
"""What is read of a log whose last line is wanted."""

OnProgress = Callable[[Mapping[str, int]], None]


@dataclass(frozen=True, slots=True)
class ChildResult:
    """How a child ended, and what it wrote."""

    state: State
    outcome: dict[str, Any]

    @property
    def error(self) -> dict[str, Any]:
        """Kind, message, place and hint of what went wrong; empty for a complete test."""
        found = self.outcome.get("error")
        return found if isinstance(found, dict) else {}


class Stalled(Exception):
    """Samples are outstanding and none has been completed for too long."""


def supervise(
    argv: Sequence[str],
    directory: Path,
    *,
    stall_s: float,
    on_progress: OnProgress | None = None,
    env: Mapping[str, str] | None = None,
) -> ChildResult:
    """Run a child to its end. Its own words go to `child.log` in `directory`.

    KeyboardInterrupt stops the child first and is answered with an interrupted result, Doomed (raised by
    `on_progress`) with a stopped one.
    """
    with (directory / CHILD_LOG).open("wb") as log:
        # A session of its own: the terminal's Ctrl-C reaches the parent alone, which then decides.
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=None if env is None else dict(env),
        )
        try:
            _watch(process, directory, stall_s, on_progress)
        except Stalled as stall:
            _stop(process)
            return _failed(
                directory, str(stall), "the SUT stopped answering; nothing was completed in its place"
            )
        except Doomed as doom:
            _stop(process)
            error = {"kind": "Doomed", "message": doom.message, "where": doom.where, "hint": doom.hint}
            return _write(directory, State.STOPPED, error)
        except KeyboardInterrupt:
            _stop(process)
            return _interrupted(directory)
        except BaseException:
            _stop(process)
            raise
    return _result(process.returncode, directory)


def _watch(
    process: subprocess.Popen[bytes], directory: Path, stall_s: float, on_progress: OnProgress | None
) -> None:
    last, since = -1, time.monotonic()
    while process.poll() is None:
        time.sleep(POLL_S)
        counters = read_progress(directory / FILE_NAME)
        if counters is None:
            continue
        if on_progress:
            on_progress(counters)
        waiting = counters["issued"] - counters["completed"]
        mark = counters["completed"]
        if mark != last or counters["phase"] != Phase.RUNNING or not waiting:
            last, since = mark, time.monotonic()
        elif (silent := time.monotonic() - since) > max(stall_s, counters["patience_ms"] / 1000):
            raise Stalled(f"no sample completed for {silent:.0f} s, {waiting} outstanding")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the child to leave; if it cannot hear, end it."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(KILL_AFTER_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _result(code: int, directory: Path) -> ChildResult:
    path = directory / OUTCOME
    try:
        outcome = json.loads(path.read_text(encoding="utf-8"))
        return ChildResult(State.parse(outcome["state"]), outcome)  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, TypeError):
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        log = directory / CHILD_LOG
        return _failed(directory, f"the child died of {how}{last_words(log)}", f"more of its words: {log}")


def last_words(log: Path) -> str:
    """`: ` and the last line of a log, cut short; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - WORDS_BYTES))
            lines = file.read(WORDS_BYTES).decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return f": {lines[-1][:200]}" if lines else ""


def _failed(directory: Path, message: str, hint: str) -> ChildResult:
    return _write(
        directory, State.FAILED, {"kind": "RunError", "message": message, "where": None, "hint": hint}
    )


def _interrupted(directory: Path) -> ChildResult:
    error = {"kind": "Interrupted", "message": "stopped by the user", "where": None, "hint": None}
    return _write(directory, State.INTERRUPTED, error)


def _write(directory: Path, state: State, error: dict[str, Any]) -> ChildResult:
    outcome = {"state": state.value, "error": error}
    try:
        write_outcome(directory, outcome)
    except OSError as problem:
        raise DataError(problem.strerror or str(problem), where=str(directory)) from None
    return ChildResult(state, outcome)
