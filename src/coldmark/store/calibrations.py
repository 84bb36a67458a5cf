"""Calibrations, in the cache: `calibrations/ID/` with a file a quantised network and `manifest.json`.

A folder is made aside and renamed, so it is whole or absent. The manifest carries a digest of itself and of
every file: what was damaged or edited since is refused.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psutil

from coldmark.core.calibration import SCHEMA, Calibration
from coldmark.core.codec import dump_json, from_plain, read_json
from coldmark.core.errors import ColdmarkError, ConfigError, DataError, did_you_mean
from coldmark.store.rundir import sha256, write_whole

FOLDER, MANIFEST = "calibrations", "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sealed:
    calibration: Calibration
    sha256: str  # of the calibration as JSON


def calibration_dir(cache: Path, id_: str) -> Path:
    """Where a calibration lies, or would. Raises ConfigError for what is no id."""
    if not id_ or not all(c in "0123456789abcdef" for c in id_):
        raise ConfigError(
            f"{id_!r} is no id of a calibration", where="calibration.id", hint="coldmark calibrate --list"
        )
    return cache / FOLDER / id_


def network_file(cache: Path, id_: str, network: str) -> Path:
    """The quantised file of a network."""
    return calibration_dir(cache, id_) / f"{network}.onnx"


@contextmanager
def workplace(cache: Path) -> Iterator[Path]:
    """A folder for what is being made; nothing of it is left behind.

    What a process of this machine left that was killed is removed: both stand in the name.
    """
    root, own = cache / FOLDER, f".making-{platform.node()}"
    form = re.compile(rf"{re.escape(own)}\.(\d+)\.\w+")
    try:
        root.mkdir(parents=True, exist_ok=True)
        for left in root.iterdir():
            if (found := form.fullmatch(left.name)) and not psutil.pid_exists(int(found[1])):
                shutil.rmtree(left, ignore_errors=True)
        path = Path(mkdtemp(prefix=f"{own}.{os.getpid()}.", dir=root))
    except OSError as error:
        raise _unwritable(root, error) from None
    try:
        yield path
    except OSError as error:
        raise _unwritable(root, error) from None
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _unwritable(root: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot write here: {error.strerror or error}",
        where=str(root),
        hint="set COLDMARK_CACHE_DIR to a folder that can be written",
    )


def keep(cache: Path, calibration: Calibration, files: Mapping[str, Path]) -> Path:
    """Move the files of a calibration to their place, under its id. Returns the folder."""
    final = calibration_dir(cache, calibration.id)
    aside, old = (final.with_name(f".{os.getpid()}.{what}.{final.name}") for what in ("new", "old"))
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        for network, file in files.items():
            file.replace(aside / f"{network}.onnx")
        sealed = _Sealed(calibration=calibration, sha256=_digest(calibration))
        write_whole(aside / MANIFEST, dump_json(sealed))
        with suppress(FileNotFoundError):
            final.rename(old)
        aside.rename(final)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror or error}", where=str(final)) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return final


def read_calibration(cache: Path, id_: str) -> Calibration | None:
    """A calibration whose manifest and files are as they were made; None where there is none.

    Raises DataError for a damaged one.
    """
    folder = calibration_dir(cache, id_)
    if not (folder / MANIFEST).is_file():
        return None
    found = _read_manifest(folder)
    for network, expected in (found.quantisation.networks if found.quantisation else {}).items():
        file = folder / f"{network}.onnx"
        if not file.is_file() or sha256(file) != expected:
            raise _damaged(folder, f"{file.name} is not the file that was made")
    return found


def find_calibration(cache: Path, id_: str) -> Calibration:
    """A calibration by its id or the unambiguous beginning of it. Raises ConfigError or DataError."""
    names = [p.name for p in _folders(cache)]
    near = [name for name in names if name.startswith(id_)]
    if len(near) != 1:
        hint = f"could be: {', '.join(near[:5])}" if near and id_ else did_you_mean(id_, names)
        raise ConfigError(f"no calibration {id_!r}", where="calibration.id", hint=hint)
    return present(read_calibration(cache, near[0]), near[0])


def present(found: Calibration | None, id_: str) -> Calibration:
    """A calibration that was there a moment ago. Raises ConfigError where it is gone."""
    if found is None:
        raise ConfigError(
            f"calibration {id_} was there and is gone",
            where="calibration.id",
            hint="it is being made: try again",
        )
    return found


def list_calibrations(cache: Path) -> list[tuple[str, Calibration | ColdmarkError]]:
    """All calibrations, oldest first; what cannot be read is listed with its error."""
    found: list[tuple[str, Calibration | ColdmarkError]] = []
    for folder in _folders(cache):
        try:
            found.append((folder.name, _read_manifest(folder)))
        except ColdmarkError as error:
            found.append((folder.name, error))
    return sorted(found, key=lambda pair: pair[1].made if isinstance(pair[1], Calibration) else "")


def _folders(cache: Path) -> list[Path]:
    root = cache / FOLDER
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if not p.name.startswith(".") and (p / MANIFEST).is_file())


def _read_manifest(folder: Path) -> Calibration:
    try:
        plain: Any = read_json(folder / MANIFEST)
    except ColdmarkError as error:
        raise _damaged(folder, f"its manifest cannot be read ({error.message})") from None
    _check_schema(plain, folder)
    try:
        sealed = from_plain(plain, _Sealed, where=str(folder / MANIFEST))
    except ColdmarkError as error:
        raise _damaged(folder, f"its manifest cannot be read ({error.message})") from None
    # As it lies there: a field that it was written without does not make it another.
    if _digest(plain["calibration"]) != sealed.sha256 or sealed.calibration.id != folder.name:
        raise _damaged(folder, "its manifest was edited")
    return sealed.calibration


def _check_schema(plain: Any, folder: Path) -> None:
    """What another version wrote is not damaged: it is refused by name, before its keys are looked at."""
    inner = plain.get("calibration") if isinstance(plain, dict) else None
    schema = inner.get("schema") if isinstance(inner, dict) else None
    if isinstance(schema, int) and schema != SCHEMA:
        raise DataError(
            f"the calibration was made by another version of coldmark (schema {schema}, here {SCHEMA})",
            where=str(folder),
            hint="calibrate again: coldmark calibrate ... --again; then remove that folder",
        )


def _digest(calibration: Calibration | dict[str, Any]) -> str:
    return hashlib.sha256(dump_json(calibration).encode()).hexdigest()


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(
        f"the calibration is damaged: {what}",
        where=str(folder),
        hint="remove that folder and calibrate again, or say: coldmark calibrate ... --again",
    )
