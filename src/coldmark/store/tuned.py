"""What tuning found, beside the runs: `RUNS/tuned/ID.json`, written aside and renamed.

The id is made of what a configuration is kept for, so that tuning the same again replaces it. Software and
model are not part of it: they are in the file, so that a change of either can be said.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from coldmark.core.codec import dump_json, from_plain, read_json, to_plain
from coldmark.core.errors import ColdmarkError, ConfigError, DataError, did_you_mean
from coldmark.core.tuned import TunedKey, TunedRecord
from coldmark.store.rundir import write_whole

FOLDER = "tuned"


def tuned_id(key: TunedKey) -> str:
    """Twelve hexadecimal digits that say what a configuration is kept for."""
    plain = json.dumps(to_plain(key), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]


def write_tuned(root: Path, record: TunedRecord) -> Path:
    """Write a record, whole or not at all; it replaces the one of the same key. Raises DataError."""
    path = ready(root) / f"{record.id}.json"
    write_whole(path, dump_json(record))
    return path


def ready(root: Path) -> Path:
    """The folder of the records, made and writable. Raises DataError."""
    folder, why = root / FOLDER, ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
    else:
        why = "" if os.access(folder, os.W_OK | os.X_OK) else "no permission"
    if why:
        raise DataError(
            f"cannot write here: {why}", where=str(folder), hint="choose another with --runs-dir"
        ) from None
    return folder


def list_tuned(root: Path) -> list[TunedRecord | ColdmarkError]:
    """Every record of a folder by id; what cannot be read is listed with its error."""
    found: list[TunedRecord | ColdmarkError] = []
    for path in _files(root):
        try:
            found.append(_read(path))
        except ColdmarkError as error:
            found.append(error)
    return found


def find_tuned(root: Path, given: str) -> TunedRecord:
    """The record of an id, or of the unambiguous beginning of one. Raises ConfigError or DataError."""
    return _read(_find(root, given))


def forget_tuned(root: Path, given: str) -> str:
    """Remove a record; returns its whole id. Raises ConfigError."""
    path = _find(root, given)
    path.unlink(missing_ok=True)
    return path.stem


def _files(root: Path) -> list[Path]:
    folder = root / FOLDER
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.glob("*.json") if p.is_file() and not p.name.startswith("."))


def _find(root: Path, given: str) -> Path:
    paths = {p.stem: p for p in _files(root)}
    near = [name for name in paths if given and name.startswith(given)]
    if len(near) != 1:
        hint = f"could be: {', '.join(near[:5])}" if near else did_you_mean(given, paths)
        raise ConfigError(f"nothing tuned has the id {given!r} in {root}", where="ID", hint=hint)
    return paths[near[0]]


def _read(path: Path) -> TunedRecord:
    try:
        record = from_plain(read_json(path), TunedRecord, where=str(path))
    except ConfigError as error:
        raise DataError(error.message, where=error.where, hint="tune again, or remove the file") from None
    if record.id != path.stem or tuned_id(record.key) != record.id:
        raise DataError(
            "the file is not what its name says", where=str(path), hint="remove it and tune again"
        )
    return record
