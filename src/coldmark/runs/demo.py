"""What the demo runs: one scenario of each workload, among them every scenario; then one of them tuned."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coldmark.core.calibration import Calibration
from coldmark.core.nouns import Length, Mode, Precision, Scenario, Suite
from coldmark.core.record import RunRecord, RunSpec
from coldmark.runs.calibration.make import CalibrateSpec, calibrate
from coldmark.runs.execute import OnTick, execute
from coldmark.runs.tuned import with_tuned
from coldmark.runs.tuning.make import TuneSpec, plan_tune, tune
from coldmark.runs.tuning.search import OnTrial
from coldmark.workloads.cache import cache_dir

RUNS = (
    ("resnet50", Suite.EDGE, Scenario.MULTI_STREAM),
    ("retinanet", Suite.DATACENTER, Scenario.OFFLINE),
    ("3d-unet-99.9", Suite.EDGE, Scenario.SINGLE_STREAM),
    ("rnnt", Suite.DATACENTER, Scenario.SERVER),
    ("bert-99.9", Suite.DATACENTER, Scenario.OFFLINE),
    ("dlrm-99.9", Suite.DATACENTER, Scenario.SERVER),
)

TUNED = ("resnet50", Suite.EDGE, Scenario.OFFLINE)

BUDGET_S = 30.0
"""Of the demo's tuning: enough to find most of what is to be had, not for the last percent."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The demo's end: one workload untuned in FP32, and calibrated and tuned, both through LoadGen."""

    calibration: Calibration
    untuned: RunRecord
    tuned: RunRecord
    paths: tuple[Path, Path]

    @property
    def factor(self) -> float | None:
        """Tuned rate over untuned rate."""
        a, b = self.tuned.metric, self.untuned.metric
        return a.value / b.value if a and b and b.value else None


def tuned_end(
    *,
    length: str,
    backend: str,
    root: Path,
    said: Callable[[str], AbstractContextManager[tuple[Callable[[str], None], OnTrial]]],
    progress: Callable[[str], AbstractContextManager[OnTick]],
) -> Tuned:
    """Calibrate, tune and run; what is found is kept as if the user had typed the commands."""
    plain = _spec(TUNED, length, backend, Precision.FP32)
    label = f"[tuned] {plain.workload} {plain.scenario}"
    with said(label) as (say, on_trial):
        calibration, _ = calibrate(CalibrateSpec(run=plain), cache_dir(), say)
        chosen = calibration.chosen.precision if calibration.chosen else Precision.FP32
        wanted = TuneSpec(run=plain, backend=backend, precision=chosen, budget_s=BUDGET_S)
        tune(plan_tune(wanted, on_say=say), root, on_trial=on_trial, on_say=say)
    with progress(f"{label} untuned") as on_tick:
        untuned, first = execute(replace(plain, modes=(Mode.PERFORMANCE,)), root, on_tick=on_tick)
    spec, _ = with_tuned(replace(plain, precision=chosen), root, {"backend", "precision"})
    with progress(f"{label} tuned") as on_tick:
        tuned, second = execute(spec, root, on_tick=on_tick)
    return Tuned(calibration=calibration, untuned=untuned, tuned=tuned, paths=(first, second))
