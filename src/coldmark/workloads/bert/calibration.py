"""MLPerf's calibration lists for BERT: sequences by their number, or questions by their id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.bert.features import Features
from coldmark.workloads.bert.squad import Example
from coldmark.workloads.lists import SOURCE, digest, read_list

OFFICIAL = {
    "1a88f880cf1d727c6f8a801aaf13f348b8db28fd777bef18b48c529a824e6c05": "bert_calibration_features.txt",
    "61c542edef27013c8f27d8109c39803982954c817298420663856fdcd39e5f1e": "bert_calibration_qas_ids.txt",
}
"""Digest of the names in each of MLPerf's lists, both drawn from the evaluation set itself."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Listed sequences, and by which clause they may be those of the evaluation set."""

    features: Features
    clause: str


def choose(path: Path, examples: Sequence[Example], features: Features) -> Chosen:
    """The sequences a list names: all windows of a question where it holds ids of questions.

    Raises DataError for a number or id that the data do not have.
    """
    names = read_list(path)
    numbers = all(name.isdigit() and len(name) < 9 for name in names)
    rows = _numbers(names, len(features), path) if numbers else _questions(names, examples, features, path)
    known = OFFICIAL.get(digest(names))
    clause = f"{SOURCE}/SQuAD-v1.1/{known}: {len(names)} entries of the evaluation set" if known else ""
    return Chosen(take(features, rows), clause)


def take(features: Features, rows: NDArray[np.int64]) -> Features:
    """Some sequences of a data set, [n] of them."""
    kept = {f.name: getattr(features, f.name)[rows] for f in fields(features) if f.name != "form"}
    return replace(features, **kept)


def _numbers(names: Sequence[str], count: int, path: Path) -> NDArray[np.int64]:
    rows = np.array([int(name) for name in names], np.int64)
    if rows.max() >= count:
        raise DataError(
            f"names sequence {rows.max()}, the data have {count}",
            where=str(path),
            hint="is data.path the file the list was made from?",
        )
    return rows


def _questions(
    names: Sequence[str], examples: Sequence[Example], features: Features, path: Path
) -> NDArray[np.int64]:
    at = {example.name: number for number, example in enumerate(examples)}
    for name in names:
        if name not in at:
            raise DataError(
                f"names question {name[:80]!r}, which is missing from the data",
                where=str(path),
                hint="is data.path the file the list was made from?",
            )
    wanted = np.isin(features.example, [at[name] for name in names])
    return np.flatnonzero(wanted).astype(np.int64)
