"""BERT opened with one of its model sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.workloads.bert import full
from coldmark.workloads.bert.architecture import LARGE, SEED
from coldmark.workloads.bert.calibration import choose
from coldmark.workloads.bert.features import OFFICIAL, Features, featurise
from coldmark.workloads.bert.mini import mini_file, on_heldout, open_mini, sequence_facts
from coldmark.workloads.bert.network import LARGE_RECIPE, RECIPE, pipeline, reader
from coldmark.workloads.bert.samples import FeatureLibrary
from coldmark.workloads.bert.scoring import scorer
from coldmark.workloads.bert.squad import VERSION, read_squad
from coldmark.workloads.bert.tokenizer import read_vocabulary
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.sources import SEEDED, needed, own_model
from coldmark.workloads.task import Gate, Task, calibrated, gate_ratio

REFERENCE_F1 = 90.874
OFFICIAL_SEQUENCES = 10_833

CALIBRATION_FILES = "MLPerf's bert_calibration_features.txt or bert_calibration_qas_ids.txt"

PADDED, BUCKETS = "padded", "buckets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`--set model.path=...`, `data.path`, `vocab.path`, `calibration.list`, `calibration.data`, and
    `data.lengths=padded|buckets`.

    Padded, every sequence is filled up to the full length, as the reference does. In buckets it is filled
    up only to the next multiple of 64 (of 32 for mini); the answers are the same up to rounding.
    """

    model_path: Path | None = None
    data_path: Path | None = None
    vocab_path: Path | None = None
    data_lengths: str = PADDED
    calibration_list: Path | None = None  # numbers of sequences or ids of questions, one a line
    calibration_data: Path | None = None  # where the listed questions are others than those of data.path

    def __post_init__(self) -> None:
        if self.data_lengths not in (PADDED, BUCKETS):
            raise ConfigError(
                f"no way {self.data_lengths!r} of filling up sequences",
                where="--set data.lengths",
                hint=did_you_mean(self.data_lengths, (PADDED, BUCKETS)),
            )

    @property
    def padded(self) -> bool:
        return self.data_lengths == PADDED


def open_task(workload: str, source: str, options: Options, *, cache: Path, need_model: bool = True) -> Task:
    """The task with a model source: `mini`, `full`, `official`, or a path to an ONNX file."""
    ratio = gate_ratio(workload)
    if source == "mini":
        return open_mini(ratio, padded=options.padded)
    if source == "full":
        return _full(options, cache, need_model)
    if source == "official":
        return _official(options, ratio)
    return _own(own_model(source), options, ratio)


def _full(options: Options, cache: Path, need_model: bool) -> Task:
    file, sha256 = None, ""
    if need_model:
        path = full.weights_and_graph(cache)
        signature = inspect(path)
        file, sha256 = reader(path, signature, OFFICIAL.sequence, large=True), signature.sha256

    def on(features: Features) -> Task:
        library = FeatureLibrary("random-384", features)
        return Task(
            model=pipeline(file, library, padded=options.padded) if file else None,
            library=library,
            samples=len(features),
            refusal=SEEDED,
            recipe=LARGE_RECIPE,
            facts={
                "model_sha256": sha256,
                "weights": f"seeded random (seed {SEED}), performance only",
                **sequence_facts(features, LARGE, padded=options.padded),
            },
            identity=library.identity,
        )

    return calibrated(
        on(full.random_features()),
        lambda: on(full.random_features(count=full.CALIBRATION_COUNT, seed=full.CALIBRATION_SEED)),
    )


def _official(options: Options, ratio: float) -> Task:
    model_path = needed("model.path", options.model_path, "MLPerf's BERT model.onnx")
    data_path = needed("data.path", options.data_path, "SQuAD's dev-v1.1.json")
    vocab_path = needed("vocab.path", options.vocab_path, "the vocab.txt that came with the model")
    return _on_squad(model_path, data_path, vocab_path, ratio, options, official=True)


def _on_squad(path: Path, data: Path, vocab: Path, ratio: float, options: Options, *, official: bool) -> Task:
    signature = inspect(path)
    tokenizer = read_vocabulary(vocab)
    examples, version = read_squad(data)
    features = featurise(examples, tokenizer, OFFICIAL)
    file = reader(path, signature, OFFICIAL.sequence)

    def on(name: str, chosen: Features) -> Task:
        library = FeatureLibrary(name, chosen)
        return Task(
            model=pipeline(file, library, padded=options.padded),
            library=library,
            samples=len(chosen),
            official=official,
            gate=official_gate(ratio),
            recipe=LARGE_RECIPE if file.large else RECIPE,
            facts={
                "model_sha256": signature.sha256,
                "weights": "given by path",
                "data": str(data),
                **sequence_facts(chosen, LARGE if official else None, padded=options.padded),
            },
            identity=library.identity,
        )

    def calibration() -> Task:
        listed = needed("calibration.list", options.calibration_list, CALIBRATION_FILES)
        other = options.calibration_data
        rows = read_squad(other)[0] if other else examples
        found = choose(listed, rows, featurise(rows, tokenizer, OFFICIAL) if other else features)
        own = on("squad-calibration" if found.clause else "sequences of a list", found.features)
        return replace(own, overlap=found.clause, official=official and bool(found.clause))

    task = on("squad-v1.1", features)
    task = replace(
        task,
        scorer=scorer(examples, features, tokenizer),
        warnings=tuple(_doubts(data, version, len(features))),
    )
    return calibrated(task, calibration)


def _doubts(data: Path, version: str, sequences: int) -> Iterator[str]:
    if version != VERSION:
        yield f"{data} says version {version!r}: the reference is measured on {VERSION}"
    if sequences != OFFICIAL_SEQUENCES:
        yield f"{sequences} sequences; SQuAD v1.1 dev with its own vocabulary has {OFFICIAL_SEQUENCES}"


def official_gate(ratio: float) -> Gate:
    return Gate(
        metric="F1",
        unit="%",
        reference=REFERENCE_F1,
        ratio=ratio,
        source="MLPerf Inference v2.1, bert, FP32 reference",
    )


def _own(path: Path, options: Options, ratio: float) -> Task:
    """A model of the user's: on SQuAD where that is given, else on mini's held-out questions."""
    if options.data_path is not None and options.vocab_path is not None:
        return _on_squad(path, options.data_path, options.vocab_path, ratio, options, official=False)
    if (options.data_path is None) != (options.vocab_path is None):
        raise ConfigError(
            "data.path and vocab.path go together",
            where="--set",
            hint="SQuAD's dev-v1.1.json and the vocab.txt of the model; neither: mini's own questions",
        )
    record = {"weights": "given by path"}
    task = on_heldout(path, mini_file(), ratio, padded=options.padded, record=record)
    del task.facts["macs_per_sample"]  # the work of mini, not of this model
    return task
