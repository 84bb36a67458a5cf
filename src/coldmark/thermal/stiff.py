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
