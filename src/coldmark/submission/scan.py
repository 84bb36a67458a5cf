"""Detail logs, scanned: every line is proven to be a log entry, only the few that matter become values.

msgspec walks the lines at about 400 MB/s a core, which is what lets a whole round be checked in seconds.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field

import msgspec

from coldmark.core.runlog import LogLine
from coldmark.submission.tree import Tree, Unreadable, open_plain, pieces

MARK = b":::MLLOG "
PIECE = 1 << 20
MAX_DETAIL_BYTES = 1 << 30
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


_DECODER = msgspec.json.Decoder(_Entry)
Value = str | int | float | bool | None


@dataclass(slots=True)
class DetailLog:
    """What a detail log says: the first value of each key that matters, its line, and what is wrong in it."""

    path: str
    values: dict[str, Value] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    errors: list[LogLine] = field(default_factory=list)  # flagged by LoadGen
    problems: list[LogLine] = field(default_factory=list)  # lines that are no entry, or say otherwise
    entries: int = 0
    crc: int = 0  # of all bytes: tells copies of one log

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
    handle = open_plain(tree, path)
    try:
        if os.fstat(handle).st_size > MAX_DETAIL_BYTES:
            raise Unreadable(f"larger than {MAX_DETAIL_BYTES >> 20} MiB, not read")
        log = DetailLog(path=path)
        number = 0
        for piece in pieces(handle, PIECE):
            number += _scan_piece(log, piece, number)
            log.crc = zlib.crc32(piece, log.crc)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    finally:
        os.close(handle)
    if not log.entries:
        log.problems.append(LogLine(line=0, key="log.empty", text="holds no log entry"))
    return log


def _scan_piece(log: DetailLog, piece: bytes, before: int) -> int:
    """Take the lines of a piece; returns how many it has."""
    count = piece.count(b"\n") + (not piece.endswith(b"\n"))
    marked = piece.count(b"\n" + MARK) + piece.startswith(MARK)
    if marked == count and _is_text(piece):
        try:
            entries = _DECODER.decode_lines(piece.replace(MARK, b""))
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            entries = []
        if len(entries) == count:
            for at, entry in enumerate(entries, before + 1):
                _take(log, at, entry)
            log.entries += count
            return count
    for at, line in enumerate(piece.split(b"\n")[:count], before + 1):
        _take_line(log, at, line)
    return count


def _is_text(piece: bytes) -> bool:
    if piece.isascii():
        return True
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _take_line(log: DetailLog, at: int, line: bytes) -> None:
    """One line of a piece that has something amiss in it."""
    if not line.strip():
        return
    try:
        if not line.startswith(MARK):
            raise ValueError("no mark")
        line.decode("utf-8")
        entry = _DECODER.decode(line[len(MARK) :])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        _problem(log, at, "log.line", line[:120].decode("utf-8", "replace"))
        return
    log.entries += 1
    _take(log, at, entry)


def _take(log: DetailLog, at: int, entry: _Entry) -> None:
    key = entry.key
    if entry.metadata.is_error and len(log.errors) < MAX_LINES_KEPT:
        log.errors.append(LogLine(line=at, key=key, text=_text(entry.value)))
    if not (key.startswith(KEPT) or key in KEPT_EXACTLY):
        return
    value = _value(entry.value)
    if key not in log.values:
        log.values[key] = value
        log.lines[key] = at
    elif log.values[key] != value and key.startswith(KEPT):
        _problem(log, at, "log.contradiction", f"{key} = {value}, and {log.values[key]} before it")


def _value(raw: msgspec.Raw) -> Value:
    if len(raw_bytes := bytes(raw)) > 64 << 10:
        return None
    try:
        value = msgspec.json.decode(raw_bytes)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return value if isinstance(value, str | int | float | bool) else None


def _text(raw: msgspec.Raw) -> str:
    return bytes(raw)[:300].decode("utf-8", "replace")


def _problem(log: DetailLog, at: int, key: str, text: str) -> None:
    if len(log.problems) < MAX_LINES_KEPT:
        log.problems.append(LogLine(line=at, key=key, text=text[:300]))
