"""Fit the twin: shares and powers from Offline scores, then the batch overhead from the DGX A100's
Server scores.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from coldmark.core.codec import read_bounded, read_toml
from coldmark.core.errors import ConfigError, DataError
from coldmark.core.nouns import Provenance, Scenario
from coldmark.core.twin import NOT_MEASURED, CalibrationResult, FittedParameter
from coldmark.runs.twin.score import server_score
from coldmark.runs.twin.setup import Setup, TwinSpec, set_up
from coldmark.thermal.calibration import REFERENCE, Fit, Values, calibrate, undetermined, unpack
from coldmark.thermal.catalogue import check_limit, find_part, find_server
from coldmark.thermal.network import Array
from coldmark.thermal.score import engine
from coldmark.thermal.workloads import Point, published


def fit_all(points: Sequence[Point] | None = None) -> Fit:
    """The whole calibration, as it ships. Deterministic."""
    fit = calibrate(points)
    overhead = {b: s for b in fit.benchmarks if (s := _overhead(fit, b)) is not None}
    return replace(fit, batch_overhead_s=overhead)


def _overhead(fit: Fit, benchmark: str) -> float | None:
    """The batch overhead [s] that gives the published Server score of the reference server; None without
    one.
    """
    point = published().find(REFERENCE, benchmark, Scenario.SERVER, 400.0)
    if point is None or point.role != "fit":
        return None
    setup = _with_fit(set_up(TwinSpec(server=REFERENCE, workload=benchmark, scenario=Scenario.SERVER)), fit)
    limit_ns = setup.rule.target_latency_ns
    assert limit_ns is not None
    low, high = 0.0, limit_ns * 1e-9 / 3
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if server_score(setup, middle).value > point.score else (low, middle)
    return (low + high) / 2


def _with_fit(setup: Setup, fit: Fit) -> Setup:
    values = unpack(fit.mean, fit.benchmarks)
    return replace(setup, fit=fit, values=values, engine=engine(setup.asm, values, fit, setup.spec.workload))


UNITS = {"static_w": "W", "knee_mhz": "MHz", "slope_mv_per_mhz": "mV/MHz", "leakage_pct_per_k": "% TDP/K"}
Z90 = 1.6449


def describe(fit: Fit) -> CalibrationResult:
    """A fit with intervals, each unknown in its own unit, and whether the data determines it."""
    sd = np.sqrt(np.diag(np.array(fit.covariance)))
    loose = set(undetermined(fit))
    low = unpack(np.array(fit.mean) - Z90 * sd, fit.benchmarks)
    high = unpack(np.array(fit.mean) + Z90 * sd, fit.benchmarks)
    middle = unpack(fit.mean, fit.benchmarks)
    found = []
    for i, name in enumerate(fit.names):
        values = sorted(_value(v, name) for v in (low, high))
        found.append(
            FittedParameter(
                name=name,
                value=_value(middle, name),
                low=values[0],
                high=values[1],
                unit="W" if name.endswith("boost_w") else UNITS.get(name, "1"),
                spread_of_prior=float(sd[i] / fit.prior_sd[i]),
                determined=name not in loose,
            )
        )
    return CalibrationResult(
        provenance=Provenance.SIMULATED,
        note=NOT_MEASURED,
        points=fit.points,
        residual_share=fit.residual_share,
        parameters=tuple(found),
        batch_overhead_s=fit.batch_overhead_s,
        source="published Offline and Server scores marked fit: DGX A100, its MaxQ entries, 8x A100-PCIe",
    )


def _value(values: Values, name: str) -> float:
    benchmark, dot, key = name.rpartition(".")
    if not dot:
        return float(getattr(values, name))
    table: dict[str, float] = getattr(values, key)
    return table[benchmark]


def fit_points(path: Path) -> Fit:
    """Calibrate on a file of points of the user's own, `[[points]]` as in the shipped table.

    Raises ConfigError.
    """
    table = read_toml(path, Points)
    chosen = [p for p in table.points if p.scenario is Scenario.OFFLINE]
    known = {(p.server, p.benchmark) for p in chosen if p.limit_w == 400.0 and p.server == REFERENCE}
    for p in chosen:
        if (REFERENCE, p.benchmark) not in known:
            raise ConfigError(
                f"{p.benchmark} has no point of {REFERENCE} at 400 W to be relative to",
                where=f"{path}: points",
                hint="add one; scores are fitted as ratios to it",
            )
        check_limit(p.limit_w, find_part(find_server(p.server).gpu.part), f"{path}: points.limit_w")
        if p.score <= 0 or p.accelerators < 1:
            raise ConfigError("score and accelerators must be above 0", where=f"{path}: points.score")
    if not chosen:
        raise ConfigError("no Offline point", where=f"{path}: points")
    return calibrate(chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """A file of points to calibrate on."""

    points: tuple[Point, ...]


TELEMETRY = ("power_w", "die_degc", "reference_degc")
LEAST_RANGE_W = 30.0


def fit_telemetry(path: Path) -> CalibrationResult:
    """Thermal resistance of one accelerator from columns power_w, die_degc, reference_degc (supply or inlet).

    T_die - T_ref = offset + R P by least squares over samples at rest. Raises DataError, ConfigError.
    """
    rows = _read_columns(path)
    power, rise = rows[:, 0], rows[:, 1] - rows[:, 2]
    x = np.column_stack([np.ones_like(power), power])
    if np.ptp(power) < 1.0:
        raise ConfigError(
            f"power spans {np.ptp(power):.1f} W: no resistance can be told from the offset",
            where=f"{path}: power_w",
            hint=f"record at least two loads, {LEAST_RANGE_W:g} W apart",
        )
    (offset, r), *_ = np.linalg.lstsq(x, rise, rcond=None)
    left = rise - x @ np.array([offset, r])
    sd = np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * float(left @ left) / max(1, len(power) - 2))
    found = []
    for name, value, s, unit, prior in (
        ("offset_k", offset, sd[0], "K", 5.0),
        ("resistance_k_per_w", r, sd[1], "K/W", 0.02),
    ):
        found.append(
            FittedParameter(
                name=name,
                value=float(value),
                low=float(value - Z90 * s),
                high=float(value + Z90 * s),
                unit=unit,
                spread_of_prior=float(s / prior),
                determined=bool(s < 0.7 * prior and np.ptp(power) >= LEAST_RANGE_W),
            )
        )
    return CalibrationResult(
        provenance=Provenance.MEASURED,
        note="fitted to measured telemetry; samples are taken to be at rest",
        points=len(power),
        residual_share=float(np.sqrt(np.mean(left**2)) / max(1e-9, float(np.mean(np.abs(rise))))),
        parameters=tuple(found),
        batch_overhead_s={},
        source=str(path),
    )


def _read_columns(path: Path) -> Array:
    lines = [line for line in read_bounded(path).decode("utf-8", "replace").splitlines() if line[:1] != "#"]
    rows = list(csv.DictReader(lines))
    missing = [name for name in TELEMETRY if not rows or name not in rows[0]]
    if missing:
        raise ConfigError(
            f"no column {missing[0]!r}", where=str(path), hint=f"needed: {', '.join(TELEMETRY)}"
        )
    try:
        found = np.array([[float(row[name]) for name in TELEMETRY] for row in rows])
    except (TypeError, ValueError) as error:
        raise DataError(f"not a number: {error}", where=str(path)) from None
    if len(found) < 3 or not np.all(np.isfinite(found)):
        raise DataError("fewer than 3 complete rows of finite numbers", where=str(path))
    return found
