"""BERT's tokenizer: text to words and punctuation, words to the longest known pieces.

Devlin, Chang, Lee, Toutanova, "BERT" (2018), uncased: control characters are dropped, CJK characters
stand alone, words are lower-cased and stripped of accents, punctuation is split off; each word is then cut
greedily into pieces of the vocabulary, all but the first marked by "##". Words repeat, so what one became
is kept: a data set is tokenised at the cost of its different words.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path

from coldmark.core.errors import DataError

PAD, UNKNOWN, START, SEPARATOR = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
MAX_WORD = 100  # characters; a longer word is unknown, as the reference has it
MAX_VOCABULARY_BYTES = 16 * 1024 * 1024
KEPT_WORDS = 1 << 17

_CJK = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


@lru_cache(KEPT_WORDS)
def basic_tokens(text: str) -> tuple[str, ...]:
    """Words and punctuation of a text, lower-case and without accents."""
    words = "".join(_cleaned(c) for c in text).split()
    return tuple(part for word in words for part in _split(_plain(word)))


def _cleaned(char: str) -> str:
    """The character as it takes part: nothing, a blank, itself, or itself between blanks."""
    if char in "\t\n\r":
        return " "
    kind = unicodedata.category(char)
    if char == "\ufffd" or kind[0] == "C":
        return ""
    if kind == "Zs":
        return " "
    code = ord(char)
    return f" {char} " if any(low <= code <= high for low, high in _CJK) else char


def _plain(word: str) -> str:
    decomposed = unicodedata.normalize("NFD", word.lower())
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


def _is_punctuation(char: str) -> bool:
    """Unicode punctuation, and all of ASCII that is neither letter, digit nor blank."""
    code = ord(char)
    if 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126:
        return True
    return unicodedata.category(char)[0] == "P"


def _split(word: str) -> list[str]:
    parts: list[str] = []
    fresh = True
    for char in word:
        if _is_punctuation(char):
            parts.append(char)
            fresh = True
        elif fresh:
            parts.append(char)
            fresh = False
        else:
            parts[-1] += char
    return parts


class Tokenizer:
    """Pieces of a vocabulary by number; the place of a piece in `pieces` is its number."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces
        self._numbers = {piece: number for number, piece in enumerate(pieces)}
        self.unknown, self.start, self.separator = (
            self._numbers[name] for name in (UNKNOWN, START, SEPARATOR)
        )
        self._kept: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Numbers of the pieces of a text."""
        return [number for word in basic_tokens(text) for number in self._word(word)]

    def text(self, numbers: list[int]) -> str:
        """The text of pieces, the marks of inner pieces taken off, single blanks between words."""
        joined = " ".join(self.pieces[n] for n in numbers)
        return " ".join(joined.replace(" ##", "").replace("##", "").split())

    def _word(self, word: str) -> tuple[int, ...]:
        known = self._kept.get(word)
        if known is None:
            known = self._cut(word)
            if len(self._kept) < KEPT_WORDS:
                self._kept[word] = known
        return known

    def _cut(self, word: str) -> tuple[int, ...]:
        if len(word) > MAX_WORD:
            return (self.unknown,)
        found: list[int] = []
        start = 0
        while start < len(word):
            number, start = self._longest(word, start)
            if number is None:
                return (self.unknown,)
            found.append(number)
        return tuple(found)

    def _longest(self, word: str, start: int) -> tuple[int | None, int]:
        mark = "##" if start else ""
        for end in range(len(word), start, -1):
            number = self._numbers.get(mark + word[start:end])
            if number is not None:
                return number, end
        return None, start


def read_vocabulary(path: Path) -> Tokenizer:
    """The tokenizer of a `vocab.txt`, a piece a line. Raises DataError."""
    try:
        if path.stat().st_size > MAX_VOCABULARY_BYTES:
            raise DataError(f"larger than {MAX_VOCABULARY_BYTES >> 20} MiB", where=str(path))
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the vocabulary: {error}", where=str(path)) from None
    pieces = [line.strip() for line in lines]
    for name in (PAD, UNKNOWN, START, SEPARATOR):
        if name not in pieces:
            raise DataError(
                f"no piece {name}", where=str(path), hint="is it the vocab.txt of an uncased BERT, whole?"
            )
    return Tokenizer(pieces)
