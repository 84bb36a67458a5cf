"""The ImageNet validation folder as MLPerf lays it out, with `val_map.txt`, and its calibration lists."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.lists import SOURCE, digest, fingerprint, listed_files
from coldmark.workloads.resnet50.preprocess import preprocess

MAP_NAME = "val_map.txt"
MAX_MAP_BYTES = 64 * 1024 * 1024
MAX_IMAGE_BYTES = 64 * 1024 * 1024

OFFICIAL_LISTS = {
    "f9cf89a2d49f4ce019f8c792a739b03f605b1756a610c5a50b49b4a6f8a5a732": "cal_image_list_option_1.txt",
    "bd224c9e689aa2c04f613ecce161bb04acf00331a560a4058ce60394bef1cba5": "cal_image_list_option_2.txt",
}
"""Digest of the names in each of MLPerf's lists."""


class ImageFolder:
    """Images listed in `val_map.txt`, a line each: file name, blank, label.

    Raises DataError with the line where the list is malformed or an image is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._map = folder / MAP_NAME
        self._paths: list[Path] = []
        self._lines: list[int] = []
        found: list[int] = []
        for number, line in enumerate(_lines(folder, self._map), 1):
            if line.strip():
                path, label = self._entry(folder, number, line)
                self._paths.append(path)
                self._lines.append(number)
                found.append(label)
        if not found:
            raise DataError("lists no image", where=str(self._map))
        self.labels: NDArray[np.int64] = np.array(found, np.int64)

    def _entry(self, folder: Path, number: int, line: str) -> tuple[Path, int]:
        where = f"{self._map}:{number}"
        parts = line.split()
        if len(parts) != 2 or not parts[1].isdigit():
            raise DataError(f"not 'file label': {line.strip()[:80]!r}", where=where)
        name = PurePosixPath(parts[0])
        if name.is_absolute() or ".." in name.parts:
            raise DataError(f"{parts[0]!r} lies outside the folder", where=where)
        path = folder / name
        if not path.is_file():
            raise DataError(f"the image {parts[0]} is missing", where=where)
        return path, int(parts[1])

    def __len__(self) -> int:
        return len(self._paths)

    def preprocessed(self, index: int) -> NDArray[np.float32]:
        """The image at `index`, [3, 224, 224]. Raises DataError with file and line when corrupt."""
        return _preprocessed(self._paths[index], f"{self._map}:{self._lines[index]}")

    def identity(self, index: int) -> str:
        """What the file of the image at `index` holds."""
        return fingerprint(self._paths[index])


class ListedImages:
    """The images that a calibration list names. Raises DataError for one that is missing.

    `clause` says by which rule they may be evaluated on too: MLPerf's own lists are drawn from that set.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        self._list = path
        self._paths = listed_files(folder, path)
        known = OFFICIAL_LISTS.get(digest([p.relative_to(folder).as_posix() for p in self._paths]))
        count = len(self._paths)
        self.clause = f"{SOURCE}/ImageNet/{known}: {count} images of the evaluation set" if known else ""

    def __len__(self) -> int:
        return len(self._paths)

    def preprocessed(self, index: int) -> NDArray[np.float32]:
        """The image at `index`, [3, 224, 224]. Raises DataError with its file when corrupt."""
        return _preprocessed(self._paths[index], str(self._list))

    def identity(self, index: int) -> str:
        """What the file of the image at `index` holds."""
        return fingerprint(self._paths[index])


def _preprocessed(path: Path, where: str) -> NDArray[np.float32]:
    try:
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise DataError(f"the image {path.name} is larger than {MAX_IMAGE_BYTES >> 20} MiB", where=where)
        return preprocess(path.read_bytes())
    except (ValueError, OSError) as error:
        raise DataError(f"the image {path.name} cannot be decoded: {error}", where=where) from None


def _lines(folder: Path, path: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(
            "no such folder", where=str(folder), hint="data.path is the ImageNet validation folder"
        )
    try:
        if path.stat().st_size > MAX_MAP_BYTES:
            raise DataError(f"larger than {MAX_MAP_BYTES >> 20} MiB", where=str(path))
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the list of images: {error}", where=str(path)) from None
