"""The small texts of a tree: JSON objects, LoadGen's .conf files, accuracy.txt."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from coldmark.rules.submission_book import AccuracyText
from coldmark.submission.tree import Tree, Unreadable, read_text

MAX_KEYS = 1000


@dataclass(slots=True)
class JsonText:
    """A JSON object, its text for line numbers, and keys that stand twice."""

    data: dict[str, Any]
    text: str
    twice: list[str] = field(default_factory=list)

    def line(self, key: str) -> int:
        """The first line that has the key; 0 where none has."""
        at = self.text.find(json.dumps(key, ensure_ascii=False))
        return self.text.count("\n", 0, at) + 1 if at >= 0 else 0


def read_object(tree: Tree, path: str) -> JsonText:
    """A JSON object. Raises Unreadable for anything else."""
    text = read_text(tree, path)
    twice: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [key for key, _ in found]
        twice.extend(sorted({n for n in names if names.count(n) > 1}) if len(names) <= MAX_KEYS else [])
        return dict(found)

    try:
        data = json.loads(text, object_pairs_hook=pairs)
    except ValueError as error:
        raise Unreadable(f"not JSON: {error}") from None
    except RecursionError:
        raise Unreadable("not JSON: nested too deep") from None
    if not isinstance(data, dict):
        raise Unreadable(f"JSON of a {type(data).__name__}, not an object")
    if len(data) > MAX_KEYS:
        raise Unreadable(f"{len(data)} keys, not read")
    return JsonText(data=data, text=text, twice=twice)


@dataclass(slots=True)
class Conf:
    """A .conf of LoadGen: `model.scenario.key` -> value as text; later lines win, as LoadGen reads it."""

    values: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    broken: list[tuple[int, str]] = field(default_factory=list)

    def of(self, model: str, scenario: str, key: str) -> tuple[str, int] | None:
        """What LoadGen takes for a key, and its line: the nearer to model and scenario, the stronger."""
        for name in (f"{model}.{scenario}.{key}", f"{model}.*.{key}", f"*.{scenario}.{key}", f"*.*.{key}"):
            if name in self.values:
                return self.values[name], self.lines.get(name, 0)
        return None


_CONF = re.compile(r"([^\s=]+)\.([^.\s=]+)\.([A-Za-z0-9_]+)\s*=\s*(\S+)")


@lru_cache(maxsize=16)
def parse_conf(text: str) -> Conf:
    """A .conf file; a line that is neither empty, comment nor `model.scenario.key = value` is broken.

    Not to be changed by who gets it: the round's file lies beside every run and is parsed once.
    """
    conf = Conf()
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.partition("#")[0].strip()
        if not bare:
            continue
        match = _CONF.fullmatch(bare)
        if match is None:
            conf.broken.append((number, line))
            continue
        name = f"{match[1]}.{match[2]}.{match[3]}"
        conf.values[name] = match[4]
        conf.lines[name] = number
    return conf


def as_number(text: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value - value == 0 and "_" not in text else None


@dataclass(slots=True)
class AccuracyFile:
    """What an accuracy.txt says of a metric: its lines, and the counts beside it."""

    values: list[tuple[int, str]] = field(default_factory=list)  # line, value as written
    counts: tuple[int, int] | None = None  # good, total, where the metric's line has them


_COUNTS = re.compile(r"\bgood=(\d{1,15}), total=(\d{1,15})")
MAX_LINE = 100_000


def parse_accuracy(text: str, how: AccuracyText) -> AccuracyFile:
    """An accuracy.txt under the pattern of a metric."""
    metric, found = re.compile(how.pattern), AccuracyFile()
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) <= MAX_LINE and (match := metric.search(line)):
            found.values.append((number, match[1]))
            if found.counts is None and (counts := _COUNTS.search(line)):
                found.counts = int(counts[1]), int(counts[2])
    return found


def parse_hashes(text: str, pattern: str) -> list[tuple[int, str]]:
    """The hashes that an accuracy.txt gives, each with its line."""
    digest = re.compile(pattern)
    lines = enumerate(text.splitlines(), 1)
    return [(n, match[1]) for n, line in lines if len(line) <= MAX_LINE and (match := digest.match(line))]
