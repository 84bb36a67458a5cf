"""A sample library of whole volumes of unequal size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError, RunError
from coldmark.core.sut import Indices
from coldmark.workloads.unet3d.windows import Values, window_count

Shape3 = tuple[int, int, int]

ReadCase = Callable[[int], NDArray[np.float32]]
"""Sample index -> the preprocessed volume [depth, height, width]. Raises DataError."""


class CaseLibrary:
    """Holds loaded volumes; what each costs (its windows) is known without loading it.

    A volume is checked when it is loaded: rank, type, size and finite values.
    """

    def __init__(
        self,
        name: str,
        performance_count: int,
        shapes: Sequence[Shape3],
        window: int,
        read: ReadCase,
        names: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self._names = names
        self.count = len(shapes)
        self.performance_count = min(performance_count, self.count)
        self.window = window
        self.shapes = list(shapes)
        self._read = read
        self._loaded: dict[int, Values] = {}
        for index, shape in enumerate(shapes):
            check_shape(shape, window, self._where(index))
        self._windows = np.array([window_count(shape, window) for shape in shapes], np.int64)

    def _where(self, index: int) -> str:
        return f"{self.name}: {self._names[index] if self._names else f'case {index}'}"

    def load(self, indices: Indices) -> None:
        for index in np.unique(indices).tolist():
            if index not in self._loaded:
                volume = self._read(index)
                check_volume(volume, self.shapes[index], self._where(index))
                self._loaded[index] = np.ascontiguousarray(volume)

    def unload(self, indices: Indices) -> None:
        for index in np.unique(indices).tolist():
            self._loaded.pop(index, None)

    def volume(self, index: int) -> Values:
        """A loaded volume. Raises RunError for one that was never loaded."""
        try:
            return self._loaded[index]
        except KeyError:
            raise RunError(f"case {index} was asked for but never loaded", where=self.name) from None

    def windows(self, indices: Indices) -> NDArray[np.int64]:
        """Windows of each case."""
        return self._windows[indices]

    def facts(self) -> dict[str, str]:
        """Windows and voxels of the set, for the record."""
        voxels = np.array([np.prod(shape, dtype=np.int64) for shape in self.shapes])
        low, mean, high = self._windows.min(), self._windows.mean(), self._windows.max()
        return {
            "cases": str(self.count),
            "windows_per_case": f"mean {mean:.2f}, {low} to {high}",
            "voxels_per_case": f"mean {voxels.mean():.0f}, {voxels.min()} to {voxels.max()}",
        }

    @property
    def mean_windows(self) -> float:
        return float(self._windows.mean())


def check_shape(shape: Sequence[int], window: int, where: str) -> None:
    """A volume that windows can walk over. Raises DataError for another rank or size."""
    if len(shape) != 3:
        raise DataError(f"a volume has 3 dimensions, not {len(shape)}: {list(shape)}", where=where)
    if any(side < window or side % (window // 2) for side in shape):
        raise DataError(
            f"sides {list(shape)} are not whole half windows of {window // 2} voxels, at least {window}",
            where=where,
            hint="preprocess the case as MLPerf's preprocess.py does",
        )


def check_volume(volume: NDArray[np.float32], shape: Shape3, where: str) -> None:
    """What was read is what was announced: its rank, shape and type, every value finite. Raises DataError."""
    if volume.ndim != 3:
        raise DataError(f"a volume has 3 dimensions, not {volume.ndim}: {list(volume.shape)}", where=where)
    if volume.dtype != np.float32:
        raise DataError(f"a volume is float32, not {volume.dtype}", where=where)
    if volume.shape != tuple(shape):
        raise DataError(f"the volume is {list(volume.shape)}, its list says {list(shape)}", where=where)
    if not np.isfinite(volume).all():
        bad = int(np.count_nonzero(~np.isfinite(volume)))
        raise DataError(f"{bad} voxels are not finite", where=where)
