"""BERT-Large with seeded weights on sequences of random pieces: performance only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from coldmark.workloads.bert import architecture
from coldmark.workloads.bert.architecture import LARGE, Config
from coldmark.workloads.bert.features import OFFICIAL, Features, Form
from coldmark.workloads.bert.samples import PERFORMANCE_COUNT
from coldmark.workloads.cache import materialise

SAMPLE_SEED = 384
CALIBRATION_SEED = 385
CALIBRATION_COUNT = 100  # as many as in MLPerf's lists
FIRST_WORD = 1000  # numbers below are marks and single characters in BERT's vocabulary
QUESTION = (8, 24)  # pieces, from and below
PASSAGE = (60, 5.0)  # shortest, and the shape of the gamma distribution of the rest
PASSAGE_MEAN = 160  # pieces


def weights_and_graph(cache: Path, config: Config = LARGE, seed: int = architecture.SEED) -> Path:
    """The model's graph in the cache; its weights, 1.3 GB for BERT-Large, lie beside it, once."""
    folder = cache / "bert"
    stem = f"full-v1-{config.layers}x{config.hidden}-{seed}"
    weights = materialise(
        folder / f"{stem}.weights", lambda aside: architecture.write_weights(aside, config, seed)
    )
    return materialise(
        folder / f"{stem}.onnx", lambda aside: architecture.write_graph(aside, config, weights)
    )


def random_features(
    config: Config = LARGE, form: Form = OFFICIAL, count: int = PERFORMANCE_COUNT, seed: int = SAMPLE_SEED
) -> Features:
    """Sequences of random pieces whose lengths scatter about as those of SQuAD do: nothing to be right about.

    The lengths matter only where sequences are not padded; no length is taken from SQuAD itself.
    """
    rng = np.random.default_rng(seed)
    question = rng.integers(*QUESTION, size=count)
    shortest, shape = PASSAGE
    passage = shortest + rng.gamma(shape, (PASSAGE_MEAN - shortest) / shape, count)
    length = np.minimum(question + 3 + passage.astype(np.int64), form.sequence)
    at = np.arange(form.sequence)
    inside = at < length[:, None]
    ids = rng.integers(min(FIRST_WORD, config.vocabulary // 2), config.vocabulary, inside.shape)
    window = np.minimum(question + 2, length - 1)
    word = np.where(inside & (at >= window[:, None]), at, -1).astype(np.int32)
    return Features(
        form=form,
        ids=ids * inside,
        length=length,
        window=window,
        word=word,
        best=word >= 0,
        example=np.arange(count),
    )
