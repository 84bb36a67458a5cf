"""Fit the twin: shares and powers from Offline scores, then the batch overhead from the DGX A100's
Server scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from coldmark.core.nouns import Scenario
from coldmark.runs.twin_score import server_score
from coldmark.runs.twin_setup import Setup, TwinSpec, set_up
from coldmark.thermal.calibration import REFERENCE, Fit, calibrate, unpack
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
