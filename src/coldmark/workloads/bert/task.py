"""BERT opened with one of its model sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.workloads.bert import full
from coldmark.workloads.bert.architecture import LARGE, SEED
from coldmark.workloads.bert.features import OFFICIAL, featurise
from coldmark.workloads.bert.mini import mini_file, on_heldout, open_mini, sequence_facts
from coldmark.workloads.bert.network import pipeline, reader
from coldmark.workloads.bert.samples import FeatureLibrary
from coldmark.workloads.bert.scoring import scorer
from coldmark.workloads.bert.squad import VERSION, read_squad
from coldmark.workloads.bert.tokenizer import read_vocabulary
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.sources import SEEDED, needed, own_model
from coldmark.workloads.task import Gate, Task, gate_ratio

REFERENCE_F1 = 90.874
OFFICIAL_SEQUENCES = 10_833

PADDED, BUCKETS = "padded", "buckets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`--set model.path=...`, `data.path`, `vocab.path`, and `data.lengths=padded|buckets`.

    Padded, every sequence is filled up to the full length, as the reference does. In buckets it is filled
    up only to the next multiple of 64 (of 32 for mini); the answers are the same up to rounding.
    """

    model_path: Path | None = None
    data_path: Path | None = None
    vocab_path: Path | None = None
    data_lengths: str = PADDED

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
    features = full.random_features()
    library = FeatureLibrary("random-384", features)
    model, sha256 = None, ""
    if need_model:
        path = full.weights_and_graph(cache)
        signature = inspect(path)
        file = reader(path, signature, OFFICIAL.sequence, large=True)
        model, sha256 = pipeline(file, library, padded=options.padded), signature.sha256
    return Task(
        model=model,
        library=library,
        samples=len(features),
        refusal=SEEDED,
        facts={
            "model_sha256": sha256,
            "weights": f"seeded random (seed {SEED}), performance only",
            **sequence_facts(features, LARGE, padded=options.padded),
        },
    )


def _official(options: Options, ratio: float) -> Task:
    model_path = needed("model.path", options.model_path, "MLPerf's BERT model.onnx")
    data_path = needed("data.path", options.data_path, "SQuAD's dev-v1.1.json")
    vocab_path = needed("vocab.path", options.vocab_path, "the vocab.txt that came with the model")
    return _on_squad(model_path, data_path, vocab_path, ratio, padded=options.padded, official=True)


def _on_squad(path: Path, data: Path, vocab: Path, ratio: float, *, padded: bool, official: bool) -> Task:
    signature = inspect(path)
    tokenizer = read_vocabulary(vocab)
    examples, version = read_squad(data)
    features = featurise(examples, tokenizer, OFFICIAL)
    library = FeatureLibrary("squad-v1.1", features)
    file = reader(path, signature, OFFICIAL.sequence)
    warnings = []
    if version != VERSION:
        warnings.append(f"{data} says version {version!r}: the reference is measured on {VERSION}")
    if len(features) != OFFICIAL_SEQUENCES:
        warnings.append(
            f"{len(features)} sequences; SQuAD v1.1 dev with its own vocabulary has {OFFICIAL_SEQUENCES}"
        )
    return Task(
        model=pipeline(file, library, padded=padded),
        library=library,
        samples=len(features),
        scorer=scorer(examples, features, tokenizer),
        official=official,
        gate=Gate(
            metric="F1",
            unit="%",
            reference=REFERENCE_F1,
            ratio=ratio,
            source="MLPerf Inference v2.1, bert, FP32 reference",
        ),
        facts={
            "model_sha256": signature.sha256,
            "weights": "given by path",
            "data": str(data),
            **sequence_facts(features, LARGE if official else None, padded=padded),
        },
        warnings=tuple(warnings),
    )


def _own(path: Path, options: Options, ratio: float) -> Task:
    """A model of the user's: on SQuAD where that is given, else on mini's held-out questions."""
    if options.data_path is not None and options.vocab_path is not None:
        return _on_squad(
            path, options.data_path, options.vocab_path, ratio, padded=options.padded, official=False
        )
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
