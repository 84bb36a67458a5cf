"""Procedural object scenes of `mini`: several drawn objects of twelve classes in one image, with their boxes.

The set stands in for a photographic one, so that mAP is a real measurement on a machine that has no data
set. Objects vary in size, place, turn, stretch, colour and contrast, hide one another and are cut by the
border; clutter, bars, blur and noise disturb them. Their outlines are those of the classification set.

Every scene depends only on (seed, index), through `numpy.random.default_rng([seed, index])`: any order, any
process and any subset gives the same pixels. Pixels come from whole-number arithmetic; floating point only
places the vertices, which are then rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.outlines import BUILDERS

SIDE = 128
"""Height and width of a scene [px]."""

CLASSES = (
    "circle",
    "ellipse",
    "triangle",
    "rectangle",
    "rhombus",
    "pentagon",
    "star5",
    "plus",
    "ring",
    "crescent",
    "heart",
    "arrow",
)
"""Class names; the place in the tuple is the label."""

TRAINING_SEED, VALIDATION_SEED, HELDOUT_SEED, CALIBRATION_SEED = 640_005, 640_002, 640_003, 640_004
HARD_SEED = 640_001  # of the `HARD` scenes trained on first
"""One seed a set, each with the indices from 0: sets of unlike seeds have no scene in common."""

CALIBRATION_COUNT = 300
MAX_SEED_WORD = 2**32 - 1
MAX_OBJECTS = 7
MIN_SIDE = 6  # px, smallest annotated box

_SHIFT = 4  # fractional bits of a vertex: places are rounded to 1/16 px

Image = NDArray[np.uint8]  # [SIDE, SIDE, 3]
Colour = NDArray[np.int16]  # [3], 0 to 255


@dataclass(frozen=True, slots=True)
class Scene:
    """One image and what is in it."""

    image: Image  # [SIDE, SIDE, 3], red first
    boxes: NDArray[np.float32]  # [n, 4]: xmin, ymin, xmax, ymax [px], n from 0 to MAX_OBJECTS
    labels: NDArray[np.int64]  # [n], 0 to len(CLASSES) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What scenes are like; the numbers are upper ends unless said otherwise."""

    objects: int
    radius: tuple[float, float]  # px, smallest and largest; evenly in its logarithm
    apart: tuple[int, int]  # steps of 255 by which an object's colour differs from what lies behind
    clutter: int
    bars: int
    outlined: float  # share of objects drawn as a line
    noise: int  # steps of 255
    seen: float  # least share of an object's pixels that must be seen for it to be annotated


PLAIN = Style(
    objects=5, radius=(12, 40), apart=(36, 110), clutter=5, bars=1, outlined=0.0, noise=16, seen=0.4
)
"""The task: what `mini` is evaluated on."""

HARD = Style(objects=7, radius=(8, 40), apart=(14, 95), clutter=11, bars=2, outlined=0.2, noise=24, seen=0.3)
"""Only trained on, first: what is hard to see teaches more."""


def draw(seed: int, index: int, style: Style = PLAIN) -> Scene:
    """Draw scene `index` of the set `seed`. Raises ValueError outside 0 to MAX_SEED_WORD."""
    if not (0 <= seed <= MAX_SEED_WORD and 0 <= index <= MAX_SEED_WORD):
        raise ValueError(f"seed and index must lie in 0 to {MAX_SEED_WORD}, got {seed} and {index}")
    rng = np.random.default_rng([seed, index])
    image = _surface(rng, _colour(rng), int(rng.integers(5, 45)))
    _clutter(rng, image, int(rng.integers(2, style.clutter + 1)))
    labels = rng.integers(0, len(CLASSES), int(rng.integers(1, style.objects + 1)))
    owner = np.full((SIDE, SIDE), -1, np.int8)  # which object a pixel shows
    masks = []
    for place, label in enumerate(labels):
        image, mask = _paint(rng, image, CLASSES[label], style)
        owner[mask] = place
        masks.append(mask)
    _bars(rng, image, owner, style.bars)
    seen = [_seen(mask, owner == place, style.seen) for place, mask in enumerate(masks)]
    kept = [place for place, box in enumerate(seen) if box is not None]
    boxes = np.array([seen[place] for place in kept], np.float32).reshape(-1, 4)
    return Scene(_degrade(rng, image, style.noise), boxes, labels[kept])


def calibration(count: int = CALIBRATION_COUNT) -> NDArray[np.uint8]:
    """Scenes for setting the scales of a quantised model, [count, SIDE, SIDE, 3]; never evaluated on."""
    return np.stack([draw(CALIBRATION_SEED, index).image for index in range(count)])


def _seen(
    mask: NDArray[np.bool_], shown: NDArray[np.bool_], least: float
) -> tuple[int, int, int, int] | None:
    """The box of an object's whole outline inside the image, or None where too little of it is seen."""
    if int(np.count_nonzero(shown)) < least * max(1, int(np.count_nonzero(mask))):
        return None
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if len(columns) < MIN_SIDE or len(rows) < MIN_SIDE:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _colour(rng: np.random.Generator) -> Colour:
    return np.int16(rng.integers(60, 196)) + rng.integers(-40, 41, 3, dtype=np.int16)


def _clip(values: NDArray[np.int16]) -> Image:
    return np.minimum(np.maximum(values, 0), 255).astype(np.uint8)


def _surface(rng: np.random.Generator, base: Colour, spread: int) -> Image:
    """A smooth colour field around `base`, with faint slanted stripes on about half of them."""
    cells = int(rng.integers(2, 6))
    grid = _clip(base + rng.integers(-spread, spread + 1, (cells, cells, 3), dtype=np.int16))
    image = np.asarray(cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR_EXACT), dtype=np.uint8)
    if rng.random() < 0.5:
        a, b = rng.integers(-24, 25, 2).tolist()
        steps = np.arange(SIDE, dtype=np.int32)
        stripes = ((steps[None, :] * a + steps[:, None] * b) & (1 << int(rng.integers(6, 8)))) != 0
        darker = np.where(stripes, np.uint8(rng.integers(5, 26)), np.uint8(0))
        image = np.asarray(cv2.subtract(image, cv2.merge((darker, darker, darker))), dtype=np.uint8)
    return image


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Vertices [n, 2] from px to the fixed-point px that OpenCV draws with."""
    return np.asarray(np.rint(points * (1 << _SHIFT)), dtype=np.int32)


def _clutter(rng: np.random.Generator, image: Image, count: int) -> None:
    """Draw `count` lines and irregular scraps into `image`."""
    for colour in rng.integers(20, 236, (count, 3)).tolist():
        centre = rng.uniform(0.0, SIDE, 2)
        if rng.random() < 0.5:
            ends = _fixed(centre + rng.uniform(-0.3, 0.3, (2, 2)) * SIDE).tolist()
            cv2.line(image, ends[0], ends[1], colour, int(rng.integers(1, 3)), cv2.LINE_AA, _SHIFT)
        else:
            corners = rng.uniform(-0.1, 0.1, (int(rng.integers(3, 7)), 2)) * SIDE
            cv2.fillPoly(image, [_fixed(centre + corners)], colour, cv2.LINE_AA, _SHIFT)


def _contours(rng: np.random.Generator, name: str, style: Style) -> list[NDArray[np.int32]]:
    """One object's contours, turned, stretched, sheared and placed; small ones are oftener."""
    angle = np.deg2rad(rng.uniform(-180.0, 180.0))
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    view = np.array([(1.0, rng.uniform(-0.15, 0.15)), (0.0, rng.uniform(0.8, 1.0))])
    low, high = style.radius
    radius = low * (high / low) ** rng.uniform(0.0, 1.0)
    centre = rng.uniform(0.4 * radius, SIDE - 0.4 * radius, 2)
    return [_fixed(centre + points @ (radius * (turn @ view))) for points in BUILDERS[name](rng)]


def _paint(
    rng: np.random.Generator, image: Image, name: str, style: Style
) -> tuple[Image, NDArray[np.bool_]]:
    """Blend one object over `image`, filled or as a line drawing: a new image and the outline's pixels."""
    contours = _contours(rng, name, style)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    opacity = int(rng.integers(190, 256))
    if rng.random() < style.outlined:
        cv2.polylines(mask, contours, True, opacity, int(rng.integers(1, 4)), cv2.LINE_AA, _SHIFT)
    else:
        cv2.fillPoly(mask, contours, opacity, cv2.LINE_AA, _SHIFT)
    behind = np.array(cv2.mean(image, mask)[:3]).astype(np.int16)
    apart = rng.integers(style.apart[0], style.apart[1] + 1, 3, dtype=np.int16)
    lighter = int(behind.sum()) < 3 * int(rng.integers(70, 186))
    colour = _clip(behind + apart if lighter else behind - apart).astype(np.int16)
    fill = _surface(rng, colour, int(rng.integers(4, 30)))
    weight = mask.astype(np.uint16)[:, :, None]
    weight += weight >> 7  # 0 to 256, so that the division below is a shift; 255 * 256 fits 16 bits
    return ((image * (256 - weight) + fill * weight) >> 8).astype(np.uint8), mask > opacity // 2


def _bars(rng: np.random.Generator, image: Image, owner: NDArray[np.int8], most: int) -> None:
    """Draw none to `most` opaque bars over everything."""
    for colour in rng.integers(20, 236, (int(rng.integers(0, most + 1)), 3)).tolist():
        ends = _fixed(rng.uniform(0.0, SIDE, 2) + rng.uniform(-0.3, 0.3, (2, 2)) * SIDE).tolist()
        thickness = int(rng.integers(2, 7))
        cv2.line(image, ends[0], ends[1], colour, thickness, cv2.LINE_AA, _SHIFT)
        hidden = np.zeros((SIDE, SIDE), np.uint8)
        cv2.line(hidden, ends[0], ends[1], 255, thickness, cv2.LINE_8, _SHIFT)
        owner[hidden > 0] = -1


def _degrade(rng: np.random.Generator, image: Image, noise: int) -> Image:
    """Blur about half of the scenes, then add uniform noise; a new image."""
    if rng.random() < 0.5:
        image = np.asarray(cv2.GaussianBlur(image, (5, 5), rng.uniform(0.4, 1.4)), dtype=np.uint8)
    amplitude = int(rng.integers(1, noise + 1))
    noisy = image + rng.integers(0, 2 * amplitude + 1, image.shape, dtype=np.uint8).astype(np.int16)
    return _clip(noisy - np.int16(amplitude))
