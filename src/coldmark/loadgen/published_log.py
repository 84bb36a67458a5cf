"""Published logs of any round as values: one parser, the rounds' wordings come from `dialects.toml`.

Nothing here raises on the contents of a log: what cannot be read becomes a problem with its line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from coldmark.core.runlog import LogLine
from coldmark.loadgen.dialects import Dialects, Headline

Value = str | int | float | bool

HEAD_BYTES, TAIL_BYTES = 64 * 1024, 32 * 1024
"""Of a detail log, its settings stand in the first bytes and its results in the last."""


@dataclass(slots=True)
class ParsedLog:
    """What a log says, under the keys of the detail log, and what in it could not be read."""

    values: dict[str, Value] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)  # key -> line that said it, from 1
    problems: list[LogLine] = field(default_factory=list)

    def number(self, *keys: str) -> float | None:
        """The first of the keys that holds a number."""
        for key in keys:
            value = self.values.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
        return None

    def whole(self, *keys: str) -> int | None:
        """The first of the keys that holds a number, as one that a table's whole number can hold."""
        value = self.number(*keys)
        return int(value) if value is not None and abs(value) < 2**63 else None

    def word(self, key: str) -> str:
        value = self.values.get(key)
        return value if isinstance(value, str) else ""

    def problem(self, line: int, key: str, text: str) -> None:
        self.problems.append(LogLine(line=line, key=key, text=text[:120]))


def decode(data: bytes) -> tuple[str, str]:
    """Text of a file and how it was read: UTF-8 with or without a mark, else bytes as Latin-1."""
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        return data.decode("latin-1"), f"not UTF-8 at byte {error.start}, read as Latin-1"


_ORDINAL = re.compile(r"(\d)\.0+th")
_BLANKS = re.compile(r"\s+")


def _label(text: str) -> str:
    return _ORDINAL.sub(r"\1th", _BLANKS.sub(" ", text).strip().lower())


def parse_summary(data: bytes, dialects: Dialects) -> ParsedLog:
    """A summary log. The first line of a kind wins: what follows it is a repetition."""
    log = ParsedLog()
    text, how = decode(data)
    if how:
        log.problem(1, "encoding", how)
    words = frozenset(dialects.words.keys)
    phrases = [(re.compile(phrase.pattern), phrase.key) for phrase in dialects.phrases]
    block = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("==="):
            block = ""
            continue
        name, colon, value = line.partition(":")
        if not colon:
            for pattern, key in phrases if line.startswith(" *") else ():
                if match := pattern.match(line):
                    _take(log, number, key, match[1], is_word=False)
            continue
        label = _fold(name)
        if label in dialects.blocks:
            block = dialects.blocks[label]
            continue
        labels = dialects.block_labels[block] if block else dialects.labels
        if found := labels.get(label):
            _take(log, number, found, value.strip(), is_word=found in words)
    return log


_FOLDED: dict[str, str] = {}


def _fold(name: str) -> str:
    """`_label`, remembered: the same few dozen labels come thousands of times."""
    found = _FOLDED.get(name)
    if found is None:
        found = _label(name)
        if len(_FOLDED) < 4096 and len(name) < 80:
            _FOLDED[name] = found
    return found


def _take(log: ParsedLog, number: int, key: str, text: str, *, is_word: bool) -> None:
    if key in log.values:
        return
    if is_word:
        log.values[key] = text
        log.lines[key] = number
        return
    value = _number(text)
    if value is None:
        log.problem(number, key, f"{text!r} is no number")
        return
    log.values[key] = value
    log.lines[key] = number


def _number(text: str) -> int | float | None:
    """A finite number as LoadGen prints it, or None. Digits of other scripts and underscores are none."""
    try:
        value = float(text)
    except ValueError:
        return None
    if value - value != 0 or not text.isascii() or "_" in text:
        return None
    return int(text) if text.isdecimal() and len(text) < 19 else value


def parse_detail(data: bytes, dialects: Dialects) -> ParsedLog:
    """A detail log, or the first and last lines of one with a line of one zero byte between.

    Lines after that are counted from the end: -1 is the last.
    """
    log = ParsedLog()
    lines = decode(data)[0].splitlines()
    shift = -len(lines) - 1 if "\0" in lines else 0
    mark, wanted = dialects.detail.mark, frozenset(dialects.detail.keys)
    opening = f'{mark}{{"key": "'
    power = re.compile(dialects.detail.text_power)
    number = 0
    for line in lines:
        number += 1
        if line == "\0":
            number += shift
        elif line.startswith(opening):
            end = line.find('"', len(opening))
            key = line[len(opening) : end]
            if key in wanted:
                _take_entry(log, number, key, line[len(mark) :])
        elif match := power.search(line):
            log.values.setdefault(match[1].lower(), match[2])
        elif '"ts": ' in line:
            _take_text(log, number, line, dialects)
    return log


def _take_entry(log: ParsedLog, number: int, key: str, text: str) -> None:
    try:
        value = json.loads(text)["value"]
    except (ValueError, TypeError, KeyError, RecursionError):
        log.problem(number, key, "not a log entry")
        return
    if isinstance(value, str | bool | int | float) and (isinstance(value, str) or value - value == 0):
        log.values[key] = value
        log.lines[key] = number


def _take_text(log: ParsedLog, number: int, line: str, dialects: Dialects) -> None:
    """`"pid": 1, "tid": 1, "ts": 9ns : target_qps : 20`: the wording before v1.0."""
    parts = line.split("ns : ", 1)
    if len(parts) != 2:
        return
    name, colon, value = parts[1].partition(" : ")
    key = dialects.labels.get(_fold(name)) if colon else None
    if key:
        _take(log, number, key, value.strip(), is_word=key in dialects.words.keys)


def parse_accuracy_text(data: bytes, dialects: Dialects) -> tuple[str, float] | None:
    """The metric and its value in an accuracy.txt, or None where no known line stands in it."""
    text = decode(data)[0]
    for pattern, metric in _patterns(dialects):
        if match := pattern.search(text):
            value = _number(match[1].rstrip("."))
            if value is not None:
                return metric, float(value)
    return None


def result_of(log: ParsedLog, choices: Iterable[Headline]) -> tuple[Headline, float] | None:
    """The first of the choices that a log has, with its score; None where it has none of them, or 0."""
    for headline in choices:
        value = log.number(headline.key)
        if value is None or (headline.needs and headline.needs not in log.values):
            continue
        if (score := headline.score(value)) is not None:
            return headline, score
    return None


_COMPILED: dict[int, list[tuple[re.Pattern[str], str]]] = {}


def _patterns(dialects: Dialects) -> list[tuple[re.Pattern[str], str]]:
    found = _COMPILED.get(id(dialects))
    if found is None:
        found = [(re.compile(a.pattern, re.MULTILINE), a.metric) for a in dialects.accuracy]
        _COMPILED[id(dialects)] = found
    return found
