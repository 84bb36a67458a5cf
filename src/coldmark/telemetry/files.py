"""Small files of sysfs and procfs, kept open: reading one again costs microseconds."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

from coldmark.core.errors import TelemetryError

_MOST = 4096


def text_of(path: Path) -> str | None:
    """What a small file says; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST).decode("utf-8", "replace").strip()
    except OSError:
        return None


def number_of(path: Path) -> float:
    """The number in a small file; NaN where there is none."""
    return _number((text_of(path) or "").encode())


def _number(data: bytes) -> float:
    try:
        value = float(data)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


class OpenNumbers:
    """Files with one number each. Raises TelemetryError from `read` when all of them are gone."""

    def __init__(self, paths: Iterable[Path], where: str) -> None:
        self._where = where
        self._open: list[int] = []
        try:
            for path in paths:
                self._open.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            self.close()
            raise TelemetryError(error.strerror or str(error), where=str(path)) from None

    def read(self) -> list[float]:
        """One number a file, NaN where it gives none now."""
        values, alive, pread = [], False, os.pread
        for descriptor in self._open:
            try:
                values.append(_number(pread(descriptor, 64, 0)))
                alive = True
            except OSError:
                values.append(math.nan)
        if not alive and values:
            raise TelemetryError("none of its files can be read any more", where=self._where)
        return values

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())
