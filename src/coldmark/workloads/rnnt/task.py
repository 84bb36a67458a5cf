"""RNN-T opened with one of its model sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coldmark.core.errors import ConfigError
from coldmark.workloads.rnnt import mini
from coldmark.workloads.rnnt.full import open_full
from coldmark.workloads.rnnt.librispeech import MANIFEST, Listed, Recordings
from coldmark.workloads.rnnt.official import model_folder, open_recordings
from coldmark.workloads.rnnt.pipeline import Graphs
from coldmark.workloads.sources import needed, own_model
from coldmark.workloads.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`--set model.path=...`, `data.path`, where it lies elsewhere `data.manifest`, `calibration.list` and
    `calibration.data`."""

    model_path: Path | None = None
    data_path: Path | None = None
    data_manifest: Path | None = None
    calibration_list: Path | None = None  # MLPerf's calibration_files.txt
    calibration_data: Path | None = None  # where the listed files lie, if not in data.path


def open_task(workload: str, source: str, options: Options, *, cache: Path, need_model: bool = True) -> Task:
    """The task with a model source: `mini`, `full`, `official`, or a folder with encoder.onnx and
    decoder.onnx."""
    if source == "mini":
        return mini.open_mini(cache)
    if source == "full":
        return open_full(cache, need_model)
    if source == "official":
        return _official(options)
    path = own_model(source, suffix="", what="a folder with two ONNX graphs")
    return _own(model_folder(path), options, cache)


def _official(options: Options) -> Task:
    model_path = needed(
        "model.path", options.model_path, "a folder with MLPerf's model as encoder.onnx and decoder.onnx"
    )
    data_path = needed("data.path", options.data_path, f"the folder with {MANIFEST} and the audio")
    return open_recordings(
        graphs := model_folder(model_path),
        Recordings(data_path, options.data_manifest),
        _record(graphs) | {"data": str(data_path)},
        lambda: _listed(options, data_path),
        official=True,
    )


def _own(graphs: Graphs, options: Options, cache: Path) -> Task:
    """A model of the user's: what it takes in says on which set it is run."""
    if graphs.features == mini.FRONT_END.width:
        return mini.open_on_heldout(graphs, cache, _record(graphs))
    if options.data_path is None:
        raise ConfigError(
            "a model at 16 kHz needs data.path, LibriSpeech dev-clean",
            where="--set",
            hint=f"add --set data.path=/folder/with/{MANIFEST}",
        )
    said = Recordings(options.data_path, options.data_manifest)
    data_path = options.data_path
    return open_recordings(graphs, said, _record(graphs), lambda: _listed(options, data_path), official=False)


def _listed(options: Options, data_path: Path) -> Listed:
    """The utterances to calibrate on. Raises ConfigError where no list was given."""
    what = "MLPerf's calibration_files.txt, 500 utterances of train-clean-100"
    return Listed(
        options.calibration_data or data_path, needed("calibration.list", options.calibration_list, what)
    )


def _record(graphs: Graphs) -> dict[str, str]:
    return {"model_sha256": graphs.sha256, "weights": "given by path"}
