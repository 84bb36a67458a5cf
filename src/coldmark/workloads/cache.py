"""Files made once and kept: written aside, then renamed, so that they are whole or absent."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from coldmark.core.errors import DataError


def cache_dir() -> Path:
    """Where made files are kept: $COLDMARK_CACHE_DIR, or the user's cache folder."""
    given = os.environ.get("COLDMARK_CACHE_DIR")
    return Path(given) if given else Path(platformdirs.user_cache_dir("coldmark"))


def materialise(path: Path, write: Callable[[Path], None]) -> Path:
    """`path`, made by `write(aside)` if it is not there yet. Two processes may both make it; one wins."""
    if path.is_file():
        return path
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        aside.replace(path)
    except OSError as error:
        raise DataError(
            f"cannot write here: {error.strerror}",
            where=str(path.parent),
            hint="set COLDMARK_CACHE_DIR to a folder that can be written",
        ) from None
    finally:
        aside.unlink(missing_ok=True)
    return path


def kept(path: Path, write: Callable[[Path], None], load: Callable[[Path], None]) -> None:
    """`load` what `write` made. A damaged file, which `load` cannot read, is made again, once.

    Raises whatever `load` raises on the file made anew.
    """
    try:
        load(materialise(path, write))
    except (ValueError, KeyError, OSError, zipfile.BadZipFile):
        path.unlink(missing_ok=True)
        load(materialise(path, write))
