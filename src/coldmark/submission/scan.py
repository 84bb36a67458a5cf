"""Detail logs, scanned: every line is proven to be a log entry, only the few that matter become values.

msgspec proves about 1 GB a second and core, which is what lets a whole round be checked in seconds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import BinaryIO
from zlib import crc32

import msgspec

from coldmark.core.runlog import LogLine
from coldmark.submission.tree import Tree, Unreadable, open_plain

MARK = b":::MLLOG "
BUFFER = 256 << 10
"""Bytes read at a time: what a core's cache holds."""
MAX_LINE_BYTES = 32 << 20
MAX_DETAIL_BYTES = 1 << 30
MAX_VALUE_BYTES = 64 << 10
MAX_LINES_KEPT = 20
"""Of each kind of trouble; more of them say nothing more."""

KEPT = ("effective_", "result_", "early_stopping_")
KEPT_EXACTLY = frozenset(
    {
        "loadgen_version",
        "sut_name",
        "qsl_reported_total_count",
        "test_datetime",
        "power_begin",
        "power_end",
        "generated_query_count",
        "generated_samples_per_query",
        "loadgen_git_status_message",
        "requested_use_token_latencies",
    }
)


class _Meta(msgspec.Struct, gc=False):
    is_error: bool
    is_warning: bool = False


class _Entry(msgspec.Struct, gc=False):
    key: str
    value: msgspec.Raw
    metadata: _Meta


_decode = msgspec.json.Decoder(_Entry).decode
Value = str | int | float | bool | None
_SCALARS = (str, int, float)  # a bool is an int


@dataclass(slots=True)
class DetailLog:
    """What a detail log says: the first value of each key that matters, its line, and what is wrong in it."""

    path: str
    values: dict[str, Value] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    errors: list[LogLine] = field(default_factory=list)  # flagged by LoadGen
    problems: list[LogLine] = field(default_factory=list)  # lines that are no entry, or say otherwise
    entries: int = 0

    @property
    def crc(self) -> int:
        """Of all values, times and results among them: tells copies of one log; 0 of none."""
        return crc32(repr(sorted(self.values.items())).encode()) if self.values else 0

    def number(self, key: str) -> float | None:
        """A value as a number, or None where it is absent or none."""
        value = self.values.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def word(self, key: str) -> str:
        """A value as text; "" where it is absent or none."""
        value = self.values.get(key)
        return value if isinstance(value, str) else ""


def scan_detail(tree: Tree, path: str) -> DetailLog:
    """Scan a detail log of a tree. Raises Unreadable where it is no readable file or far too large."""
    log = DetailLog(path=path)
    with os.fdopen(open_plain(tree, path), "rb", buffering=BUFFER) as file:
        try:
            if os.fstat(file.fileno()).st_size > MAX_DETAIL_BYTES:
                raise Unreadable(f"larger than {MAX_DETAIL_BYTES >> 20} MiB, not read")
            _scan_lines(log, file)
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from None
    if not log.entries:
        log.problems.append(LogLine(line=0, key="log.empty", text="holds no log entry"))
    return log


def _scan_lines(log: DetailLog, file: BinaryIO) -> None:
    """Take every line. The loop of the whole check: most lines are proven and dropped within it."""
    entries = 0
    for at, line in enumerate(iter(partial(file.readline, MAX_LINE_BYTES), b""), 1):
        if len(line) == MAX_LINE_BYTES:
            raise Unreadable(f"a line longer than {MAX_LINE_BYTES >> 20} MiB")
        try:
            body = line.removeprefix(MARK)
            if body is line:
                raise ValueError("no mark")
            if not body.isascii():
                body.decode("utf-8")
            entry = _decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            if line.strip():
                _problem(log, at, "log.line", line[:120].rstrip(b"\r\n").decode("utf-8", "replace"))
            continue
        entries += 1
        if entry.metadata.is_error and len(log.errors) < MAX_LINES_KEPT:
            log.errors.append(LogLine(line=at, key=entry.key, text=_text(entry.value)))
        if _matters(entry.key):
            _take(log, at, entry)
    log.entries = entries


@lru_cache(maxsize=1024)
def _matters(key: str) -> bool:
    return key.startswith(KEPT) or key in KEPT_EXACTLY


def _take(log: DetailLog, at: int, entry: _Entry) -> None:
    key = entry.key
    value = _value(entry.value) if memoryview(entry.value).nbytes <= MAX_VALUE_BYTES else None
    if key not in log.values:
        log.values[key] = value
        log.lines[key] = at
    elif log.values[key] != value and key.startswith(KEPT):
        _problem(log, at, "log.contradiction", f"{key} = {value}, and {log.values[key]} before it")


def _value(raw: msgspec.Raw) -> Value:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return value if isinstance(value, _SCALARS) else None


def _text(raw: msgspec.Raw) -> str:
    return bytes(raw)[:300].decode("utf-8", "replace")


def _problem(log: DetailLog, at: int, key: str, text: str) -> None:
    if len(log.problems) < MAX_LINES_KEPT:
        log.problems.append(LogLine(line=at, key=key, text=text[:300]))
