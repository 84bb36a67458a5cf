"""LibriSpeech dev-clean as MLPerf's reference lays it out: a manifest and 16 kHz wave files.

The manifest is `dev-clean-wav.json`, made by the reference's conversion script. As in the reference,
utterances over 15 s are left out and transcripts are brought to the 28 labels. Two things the reference
would do are refused instead, because dev-clean holds neither: audio of another rate, width or number of
channels, and transcripts with digits or letters outside ASCII, which it would spell out.
"""

from __future__ import annotations

import json
import string
import wave
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.lists import fingerprint, listed_files
from coldmark.workloads.rnnt.alphabet import LABELS
from coldmark.workloads.rnnt.features import FrontEnd

MANIFEST = "dev-clean-wav.json"
MAX_MANIFEST_BYTES = 64 * 1024 * 1024
LONGEST_S = 15.0

FRONT_END = FrontEnd()
LONGEST = int(LONGEST_S * FRONT_END.rate)
"""Samples."""

_TO_BLANK = str.maketrans(dict.fromkeys(set(string.punctuation) - set("+&'"), " "))


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    samples: int
    text: str
    where: str


class Recordings:
    """The utterances of a manifest. Raises DataError with the entry where one is malformed or missing."""

    def __init__(self, folder: Path, manifest: Path | None = None) -> None:
        path = manifest or folder / MANIFEST
        found = [_entry(folder, path, place, item) for place, item in enumerate(_items(folder, path))]
        self._entries = [entry for entry in found if entry is not None]
        if not self._entries:
            raise DataError(f"lists no utterance of at most {LONGEST_S:.0f} s", where=str(path))
        self.texts = [entry.text for entry in self._entries]
        self.samples: NDArray[np.int64] = np.array([entry.samples for entry in self._entries], np.int64)

    def __len__(self) -> int:
        return len(self._entries)

    def identity(self, index: int) -> str:
        """What the audio file of an utterance holds."""
        return fingerprint(self._entries[index].path)

    def waveform(self, index: int) -> NDArray[np.int16]:
        """The samples of an utterance, [n]. Raises DataError when the file is not what the manifest says."""
        entry = self._entries[index]
        waveform = read_wave(entry.path, entry.where)
        if len(waveform) != entry.samples:
            raise DataError(
                f"{entry.path.name} holds {len(waveform)} samples, the manifest says {entry.samples}",
                where=entry.where,
            )
        return waveform


class Listed:
    """The wave files that MLPerf's calibration list names. Raises DataError for what is missing or amiss."""

    def __init__(self, folder: Path, path: Path) -> None:
        self._paths = listed_files(folder, path)
        self._where = str(path)
        self.samples: NDArray[np.int64] = np.array(
            [len(read_wave(file, self._where)) for file in self._paths], np.int64
        )

    def waveform(self, index: int) -> NDArray[np.int16]:
        """The samples of an utterance, [n]."""
        return read_wave(self._paths[index], self._where)

    def identity(self, index: int) -> str:
        """What the audio file of an utterance holds."""
        return fingerprint(self._paths[index])


def _items(folder: Path, path: Path) -> list[Any]:
    if not folder.is_dir():
        raise DataError(
            "no such folder", where=str(folder), hint=f"data.path is the folder that holds {MANIFEST}"
        )
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise DataError(f"larger than {MAX_MANIFEST_BYTES >> 20} MiB", where=str(path))
        items = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read the manifest: {error}", where=str(path)) from None
    if not isinstance(items, list):
        raise DataError("is no list of utterances", where=str(path))
    return items


def _entry(folder: Path, manifest: Path, place: int, item: Any) -> _Entry | None:
    """An utterance, or None for one that is too long."""
    where = f"{manifest}: utterance {place}"
    try:
        seconds, transcript = float(item["original_duration"]), item["transcript"]
        file = next(f for f in item["files"] if f["speed"] == 1)
        name, samples = file["fname"], file["num_samples"]
    except (KeyError, TypeError, ValueError, StopIteration):
        raise DataError(
            "needs files (with fname, num_samples and speed 1), original_duration and transcript", where=where
        ) from None
    if not isinstance(name, str) or not isinstance(transcript, str) or not isinstance(samples, int):
        raise DataError("fname and transcript are text, num_samples is a whole number", where=where)
    if seconds > LONGEST_S:
        return None
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise DataError(f"{name!r} lies outside the folder", where=where)
    if not FRONT_END.shortest <= samples <= LONGEST:
        raise DataError(f"{samples} samples are not in {FRONT_END.shortest} to {LONGEST}", where=where)
    if not (folder / relative).is_file():
        raise DataError(f"the audio file {name} is missing", where=where)
    return _Entry(folder / relative, samples, normalise(transcript, where), where)


def normalise(transcript: str, where: str = "transcript") -> str:
    """A transcript in the 28 labels. Raises DataError where the reference would spell something out."""
    text = transcript.lower().translate(_TO_BLANK).replace("&", " and ").replace("+", " plus ")
    text = " ".join(text.split())
    other = sorted(set(text) - set(LABELS))
    if other:
        raise DataError(
            f"the transcript holds {''.join(other)[:20]!r}, which is none of the 28 labels",
            where=where,
            hint="spell it out: letters, blanks and apostrophes only",
        )
    return text


def read_wave(path: Path, where: str) -> NDArray[np.int16]:
    """The samples of a 16-bit, one-channel, 16 kHz wave file. Raises DataError for anything else."""
    try:
        with wave.open(str(path), "rb") as file:
            form = file.getframerate(), file.getnchannels(), 8 * file.getsampwidth()
            count = file.getnframes()
            if form != (FRONT_END.rate, 1, 16):
                raise DataError(
                    f"{path.name} has {form[0]} samples/s, {form[1]} channels of {form[2]} bits; expected "
                    f"{FRONT_END.rate}, 1 of 16",
                    where=where,
                )
            if not 0 < count <= LONGEST:
                raise DataError(f"{path.name} has {count} samples, expected 1 to {LONGEST}", where=where)
            data = file.readframes(count)
    except (wave.Error, EOFError, OSError) as error:
        raise DataError(f"{path.name} cannot be read: {str(error) or 'it ends early'}", where=where) from None
    if len(data) != 2 * count:
        raise DataError(f"{path.name} is truncated: {len(data) // 2} of {count} samples", where=where)
    return np.frombuffer(data, "<i2").astype(np.int16)
