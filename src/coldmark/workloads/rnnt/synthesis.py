"""The audio alphabet: an endless, seeded set of spoken utterances.

A stand-in for recorded speech, so that a word error rate is a real measurement on a machine that has no data
set. A voice with its own formants, pitch, tilt and speed says words of a lexicon; neighbouring letters run
into each other, pauses between words come and go, and noise lies over it.

Every utterance depends only on (seed, index), through `numpy.random.default_rng([seed, index])`, and is made
with whole-number arithmetic from a rounded sine table: the same samples on every machine.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.rnnt.phones import LETTERS, SILENCE, Phase, lexicon

RATE = 8000
"""Samples a second."""

MAX_SEED_WORD = 2**32 - 1
"""Largest seed and index: one 32-bit word each, beyond it two (seed, index) pairs could share a stream."""

Waveform = NDArray[np.int16]  # [samples]
Whole = NDArray[np.int64]

_STEP_MS = 5  # of the control tracks
_TABLE_BITS = 12
_TURN = 32  # bits of a phase


def draw(seed: int, index: int, rate: int = RATE) -> tuple[Waveform, str]:
    """Utterance `index` of the set `seed`: the waveform, about 0.6 to 5 s at `rate` a second, and what is
    said.

    Raises ValueError when seed or index is outside 0 to MAX_SEED_WORD.
    """
    if not (0 <= seed <= MAX_SEED_WORD and 0 <= index <= MAX_SEED_WORD):
        raise ValueError(f"seed and index must lie in 0 to {MAX_SEED_WORD}, got {seed} and {index}")
    rng = np.random.default_rng([seed, index])
    text = _sentence(rng)
    tracks = _spoken(rng, text)
    return _mixed(rng, _voice(rng, tracks, rate)), text


def _sentence(rng: np.random.Generator) -> str:
    words, sums = lexicon()
    picks = rng.integers(int(sums[-1]), size=int(rng.integers(2, 7)))
    return " ".join(words[i] for i in np.searchsorted(sums, picks, side="right").tolist())


# -- controls: a column every 5 ms ------------------------------------------------------------------


def _spoken(rng: np.random.Generator, text: str) -> Whole:
    """Control tracks [8, steps] of a text: speed, lengths and pauses drawn, formants of one speaker."""
    speed = int(rng.integers(58, 106))  # percent
    phases: list[Phase] = [SILENCE]
    for letter in text:
        phases.extend(LETTERS[letter] if letter != " " else _pause(rng))
    phases.append(SILENCE)
    lengths = np.array([ms for ms, _ in phases]) * rng.integers(75, 130, len(phases)) // speed
    steps = np.maximum(1, lengths // _STEP_MS)
    tracks = np.repeat(np.array([controls for _, controls in phases], np.int64).T, steps, axis=1)
    tracks[:3] = tracks[:3] * rng.integers(86, 117) // 100  # the length of the throat
    tracks[6] = tracks[6] * rng.integers(90, 111) // 100
    tracks[4:6] = tracks[4:6] * rng.integers(50, 131) // 100  # tilt
    tracks[7] = tracks[7] * rng.integers(60, 131) // 100
    return _smooth(tracks, int(rng.integers(4, 9)))  # 20 to 40 ms: letters run into each other


def _pause(rng: np.random.Generator) -> tuple[Phase, ...]:
    """Between words: nothing at all as often as a gap."""
    return ((int(rng.integers(15, 110)), SILENCE[1]),) if rng.integers(2) else ()


def _smooth(tracks: Whole, width: int) -> Whole:
    """Running mean over `width` columns, the ends held; same shape."""
    before = width // 2
    held = np.concatenate(
        (np.repeat(tracks[:, :1], before + 1, 1), tracks, np.repeat(tracks[:, -1:], width - before - 1, 1)), 1
    )
    sums = np.cumsum(held, axis=1)
    return (sums[:, width:] - sums[:, :-width]) // width


# -- sound ------------------------------------------------------------------------------------------


@cache
def _sine() -> NDArray[np.int32]:
    """A turn of the sine in 2^_TABLE_BITS steps, scaled to 2^14."""
    steps = np.arange(1 << _TABLE_BITS) * (2 * np.pi / (1 << _TABLE_BITS))
    return np.asarray(np.rint(np.sin(steps) * 16384), np.int32)


@cache
def _pulse() -> NDArray[np.int32]:
    """A glottal period in the same steps, scaled to 2^10: loud when the folds shut, dying away as a
    square."""
    left = np.arange(1 << _TABLE_BITS, 0, -1, dtype=np.int64) >> (_TABLE_BITS - 10)
    return np.asarray(left * left >> 10, np.int32)


def _places(frequency: Whole, rate: int) -> NDArray[np.uint32]:
    """Table places of oscillators whose frequency [1/16 Hz] is given for every sample, along the last
    axis."""
    turns = np.cumsum((frequency << (_TURN - 4)) // rate, axis=-1, dtype=np.int64).astype(np.uint32)
    return turns >> np.uint32(_TURN - _TABLE_BITS)


def _voice(rng: np.random.Generator, tracks: Whole, rate: int) -> NDArray[np.int32]:
    """The clean voice, [samples], at about 2^13 at the loudest."""
    step = rate * _STEP_MS // 1000
    held = np.repeat(tracks, step, axis=1)
    levels = _smooth(held[[3, 4, 5, 7]], step)
    count = held.shape[1]
    sines = _sine()[_places(held[[0, 1, 2, 6]] << 4, rate)].astype(np.int64)
    folds = _pulse()[_places(_pitch(rng, tracks.shape[1], step), rate)]
    formants = (levels[:3] * sines[:3]).sum(axis=0) >> 10  # 2^12 a full formant
    hiss = rng.integers(-256, 257, count + 3, dtype=np.int64)
    hiss = hiss[:count] + hiss[1 : count + 1] + hiss[2 : count + 2] + hiss[3:]
    noise = (levels[3] * sines[3] >> 11) * hiss >> 9
    return np.asarray((formants * folds >> 10) + noise, np.int32)


def _pitch(rng: np.random.Generator, steps: int, step: int) -> Whole:
    """Pitch of every sample [1/16 Hz]: falling over the utterance, wandering about that."""
    base = int(rng.integers(90, 240)) << 4
    fall = base * np.arange(steps, dtype=np.int64) // (steps * int(rng.integers(3, 9)))
    wander = np.cumsum(rng.integers(-6, 7, steps))
    wander = np.minimum(np.maximum(wander, -base // 5), base // 5)
    return np.repeat(base - fall + wander, step)


def _mixed(rng: np.random.Generator, voice: NDArray[np.int32]) -> Waveform:
    """The voice with white and rumbling noise over it, at a drawn loudness, as 16-bit samples."""
    level = 1 << int(rng.integers(3, 10))
    level += int(rng.integers(level))
    white = rng.integers(-level, level + 1, len(voice), dtype=np.int32)
    rumble = _smooth(rng.integers(-level, level + 1, (1, len(voice)), dtype=np.int64), 16)[0] << 2
    mixed = voice + white + rumble.astype(np.int32)
    loud = int(rng.integers(64, 513))
    return np.asarray(np.minimum(np.maximum(mixed * loud >> 8, -32768), 32767), np.int16)
