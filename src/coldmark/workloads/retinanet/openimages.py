"""The OpenImages subset as MLPerf lays it out: annotations in COCO's form, and images.

A sample is an entry of the file's `images`, in the file's order, as the official accuracy script counts them.
A detection's label is the category's id itself: the official reference maps nothing.
"""

from __future__ import annotations

import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.lists import fingerprint, listed_files
from coldmark.workloads.retinanet.mean_ap import Truth
from coldmark.workloads.retinanet.preprocess import preprocess
from coldmark.workloads.retinanet.score import Images

ANNOTATIONS = "annotations/openimages-mlperf.json"
FOLDER = "validation/data"
TRAINING_FOLDER = "train/data"
MAX_JSON_BYTES = 256 * 1024 * 1024
MAX_IMAGE_BYTES = 64 * 1024 * 1024
MAX_SIDE = 1 << 16
FAR = 1e9  # px, outside every image
SLACK = 1.0
"""Px by which a box may pass the image's edge: annotations are shares of its sides, and rounded."""


class OpenImages:
    """Images and annotations of a folder. Raises DataError with the entry that is wrong or missing."""

    def __init__(self, folder: Path, classes: int) -> None:
        self._json = folder / ANNOTATIONS
        data = _read(folder, self._json)
        categories = self._categories(data, classes)
        entries = self._list(data, "images")
        ids: dict[Any, int] = {}
        self._paths: list[Path] = []
        sizes = np.zeros((len(entries), 2), np.int64)
        for row, entry in enumerate(entries):
            where = f"{self._json}: images[{row}]"
            identity, sizes[row] = _image(entry, where)
            if identity in ids:
                raise DataError(f"the id {identity!r} is there twice", where=where)
            ids[identity] = row
            self._paths.append(_path(folder / FOLDER, entry, where))
        if not entries:
            raise DataError("lists no image", where=str(self._json))
        self.images = Images(sizes[:, 0], sizes[:, 1], _rank(ids, self._json), classes)
        self.truth = self._truth(self._list(data, "annotations"), ids, categories, sizes)

    def __len__(self) -> int:
        return len(self._paths)

    def identity(self, index: int) -> str:
        """What the file of the image at `index` holds."""
        return fingerprint(self._paths[index])

    def preprocessed(self, index: int, side: int) -> NDArray[np.float32]:
        """The image at `index`, [3, side, side]. Raises DataError with its file and entry when corrupt."""
        return _preprocessed(self._paths[index], side, f"{self._json}: images[{index}]")

    def _list(self, data: Any, key: str) -> list[Any]:
        found = data.get(key) if isinstance(data, dict) else None
        if not isinstance(found, list):
            raise DataError(f"no list {key!r}: not annotations in COCO's form", where=str(self._json))
        return found

    def _categories(self, data: Any, classes: int) -> set[int]:
        known: set[int] = set()
        for row, entry in enumerate(self._list(data, "categories")):
            number = entry.get("id") if isinstance(entry, dict) else None
            _check_category(number, classes, f"{self._json}: categories[{row}]")
            known.add(int(number))  # type: ignore[arg-type]
        return known

    def _truth(
        self, entries: list[Any], ids: dict[Any, int], categories: set[int], sizes: NDArray[np.int64]
    ) -> Truth:
        image, label, boxes, crowd = [], [], [], []
        for row, entry in enumerate(entries):
            where = f"{self._json}: annotations[{row}]"
            if not isinstance(entry, dict):
                raise DataError("not an annotation", where=where)
            of = entry.get("image_id")
            if not isinstance(of, int | str) or of not in ids:
                continue  # as the reference and COCO's own evaluation do: it concerns no image here
            number = entry.get("category_id")
            _check_category(number, self.images.classes, where)
            if number not in categories:
                raise DataError(f"category {number} is not in the file's categories", where=where)
            image.append(ids[of])
            label.append(int(number))
            boxes.append(_box(entry.get("bbox"), sizes[ids[of]], where))
            crowd.append(bool(entry.get("iscrowd", 0)))
        return Truth(
            np.array(image, np.int64),
            np.array(label, np.int64),
            np.array(boxes, np.float64).reshape(-1, 4),
            np.array(crowd, np.bool_),
        )


class ListedImages:
    """Images without annotations, as MLPerf's calibration list names them.

    They lie in `folder`, or below it in train/data, where the official script puts them. Raises DataError for
    one that is missing.
    """

    def __init__(self, folder: Path, path: Path) -> None:
        below = folder / TRAINING_FOLDER
        self._list = path
        self._paths = listed_files(below if below.is_dir() else folder, path)

    def __len__(self) -> int:
        return len(self._paths)

    def identity(self, index: int) -> str:
        """What the file of the image at `index` holds."""
        return fingerprint(self._paths[index])

    def preprocessed(self, index: int, side: int) -> NDArray[np.float32]:
        """The image at `index`, [3, side, side]. Raises DataError with its file when corrupt."""
        return _preprocessed(self._paths[index], side, str(self._list))


def _preprocessed(path: Path, side: int, where: str) -> NDArray[np.float32]:
    try:
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise DataError(f"the image {path.name} is larger than {MAX_IMAGE_BYTES >> 20} MiB", where=where)
        return preprocess(path.read_bytes(), side)
    except (ValueError, OSError) as error:
        raise DataError(f"the image {path.name} cannot be decoded: {error}", where=where) from None


def _read(folder: Path, path: Path) -> Any:
    if not folder.is_dir():
        raise DataError(
            "no such folder", where=str(folder), hint=f"data.path holds {ANNOTATIONS} and {FOLDER}"
        )
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"larger than {MAX_JSON_BYTES >> 20} MiB", where=str(path))
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read the annotations: {error.strerror}", where=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}", where=str(path)) from None


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _image(entry: Any, where: str) -> tuple[int | str, tuple[int, int]]:
    """The id and (height, width) of an image's entry."""
    entry = entry if isinstance(entry, dict) else {}
    identity, sides = entry.get("id"), (entry.get("height"), entry.get("width"))
    if not (_whole(identity) or isinstance(identity, str)):
        raise DataError("an image has no id", where=where)
    if not all(_whole(side) and 0 < side <= MAX_SIDE for side in sides):
        raise DataError(f"height and width are {sides[0]!r} and {sides[1]!r}", where=where)
    return identity, sides


def _path(folder: Path, entry: dict[str, Any], where: str) -> Path:
    text = entry.get("file_name")
    if not isinstance(text, str) or not text or "\0" in text:
        raise DataError(f"file_name is {text!r}", where=where)
    name = PurePosixPath(text)
    if name.is_absolute() or ".." in name.parts:
        raise DataError(f"{text!r} lies outside the folder", where=where)
    path = folder / name
    if not path.is_file():
        raise DataError(f"the image {text} is missing from {folder}", where=where)
    return path


def _check_category(number: Any, classes: int, where: str) -> None:
    if not _whole(number) or not 0 <= number < classes:
        raise DataError(
            f"category id {number!r} is outside the table of {classes} (0 to {classes - 1})",
            where=where,
            hint="the ids must be those the model was trained with, counted from 0",
        )


def _box(value: Any, size: NDArray[np.int64], where: str) -> tuple[float, ...]:
    """x, y, width, height. Raises DataError unless it is four finite numbers inside the image."""
    good = isinstance(value, list) and len(value) == 4
    if not good or not all(_whole(v) or (isinstance(v, float) and math.isfinite(v)) for v in value):
        raise DataError(f"bbox is {str(value)[:80]}, not four numbers", where=where)
    x, y, width, height = (float(max(-FAR, min(FAR, v))) for v in value)  # a whole number has no bound
    inside = min(x, y) >= -SLACK and x + width <= size[1] + SLACK and y + height <= size[0] + SLACK
    if width < 0 or height < 0 or not inside:
        raise DataError(
            f"the box {str(value)[:80]} lies outside its image of {size[1]}x{size[0]} px",
            where=where,
            hint="bbox is x, y, width, height in px",
        )
    return x, y, width, height


def _rank(ids: dict[Any, int], path: Path) -> NDArray[np.int64]:
    """Where each image comes when the ids are sorted, as COCO's evaluation does."""
    if len({isinstance(identity, str) for identity in ids}) > 1:
        raise DataError("image ids are numbers and texts mixed", where=str(path))
    rank = np.empty(len(ids), np.int64)
    rank[[ids[identity] for identity in sorted(ids)]] = np.arange(len(ids))
    return rank
