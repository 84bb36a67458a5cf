"""The 28 labels of the round and the blank: text to label numbers and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LABELS = " abcdefghijklmnopqrstuvwxyz'"
"""Label i is the character at place i, as the reference's configuration lists them."""

BLANK = len(LABELS)
"""The symbol after the labels: nothing more at this frame."""

SYMBOLS = BLANK + 1

LABEL = np.dtype("<i8")
"""How a label is logged: the official accuracy script reads little-endian int64 by default."""

_PLACE = {character: place for place, character in enumerate(LABELS)}


def to_labels(text: str) -> NDArray[np.int64]:
    """Label numbers [n] of a text. Raises KeyError for a character that is no label."""
    return np.array([_PLACE[character] for character in text], np.int64)


def to_text(labels: NDArray[np.int64]) -> str:
    """The text of label numbers [n], each 0 to 27."""
    return "".join(LABELS[i] for i in labels.tolist())
