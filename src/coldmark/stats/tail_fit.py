"""The share of late queries as a function of the Poisson rate, fitted to trials; and what follows from it.

A queue played through with measured service times gives the shape: g(x), the logit of the late share at the
logarithm x of the rate, which is at the allowed share at x0. The machine is taken to follow

    logit p(x) = g(x0 + k (x + u - d - x0)),    u ~ N(0, s^2)

with three unknowns: d, by which its limit is off the played one; k, by how much it is steeper; s, by how much
it wanders from run to run. Their posterior is summed on a grid, the wandering by Gauss-Hermite quadrature.
Queries count by their effective number, for lateness comes in bursts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coldmark.stats.early_stopping import most_over

Array = NDArray[np.float64]

SLOPE_PRIOR = 0.35
"""Standard deviation of the logarithm of k."""
WANDER = (0.0005, 0.003, 0.01, 0.03)
WANDER_PRIOR = (0.4, 0.3, 0.2, 0.1)
"""Values of s and their prior weights: the quieter the likelier."""
PARABOLA_POINTS = 5
"""Played rates beyond which a parabola is put through them."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
_GRID = 81


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What a trial says: of so many effective queries, so many were late."""

    rate: float  # [1/s]
    effective: float
    late: float  # of the effective ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """g(x) as ascending points, beyond them straight on; x0 is where it crosses the allowed share."""

    x: Array  # logarithm of rates [1/s]
    logit: Array
    x0: float

    def __call__(self, x: Array) -> Array:
        inside = np.interp(x, self.x, self.logit)
        first = (self.logit[1] - self.logit[0]) / (self.x[1] - self.x[0])
        last = (self.logit[-1] - self.logit[-2]) / (self.x[-1] - self.x[-2])
        below, above = np.minimum(x - self.x[0], 0), np.maximum(x - self.x[-1], 0)
        return np.asarray(inside + first * below + last * above)

    def share(self, rate: float) -> float:
        """The late share at a rate [1/s]."""
        return float(expit(self(np.array([np.log(rate)])))[0])


def logit(p: float) -> float:
    """ln(p / (1 - p)), for p in (0, 1)."""
    return float(np.log(p) - np.log1p(-p))


def expit(x: Array) -> Array:
    """The inverse of logit; beyond 40 nothing is left of the difference to 0 and 1."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -40, 40))))


def straight(limit: float, slope: float, allowed: float) -> Shape:
    """A straight line through the allowed share at `limit` [1/s]; `slope` is d logit / d ln rate."""
    x0 = float(np.log(limit))
    x = np.array([x0 - 1, x0, x0 + 1])
    return Shape(x=x, logit=logit(allowed) + slope * (x - x0), x0=x0)


def shape_of(rates: Array, shares: Array, allowed: float, *, least: float = 1e-4) -> Shape | None:
    """A shape from a played queue's late shares at ascending rates [1/s]; None where they do not cross.

    Shares below `least` or above a half say little of the slope and are left out. A parabola through the
    logits, each weighing as its late queries do, takes out what bursts left in them; what does not rise is
    made to.
    """
    shares = np.maximum.accumulate(shares)
    use = (shares >= least) & (shares <= 0.5)
    if use.sum() < 3 or shares[use][0] > allowed / 2 or shares[use][-1] < allowed:
        return None
    x, y = np.log(rates[use]), np.log(shares[use]) - np.log1p(-shares[use])
    if len(x) > PARABOLA_POINTS:
        centred = x - x.mean()
        y = np.polyval(np.polyfit(centred, y, 2, w=np.sqrt(shares[use])), centred)
        y = np.maximum.accumulate(y)
    y = y + 1e-6 * np.arange(len(y))  # strictly rising, so that it can be inverted
    return Shape(x=x, logit=y, x0=float(np.interp(logit(allowed), y, x)))


class Posterior:
    """What the trials leave open of d, k and s.

    `burst` is the design effect of an official run's queries, `doubt` the standard deviation of d beforehand.
    """

    def __init__(
        self, shape: Shape, trials: Sequence[Tail], allowed: float, burst: float, *, doubt: float
    ) -> None:
        self._shape, self._allowed, self._burst = shape, allowed, burst
        log_k = np.linspace(-2.5, 2.5, 7) * SLOPE_PRIOR
        self._k = np.exp(log_k)[None, :, None, None]
        self._s = np.array(WANDER)[None, None, :, None]
        prior = -0.5 * (log_k / SLOPE_PRIOR)[None, :, None] ** 2 + np.log(WANDER_PRIOR)[None, None, :]
        low, high = -5 * doubt, 5 * doubt
        for _ in range(3):  # each time on a finer grid around what is left
            d = np.linspace(low, high, _GRID)
            self._d = d[:, None, None, None]
            log_p = prior - 0.5 * (d / doubt)[:, None, None] ** 2 + self._log_likelihood(trials)
            weight = np.exp(log_p - log_p.max())
            self._weight = weight / weight.sum()
            over_d = self._weight.sum(axis=(1, 2))
            centre = float(over_d @ d)
            spread = max(float(np.sqrt(over_d @ (d - centre) ** 2)), 0.02 * (high - low))
            low, high = centre - 6 * spread, centre + 6 * spread
        self._over_d = over_d

    def _share(self, x: float) -> Array:
        """Late shares at the logarithm of a rate, [d, k, s, node]."""
        at = self._shape.x0 + self._k * (x + self._s * _NODES - self._d - self._shape.x0)
        return np.asarray(np.clip(expit(self._shape(at)), 1e-9, 1 - 1e-9))

    def _log_likelihood(self, trials: Sequence[Tail]) -> Array:
        total = np.zeros(np.broadcast_shapes(self._d.shape, self._k.shape, self._s.shape)[:3])
        for trial in trials:
            p = self._share(float(np.log(trial.rate)))
            log_l = trial.late * np.log(p) + (trial.effective - trial.late) * np.log1p(-p)
            top = log_l.max(axis=-1, keepdims=True)
            total += np.log(np.exp(log_l - top) @ (_WEIGHTS / _WEIGHTS.sum())) + top[..., 0]
        return total

    def limit(self, share: float = 0.5) -> float:
        """Quantile of the rate [1/s] at which just the allowed share is late."""
        d = float(np.interp(share, np.cumsum(self._over_d), self._d[:, 0, 0, 0]))
        return float(np.exp(self._shape.x0 + d))

    def chance_valid(self, rate: float, queries: int) -> float:
        """Chance that a run of so many queries at a rate [1/s] carries early stopping's claim."""
        from scipy.special import ndtr

        bearable = most_over(queries, 1 - self._allowed)
        if bearable < 0:
            return 0.0
        p = self._share(float(np.log(rate)))
        sd = np.sqrt(self._burst * queries * p * (1 - p))
        chance = ndtr((bearable + 0.5 - queries * p) / sd) @ (_WEIGHTS / _WEIGHTS.sum())
        return float((chance * self._weight).sum())

    def rate_at(self, chance: float, least_queries: int, duration_s: float) -> float:
        """The highest rate [1/s] whose official-length run is VALID with a chance."""
        low, high = self.limit(0.5) * 0.2, self.limit(0.999) * 1.05
        while high / low > 1.0005:
            middle = float(np.sqrt(low * high))
            queries = max(least_queries, int(middle * duration_s))
            low, high = (middle, high) if self.chance_valid(middle, queries) >= chance else (low, middle)
        return low


def design_effect(late: NDArray[np.bool_], blocks: int = 40) -> float:
    """How much more the number of late queries scatters than if each were late by itself; at least 1.

    By the counts in consecutive blocks of the queries, in the order of their arrival.
    """
    per = len(late) // blocks
    mean = float(late.mean()) if len(late) else 0.0
    if per < 2 or not 0 < mean < 1:
        return 1.0
    counts = late[: per * blocks].reshape(blocks, per).sum(axis=1)
    return max(1.0, float(np.var(counts, ddof=1)) / (per * mean * (1 - mean)))
