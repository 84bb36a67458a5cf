"""The parent's side of one configuration: a warm child that measures when asked, within time and memory."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from coldmark.core import errors
from coldmark.core.codec import dump_json
from coldmark.core.errors import BackendError, ColdmarkError, RunError
from coldmark.core.record import RunSpec
from coldmark.core.tuned import Configuration
from coldmark.loadgen.supervise import last_words
from coldmark.runs.execute import child_environment
from coldmark.runs.tuning.child import TuneJob
from coldmark.runs.tuning.search import Infeasible, Reading, TooLarge, TooSlow

POLL_S = 0.1
CLOSE_S = 5.0
MAX_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a child may take."""

    cache: str
    memory_bytes: int


class Bench:
    """One configuration, warm. Raises TooSlow, TooLarge, or what the child ended with."""

    def __init__(self, spec: RunSpec, room: Room, limit_s: float, *, latency: bool) -> None:
        self.peak_rss_bytes = 0
        self.facts: dict[str, Any] = {}
        self._room, self._latency = room, latency
        self._folder = tempfile.TemporaryDirectory(prefix="coldmark-tune-")
        folder = Path(self._folder.name)
        (folder / "job.json").write_text(dump_json(TuneJob(spec=spec, cache=room.cache)), encoding="utf-8")
        self._log = (folder / "child.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "coldmark.runs.tuning.child", str(folder / "job.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
            env=child_environment(),
        )
        self._left = b""
        try:
            self.facts = self._answer(limit_s).get("facts", {})
        except BaseException:
            self.close()
            raise

    @property
    def units_per_sample(self) -> float:
        """What a batch counts to, for each sample in it."""
        batch, samples = self.facts.get("batch"), self.facts.get("batch_samples")
        if isinstance(batch, int) and isinstance(samples, int) and samples > 0:
            return batch / samples
        return 1.0

    def score(self, seconds: float, limit_s: float) -> Reading:
        """The scenario's figure, read for about so long. Raises Infeasible where no rate meets the bound."""
        found = self._ask("score", seconds, limit_s)
        if found.get("infeasible"):
            raise Infeasible(str(found["infeasible"]))
        value = float(found["value"])
        return Reading(value=value, score=1 / value if self._latency else value)

    def pulse(self, seconds: float, limit_s: float) -> float:
        """How fast the machine is now [1/s]."""
        return float(self._ask("pulse", seconds, limit_s)["value"])

    def _ask(self, measure: str, seconds: float, limit_s: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        with suppress(OSError):  # where it is gone, what it said last is read below
            self._process.stdin.write(json.dumps({"measure": measure, "seconds": seconds}).encode() + b"\n")
            self._process.stdin.flush()
        return self._answer(limit_s)

    def _answer(self, limit_s: float) -> dict[str, Any]:
        """The child's next line. While it is waited for, its memory and the time are watched."""
        assert self._process.stdout is not None
        until = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._left:
                if selector.select(POLL_S):
                    piece = os.read(self._process.stdout.fileno(), 65536)
                    if not piece or len(self._left) > MAX_ANSWER_BYTES:
                        raise self._died()
                    self._left += piece
                    continue
                self._check_memory()
                if time.monotonic() > until:
                    raise TooSlow(f"not ready after {limit_s:.0f} s")
        line, _, self._left = self._left.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        self.peak_rss_bytes = max(self.peak_rss_bytes, int(found.get("peak_rss_bytes", 0)))
        if "error" in found:
            raise _as_error(found["error"])
        self._check_memory()
        return found

    def _check_memory(self) -> None:
        try:
            self.peak_rss_bytes = max(
                self.peak_rss_bytes, psutil.Process(self._process.pid).memory_info().rss
            )
        except psutil.Error:
            return
        if self.peak_rss_bytes > self._room.memory_bytes:
            took, most = (n / 2**30 for n in (self.peak_rss_bytes, self._room.memory_bytes))
            raise TooLarge(f"took {took:.2f} GiB, {most:.2f} are allowed")

    def _died(self) -> ColdmarkError:
        try:
            code = self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            return RunError("the child closed its pipe")
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        out_of_memory = " (out of memory?)" if code == -signal.SIGKILL else ""
        return BackendError(f"the child died of {how}{out_of_memory}{last_words(Path(self._log.name))}")

    def close(self) -> None:
        """End the child. May be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(CLOSE_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._log.close()
        self._folder.cleanup()


@dataclass(slots=True)
class Opener:
    """Opens configurations of one run's spec."""

    spec: RunSpec
    room: Room
    latency: bool
    others: dict[str, str] = field(default_factory=dict)  # fixed options that are not the backend's

    def __call__(self, configuration: Configuration, limit_s: float) -> Bench:
        return Bench(self.spec_of(configuration), self.room, limit_s, latency=self.latency)

    def spec_of(self, configuration: Configuration) -> RunSpec:
        """The spec that runs a configuration."""
        return replace(
            self.spec,
            backend=configuration.backend,
            precision=configuration.precision,
            options={**self.others, **configuration.options},
        )


def _as_error(found: dict[str, Any]) -> ColdmarkError:
    kind = getattr(errors, str(found.get("kind")), RunError)
    error: ColdmarkError = kind(str(found.get("message")), where=found.get("where"), hint=found.get("hint"))
    return error
