"""Outlines of the classes of the procedural image set, in a unit frame.

Every builder takes the random generator of one image and gives the closed contours of one object:
a list of float64 arrays [n, 2] of (x, y), centred near 0 with a radius of about 1 (no unit; `shapes`
scales them to pixels). Several contours in one list are filled by the even-odd rule, so a ring is two
circles. The builders draw their own proportions, because classes that differ by one fixed proportion
(square and rectangle, circle and ellipse) would be too easy to tell apart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Contour = NDArray[np.float64]
Builder = Callable[[np.random.Generator], list[Contour]]

_ARC_POINTS = 40  # vertices per full circle: smooth at the sizes drawn (radius below 50 px)


def _polar(radius: NDArray[np.float64], angle: NDArray[np.float64]) -> Contour:
    """Points [n, 2] from radii and angles (radians), both [n]."""
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)


def _turn(points: int) -> NDArray[np.float64]:
    """`points` equally spaced angles [points] over one turn, radians, the first pointing up."""
    return np.arange(points, dtype=np.float64) * (2.0 * np.pi / points) - np.pi / 2.0


def _round(points: int = _ARC_POINTS) -> Contour:
    """A circle of radius 1 with `points` vertices, or a regular polygon when there are few of them."""
    return _polar(np.ones(points), _turn(points))


def _regular(sides: int) -> Builder:
    """Builder of a regular polygon whose corners are slightly out of place."""

    def build(rng: np.random.Generator) -> list[Contour]:
        return [_round(sides) + rng.uniform(-0.04, 0.04, (sides, 2))]

    return build


def _alternating(tips: int, low: float, high: float) -> Builder:
    """Builder of a star: `tips` tips at radius 1, notches at a radius between `low` and `high`."""

    def build(rng: np.random.Generator) -> list[Contour]:
        radius = np.ones(2 * tips)
        radius[1::2] = rng.uniform(low, high)
        return [_polar(radius, _turn(2 * tips))]

    return build


def _box(low: float, high: float) -> Builder:
    """Builder of a rectangle with half width 0.9; half height 0.9 times a ratio in [low, high]."""

    def build(rng: np.random.Generator) -> list[Contour]:
        y = 0.9 * rng.uniform(low, high)
        return [np.array([(-0.9, -y), (0.9, -y), (0.9, y), (-0.9, y)])]

    return build


def _ellipse(rng: np.random.Generator) -> list[Contour]:
    return [_round() * np.array([1.0, rng.uniform(0.55, 0.84)])]


def _rhombus(rng: np.random.Generator) -> list[Contour]:
    return [_round(4) * np.array([rng.uniform(0.5, 0.82), 1.0])]


def _trapezoid(rng: np.random.Generator) -> list[Contour]:
    top, y = rng.uniform(0.4, 0.72), rng.uniform(0.55, 0.75)
    return [np.array([(-top, -y), (top, -y), (1.0, y), (-1.0, y)])]


def _plus(rng: np.random.Generator) -> list[Contour]:
    t = rng.uniform(0.2, 0.36)  # half thickness of the arms
    corner = np.array([(-t, -1.0), (t, -1.0), (t, -t)])
    quarter = np.array([(0.0, 1.0), (-1.0, 0.0)])  # (x, y) @ quarter turns by 90 degrees
    return [np.concatenate([corner @ np.linalg.matrix_power(quarter, k) for k in range(4)])]


def _saltire(rng: np.random.Generator) -> list[Contour]:
    diagonal = np.array([(1.0, 1.0), (-1.0, 1.0)]) * np.sqrt(0.5)
    return [_plus(rng)[0] @ diagonal]


def _ring(rng: np.random.Generator) -> list[Contour]:
    return [_round(), _round() * rng.uniform(0.45, 0.72)]


def _crescent(rng: np.random.Generator) -> list[Contour]:
    half = rng.uniform(0.5, 1.1)  # half the angle that the opening takes, radians
    outer = _polar(np.ones(_ARC_POINTS), np.linspace(half, 2.0 * np.pi - half, _ARC_POINTS))
    depth = rng.uniform(0.5, 0.85) * (1.0 + np.cos(half))  # how far the inner arc reaches in from the horns
    arc = np.linspace(-np.pi / 2.0, np.pi / 2.0, _ARC_POINTS // 2)
    inner = np.stack((np.cos(half) - depth * np.cos(arc), np.sin(half) * np.sin(arc)), axis=1)
    return [np.concatenate((outer, inner)) + np.array([0.25, 0.0])]


def _heart(rng: np.random.Generator) -> list[Contour]:
    t = _turn(_ARC_POINTS)
    x = np.sin(t) ** 3
    y = -(13.0 * np.cos(t) - 5.0 * np.cos(2.0 * t) - 2.0 * np.cos(3.0 * t) - np.cos(4.0 * t)) / 16.0
    return [np.stack((x, y * rng.uniform(0.85, 1.05)), axis=1)]


def _arrow(rng: np.random.Generator) -> list[Contour]:
    shaft, neck, wing = rng.uniform(0.15, 0.32), rng.uniform(-0.1, 0.3), rng.uniform(0.55, 0.8)
    half = [(-1.0, -shaft), (neck, -shaft), (neck, -wing)]
    return [np.array([*half, (1.0, 0.0), *((x, -y) for x, y in reversed(half))])]


def _gear(rng: np.random.Generator) -> list[Contour]:
    teeth = int(rng.integers(7, 10))
    radius = np.tile(np.array([1.0, 1.0, 0.0, 0.0]), teeth)
    radius[radius == 0.0] = rng.uniform(0.7, 0.8)
    hole = [_round() * rng.uniform(0.2, 0.4)] if rng.random() < 0.5 else []
    return [_polar(radius, _turn(4 * teeth)), *hole]


def _flower(rng: np.random.Generator) -> list[Contour]:
    angle, petals = _turn(2 * _ARC_POINTS), int(rng.integers(5, 8))
    hole = [_round() * rng.uniform(0.15, 0.3)] if rng.random() < 0.5 else []
    return [_polar(0.84 + 0.16 * np.cos(petals * angle), angle), *hole]


BUILDERS: dict[str, Builder] = {
    "circle": lambda rng: [_round()],
    "ellipse": _ellipse,
    "triangle": _regular(3),
    "square": _box(0.94, 1.0),
    "rectangle": _box(0.5, 0.82),
    "rhombus": _rhombus,
    "trapezoid": _trapezoid,
    "pentagon": _regular(5),
    "hexagon": _regular(6),
    "octagon": _regular(8),
    "star5": _alternating(5, 0.4, 0.55),
    "star6": _alternating(6, 0.45, 0.62),
    "plus": _plus,
    "saltire": _saltire,
    "ring": _ring,
    "crescent": _crescent,
    "heart": _heart,
    "arrow": _arrow,
    "gear": _gear,
    "flower": _flower,
}
"""Class name to builder; the order is the label order, so it must never change."""
