"""A sparse, L-stable, second-order step for networks too large, or flows too restless, for the exact
propagator.

SDIRK2 with gamma = 1 - 1/sqrt(2): R. Alexander, SIAM J. Numer. Anal. 14 (1977) 1006. One sparse factorisation
a step size and flow; cost grows with the network's non-zeros, not with n squared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix, diags
from scipy.sparse.linalg import splu

from coldmark.thermal.network import Array, Matrices

GAMMA = 1.0 - 1.0 / math.sqrt(2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StiffStepper:
    """Steps of `step_s` of C dT/dt = K T + u, with u held over the step."""

    step_s: float
    k: Any  # sparse [n, n]
    c: Array
    solve: Any  # of (C - gamma h K)

    def step(self, degc: Array, u_w: Array) -> Array:
        """One step on; `u_w` is power plus boundary heat [W], [n] or [n, k]."""
        h = self.step_s
        k1 = self.solve(self.k @ degc + u_w)
        k2 = self.solve(self.k @ (degc + h * (1 - GAMMA) * k1) + u_w)
        found: Array = degc + h * ((1 - GAMMA) * k1 + GAMMA * k2)
        return found


def stiff_stepper(mats: Matrices, step_s: float) -> StiffStepper:
    """Factorise for one step size [s]."""
    k = csc_matrix(mats.k)
    lu = splu(csc_matrix(diags(mats.c) - GAMMA * step_s * k))
    return StiffStepper(step_s=step_s, k=k, c=np.asarray(mats.c), solve=lu.solve)


@dataclass(frozen=True, slots=True, kw_only=True)
class StiffPropagator:
    """Stands in for the exact propagator: the same state, n temperatures and the heat that has left [J].

    What has left is summed with the method's own stages, so that the energy balance holds to rounding.
    """

    stepper: StiffStepper
    mats: Matrices
    sources: Array

    def hold(self, power_w: Array, boundary_degc: Array) -> Array:
        """The inputs of a step: heat into the nodes [W], and out of the account; [n + 1]."""
        u = np.append(self.mats.b @ boundary_degc, -float(self.mats.enter @ boundary_degc))
        np.add.at(u, self.sources.astype(int), power_w)
        return u

    def block(self, state: Array, held: Array, steps: int, out: Array | None = None) -> Array:
        """States after 1 .. `steps` steps with the same inputs; Fortran order, [n + 1, steps]."""
        x = np.empty((len(state), steps), order="F") if out is None else out[:, :steps]
        h, k, solve, leave = self.stepper.step_s, self.stepper.k, self.stepper.solve, self.mats.leave
        degc, left, u = state[:-1], float(state[-1]), held[:-1]
        for j in range(steps):
            k1 = solve(k @ degc + u)
            k2 = solve(k @ (degc + h * (1 - GAMMA) * k1) + u)
            first = float(leave @ (degc + h * GAMMA * k1))
            degc = degc + h * ((1 - GAMMA) * k1 + GAMMA * k2)  # stiffly accurate: also the second stage
            left += h * ((1 - GAMMA) * first + GAMMA * float(leave @ degc) + held[-1])
            x[:-1, j], x[-1, j] = degc, left
        return x


def stiff_propagator(mats: Matrices, step_s: float, sources: Array) -> StiffPropagator:
    """Steps of `step_s` [s]; `sources` are the indices of the nodes that take power."""
    return StiffPropagator(stepper=stiff_stepper(mats, step_s), mats=mats, sources=sources)
