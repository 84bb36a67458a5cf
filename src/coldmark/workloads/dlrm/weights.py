"""Weights of MLPerf's DLRM as two plain files: its tables one after another, and its layers.

`tables.npy` is float32 [rows of all tables, dimension]; `layers.npz` has `rows` (int64 [tables]) and the
layers under the names of MLPerf's checkpoint (`bot_l.0.weight` to `top_l.8.bias`). `convert.py` makes them.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.dlrm.architecture import Config, shape_of
from coldmark.workloads.dlrm.shape import DENSE

TABLES_NAME = "tables.npy"
LAYERS_NAME = "layers.npz"
MAX_LAYERS_BYTES = 1 << 30
PICKLED = (".pt", ".pth", ".pytorch", ".bin")


class ConvertedWeights:
    """A folder of converted weights, checked for shape; the tables stay on disk until asked for."""

    def __init__(self, folder: Path) -> None:
        if folder.suffix in (*PICKLED, ".onnx") or folder.is_file():
            raise DataError(
                "is no folder of converted weights",
                where=str(folder),
                hint=f"convert it once: python -m coldmark.workloads.dlrm.convert {folder} FOLDER",
            )
        for name in (TABLES_NAME, LAYERS_NAME):
            if not (folder / name).is_file():
                raise DataError(f"the folder has no {name}", where=str(folder))
        self.tables_path = folder / TABLES_NAME
        self._layers = _read_layers(folder / LAYERS_NAME)
        self._where = str(folder / LAYERS_NAME)
        self.config = self._infer()
        for name, _, _ in self.config.layers:
            for kind in ("weight", "bias"):
                self.layer(f"{name}.{kind}")
        found = self._open_tables()
        wanted = (sum(self.config.rows), self.config.dimension)
        if found.shape != wanted or found.dtype != np.float32:
            raise DataError(
                f"holds {found.dtype} {list(found.shape)}, expected float32 {list(wanted)}",
                where=str(self.tables_path),
            )

    def _infer(self) -> Config:
        """The model's widths, by the shapes of its biases."""
        rows = self._layers.get("rows")
        if rows is None or rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu" or rows.min() < 1:
            raise DataError("has no `rows` [tables], the length of each table", where=self._where)

        def widths(part: str) -> tuple[int, ...]:
            found: list[int] = []
            while (bias := self._layers.get(f"{part}.{2 * len(found)}.bias")) is not None and bias.ndim == 1:
                found.append(len(bias))
            if not found:
                raise DataError(f"has no {part}.0.bias", where=self._where)
            return tuple(found)

        config = Config(
            rows=tuple(int(r) for r in rows), bottom=widths("bot_l"), top=widths("top_l"), dense=DENSE
        )
        if config.top[-1] != 1:
            raise DataError(f"its last layer has {config.top[-1]} outputs, expected 1", where=self._where)
        return config

    def layer(self, name: str) -> NDArray[np.float32]:
        """A weight or bias by its name. Raises DataError where it is missing, misshapen or not float32."""
        found, wanted = self._layers.get(name), shape_of(self.config, name)
        if found is None or found.shape != wanted or found.dtype != np.float32:
            text = "is missing" if found is None else f"is {found.dtype} {list(found.shape)}"
            raise DataError(f"{name} {text}, expected float32 {list(wanted)}", where=self._where)
        return np.asarray(found, np.float32)

    def _open_tables(self) -> NDArray[np.float32]:
        try:
            opened: NDArray[np.float32] = np.load(self.tables_path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"not a whole array: {error}", where=str(self.tables_path)) from None
        return opened

    def tables(self) -> NDArray[np.float32]:
        """All tables in memory: random rows of a file would be read page by page."""
        return np.array(self._open_tables())


def _read_layers(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        if path.stat().st_size > MAX_LAYERS_BYTES:
            raise DataError(f"larger than {MAX_LAYERS_BYTES >> 20} MiB", where=str(path))
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_LAYERS_BYTES:
                raise DataError(f"unpacks to more than {MAX_LAYERS_BYTES >> 20} MiB", where=str(path))
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read the layers: {error}", where=str(path)) from None
