"""The files of a results repository, from a folder or a tar archive, read with bounds and never unpacked.

A path that leaves its tree, a link, a device and an oversized file are findings; the rest is read on.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Any, cast

from coldmark.core.errors import DataError
from coldmark.core.imported import finding
from coldmark.core.nouns import Finding

MAX_MEMBERS = 2_000_000
MAX_TOTAL_BYTES = 16 << 30
"""Of an archive, unpacked; the largest round is 5.4 GB."""
MAX_FILE_BYTES = 16 << 20
"""Of a file that is read whole; the largest published one is below 1 MB."""
MAX_READ_BYTES = 64 << 20
"""At once: a header of an archive can claim any size, and tarfile believes it."""

CUT = b"\n\0\n"
"""Between the two ends of a long file, whose broken lines are left out."""

NOT_RESULTS = frozenset({".git", "audit", "calibration", "code", "compliance", "measurements", "src"})
"""Folders beside `results` that hold no result."""


class Take(Enum):
    """How much of a file is wanted."""

    WHOLE = "whole"
    ENDS = "ends"  # its first and last bytes


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file that was wanted: its path within the tree, "/" between, and its bytes (or both ends)."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Ends:
    """How many bytes of a file's beginning and end are wanted."""

    head: int
    tail: int


Wanted = Callable[[str], Take | None]


def read_tree(path: Path, wanted: Wanted, ends: Ends) -> Iterator[TreeFile | Finding]:
    """The wanted files of a folder or archive, in its order. Raises DataError for what is neither."""
    if path.is_dir():
        return _read_folder(path, wanted, ends)
    if path.is_file():
        return _read_archive(path, wanted, ends)
    raise DataError("no such file or folder", where=str(path))


def anchored(path: Path) -> str:
    """What stands above a folder that is part of a results tree: `closed/Nettrix/` for its `results`."""
    parts = path.resolve().parts
    for division in ("closed", "open", "network"):
        if division in parts:
            at = len(parts) - 1 - parts[::-1].index(division)
            return "/".join(parts[at:]) + "/"
    return ""


def _read_folder(root: Path, wanted: Wanted, ends: Ends) -> Iterator[TreeFile | Finding]:
    prefix = anchored(root)
    closed: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=closed.append):
        inside = os.path.relpath(folder, root)
        above = prefix if inside == "." else prefix + inside.replace(os.sep, "/") + "/"
        if "/results/" not in "/" + above:
            folders[:] = [name for name in folders if name not in NOT_RESULTS]
        folders.sort()
        for name in sorted(names):
            if (take := wanted(above + name)) is not None:
                yield _read_file(os.path.join(folder, name), above + name, take, ends)  # noqa: PTH118
    for error in closed:
        yield finding(
            "published.file", str(error.filename), "a readable folder", error.strerror or str(error)
        )


def _read_file(path: str, name: str, take: Take, ends: Ends) -> TreeFile | Finding:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return finding("published.file", name, "a readable file", error.strerror or str(error))
    with os.fdopen(handle, "rb", buffering=0) as file:
        try:
            size = os.fstat(handle).st_size
            return _read_member(cast(IO[bytes], file), name, size, take, ends)
        except OSError as error:
            return finding("published.file", name, "a readable file", error.strerror or str(error))


def _read_member(file: IO[bytes], name: str, size: int, take: Take, ends: Ends) -> TreeFile | Finding:
    if take is Take.ENDS and size > ends.head + ends.tail:
        head = file.read(ends.head).rpartition(b"\n")[0]
        file.seek(size - ends.tail)
        return TreeFile(name, head + CUT + file.read(ends.tail).partition(b"\n")[2])
    if size > MAX_FILE_BYTES:
        return finding("published.size", name, f"<= {MAX_FILE_BYTES >> 20} MiB", f"{size} bytes, not read")
    data = bytearray()
    while len(data) <= MAX_FILE_BYTES and (piece := file.read(MAX_FILE_BYTES)):
        data += piece
    return TreeFile(name, bytes(data))


_OPENERS: tuple[tuple[bytes, Callable[[Path], Any]], ...] = (
    (b"\xfd7zXZ\x00", lzma.open),
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
)
_BROKEN = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, OSError, ValueError, OverflowError)


class _Bounded:
    """A decompressed stream that refuses absurd reads, and never runs past the bound on all of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ_BYTES:
            raise tarfile.ReadError(f"an entry asks for {size} bytes at once")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset > MAX_TOTAL_BYTES:
            raise DataError(f"unpacks to more than {MAX_TOTAL_BYTES >> 30} GiB, not read")
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True


def _read_archive(path: Path, wanted: Wanted, ends: Ends) -> Iterator[TreeFile | Finding]:
    try:
        with _open(path) as stream:
            yield from _members(path, stream, wanted, ends)
    except DataError as error:
        raise DataError(error.message, where=str(path), hint="no result tree is that large") from None


def _open(path: Path) -> IO[bytes]:
    try:
        with path.open("rb") as file:
            start = file.read(6)
        for magic, opener in _OPENERS:
            if start.startswith(magic):
                return cast(IO[bytes], opener(path))
        return path.open("rb")
    except OSError as error:
        raise DataError(error.strerror or str(error), where=str(path)) from None


def _members(path: Path, stream: IO[bytes], wanted: Wanted, ends: Ends) -> Iterator[TreeFile | Finding]:
    count = total = 0
    try:
        tar = tarfile.open(fileobj=cast(IO[bytes], _Bounded(stream)), mode="r:")  # noqa: SIM115
    except _BROKEN as error:
        raise DataError(f"not a tar archive (plain, gz, bz2 or xz): {error}", where=str(path)) from None
    while True:
        try:
            member = tar.next()
            tar.members.clear()  # type: ignore[attr-defined]  # else 126 000 entries stay in memory
            if member is None:
                return
            count, total = count + 1, total + max(member.size, 0)
            _check_bounds(count, total)
            found = _take_member(tar, member, wanted, ends)
        except _BROKEN as error:
            yield finding("published.archive", str(path), "a whole archive", f"entry {count + 1}: {error}")
            return
        if found is not None:
            yield found


def _check_bounds(count: int, total: int) -> None:
    if count > MAX_MEMBERS:
        raise DataError(f"holds more than {MAX_MEMBERS} entries, not read")
    if total > MAX_TOTAL_BYTES:
        raise DataError(f"unpacks to more than {MAX_TOTAL_BYTES >> 30} GiB, not read")


def _take_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, wanted: Wanted, ends: Ends
) -> TreeFile | Finding | None:
    name = member.name.removeprefix("./")
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        return finding("published.path", name[:200], "a path within the archive", "a path that leaves it")
    if member.isdir() or (take := wanted(name)) is None:
        return None
    if not member.isreg():
        kind = "a link" if member.issym() or member.islnk() else "a device or other special file"
        return finding("published.path", name[:200], "a plain file", kind)
    if member.size < 0:
        return finding("published.size", name[:200], "a size", f"{member.size} bytes")
    file = tar.extractfile(member)
    return None if file is None else _read_member(file, name, member.size, take, ends)
