"""SQuAD v1.1: passages, questions and the answers people gave, from its JSON file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldmark.core.errors import DataError

VERSION = "1.1"
MAX_BYTES = 256 * 1024 * 1024

_BLANKS = re.compile("[ \t\r\n\u202f]+")  # what the official reader takes for a blank


@dataclass(frozen=True, slots=True)
class Example:
    """A question about a passage; `words` are what stands between blanks."""

    name: str
    question: str
    words: tuple[str, ...]
    answers: tuple[str, ...]


def split_words(text: str) -> tuple[str, ...]:
    """What stands between blanks, as the official reader splits a passage."""
    return tuple(w for w in _BLANKS.split(text) if w)


def read_squad(path: Path) -> tuple[list[Example], str]:
    """All questions in the order of the file, and the version it claims.

    Raises DataError with the place in the file.
    """
    data = _json(path)
    found: list[Example] = []
    seen: set[str] = set()
    for where, example in _examples(data, path):
        if example.name in seen:
            raise DataError(f"question {example.name!r} stands twice", where=where)
        seen.add(example.name)
        found.append(example)
    if not found:
        raise DataError("holds no question", where=str(path))
    return found, str(data.get("version", ""))


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"larger than {MAX_BYTES >> 20} MiB", where=str(path))
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(
            f"cannot read the questions: {error}", where=str(path), hint="data.path is SQuAD's dev-v1.1.json"
        ) from None
    if not isinstance(data, dict):
        raise DataError("not SQuAD: no object at the top", where=str(path))
    return data


def _examples(data: dict[str, Any], path: Path) -> Iterator[tuple[str, Example]]:
    for a, article in enumerate(_list(data, "data", str(path))):
        for p, paragraph in enumerate(_list(article, "paragraphs", f"{path}: data[{a}]")):
            where = f"{path}: data[{a}].paragraphs[{p}]"
            words = split_words(_text(paragraph, "context", where))
            if not words:
                raise DataError("the passage is empty", where=where)
            for q, asked in enumerate(_list(paragraph, "qas", where)):
                place = f"{where}.qas[{q}]"
                yield place, _example(asked, words, place)


def _example(asked: Any, words: tuple[str, ...], where: str) -> Example:
    answers = tuple(_text(a, "text", where) for a in _list(asked, "answers", where))
    if not answers:
        raise DataError("no answer to score against", where=where, hint="SQuAD v1.1 has one at least")
    return Example(_text(asked, "id", where), _text(asked, "question", where), words, answers)


def _list(holder: Any, key: str, where: str) -> list[Any]:
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, list):
        raise DataError(f"no list {key!r}", where=where, hint="is it SQuAD v1.1?")
    return value


def _text(holder: Any, key: str, where: str) -> str:
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, str):
        raise DataError(f"no text {key!r}", where=where, hint="is it SQuAD v1.1?")
    return value
