"""What the demo runs: one scenario of each workload, among them every scenario; then one of them tuned."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from coldmark.core.nouns import Length, Precision, Scenario, Suite
from coldmark.core.record import RunRecord, RunSpec
from coldmark.runs.calibration.make import CalibrateSpec, calibrate
from coldmark.runs.execute import OnTick, execute
from coldmark.runs.tuned import with_tuned
from coldmark.runs.tuning.make import TuneSpec, plan_tune, tune
from coldmark.runs.tuning.search import OnTrial
from coldmark.workloads.cache import cache_dir

RUNS = (
    ("retinanet", Suite.EDGE, Scenario.MULTI_STREAM),
    ("3d-unet-99.9", Suite.EDGE, Scenario.SINGLE_STREAM),
    ("rnnt", Suite.DATACENTER, Scenario.SERVER),
    ("bert-99.9", Suite.DATACENTER, Scenario.OFFLINE),
    ("dlrm-99.9", Suite.DATACENTER, Scenario.SERVER),
    ("resnet50", Suite.EDGE, Scenario.OFFLINE),
)
"""The last is run again, calibrated and tuned: nothing lies between the two but that."""

METHODS = ("nncf-mixed",)
BUDGET_S = 25.0
"""One method of quantising and so many seconds of tuning: most of what is to be had, not the last percent."""


def demo_specs(*, length: str, backend: str, precision: str) -> list[RunSpec]:
    """The specs of the demo. Raises ConfigError on a name that is none."""
    asked: Any = Precision.parse(precision, where="--precision")
    return [_spec(what, length, backend, asked) for what in RUNS]


def _spec(what: tuple[str, Suite, Scenario], length: str, backend: str, precision: Precision) -> RunSpec:
    workload, suite, scenario = what
    lasting: Any = Length.parse(length, where="--length")
    return RunSpec(
        workload=workload,
        scenario=scenario,
        suite=suite,
        model="mini",
        backend=backend,
        precision=precision,
        length=lasting,
    )


def tuned_end(
    untuned: RunSpec,
    root: Path,
    *,
    said: Callable[[str], AbstractContextManager[tuple[Callable[[str], None], OnTrial]]],
    progress: Callable[[str], AbstractContextManager[OnTick]],
) -> tuple[RunRecord, Path]:
    """The same run once more, calibrated and tuned; what is found is kept, as by the commands."""
    plain = replace(untuned, precision=Precision.FP32)
    label = f"[tuned] {plain.workload} {plain.scenario}"
    with said(label) as (say, on_trial):
        calibration, _ = calibrate(CalibrateSpec(run=plain, methods=METHODS), cache_dir(), say)
        best = calibration.chosen.precision if calibration.chosen else Precision.FP32
        wanted = TuneSpec(run=plain, backend=plain.backend, precision=best, budget_s=BUDGET_S)
        tune(plan_tune(wanted, on_say=say), root, on_trial=on_trial, on_say=say)
    spec, _ = with_tuned(replace(plain, precision=best), root, {"backend", "precision"})
    with progress(label) as on_tick:
        return execute(spec, root, on_tick=on_tick)
