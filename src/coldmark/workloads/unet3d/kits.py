"""The folder that MLPerf's preprocess.py fills with KiTS19 cases: volumes, labels and their list.

Either as written there (preprocessed_files.pkl and case_NNNNN.pkl, each [volume, labels] of shape
[1, depth, height, width]) or as plain arrays: inference_cases.json, case_NNNNN.npy and case_NNNNN.label.npy.
Where checksum_inference.json lies in the folder, each pickle is held against it when it is read. The cases to
calibrate on (preprocess.py --calibration) lie in a folder of their own, with calibration_cases.json and
checksum_calibration.json.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.lists import read_list
from coldmark.workloads.unet3d import dice
from coldmark.workloads.unet3d.cases import Shape3
from coldmark.workloads.unet3d.pickled import array_of, read_pickle

LISTING = "preprocessed_files.pkl"
INFERENCE, CALIBRATION = "inference", "calibration"
MAX_CASES = 10_000
MAX_LIST_BYTES = 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class KitsFolder:
    """Preprocessed cases in the order of their list. Raises DataError for whatever is missing or amiss.

    `kind` says of which of the two sets; `only`, a list of names, takes a part of it.
    """

    def __init__(self, folder: Path, kind: str = INFERENCE, only: Path | None = None) -> None:
        if not folder.is_dir():
            raise DataError("no such folder", where=str(folder), hint="where preprocess.py wrote its results")
        self._folder = folder
        self._sums_name, cases = f"checksum_{kind}.json", f"{kind}_cases.json"
        sums = folder / self._sums_name
        self._sums = _json(sums) if sums.is_file() else {}
        if not isinstance(self._sums, dict):
            raise DataError("not a table of checksums", where=str(sums))
        self._pickled = (folder / LISTING).is_file()
        if not self._pickled and not (folder / cases).is_file():
            raise DataError(
                f"neither {LISTING} nor {cases} lies here", where=str(folder), hint="run preprocess.py first"
            )
        endings = [".npy", ".label.npy"] if kind == INFERENCE else [".npy"]
        self.names, self.shapes = (
            self._pickled_list() if self._pickled else self._plain_list(folder / cases, endings)
        )
        if only is not None:
            self._take(_names(only), only)

    def __len__(self) -> int:
        return len(self.names)

    def volume(self, index: int) -> NDArray[np.float32]:
        """The volume of a case, [depth, height, width]."""
        path = self._file(index)
        if self._pickled:
            self._hold(path)
            return _inner(array_of(_pair(path)[0], path), path)
        return _inner(np.array(_plain(path)), path)  # in memory: nothing is read while the clock runs

    def identity(self, index: int) -> str:
        """What the volume of a case holds, by its size and its middle slice; a renamed copy has the same."""
        volume = self.volume(index)
        found = hashlib.sha256(str(volume.shape).encode())
        found.update(volume[len(volume) // 2].tobytes())
        return found.hexdigest()

    def labels(self, index: int) -> NDArray[np.uint8]:
        """The labels of a case, [depth, height, width], 0 to 2."""
        path = self._file(index)
        if not self._pickled:
            path = path.with_name(f"{self.names[index]}.label.npy")
        labels = _inner(array_of(_pair(path)[1], path) if self._pickled else _plain(path), path)
        if labels.dtype != np.uint8:
            raise DataError(f"labels are uint8, not {labels.dtype}", where=str(path))
        if labels.shape != self.shapes[index]:
            raise DataError(
                f"labels are {list(labels.shape)}, their volume {list(self.shapes[index])}", where=str(path)
            )
        if labels.max() >= dice.CLASSES:
            raise DataError(f"label {labels.max()} is no class, known are 0 to 2", where=str(path))
        return labels

    def _file(self, index: int) -> Path:
        return self._folder / f"{self.names[index]}{'.pkl' if self._pickled else '.npy'}"

    def _pickled_list(self) -> tuple[list[str], list[Shape3]]:
        path = self._folder / LISTING
        content = read_pickle(path)
        if not isinstance(content, dict):
            raise DataError("not the list that preprocess.py writes", where=str(path))
        names = self._checked(content.get("file_list"), path, [".pkl"])
        cases = content.get("cases")
        return names, [_listed_shape(cases, name, path) for name in names]

    def _take(self, wanted: list[str], path: Path) -> None:
        shapes = dict(zip(self.names, self.shapes, strict=True))
        for name in wanted:
            if name not in shapes:
                raise DataError(f"the case {name[:80]!r} is missing from {self._folder}", where=str(path))
        self.names, self.shapes = wanted, [shapes[name] for name in wanted]

    def _plain_list(self, path: Path, endings: Sequence[str]) -> tuple[list[str], list[Shape3]]:
        names = self._checked(_json(path), path, endings)
        return names, [_shape(_plain(self._folder / f"{n}.npy").shape, f"{path}: {n}") for n in names]

    def _checked(self, names: Any, path: Path, endings: Sequence[str]) -> list[str]:
        """The list's names; every file they stand for exists."""
        if not isinstance(names, list) or not 0 < len(names) <= MAX_CASES:
            raise DataError("lists no case", where=str(path))
        for name in names:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise DataError(f"not the name of a case: {str(name)[:80]!r}", where=str(path))
            for ending in endings:
                if not (self._folder / f"{name}{ending}").is_file():
                    raise DataError(f"the file {name}{ending} is missing", where=f"{path}: {name}")
        if len(set(names)) != len(names):
            raise DataError("lists a case twice", where=str(path))
        return names

    def _hold(self, path: Path) -> None:
        wanted = self._sums.get(path.name)
        if wanted is None:
            return
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != wanted:
            raise DataError(
                f"its MD5 is {found}, {self._sums_name} says {wanted}",
                where=str(path),
                hint="preprocess the case again, or take the list of checksums away",
            )


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise DataError("larger than 1 MiB, not read", where=str(path))
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(error.strerror or str(error), where=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}", where=str(path)) from None
    return content


def _names(path: Path) -> list[str]:
    """The cases that a list names: MLPerf's calibration_cases.json, or .txt with a name a line."""
    if path.suffix != ".json":
        return read_list(path)
    names = _json(path)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError("lists no case", where=str(path))
    return list(dict.fromkeys(names))


def _listed_shape(cases: Any, name: str, path: Path) -> Shape3:
    try:
        shape = cases[name]["image_shape"]
        if not all(type(n) is int for n in shape):
            raise TypeError
    except (TypeError, KeyError):
        raise DataError(f"no image_shape of {name}", where=str(path)) from None
    return _shape(shape, f"{path}: {name}")


def _shape(shape: Sequence[int], where: str) -> Shape3:
    """[1, depth, height, width] or without the channel. Raises DataError for another rank."""
    inner = tuple(shape[1:]) if len(shape) == 4 and shape[0] == 1 else tuple(shape)
    if len(inner) != 3:
        raise DataError(f"a volume has 3 dimensions and one channel at most: {list(shape)}", where=where)
    return inner


def _pair(path: Path) -> Sequence[Any]:
    content = read_pickle(path)
    if not isinstance(content, list | tuple) or len(content) != 2:
        raise DataError("not a pair of volume and labels", where=str(path))
    return content


def _plain(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"not a NumPy array file: {error}", where=str(path)) from None


def _inner(array: NDArray[Any], path: Path) -> NDArray[Any]:
    return array.reshape(_shape(array.shape, str(path)))
