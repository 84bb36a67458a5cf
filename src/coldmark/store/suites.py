"""Suite files, beside the runs they name: `RUNS/suites/NAME.json`, written aside and renamed."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coldmark.core.codec import dump_json, from_plain, read_json
from coldmark.core.errors import ConfigError, DataError
from coldmark.core.suite import SuiteRecord
from coldmark.store.rundir import write_whole

FOLDER = "suites"


def suite_path(root: Path, name: str) -> Path:
    """Where a suite's file is. Raises ConfigError for a name that is no plain file name."""
    if not name or name.startswith(".") or any(c in name for c in "/\\\0"):
        raise ConfigError(f"{name!r} is no name for a suite", where="--name")
    return root / FOLDER / f"{name}.json"


def read_suite(root: Path, name: str) -> SuiteRecord | None:
    """The suite of that name, or None where none was begun. Raises DataError."""
    path = suite_path(root, name)
    if not path.is_file():
        return None
    return from_plain(read_json(path), SuiteRecord, where=str(path))


def list_suites(root: Path) -> list[str]:
    """Names of the suites of a folder."""
    folder = root / FOLDER
    return sorted(p.stem for p in folder.glob("*.json")) if folder.is_dir() else []


def write_suite(root: Path, record: SuiteRecord) -> None:
    """Write a suite's file, whole or not at all."""
    write_whole(suite_path(root, record.name), dump_json(record))


@contextmanager
def held_suite(root: Path, name: str) -> Iterator[None]:
    """Keep a second process off this suite. Raises ConfigError where one has it, DataError."""
    path = suite_path(root, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("ab")
    except OSError as error:
        raise DataError(
            f"cannot write here: {error.strerror}", where=str(root), hint="choose another with --runs-dir"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError("another process is running this suite", where=name) from None
        yield
