"""Drawn volumes with organ- and tumour-like bodies: the data of `mini`.

A volume follows from (seed, index) alone, the same to the last bit on every machine: whole numbers, and
floating point only in single additions, multiplications, divisions and comparisons of elements, whose results
IEEE 754 fixes (no sums over an axis, no matrix product, no transcendental function).

Values are like Hounsfield units after contrast: fat about -50 to 0, soft tissue 20 to 60, organ 90 to 170.
Classes: 0 background, 1 organ, 2 tumour. A cyst belongs to its organ; bodies that only look like an organ or
a tumour, and vessels, are background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Volume = NDArray[np.int16]  # [depth, height, width]
Labels = NDArray[np.uint8]  # same shape, 0 to 2
Field = NDArray[np.int32]

ORGAN, TUMOUR = 1, 2
MAX_SEED_WORD = 2**32 - 1
SIDES = (30, 62)  # voxels, shortest and longest side that is drawn
_WEIGHT = 256  # full opacity of a body


@dataclass(frozen=True, slots=True)
class _Body:
    """Voxels of a box that a body covers, and how deep they lie: 1 at its centre, 0 at its surface."""

    box: tuple[slice, slice, slice]
    inside: NDArray[np.bool_]


def sides(seed: int, index: int) -> tuple[int, int, int]:
    """Depth, height and width of a volume [voxels], without drawing it.

    Raises ValueError when seed or index is outside 0 to MAX_SEED_WORD.
    """
    return _sides(_generator(seed, index))


def draw(seed: int, index: int) -> tuple[Volume, Labels]:
    """The volume `index` of a seed and its labels, both of shape `sides(seed, index)`.

    Raises ValueError when seed or index is outside 0 to MAX_SEED_WORD.
    """
    rng = _generator(seed, index)
    shape = _sides(rng)
    values = _tissue(rng, shape)
    labels = np.zeros(shape, np.uint8)
    _distract(rng, values, labels)
    _organ(rng, values, labels)
    return _scan(rng, values), labels


def _generator(seed: int, index: int) -> np.random.Generator:
    if not (0 <= seed <= MAX_SEED_WORD and 0 <= index <= MAX_SEED_WORD):
        raise ValueError(f"seed and index must lie in 0 to {MAX_SEED_WORD}, got {seed} and {index}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in [low, high); not `uniform`, as a compiler may fuse its C expression and round otherwise."""
    return low + (high - low) * rng.random()


def _sides(rng: np.random.Generator) -> tuple[int, int, int]:
    depth, height, width = rng.integers(SIDES[0], SIDES[1] + 1, 3).tolist()
    return depth, height, width


# -- fields ------------------------------------------------------------------------------------------


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], cell: int, amplitude: int) -> Field:
    """A random field within +-amplitude, trilinear between random values every `cell` voxels."""
    grid = rng.integers(-amplitude, amplitude + 1, [n // cell + 2 for n in shape]).astype(np.int32)
    for axis, n in enumerate(shape):
        at, part = np.divmod(np.arange(n, dtype=np.int32), np.int32(cell))
        part = part.reshape([-1 if k == axis else 1 for k in range(grid.ndim)])
        grid = grid.take(at, axis) * (cell - part) + grid.take(at + 1, axis) * part
    return grid // np.int32(cell ** len(shape))


def _blurred(values: Field) -> Field:
    """Weights 1, 2, 1 along each axis: what one voxel sees of its neighbours."""
    for axis in range(values.ndim):
        padded = np.pad(values, [(1, 1) if k == axis else (0, 0) for k in range(values.ndim)], mode="edge")
        low, middle, high = (
            padded[(*[slice(None)] * axis, slice(start, start + values.shape[axis]))] for start in range(3)
        )
        values = (low + 2 * middle + high + 2) >> 2
    return values


def _tissue(rng: np.random.Generator, shape: tuple[int, ...]) -> Field:
    """Soft tissue with pockets of fat."""
    values = int(rng.integers(25, 56)) + _smooth(rng, shape, 7, 22)
    fat = _smooth(rng, shape, 9, 100) > int(rng.integers(5, 40))
    return np.where(fat, values - int(rng.integers(50, 100)), values)


def _scan(rng: np.random.Generator, values: Field) -> Volume:
    """Partial volumes, bias field, noise of a grain that differs from case to case."""
    for _ in range(int(rng.integers(1, 3))):
        values = _blurred(values)
    values = values + ((values * _smooth(rng, values.shape, 24, 130)) >> 10)
    amplitude = int(rng.integers(8, 40))
    noise = rng.integers(-amplitude, amplitude + 1, (2, *values.shape), dtype=np.int16)
    grain = noise[0].astype(np.int32) + noise[1]
    if rng.random() < 0.5:
        grain = 2 * _blurred(grain)
    return np.asarray(np.clip(values + grain, -1000, 1000), np.int16)


# -- bodies ------------------------------------------------------------------------------------------


def _rotation(rng: np.random.Generator) -> list[list[float]]:
    """A random rotation, from a quaternion of whole numbers."""
    a, b, c, d = (int(v) for v in rng.integers(-8, 9, 4))
    n = a * a + b * b + c * c + d * d
    if n == 0:
        a, n = 1, 1
    rows = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a - b * b + c * c - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a - b * b - c * c + d * d],
    ]
    return [[v / n for v in row] for row in rows]


def _ellipsoid(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    centre: list[float],
    radii: list[float],
    *,
    rough: int,
    notch: float = 0.0,
) -> _Body:
    """A turned ellipsoid with a rough surface (`rough` in 1/256 of its radius squared).

    `notch` above 0 pushes one long side in, as a kidney's.
    """
    reach = int(max(radii) * 1.5) + 1
    box = tuple(
        slice(max(0, int(c) - reach), max(0, min(n, int(c) + reach + 1)))
        for c, n in zip(centre, shape, strict=True)
    )
    axes = np.meshgrid(
        *(np.arange(s.start, s.stop, dtype=np.float64) for s in box), indexing="ij", sparse=True
    )
    x, y, z = (axis - c for axis, c in zip(axes, centre, strict=True))
    turned = [row[0] * x + row[1] * y + row[2] * z for row in _rotation(rng)]
    p, q, r = (t / radius for t, radius in zip(turned, radii, strict=True))
    bent = q + notch * (1.0 - p * p)  # the middle of the long axis leans to one side
    square = p * p + bent * bent + r * r
    wave = _smooth(rng, square.shape, max(3, int(min(radii))), rough)
    return _Body((box[0], box[1], box[2]), square * 256.0 + wave < 256.0)


def _paint(rng: np.random.Generator, values: Field, body: _Body, level: int, texture: int) -> None:
    """Give a body's voxels a level with a texture."""
    part = values[body.box]
    new = level + _smooth(rng, part.shape, int(rng.integers(3, 6)), texture)
    part[body.inside] = new[body.inside]


def _place(rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> list[float]:
    return [n * _between(rng, low, high) for n in shape]


def _radii(rng: np.random.Generator, low: float, high: float, stretch: float) -> list[float]:
    """Three radii [voxels]; the first is the longest by up to `stretch`."""
    base = _between(rng, low, high)
    return [
        base * _between(rng, 1.0, stretch),
        base * _between(rng, 0.85, 1.1),
        base * _between(rng, 0.85, 1.1),
    ]


def _distract(rng: np.random.Generator, values: Field, labels: Labels) -> None:
    """Bodies that are not the organ: a rounder one of its brightness, loose lumps, vessels."""
    shape = values.shape
    for _ in range(int(rng.integers(0, 3))):
        radii = _radii(rng, 0.12 * min(shape), 0.24 * min(shape), 1.25)
        body = _ellipsoid(rng, shape, _place(rng, shape, 0.0, 1.0), radii, rough=50)
        _paint(rng, values, body, int(rng.integers(80, 160)), int(rng.integers(5, 20)))
    for _ in range(int(rng.integers(2, 6))):
        body = _ellipsoid(rng, shape, _place(rng, shape, 0.0, 1.0), _radii(rng, 2.0, 6.0, 1.5), rough=90)
        _paint(rng, values, body, int(rng.integers(45, 130)), int(rng.integers(5, 25)))
    for _ in range(int(rng.integers(0, 4))):
        radii = [_between(rng, 10, 30), _between(rng, 1.0, 2.2), _between(rng, 1.0, 2.2)]
        body = _ellipsoid(rng, shape, _place(rng, shape, 0.1, 0.9), radii, rough=60)
        _paint(rng, values, body, int(rng.integers(120, 230)), 10)


def _organ(rng: np.random.Generator, values: Field, labels: Labels) -> None:
    """One notched organ, one to two tumours and up to two cysts that start on or in it."""
    shape = values.shape
    radii = _radii(rng, 0.17 * min(shape), 0.26 * min(shape), 1.8)
    notch = _between(rng, 0.25, 0.6)
    organ = _ellipsoid(rng, shape, _place(rng, shape, 0.36, 0.64), radii, rough=45, notch=notch)
    level = int(rng.integers(95, 166))
    _paint(rng, values, organ, level, int(rng.integers(8, 24)))
    labels[organ.box][organ.inside] = ORGAN
    places = np.argwhere(labels == ORGAN)
    for _ in range(int(rng.integers(0, 3))):
        cyst = _growth(rng, shape, places, 1.8, 0.5 * min(radii))
        _paint(rng, values, cyst, int(rng.integers(0, 30)), 3)
        labels[cyst.box][cyst.inside] = ORGAN
    for _ in range(int(rng.integers(1, 3))):
        tumour = _growth(rng, shape, places, max(2.4, 0.35 * min(radii)), 0.85 * min(radii))
        below = int(rng.integers(18, 62))
        _paint(rng, values, tumour, level - below, int(rng.integers(12, 34)))
        labels[tumour.box][tumour.inside] = TUMOUR


def _growth(
    rng: np.random.Generator, shape: tuple[int, ...], places: NDArray[np.int64], low: float, high: float
) -> _Body:
    """A lump around one of `places`, radius about `low` to `high` voxels."""
    centre = [float(v) for v in places[int(rng.integers(len(places)))]]
    return _ellipsoid(rng, shape, centre, _radii(rng, low, max(low + 0.5, high), 1.3), rough=70)
