"""MLPerf's calibration lists, files that name samples, and what tells one sample's file from another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from coldmark.core.errors import DataError

MAX_BYTES = 4 * 1024 * 1024
PART = 4096  # bytes of a file that are looked at in each of three places

SOURCE = "MLPerf Inference v2.1, calibration"


def read_list(path: Path) -> list[str]:
    """The first word of each line. Raises DataError for an empty list and for a name given twice."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"larger than {MAX_BYTES >> 20} MiB", where=str(path))
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read the calibration list: {error}", where=str(path), hint="a sample a line is expected"
        ) from None
    names: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        for name in line.split()[:1]:
            if name in names:
                raise DataError(f"{name[:80]!r} stands in line {names[name]} too", where=f"{path}:{number}")
            names[name] = number
    if not names:
        raise DataError("lists no sample", where=str(path))
    return list(names)


def listed_files(folder: Path, path: Path) -> list[Path]:
    """The files in `folder` that a list names. Raises DataError for one that is missing or lies outside."""
    found = []
    for name in read_list(path):
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts or "\0" in name:
            raise DataError(f"{name[:80]!r} lies outside the folder", where=str(path))
        if not (folder / relative).is_file():
            raise DataError(f"the file {name} is missing from {folder}", where=str(path))
        found.append(folder / relative)
    return found


def digest(names: Sequence[str]) -> str:
    """SHA-256 of a list's names, whatever their order."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def fingerprint(path: Path) -> str:
    """What a file holds, told cheaply: a digest of its size and of its beginning, middle and end.

    A renamed copy has the same. Raises DataError where the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            found = hashlib.sha256(str(size).encode())
            for start in (0, max(0, size // 2 - PART // 2), max(0, size - PART)):
                file.seek(start)
                found.update(file.read(PART))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return found.hexdigest()
