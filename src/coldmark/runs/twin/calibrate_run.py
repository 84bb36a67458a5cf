"""Fit the twin's heat path and power law to a run's trace, and try both on a part that was held out.

Temperature: T = T_ref + x_1 + x_2, dx_i/dt = (R_i P - x_i) / tau_i, from rest at the first power.
Power: P = static + u dynamic s(f) + leak v(f) exp(k (T - 60 degC)), the twin's own law with the voltage curve
and k of the server's part. Fitted on the first FIT_SHARE of the trace; the rest is only predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, nnls

from coldmark.core.errors import DataError
from coldmark.core.nouns import Provenance
from coldmark.core.trace import Array, Trace
from coldmark.core.twin import CalibrationResult, FittedParameter
from coldmark.runs.telemetry.replay import STEP_S, powers, residual
from coldmark.stats.throughput import binned_mean, inflation
from coldmark.thermal.catalogue import find_part, find_server
from coldmark.thermal.power import LEAKAGE_AT_DEGC, electrics

FIT_SHARE = 0.7
LEAST_STEPS = 40
LEAST_RANGE_W = 30.0
Z90 = 1.6449
HELD_OUT = f"the last {100 * (1 - FIT_SHARE):.0f} % of the trace, not fitted"
PRIOR = {  # what an unknown may be before the run; spread of one deviation
    "reference_degc": (30.0, 10.0, "degC"),
    "resistance_k_per_w": (0.08, 0.05, "K/W"),
    "fast_share": (0.5, 0.3, "1"),
    "fast_s": (2.0, 3.0, "s"),
    "slow_s": (30.0, 20.0, "s"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One accelerator in steps of STEP_S; all [n]. `clock`, `busy`: None where not recorded."""

    name: str
    power_w: Array
    degc: Array
    clock_mhz: Array | None
    busy: Array | None


def fit_run(trace: Trace, server: str, *, where: str) -> CalibrationResult:
    """Parameters with intervals and held-out residuals [K, W]. Raises DataError, ConfigError."""
    r = _widest(trace, where)
    cut = int(FIT_SHARE * len(r.power_w))
    thermal, left_k = _thermal(r, cut)
    electric, left_w = _electric(r, cut, server) if r.clock_mhz is not None else ((), None)
    held = [residual("die temperature", "K", left_k[cut:], HELD_OUT)]
    held += [residual("power", "W", left_w[cut:], HELD_OUT)] if left_w is not None else []
    fitted = [residual("die temperature", "K", left_k[:cut], "the fitted part")]
    fitted += [residual("power", "W", left_w[:cut], "the fitted part")] if left_w is not None else []
    rise = float(np.mean(np.abs(r.degc - thermal[0].value)))
    return CalibrationResult(
        provenance=Provenance.MEASURED,
        note="fitted to a run's own trace; it holds for this machine and this load",
        points=cut,
        residual_share=fitted[0].rms / max(rise, 1e-9),
        parameters=(*thermal, *electric),
        batch_overhead_s={},
        source=f"{where}, {r.name}" + (f", voltage curve of {server}" if electric else ", no clock recorded"),
        residuals=(*fitted, *held),
    )


def _widest(trace: Trace, where: str) -> Recorded:
    """The accelerator whose power spans most: it says most. Raises DataError."""
    t, power, names = powers(trace, where)
    at = np.concatenate([[t[0] - STEP_S], t])
    found = []
    for i, name in enumerate(names):
        degc = _column(trace, name, "temperature_degc", at)
        if degc is not None:
            found.append(
                Recorded(
                    name=name,
                    power_w=power[:, i],
                    degc=degc,
                    clock_mhz=_column(trace, name, "clock_mhz", at),
                    busy=_column(trace, name, "utilisation_share", at),
                )
            )
    if not found:
        raise DataError("no accelerator has both power and temperature in this trace", where=where)
    best = max(found, key=lambda r: float(np.ptp(r.power_w)))
    if len(best.power_w) < LEAST_STEPS:
        raise DataError(
            f"{len(best.power_w) * STEP_S:.0f} s are too short to fit",
            where=where,
            hint=f"at least {LEAST_STEPS * STEP_S:.0f} s; --set telemetry.baseline_s and cooldown_s help",
        )
    return best


def _column(trace: Trace, component: str, quantity: str, at: Array) -> Array | None:
    for family in ("nvml", "dcgm", "redfish"):
        for s in trace.of(quantity, family=family):
            if s.channel.component == component and len(s.t_s) > 1:
                return binned_mean(s.t_s, s.value, at)
    return None


def _rise(power: Array, r: float, share: float, fast_s: float, slow_s: float) -> Array:
    """Temperature rise [n], mean over each step, exact for power that is held over a step."""
    out = np.zeros_like(power)
    for resistance, tau in ((r * share, fast_s), (r * (1 - share), slow_s)):
        a = np.exp(-STEP_S / tau)
        mean = tau / STEP_S * (1 - a)
        x = resistance * power[0]
        for i, p in enumerate(power):
            rest = resistance * p
            out[i] += rest + (x - rest) * mean
            x = rest + (x - rest) * a
    return out


def _thermal(r: Recorded, cut: int) -> tuple[tuple[FittedParameter, ...], Array]:
    mean = np.array([m for m, _, _ in PRIOR.values()])
    sd = np.array([s for _, s, _ in PRIOR.values()])

    def model(theta: Array, power: Array) -> Array:
        ref, res, share, fast, slow = (float(x) for x in theta)
        return ref + _rise(power, res, share, fast, slow)

    def cost(theta: Array) -> Array:
        # The prior only holds what the data leaves open; its weight is that of one sample of 1 K.
        return np.concatenate([model(theta, r.power_w[:cut]) - r.degc[:cut], (theta - mean) / sd])

    low, high = [-20.0, 1e-3, 0.0, 0.05, 2.0], [90.0, 2.0, 1.0, 30.0, 600.0]
    found = least_squares(cost, mean, bounds=(low, high), x_scale=sd)
    left = r.degc - model(found.x, r.power_w)
    inner = left[:cut]
    variance = max(1 / 12, float(inner @ inner) / max(1, cut - len(mean))) * inflation(inner)
    jac: Array = np.asarray(found.jac, dtype=np.float64)[:cut]
    cov = np.linalg.pinv(jac.T @ jac / variance + np.diag(1 / sd**2))
    wide = float(np.ptp(r.power_w[:cut])) >= LEAST_RANGE_W
    return tuple(
        _parameter(name, float(x), float(np.sqrt(c)), s, unit, wide)
        for (name, (_, s, unit)), x, c in zip(PRIOR.items(), found.x, np.diag(cov), strict=True)
    ), left


def _electric(r: Recorded, cut: int, server: str) -> tuple[tuple[FittedParameter, ...], Array]:
    part = find_part(find_server(server).gpu.part)
    e = electrics(part)
    assert r.clock_mhz is not None
    mhz = np.clip(r.clock_mhz, 1.0, e.boost_mhz)
    v, top = e.voltage_v(mhz), float(e.voltage_v(np.array([e.boost_mhz]))[0])
    busy = np.ones_like(mhz) if r.busy is None else np.clip(r.busy, 0, 1)
    leak = v / top * np.exp(e.leakage_rate_per_k * (r.degc - LEAKAGE_AT_DEGC))
    x = np.column_stack([np.ones_like(mhz), busy * (v**2 * mhz) / (top**2 * e.boost_mhz), leak])
    tdp = part.tdp_w.value
    prior = np.array([(60.0, 30.0), (tdp - 60.0, 0.5 * tdp), (e.leakage_w, 0.5 * e.leakage_w)])
    a = np.vstack([x[:cut], np.diag(1 / prior[:, 1])])
    beta, _ = nnls(a, np.concatenate([r.power_w[:cut], prior[:, 0] / prior[:, 1]]))
    left = r.power_w - x @ beta
    inner = left[:cut]
    variance = max(1.0, float(inner @ inner) / max(1, cut - 3)) * inflation(inner)
    cov = np.linalg.pinv(x[:cut].T @ x[:cut] / variance + np.diag(1 / prior[:, 1] ** 2))
    names = ("static_w", "dynamic_w", "leakage_at_60_degc_w")
    return tuple(
        _parameter(name, float(b), float(np.sqrt(c)), float(s), "W", True)
        for name, b, c, s in zip(names, beta, np.diag(cov), prior[:, 1], strict=True)
    ), left


def _parameter(name: str, value: float, sd: float, prior: float, unit: str, wide: bool) -> FittedParameter:
    return FittedParameter(
        name=name,
        value=value,
        low=value - Z90 * sd,
        high=value + Z90 * sd,
        unit=unit,
        spread_of_prior=sd / prior,
        determined=bool(wide and sd < 0.7 * prior),
    )
