"""Exact zero-order-hold propagation of a linear network: the reference, and the default.

With inputs held over a step h, T(t + h) = Phi T(t) + Gamma u exactly, whatever h is, where Phi = exp(A h).
Both come from one matrix exponential of the augmented system (C. Van Loan, IEEE Trans. Automatic Control 23
(1978) 395), which also carries the heat that has left, so that the energy balance is a check and not an
identity. A block of steps is made by doubling, X[m:2m] = Phi^m X[0:m] + g_m: matrix products in place of a
loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

from coldmark.thermal.network import Array, Matrices


@dataclass(frozen=True, slots=True, kw_only=True)
class Propagator:
    """One step of `step_s`. States: n temperatures, then the heat that has left [J]."""

    step_s: float
    phi: Array  # [n + 1, n + 1]
    gamma: Array  # [n + 1, sources + boundaries]
    powers: tuple[Array, ...]  # phi^(2^j), [n + 1, n + 1]

    def hold(self, power_w: Array, boundary_degc: Array) -> Array:
        """The constant part of a step, Gamma u; [n + 1]. `power_w` is [sources]."""
        found: Array = self.gamma @ np.concatenate([power_w, boundary_degc])
        return found

    def step(self, state: Array, held: Array) -> Array:
        """One step on; [n + 1]."""
        found: Array = self.phi @ state + held
        return found

    def block(self, state: Array, held: Array, steps: int, out: Array | None = None) -> Array:
        """States after 1 .. `steps` steps with the same inputs; Fortran order, [n + 1, steps].

        `steps` is at most 2 ** len(powers). `out`, at least as wide, is written in place of a new array.
        """
        n = len(state)
        x = np.empty((n, steps), order="F") if out is None else out[:, :steps]
        x[:, 0] = self.phi @ state + held
        done, j, g = 1, 0, held
        while done < steps:
            more = min(done, steps - done)
            np.matmul(self.powers[j], x[:, :more], out=x[:, done : done + more])
            x[:, done : done + more] += g[:, None]
            if done + more < steps:
                g = self.powers[j] @ g + g
                j += 1
            done += more
        return x


def propagator(mats: Matrices, step_s: float, sources: Array, doublings: int = 9) -> Propagator:
    """The exact propagator of a step [s]; `sources` are the indices [s] of the nodes that take power."""
    n, m, s = len(mats.c), mats.b.shape[1], len(sources)
    a = np.zeros((n + 1 + s + m, n + 1 + s + m))
    a[:n, :n] = mats.k / mats.c[:, None]
    a[n, :n] = mats.leave
    a[sources, n + 1 + np.arange(s)] = 1.0 / mats.c[sources]
    a[:n, n + 1 + s :] = mats.b / mats.c[:, None]
    a[n, n + 1 + s :] = -mats.enter
    e = expm(a * step_s)
    phi = np.ascontiguousarray(e[: n + 1, : n + 1])
    powers = [phi]
    for _ in range(doublings - 1):
        powers.append(powers[-1] @ powers[-1])
    return Propagator(
        step_s=step_s,
        phi=phi,
        gamma=np.ascontiguousarray(e[: n + 1, n + 1 :]),
        powers=tuple(powers),
    )


def leakage_gain(slope_w_per_k: Array, response_k_per_w: Array) -> float:
    """Loop gain of power that rises with temperature: the spectral radius of R dP/dT, shapes [s], [s, s].

    At 1 or above the linear network has no stable rest: it runs away thermally.
    """
    return float(np.max(np.abs(np.linalg.eigvals(response_k_per_w * slope_w_per_k[None, :]))))
