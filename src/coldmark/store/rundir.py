"""One run's directory.

    RUN_ID/
      record.json     what came of it; `state` says whether it is whole
      spec.json  settings.json  system.json  environment.json
      performance/  accuracy/      one LoadGen test each: its logs untouched, outcome.json, child.log
      manifest.json   sha256 of every file above, written last
      compliance/     added later, with a manifest of its own

Every file of ours is written aside and renamed. A lock is held while the run lives, so that a reader can
tell a running run from one whose process was killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from coldmark.core.codec import dump_json, from_plain, read_json
from coldmark.core.compliance import ComplianceRecord
from coldmark.core.errors import ColdmarkError, ConfigError, DataError, did_you_mean
from coldmark.core.nouns import Mode, State
from coldmark.core.record import RunRecord

RECORD, MANIFEST, LOCK = "record.json", "manifest.json", "run.lock"
_UNLISTED = {MANIFEST, LOCK}
COMPLIANCE, COMPLIANCE_RECORD = "compliance", "compliance.json"
ADDED = (COMPLIANCE,)
"""Folders that join a run after it was sealed; each carries its own manifest."""


def default_root() -> Path:
    """Where runs go: $COLDMARK_RUNS_DIR, or `runs` in the working directory."""
    return Path(os.environ.get("COLDMARK_RUNS_DIR") or "runs")


def new_run_id(label: str) -> str:
    """A name that sorts by time, says what it is, and is not taken: 20260901T120000-label-1a2b3c."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    return f"{stamp}-{label}-{secrets.token_hex(3)}"


class RunDir:
    """A run's directory, held by the process that runs it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None

    @classmethod
    def create(cls, root: Path, run_id: str) -> RunDir:
        """Make the directory and take its lock. Raises DataError where it cannot be written."""
        path = root / run_id
        try:
            path.mkdir(parents=True)
            made = cls(path)
            made.hold()
        except OSError as error:
            raise DataError(
                f"cannot make a run directory: {error.strerror}",
                where=str(path),
                hint="choose another with --runs-dir",
            ) from None
        return made

    def hold(self) -> None:
        """Take the lock. Raises ConfigError when another process has it."""
        lock = (self.path / LOCK).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ConfigError("this run is still going", where=str(self.path)) from None
        self._lock = lock

    def release(self) -> None:
        """Let the lock go."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def test_dir(self, mode: Mode) -> Path:
        """The folder of one LoadGen test, made if needed."""
        path = self.path / mode.value
        path.mkdir(exist_ok=True)
        return path

    def write(self, name: str, noun: Any) -> None:
        """Write a noun as JSON, whole or not at all."""
        write_whole(self.path / name, dump_json(noun))

    def seal(self) -> None:
        """Write the manifest: sha256 of every file, without the folders that are added later."""
        _seal(self.path)

    def seal_added(self, name: str) -> None:
        """Write the manifest of a folder added to the sealed run."""
        _seal(self.path / name)


def _seal(path: Path) -> None:
    digests = {str(p.relative_to(path)): sha256(p) for p in _files(path)}
    write_whole(path / MANIFEST, dump_json({"sha256": digests}))


def write_whole(path: Path, text: str) -> None:
    """Write text aside, then rename. Raises DataError."""
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=str(path)) from None


def _files(path: Path) -> Iterator[Path]:
    return (
        p
        for p in sorted(path.rglob("*"))
        if p.is_file()
        and p.name not in _UNLISTED
        and not p.name.startswith(".")
        and p.relative_to(path).parts[0] not in ADDED
    )


def sha256(path: Path) -> str:
    """Digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changed_files(path: Path) -> list[str]:
    """Files of a sealed run, and of what was added to it, that are missing, new or not as listed."""
    added = [f"{name}/{file}" for name in ADDED if (path / name).is_dir() for file in _changed(path / name)]
    return sorted([*_changed(path), *added])


def _changed(path: Path) -> list[str]:
    if not (path / MANIFEST).is_file():
        return [MANIFEST]
    listed: dict[str, str] = read_json(path / MANIFEST)["sha256"]
    found = {str(p.relative_to(path)): p for p in _files(path)}
    wrong = [name for name, digest in listed.items() if name not in found or sha256(found[name]) != digest]
    return [*wrong, *(name for name in found if name not in listed)]


def is_held(path: Path) -> bool:
    """Whether a living process holds the run."""
    try:
        with (path / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_compliance(path: Path) -> ComplianceRecord | None:
    """What the audit tests of a run found, None where they were not run (to their end)."""
    file = path / COMPLIANCE / COMPLIANCE_RECORD
    if not file.is_file() or not (path / COMPLIANCE / MANIFEST).is_file():
        return None
    return from_plain(read_json(file), ComplianceRecord, where=str(file))


def read_record(path: Path) -> RunRecord:
    """A run's record. One that says `running` while nobody holds it was killed: it is `incomplete`."""
    record = from_plain(read_json(path / RECORD), RunRecord, where=str(path / RECORD))
    if record.state is State.RUNNING and not is_held(path):
        return replace(
            record, state=State.INCOMPLETE, reason="the process that ran it was killed before it could finish"
        )
    return record


def find_run(root: Path, run_id: str) -> Path:
    """The directory of a run, by its id or the unambiguous beginning or end of it. Raises ConfigError."""
    names = [p.name for p in _run_dirs(root)]
    if run_id in names:
        return root / run_id
    near = [n for n in names if n.startswith(run_id) or n.endswith(run_id)] if run_id else []
    if len(near) == 1:
        return root / near[0]
    hint = f"could be: {', '.join(near[:5])}" if near else did_you_mean(run_id, names[-20:])
    raise ConfigError(f"no run {run_id!r} in {root}", where="RUN_ID", hint=hint)


def _run_dirs(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if p.is_dir() and (p / RECORD).is_file())


def list_runs(root: Path) -> list[tuple[str, RunRecord | ColdmarkError]]:
    """All runs of a folder, oldest first; what cannot be read is listed with its error."""
    found: list[tuple[str, RunRecord | ColdmarkError]] = []
    for path in _run_dirs(root):
        try:
            found.append((path.name, read_record(path)))
        except ColdmarkError as error:
            found.append((path.name, error))
    return found
