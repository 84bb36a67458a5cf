"""The shipped small sibling: the model that comes with coldmark, its held-out questions and its gate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache as remembered
from pathlib import Path
from typing import Any

import numpy as np

from coldmark.core.codec import read_toml
from coldmark.workloads.bert.architecture import Config
from coldmark.workloads.bert.features import Features, Form, featurise
from coldmark.workloads.bert.network import RECIPE, bucketed, pipeline, reader
from coldmark.workloads.bert.passages import draw, examples, vocabulary
from coldmark.workloads.bert.samples import FeatureLibrary
from coldmark.workloads.bert.scoring import scorer
from coldmark.workloads.bert.squad import Example
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.sources import check_shipped, shipped
from coldmark.workloads.task import Gate, Task, calibrated

PACKAGE = "coldmark.workloads.bert"

FORM = Form(sequence=128, question=24, stride=48)
CALIBRATION_SEED = 530_004  # of passages that are neither trained nor scored on
CALIBRATION_PASSAGES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of the shipped network."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    parameters: int

    @property
    def config(self) -> Config:
        return Config(
            layers=self.layers,
            hidden=self.hidden,
            heads=self.heads,
            intermediate=self.intermediate,
            vocabulary=self.vocabulary,
            positions=self.positions,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the shipped model was made."""

    training_seed: int
    training_passages: int
    training_sequences: int
    steps: int
    short_steps: int
    batch: int
    peak_rate: float
    network_seed: int
    threads: int
    processor_minutes: float
    made_with: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heldout:
    """The evaluation set, and what the FP32 model reached on it."""

    heldout_seed: int
    heldout_passages: int
    questions: int
    sequences: int
    heldout_sha256: str
    reference_exact_percent: float
    reference_f1_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniFile:
    """`mini.toml`: the facts of the shipped model, written by its training script."""

    sha256: str
    sizes: Sizes
    training: Training
    heldout: Heldout


OTHER_SET = (
    "the held-out passages drawn here differ from those the reference was measured on "
    "(another generator of random numbers); the gate may be off by as much as that changes"
)


def mini_file() -> MiniFile:
    """The facts of the shipped model."""
    return read_toml(shipped(PACKAGE, "mini.toml"), MiniFile)


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Drawn questions as sequences; `sha256` is over passages, questions and answers in order."""

    examples: list[Example]
    features: Features
    sha256: str


@remembered
def question_set(seed: int, passages: int) -> QuestionSet:
    """The questions of passages 0 to passages - 1 of a seed: about a second for 2 500 passages."""
    drawn = [draw(seed, index) for index in range(passages)]
    digest = hashlib.sha256()
    for passage in drawn:
        digest.update(f"{passage.text}\n".encode())
        for q in passage.questions:
            digest.update(f"{q.text}\t{q.answer}\t{q.start}\n".encode())
    asked = examples(drawn)
    return QuestionSet(asked, featurise(asked, vocabulary(), FORM), digest.hexdigest())


def calibration_set() -> QuestionSet:
    """Questions for choosing quantisation ranges: of a seed that is neither trained nor scored on."""
    return question_set(CALIBRATION_SEED, CALIBRATION_PASSAGES)


def mini_gate(facts: MiniFile, ratio: float) -> Gate:
    held = facts.heldout
    return Gate(
        metric="F1",
        unit="%",
        reference=held.reference_f1_percent,
        ratio=ratio,
        source=f"mini, FP32, {held.questions} held-out questions (mini.toml)",
    )


def open_mini(ratio: float, *, padded: bool) -> Task:
    facts = mini_file()
    path = shipped(PACKAGE, "mini.onnx")
    check_shipped(path, inspect(path).sha256, facts.sha256)
    record = {"weights": "trained for this project on drawn passages"}
    return on_heldout(path, facts, ratio, padded=padded, record=record)


def on_heldout(path: Path, facts: MiniFile, ratio: float, *, padded: bool, record: dict[str, str]) -> Task:
    """A model of mini's form on the held-out questions."""
    signature = inspect(path)
    file = reader(path, signature, FORM.sequence)
    held = facts.heldout

    def on(seed: int, asked: QuestionSet) -> Task:
        library = FeatureLibrary(f"passages-{seed}", asked.features)
        return Task(
            model=pipeline(file, library, padded=padded),
            library=library,
            samples=len(asked.features),
            scorer=scorer(asked.examples, asked.features, vocabulary()),
            gate=mini_gate(facts, ratio),
            recipe=RECIPE,
            facts={
                "model_sha256": signature.sha256,
                **record,
                **sequence_facts(asked.features, facts.sizes.config, padded=padded),
            },
            identity=library.identity,
        )

    asked = question_set(held.heldout_seed, held.heldout_passages)
    task = on(held.heldout_seed, asked)
    doubts = () if asked.sha256 == held.heldout_sha256 else (OTHER_SET,)
    return calibrated(replace(task, warnings=doubts), lambda: on(CALIBRATION_SEED, calibration_set()))


def sequence_facts(features: Features, config: Config | None, *, padded: bool) -> dict[str, str]:
    """How long the computed sequences are, and the work of one sample."""
    full = features.form.sequence
    lengths = np.full(len(features), full) if padded else bucketed(features.length, full)
    how = f"{full}, padded" if padded else f"filled up to buckets, {lengths.mean():.1f} on average"
    found: dict[str, Any] = {"sequence": f"{how} (pieces in use: {features.length.mean():.1f} on average)"}
    if config is not None:
        sizes, counts = np.unique(lengths, return_counts=True)
        total = sum(config.macs(int(s)) * int(c) for s, c in zip(sizes, counts, strict=True))
        found["macs_per_sample"] = str(total // len(features))
    return found
