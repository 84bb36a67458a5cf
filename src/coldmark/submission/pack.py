"""A tree as an archive whose bytes follow from its files alone."""

from __future__ import annotations

import gzip
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from coldmark.core.errors import ConfigError, DataError


def _gz(raw: IO[bytes]) -> gzip.GzipFile:
    return gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=9)


def _xz(raw: IO[bytes]) -> lzma.LZMAFile:
    return lzma.LZMAFile(raw, "wb", preset=6)


OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {"tar.gz": _gz, "tar.xz": _xz}
"""Kinds of archive, and what writes them without a name or a time of its own."""


def pack(root: Path, target: Path, kind: str) -> Path:
    """Pack a folder's contents, sorted, without owners or times; written aside, then renamed.

    Two packings of the same files are equal byte for byte. Raises ConfigError for an unknown kind, DataError
    where the archive cannot be written or the tree holds anything but files and folders.
    """
    if kind not in OPENERS:
        raise ConfigError(f"no archive kind {kind!r}", where="--pack", hint="known: " + ", ".join(OPENERS))
    aside = target.with_name(f".{target.name}.part")
    try:
        with (
            aside.open("wb") as raw,
            OPENERS[kind](raw) as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for path in sorted(root.rglob("*"), key=lambda p: p.relative_to(root).as_posix()):
                _add(tar, path, path.relative_to(root).as_posix())
        aside.replace(target)
    except (OSError, tarfile.TarError, ValueError) as error:
        aside.unlink(missing_ok=True)
        raise DataError(f"cannot pack: {error}", where=str(target)) from None
    return target


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        raise ValueError(f"{name} is no plain file or folder")
    info = tarfile.TarInfo(name)
    if path.is_dir():
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
        return
    info.size, info.mode = path.stat().st_size, 0o644
    with path.open("rb") as file:
        tar.addfile(info, file)
