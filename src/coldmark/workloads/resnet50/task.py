"""ResNet-50 opened with one of its model sources."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coldmark.core.codec import read_toml
from coldmark.core.errors import ConfigError, DataError, did_you_mean
from coldmark.core.sut import Model, TensorSpec
from coldmark.workloads.cache import materialise
from coldmark.workloads.onnx_file import Port, Signature, inspect
from coldmark.workloads.resnet50 import labels
from coldmark.workloads.resnet50.imagenet import ImageFolder
from coldmark.workloads.resnet50.preprocess import preprocess
from coldmark.workloads.rows import RowLibrary
from coldmark.workloads.task import Gate, Task

SIZE = 224
PERFORMANCE_COUNT = 1024  # the round's own number of samples in memory
NOISE_SEED = 224
RATIO = 0.99

OFFICIAL_REFERENCE = Gate(
    metric="acc",
    unit="%",
    reference=76.46,
    ratio=RATIO,
    source="MLPerf Inference v2.1, resnet50, FP32 reference",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`--set model.path=...` and `--set data.path=...`."""

    model_path: Path | None = None
    data_path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniFile:
    """`mini.toml`: the facts of the shipped model, written by its training script."""

    sha256: str
    input_size: int
    classes: int
    parameters: int
    macs_per_sample: int
    training_seed: int
    training_images: int
    heldout_seed: int
    heldout_count: int
    correct: int
    top1: float
    made: dict[str, Any]


def open_task(workload: str, source: str, options: Options, *, cache: Path, need_model: bool = True) -> Task:
    """The task with a model source: `mini`, `full`, `official`, or a path to an ONNX file."""
    if source == "mini":
        return _mini(cache)
    if source == "full":
        return _full(cache, need_model)
    if source == "official":
        return _official(options)
    path = Path(source)
    if path.suffix != ".onnx" and not path.exists():
        raise ConfigError(
            f"no model source {source!r}",
            where="--model",
            hint=did_you_mean(source, ["mini", "full", "official"]) + ", or a path to an ONNX file",
        )
    return _own(path, options, cache)


# -- mini -------------------------------------------------------------------------------------------


def mini_file() -> MiniFile:
    """The facts of the shipped model."""
    return read_toml(_shipped("mini.toml"), MiniFile)


def _shipped(name: str) -> Path:
    return Path(str(resources.files("coldmark.workloads.resnet50") / name))


def _mini(cache: Path) -> Task:
    facts = mini_file()
    path = _shipped("mini.onnx")
    signature = inspect(path)
    if signature.sha256 != facts.sha256:
        raise DataError(
            "the shipped model is not the one that mini.toml describes",
            where=str(path),
            hint="reinstall coldmark",
        )
    return Task(
        model=_scores_model(path, signature, facts.input_size),
        official=False,
        gate=_mini_gate(facts),
        facts={"model_sha256": signature.sha256, "weights": "trained for this project on drawn shapes"},
        **_heldout(facts, cache),
    )


def _mini_gate(facts: MiniFile) -> Gate:
    return Gate(
        metric="acc",
        unit="%",
        reference=facts.top1,
        ratio=RATIO,
        source=f"mini, FP32, {facts.heldout_count} held-out images (mini.toml)",
    )


def _heldout(facts: MiniFile, cache: Path) -> dict[str, Any]:
    """Samples and scorer of the held-out set, drawn once and kept as JPEG."""
    from coldmark.workloads.resnet50.heldout import HeldoutSet

    images = HeldoutSet(facts.heldout_seed, facts.heldout_count, cache)
    shape = (3, facts.input_size, facts.input_size)
    return {
        "library": RowLibrary(
            f"shapes-{facts.heldout_seed}",
            facts.heldout_count,
            PERFORMANCE_COUNT,
            shape,
            lambda index: preprocess(images.jpeg(index), facts.input_size),
        ),
        "samples": facts.heldout_count,
        "scorer": labels.top1(images.labels),
    }


# -- full -------------------------------------------------------------------------------------------


def _full(cache: Path, need_model: bool) -> Task:
    from coldmark.workloads.resnet50 import architecture

    model, sha256 = None, ""
    if need_model:
        path = materialise(cache / "resnet50" / f"full-v1-{architecture.SEED}.onnx", architecture.write)
        signature = inspect(path)
        model, sha256 = _scores_model(path, signature, SIZE), signature.sha256
    return Task(
        model=model,
        library=_noise_library(),
        samples=PERFORMANCE_COUNT,
        refusal="the weights of `full` are seeded random numbers: its answers mean nothing",
        facts={
            "model_sha256": sha256,
            "weights": f"seeded random (seed {architecture.SEED}), performance only",
        },
    )


def _noise_library() -> RowLibrary:
    """Seeded noise in the shape of preprocessed images: there is nothing in it to be right about."""

    def read(index: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([NOISE_SEED, index])
        return rng.integers(-124, 132, size=(3, SIZE, SIZE), dtype=np.int16).astype(np.float32)

    return RowLibrary("noise-224", PERFORMANCE_COUNT, PERFORMANCE_COUNT, (3, SIZE, SIZE), read)


# -- official and own -------------------------------------------------------------------------------


def _official(options: Options) -> Task:
    for key, value, what in (
        ("model.path", options.model_path, "MLPerf's resnet50 ONNX file"),
        ("data.path", options.data_path, "the ImageNet validation folder with val_map.txt"),
    ):
        if value is None:
            raise ConfigError(
                f"--model official needs {key}, {what}", where="--set", hint=f"add --set {key}=/path/to/it"
            )
    assert options.model_path is not None
    assert options.data_path is not None
    signature = inspect(options.model_path)
    images = ImageFolder(options.data_path)
    return Task(
        model=_scores_model(options.model_path, signature, SIZE),
        official=True,
        gate=OFFICIAL_REFERENCE,
        facts={"model_sha256": signature.sha256, "weights": "given by path", "data": str(options.data_path)},
        **_imagenet(images),
    )


def _imagenet(images: ImageFolder) -> dict[str, Any]:
    return {
        "library": RowLibrary(
            "imagenet", len(images), min(PERFORMANCE_COUNT, len(images)), (3, SIZE, SIZE), images.preprocessed
        ),
        "samples": len(images),
        "scorer": labels.top1(images.labels),
    }


def _own(path: Path, options: Options, cache: Path) -> Task:
    """A model of the user's: its input size says on which set it is run."""
    signature = inspect(path)
    facts = mini_file()
    record = {"model_sha256": signature.sha256, "weights": "given by path"}
    size = _image_size(path, signature)
    if size == facts.input_size:
        return Task(
            model=_scores_model(path, signature, size),
            gate=_mini_gate(facts),
            facts=record,
            **_heldout(facts, cache),
        )
    model = _scores_model(path, signature, SIZE)
    if options.data_path is not None:
        return Task(
            model=model, gate=OFFICIAL_REFERENCE, facts=record, **_imagenet(ImageFolder(options.data_path))
        )
    return Task(
        model=model,
        library=_noise_library(),
        samples=PERFORMANCE_COUNT,
        facts=record,
        refusal="no images to score on: give --set data.path=FOLDER with val_map.txt",
    )


def _image_size(path: Path, signature: Signature) -> int | None:
    """The side of the square images a model takes. Raises DataError for anything else."""
    shape = signature.inputs[0].shape if len(signature.inputs) == 1 else ()
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or signature.inputs[0].dtype != "float32":
        raise DataError(
            f"not an image classifier: inputs are {_shapes(signature.inputs)}",
            where=str(path),
            hint="one float32 input of shape [batch, 3, side, side] is expected",
        )
    return shape[2]


def _scores_model(path: Path, signature: Signature, size: int) -> Model:
    """The model as a classifier of images of this side. Raises DataError for another shape."""
    found = _image_size(path, signature)
    if found not in (size, None):
        raise DataError(
            f"input shape {_shapes(signature.inputs)}, expected [batch, 3, {size}, {size}]",
            where=str(path),
            hint="is it the model of another workload or source?",
        )
    output, finish = _output(path, signature)
    return Model(
        path=path,
        inputs=(TensorSpec(name=signature.inputs[0].name, shape=(3, size, size)),),
        outputs=(output.name,),
        finish=finish,
    )


def _output(path: Path, signature: Signature) -> tuple[Port, Any]:
    """Which output names the class, and how it is read.

    MLPerf's own file has labels and scores over 1 001 classes, the first being background.
    """
    for port in signature.outputs:
        if len(port.shape) == 2 and port.dtype == "float32" and port.shape[1]:
            background = port.shape[1] == 1001
            return port, labels.finish_scores_background if background else labels.finish_scores
    for port in signature.outputs:
        if len(port.shape) == 1 and port.dtype in ("int64", "int32"):
            return port, labels.finish_labels_background
    raise DataError(
        f"no output looks like class scores: {_shapes(signature.outputs)}",
        where=str(path),
        hint="an output of shape [batch, classes] is expected",
    )


def _shapes(ports: tuple[Port, ...]) -> str:
    return "; ".join(f"{p.name} {list(p.shape)} {p.dtype}" for p in ports) or "none"
