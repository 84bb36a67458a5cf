"""The voice of the synthesiser: what each letter sounds like, and the words it says.

Formants follow the textbook figures for the vowels (Peterson and Barney, "Control methods used in a study of
the vowels", 1952, rounded); the other letters were given sounds that can be told apart below 4 kHz. It is an
alphabet to be heard by a network, not a language.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Phase = tuple[int, tuple[int, int, int, int, int, int, int, int]]
"""Length [ms at normal speed]; three formants [Hz], their levels [1/256], centre [Hz] and level [1/256] of
the noise."""

SILENCE: Phase = (50, (500, 1500, 2500, 0, 0, 0, 2000, 0))


def _voiced(ms: int, f1: int, f2: int, f3: int, level: int, noise: int = 0, centre: int = 2000) -> Phase:
    return ms, (f1, f2, f3, level, level * 5 // 8, level * 3 // 8, centre, noise)


def _noise(ms: int, centre: int, level: int, voice: int = 0) -> Phase:
    return ms, (280, 1500, 2500, voice, voice // 4, 0, centre, level)


def _stop(centre: int, voice: int, level: int, locus: int) -> tuple[Phase, ...]:
    """Closure (with a voice bar where voiced), burst, and a short glide from the locus of F2."""
    closed: Phase = (24, (200, locus, 2500, voice, 0, 0, centre, 0))
    return (
        closed,
        _noise(12, centre, level, voice // 2),
        _voiced(16, 350, locus, 2500, 110, level // 4, centre),
    )


LETTERS: dict[str, tuple[Phase, ...]] = {
    "a": (_voiced(80, 730, 1090, 2440, 256),),
    "b": _stop(600, 90, 120, 900),
    "c": (_noise(70, 2300, 200),),
    "d": _stop(3000, 90, 120, 1700),
    "e": (_voiced(75, 530, 1840, 2480, 240),),
    "f": (_noise(65, 2900, 90),),
    "g": _stop(1900, 90, 120, 2300),
    "h": (_voiced(55, 500, 1500, 2500, 30, 110, 1100),),
    "i": (_voiced(70, 270, 2290, 3010, 230),),
    "j": (_voiced(60, 290, 2050, 2900, 110, 90, 2600),),
    "k": _stop(1900, 0, 220, 2300),
    "l": (_voiced(60, 360, 1300, 2700, 150),),
    "m": (_voiced(65, 250, 1000, 2200, 110),),
    "n": (_voiced(65, 250, 1450, 2300, 110),),
    "o": (_voiced(80, 570, 840, 2410, 250),),
    "p": _stop(700, 0, 220, 900),
    "q": (*_stop(1300, 0, 200, 700)[:2], _voiced(26, 320, 700, 2200, 170)),
    "r": (_voiced(60, 310, 1060, 1380, 170),),
    "s": (_noise(75, 3500, 210),),
    "t": _stop(3200, 0, 220, 1700),
    "u": (_voiced(75, 300, 870, 2240, 230),),
    "v": (_noise(60, 2900, 60, 90),),
    "w": (_voiced(60, 300, 610, 2200, 160),),
    "x": (_noise(60, 1500, 210),),
    "y": (_voiced(70, 320, 1700, 2150, 220),),
    "z": (_noise(65, 3500, 130, 90),),
    "'": ((18, (500, 1500, 2500, 0, 0, 0, 2000, 0)),),
}

WORDS = 500
LEXICON_SEED = 40_004
_VOWELS = "aeiouy"
_CONSONANTS = "bcdfghjklmnpqrstvwxz"


@cache
def lexicon() -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The words, and the running sum of their weights: a few are said often, most seldom."""
    rng = np.random.default_rng(LEXICON_SEED)
    words: dict[str, None] = {}
    while len(words) < WORDS:
        words[_word(rng)] = None
    weights = 100_000 // (np.arange(WORDS, dtype=np.int64) + 20)
    return tuple(words), np.cumsum(weights)


def _word(rng: np.random.Generator) -> str:
    """Consonants and vowels by turns, 2 to 7 letters, now and then doubled up or with 's at the end."""
    letters = []
    vowel = bool(rng.integers(2))
    for _ in range(int(rng.integers(2, 8))):
        pool = _VOWELS if vowel else _CONSONANTS
        letters.append(pool[int(rng.integers(len(pool)))])
        vowel = not vowel if rng.integers(8) else vowel
    return "".join(letters) + ("'s" if rng.integers(16) == 0 else "")
