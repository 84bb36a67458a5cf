"""Criteo's day 23 as MLPerf's reference preprocesses it: the test half, pair by pair.

Two forms are read: `terabyte_processed_test.bin` (a row of 40 little-endian int32 a pair: click, 13 counts,
26 categories) and `day_23_reordered.npz` (arrays y, X_int, X_cat of the whole day), of which the first half
is written in the first form once. Categories are taken modulo 40 million, counts as log(count + 1).

MLPerf's calibration set is the first 128 000 pairs of the other half, from the same arrays or from
`terabyte_processed_val.bin`, in which the reference keeps that half.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.cache import materialise
from coldmark.workloads.dlrm.pairs import Columns, check_categories
from coldmark.workloads.dlrm.shape import DENSE, TABLES, log_counts
from coldmark.workloads.lists import fingerprint

BIN_NAME = "terabyte_processed_test.bin"
OTHER_HALF_NAME = "terabyte_processed_val.bin"
NPZ_NAME = "day_23_reordered.npz"
WIDTH = 1 + DENSE + TABLES
MODULO = 40_000_000
BLOCK = 1 << 18  # pairs converted at a time
CALIBRATION_PAIRS = 128_000

_COLUMNS = {"y": (0, 1), "X_int": (1, 1 + DENSE), "X_cat": (1 + DENSE, WIDTH)}


class CriteoLog:
    """The pairs of the test half, or of the calibration set, left on disk until they are read."""

    def __init__(
        self, folder: Path, rows: tuple[int, ...], cache: Path, *, calibration: bool = False
    ) -> None:
        self._path = _binary(folder, cache, calibration)
        size = self._path.stat().st_size
        if size == 0 or size % (4 * WIDTH):
            raise DataError(
                f"{size} bytes are not whole pairs of {4 * WIDTH} bytes",
                where=str(self._path),
                hint="is the file truncated?",
            )
        pairs = size // (4 * WIDTH)
        if calibration:
            pairs = min(pairs, CALIBRATION_PAIRS)
        self._pairs = np.memmap(self._path, "<i4", "r", shape=(pairs, WIDTH))
        self._rows = rows
        self._print = fingerprint(self._path)

    def __len__(self) -> int:
        return len(self._pairs)

    def identity(self, begin: int) -> str:
        """What the pair at `begin` is: its file's content and its place there."""
        return f"{self._print} {begin}"

    def clicked(self) -> NDArray[np.bool_]:
        """The truth of all pairs, out of the whole file."""
        return np.asarray(self._pairs[:, 0] != 0)

    def read(self, begin: int, end: int) -> Columns:
        """Pairs `begin` to `end` as a model takes them. Raises DataError on a value that cannot be."""
        raw = np.array(self._pairs[begin:end])
        click, counts, category = raw[:, 0], raw[:, 1 : 1 + DENSE], raw[:, 1 + DENSE :] % MODULO
        where = str(self._path)
        if not np.isin(click, (0, 1)).all():
            raise DataError(f"a click among pairs {begin} to {end - 1} is neither 0 nor 1", where=where)
        if len(counts) and counts.min() < 0:
            pair, column = np.argwhere(counts < 0)[0].tolist()
            raise DataError(f"pair {begin + pair}: count {column} is negative", where=where)
        if len(category) and raw[:, 1 + DENSE :].min() < 0:
            pair, table = np.argwhere(raw[:, 1 + DENSE :] < 0)[0].tolist()
            raise DataError(f"pair {begin + pair}: the category of table {table} is negative", where=where)
        check_categories(category, self._rows, begin, where)
        return log_counts(counts), np.ascontiguousarray(category), click.astype(np.float32)


def _binary(folder: Path, cache: Path, calibration: bool) -> Path:
    """The binary file in the folder, or the one made of the day's arrays."""
    if not folder.is_dir():
        raise DataError(
            "no such folder", where=str(folder), hint="data.path is the preprocessed Criteo folder"
        )
    name = OTHER_HALF_NAME if calibration else BIN_NAME
    if (folder / name).is_file():
        return folder / name
    day = folder / NPZ_NAME
    if not day.is_file():
        raise DataError(
            f"holds neither {name} nor {NPZ_NAME}",
            where=str(folder),
            hint="calibration.data is the folder where one of them lies" if calibration else None,
        )
    facts = day.stat()
    suffix = "-calibration" if calibration else ""
    made = cache / "dlrm" / f"criteo-{facts.st_size}-{facts.st_mtime_ns}{suffix}.bin"
    return materialise(made, lambda aside: _convert(day, aside, calibration))


def _convert(day: Path, path: Path, calibration: bool) -> None:
    """Write the first half of a day, or the calibration pairs, as rows of 40 int32, a block at a time."""
    try:
        with zipfile.ZipFile(day) as archive:
            pairs = _length(archive, day)
            half = math.ceil(pairs / 2)
            begin, end = (half, min(pairs, half + CALIBRATION_PAIRS)) if calibration else (0, half)
            if begin == end:
                raise DataError(f"{pairs} pairs have no second half to calibrate on", where=str(day))
            out = np.memmap(path, "<i4", "w+", shape=(end - begin, WIDTH))
            for name, (first, last) in _COLUMNS.items():
                with archive.open(f"{name}.npy") as stream:
                    _copy(stream, out[:, first:last], pairs, begin, f"{day}:{name}")
            out.flush()
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        raise DataError(f"cannot read the day's arrays: {error}", where=str(day)) from None


def _length(archive: zipfile.ZipFile, day: Path) -> int:
    with archive.open("y.npy") as stream:
        shape, _, _ = _header(stream, f"{day}:y")
    if len(shape) not in (1, 2) or shape[0] < 1:
        raise DataError(f"y has shape {shape}", where=str(day))
    return shape[0]


def _header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, whether columns lie together, and type. Raises DataError for anything but numbers."""
    version = npy.read_magic(stream)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise DataError(f"array format {version} is not known", where=where)
    shape, fortran, dtype = read(stream)
    if dtype.kind not in "iuf":
        raise DataError(f"holds {dtype}, not numbers", where=where)
    return shape, fortran, dtype


def _copy(stream: IO[bytes], out: NDArray[np.int32], pairs: int, first: int, where: str) -> None:
    """Copy rows from `first` on of a stored array [pairs, columns] into `out`, in either storage order."""
    shape, fortran, dtype = _header(stream, where)
    count, columns = out.shape
    if shape[0] != pairs or int(np.prod(shape[1:], dtype=np.int64)) != columns:
        raise DataError(f"has shape {shape}, expected ({pairs}, {columns})", where=where)
    width = 1 if fortran else columns
    for column in range(columns if fortran else 1):
        _skip(stream, first * width * dtype.itemsize)
        for begin in range(0, count, BLOCK):
            end = min(begin + BLOCK, count)
            block = np.frombuffer(_exactly(stream, (end - begin) * width * dtype.itemsize), dtype)
            if fortran:
                out[begin:end, column] = block
            else:
                out[begin:end] = block.reshape(-1, columns)
        if fortran:
            _skip(stream, (pairs - first - count) * dtype.itemsize)


def _skip(stream: IO[bytes], size: int) -> None:
    for begin in range(0, size, BLOCK * 4):
        _exactly(stream, min(BLOCK * 4, size - begin))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError("it breaks off")
    return data
