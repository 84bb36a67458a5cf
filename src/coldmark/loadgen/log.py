"""LoadGen's logs as values. Hostile or broken text becomes a line in `errors`, never a crash."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.core.runlog import LogLine, RunLog

DETAIL, SUMMARY, ACCURACY = "mlperf_log_detail.txt", "mlperf_log_summary.txt", "mlperf_log_accuracy.json"

MARK = ":::MLLOG "
MAX_DETAIL_BYTES = 256 * 1024 * 1024
MAX_ACCURACY_BYTES = 4 * 1024 * 1024 * 1024
MAX_ENTRY_BYTES = 512 * 1024 * 1024
"""Longest line of an accuracy log: a volume of KiTS19 takes up to about 210 MB."""
HELD_BYTES = 128 * 1024 * 1024
"""Answers of a larger log are not held in memory, but read one at a time."""


def parse_detail(path: Path) -> RunLog:
    """The detail log of a test. Raises DataError only where the file cannot be read at all."""
    values: dict[str, Any] = {}
    errors: list[LogLine] = []
    warnings: list[LogLine] = []
    try:
        if path.stat().st_size > MAX_DETAIL_BYTES:
            raise DataError(f"larger than {MAX_DETAIL_BYTES >> 20} MiB, not read", where=str(path))
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, text in enumerate(file, 1):
                _take_line(number, text, values, errors, warnings)
    except OSError as error:
        raise DataError(
            error.strerror or str(error),
            where=str(path),
            hint="LoadGen wrote no detail log: the test did not get that far",
        ) from None
    summary = parse_summary(path.with_name(SUMMARY)) if path.with_name(SUMMARY).is_file() else {}
    return RunLog(
        path=str(path), values=values, errors=tuple(errors), warnings=tuple(warnings), summary=summary
    )


def _take_line(
    number: int, text: str, values: dict[str, Any], errors: list[LogLine], warnings: list[LogLine]
) -> None:
    if not text.strip():
        return
    try:
        if not text.startswith(MARK):
            raise ValueError("no log entry")
        entry = json.loads(text[len(MARK) :])
        key, value, meta = entry["key"], entry["value"], entry["metadata"]
        flags = bool(meta.get("is_error")), bool(meta.get("is_warning"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        errors.append(LogLine(line=number, key="unreadable", text=text[:120].rstrip()))
        return
    values[str(key)] = value
    if flags[0]:
        errors.append(LogLine(line=number, key=str(key), text=str(value)[:500]))
    elif flags[1]:
        warnings.append(LogLine(line=number, key=str(key), text=str(value)[:500]))


_MARK_FORMAT = "%m-%d-%Y %H:%M:%S.%f"


def window_s(log: RunLog) -> float | None:
    """Seconds between LoadGen's begin and end marks, to the millisecond; None where one is missing."""
    try:
        begin, end = (datetime.strptime(str(log.get(k)), _MARK_FORMAT) for k in ("power_begin", "power_end"))
    except ValueError:
        return None
    seconds = (end - begin).total_seconds()
    return seconds if seconds > 0 else None


def loaded_set(log: RunLog) -> list[int]:
    """The sample indices that LoadGen loaded last, as the log says; empty where it does not."""
    value = log.get("loaded_qsl_set")
    if isinstance(value, str):
        value = [int(n) for n in re.findall(r"\d+", value)]
    return [int(n) for n in value] if isinstance(value, list) else []


_SUMMARY_LINE = re.compile(r"^\s*([^:=]{1,80}?)\s*:\s*(.*?)\s*$")


def parse_summary(path: Path) -> dict[str, str]:
    """The `name : value` lines of a summary log. Raises DataError where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(error.strerror or str(error), where=str(path)) from None
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := _SUMMARY_LINE.match(line):
            found.setdefault(match[1], match[2])
    return found


@dataclass(frozen=True, slots=True)
class AccuracyLog:
    """The answers of a test: index of each sample, shape [n], and its bytes."""

    indices: NDArray[np.int64]
    answers: Sequence[bytes]


class _OnDisk(Sequence[bytes]):
    """Answers of a large log, each read and decoded when it is asked for."""

    def __init__(self, path: Path, spans: list[tuple[int, int]]) -> None:
        self._path = path
        self._spans = spans  # where each answer's digits begin, and how many they are

    def __len__(self) -> int:
        return len(self._spans)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(at, slice):
            return _OnDisk(self._path, self._spans[at])
        begin, length = self._spans[at]
        try:
            with self._path.open("rb") as file:
                file.seek(begin)
                return bytes.fromhex(file.read(length).decode("ascii"))
        except (OSError, ValueError) as error:
            raise DataError(f"changed while it was read: {error}", where=str(self._path)) from None


_ENTRY = re.compile(
    rb'^\s*\{\s*"seq_id"\s*:\s*\d+\s*,\s*"qsl_idx"\s*:\s*(\d+)\s*,\s*"data"\s*:\s*"([0-9A-Fa-f]*)"'
    rb'(?:\s*,\s*"token_count"\s*:\s*\d+)?\s*\}\s*,?\s*$'
)


def parse_accuracy(path: Path) -> AccuracyLog:
    """The accuracy log of a finished test.

    Raises DataError, with the line, for a log that breaks off or has anything else in it: a partly
    answered run is never read as a whole one.
    """
    indices: list[int] = []
    spans: list[tuple[int, int]] = []
    answers: list[bytes] = []
    closed, begin = False, 0
    try:
        size = path.stat().st_size
        if size > MAX_ACCURACY_BYTES:
            raise DataError(f"larger than {MAX_ACCURACY_BYTES >> 30} GiB, not read", where=str(path))
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_ENTRY_BYTES), b""), 1):
                if not closed and (match := _ENTRY.match(line)):
                    indices.append(int(match[1]))
                    spans.append((begin + match.start(2), match.end(2) - match.start(2)))
                    if spans[-1][1] % 2:
                        raise DataError("odd number of hexadecimal digits", where=f"{path}:{number}")
                    if size <= HELD_BYTES:
                        answers.append(bytes.fromhex(match[2].decode("ascii")))
                elif line.strip() == b"]":
                    closed = True
                elif line.strip() not in (b"[", b""):
                    raise DataError(f"not an accuracy entry: {line[:60]!r}", where=f"{path}:{number}")
                begin += len(line)
    except OSError as error:
        raise DataError(error.strerror or str(error), where=str(path)) from None
    if not closed:
        raise DataError(
            "the accuracy log breaks off before its closing bracket",
            where=str(path),
            hint="the test did not finish; run it again",
        )
    held = answers if size <= HELD_BYTES else _OnDisk(path, spans)
    return AccuracyLog(np.array(indices, dtype=np.int64), held)
