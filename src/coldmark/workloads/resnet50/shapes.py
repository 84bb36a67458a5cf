"""Procedural image set of `mini`: one drawn object per image, 20 classes, JPEG-encoded.

The set stands in for a photographic one, so that accuracy is a real measurement on a machine that has
no data set: backgrounds are graded and textured, objects vary in size, place, rotation, stretch, colour
and contrast, and are disturbed by clutter, occlusion, blur, noise and JPEG loss.

Every image depends only on (seed, index), through `numpy.random.default_rng([seed, index])`: any order,
any process and any subset gives the same bytes. Pixels come from whole-number arithmetic (floating point
only places the vertices, which are then rounded), so they do not hang on the CPU; the encoded bytes still
depend on the JPEG library inside OpenCV, which is why the shipped facts carry a digest of the set.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.outlines import BUILDERS, Contour

CLASSES: tuple[str, ...] = tuple(BUILDERS)
"""Class names; the place in the tuple is the label."""

MAX_SEED_WORD = 2**32 - 1
"""Largest seed and index: one 32-bit word each, beyond it two (seed, index) pairs could share a stream."""

Image = NDArray[np.uint8]  # [height, width, 3]
Colour = NDArray[np.int16]  # [3], 0 to 255

_UPRIGHT = {"plus": 18.0, "saltire": 18.0}  # degrees: a free turn would make these two the same class
_SHIFT = 4  # fractional bits of a vertex: places are rounded to 1/16 px


def draw(seed: int, index: int) -> tuple[bytes, int]:
    """Draw image `index` of the set `seed`.

    Returns the JPEG bytes (three channels, sides 72 to 128 px) and the label (0 to len(CLASSES) - 1).
    Raises ValueError when seed or index is outside 0 to MAX_SEED_WORD.
    """
    if not (0 <= seed <= MAX_SEED_WORD and 0 <= index <= MAX_SEED_WORD):
        raise ValueError(f"seed and index must lie in 0 to {MAX_SEED_WORD}, got {seed} and {index}")
    rng = np.random.default_rng([seed, index])
    label = int(rng.integers(len(CLASSES)))
    image = _background(rng, *_sides(rng))
    _clutter(rng, image, int(rng.integers(0, 7)))
    image = _place_object(rng, image, CLASSES[label])
    _occlude(rng, image)
    return _encode(_degrade(rng, image), int(rng.integers(30, 96))), label


def _sides(rng: np.random.Generator) -> tuple[int, int]:
    """Height and width in px, 72 to 128, either way round."""
    short = int(rng.integers(72, 108))
    long = min(128, int(short * rng.uniform(1.0, 1.45)))
    return (short, long) if rng.random() < 0.5 else (long, short)


def _colour(rng: np.random.Generator) -> Colour:
    return np.int16(rng.integers(60, 196)) + rng.integers(-40, 41, 3, dtype=np.int16)


def _clip(values: NDArray[np.int16]) -> Image:
    """Saturate to 0..255; same shape."""
    return np.minimum(np.maximum(values, 0), 255).astype(np.uint8)


def _graded(rng: np.random.Generator, height: int, width: int, base: Colour, spread: int) -> Image:
    """Smooth colour field around `base`: a coarse random grid, enlarged with exact whole-number weights."""
    cells = int(rng.integers(2, 6))
    grid = _clip(base + rng.integers(-spread, spread + 1, (cells, cells, 3), dtype=np.int16))
    return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR_EXACT), dtype=np.uint8)


def _pattern(rng: np.random.Generator, height: int, width: int) -> NDArray[np.bool_]:
    """Slanted stripes or a slanted checkerboard as a mask [height, width]; period about 5 to 20 px."""
    a, b = rng.integers(-24, 25, 2).tolist()
    x, y = np.arange(width, dtype=np.int32)[None, :], np.arange(height, dtype=np.int32)[:, None]
    bit = 1 << int(rng.integers(6, 8))
    stripes = ((x * a + y * b) & bit) != 0
    if rng.random() < 0.5:
        stripes = stripes ^ (((x * b - y * a) & bit) != 0)
    return np.asarray(stripes)


def _surface(rng: np.random.Generator, height: int, width: int, base: Colour, spread: int) -> Image:
    """A graded surface, with a faint pattern on about half of them; uint8 [height, width, 3]."""
    image = _graded(rng, height, width, base, spread)
    if rng.random() < 0.5:
        offset = int(rng.integers(5, 26))
        change = np.where(_pattern(rng, height, width), np.uint8(offset), np.uint8(0))
        image = np.asarray(cv2.subtract(image, cv2.merge((change, change, change))), dtype=np.uint8)
    return image


def _background(rng: np.random.Generator, height: int, width: int) -> Image:
    return _surface(rng, height, width, _colour(rng), int(rng.integers(5, 45)))


def _fixed(points: Contour) -> NDArray[np.int32]:
    """Vertices [n, 2] from px to the fixed-point px that OpenCV draws with."""
    return np.asarray(np.rint(points * (1 << _SHIFT)), dtype=np.int32)


def _clutter(rng: np.random.Generator, image: Image, count: int) -> None:
    """Draw `count` lines and irregular scraps into `image`; they are smaller than objects or open."""
    height, width = image.shape[:2]
    for colour in rng.integers(20, 236, (count, 3)).tolist():
        centre = rng.uniform(0.0, 1.0, 2) * (width, height)
        if rng.random() < 0.5:
            ends = _fixed(centre + rng.uniform(-0.3, 0.3, (2, 2)) * min(height, width)).tolist()
            cv2.line(image, ends[0], ends[1], colour, int(rng.integers(1, 3)), cv2.LINE_AA, _SHIFT)
        else:
            corners = rng.uniform(-0.1, 0.1, (int(rng.integers(3, 7)), 2)) * min(height, width)
            cv2.fillPoly(image, [_fixed(centre + corners)], colour, cv2.LINE_AA, _SHIFT)


def _contours(rng: np.random.Generator, name: str, height: int, width: int) -> list[NDArray[np.int32]]:
    """Contours of one object, turned, stretched, sheared and placed, in fixed-point px."""
    limit = _UPRIGHT.get(name, 180.0)
    angle = np.deg2rad(rng.uniform(-limit, limit))
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    view = np.array([(1.0, rng.uniform(-0.12, 0.12)), (0.0, rng.uniform(0.88, 1.0))])
    short = min(height, width)
    radius = short * rng.uniform(0.19, 0.42)
    room = max(0.0, 0.45 * short - 0.85 * radius)  # keeps most of the object in the centre crop
    centre = np.array([width / 2.0, height / 2.0]) + rng.uniform(-room, room, 2)
    frame = radius * (turn @ view)
    return [_fixed(centre + points @ frame) for points in BUILDERS[name](rng)]


def _contrasting(rng: np.random.Generator, behind: Colour) -> Colour:
    """A colour that is lighter than `behind`, or darker where that is light already, on every channel."""
    apart = rng.integers(14, 96, 3, dtype=np.int16)
    lighter = int(behind.sum()) < 3 * int(rng.integers(70, 186))
    return _clip(behind + apart if lighter else behind - apart).astype(np.int16)


def _place_object(rng: np.random.Generator, image: Image, name: str) -> Image:
    """Blend one object of class `name` over `image`, filled or as a line drawing; a new image."""
    height, width = image.shape[:2]
    contours = _contours(rng, name, height, width)
    mask = np.zeros((height, width), np.uint8)
    opacity = int(rng.integers(180, 256))
    if rng.random() < 0.25:
        cv2.polylines(mask, contours, True, opacity, int(rng.integers(1, 4)), cv2.LINE_AA, _SHIFT)
    else:
        cv2.fillPoly(mask, contours, opacity, cv2.LINE_AA, _SHIFT)
    behind = np.array(cv2.mean(image, mask)[:3]).astype(np.int16)
    fill = _surface(rng, height, width, _contrasting(rng, behind), int(rng.integers(4, 30)))
    weight = mask.astype(np.uint16)[:, :, None]
    weight += weight >> 7  # 0 to 256, so that the division below is a shift; 255 * 256 fits 16 bits
    return ((image * (256 - weight) + fill * weight) >> 8).astype(np.uint8)


def _occlude(rng: np.random.Generator, image: Image) -> None:
    """Draw none to two opaque bars near the centre into `image`, so that they often cut the object."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(0, 3))):
        middle = np.array([width / 2.0, height / 2.0]) + rng.uniform(-0.28, 0.28, 2) * min(height, width)
        angle = rng.uniform(0.0, np.pi)
        reach = np.array([np.cos(angle), np.sin(angle)]) * min(height, width) * rng.uniform(0.1, 0.35)
        ends = _fixed(np.stack((middle - reach, middle + reach))).tolist()
        cv2.line(image, ends[0], ends[1], _colour(rng).tolist(), int(rng.integers(2, 8)), cv2.LINE_AA, _SHIFT)


def _degrade(rng: np.random.Generator, image: Image) -> Image:
    """Blur about half of the images, then add uniform noise; a new image of the same shape."""
    if rng.random() < 0.55:
        image = np.asarray(cv2.GaussianBlur(image, (7, 7), rng.uniform(0.5, 2.0)), dtype=np.uint8)
    amplitude = int(rng.integers(1, 37))
    noise = rng.integers(0, 2 * amplitude + 1, image.shape, dtype=np.uint8)
    noisy = np.add(image, noise, dtype=np.int16)
    noisy -= np.int16(amplitude)
    return _clip(noisy)


def _encode(image: Image, quality: int) -> bytes:
    """JPEG bytes at `quality` (1 to 100). Raises RuntimeError when OpenCV cannot encode."""
    done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not encode the drawn image as JPEG")
    return encoded.tobytes()
