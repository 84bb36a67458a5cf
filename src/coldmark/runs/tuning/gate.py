"""Which precisions hold the accuracy gate, and how that is known. FP32 is what the gate is made of."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coldmark.core.codec import dump_json, read_json
from coldmark.core.errors import ColdmarkError, DataError, Interrupted
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.tuned import UNSCORED
from coldmark.runs.calibrated import demanded_ratio
from coldmark.runs.execute import software_versions
from coldmark.runs.resolve import Plan, open_task, option_groups, refusal, resolve
from coldmark.runs.tuned import model_sha256, own_options, task_options
from coldmark.store.calibrations import find_calibration
from coldmark.store.rundir import write_whole
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.task import Task

FOLDER = "tuned-accuracy"


@dataclass
class Gates:
    """Asks for each backend and precision; what was measured once is known from then on."""

    plan: Plan
    task: Task
    measure: bool
    asked: Precision | None
    on_say: Callable[[str], None] | None = None
    how: dict[str, str] = field(default_factory=dict)

    def why_not(self, backend: str, precision: Precision) -> str:
        """Why a precision may not be used; empty where it may."""
        name = f"{backend} {precision.value}"
        if precision is Precision.FP32:
            self.how[name] = "FP32 is the reference of the gate"
            return ""
        try:
            if precision is Precision.INT8:
                return self._calibrated(name, backend)
            return (
                self._unscored(name, precision)
                if refusal(self.plan, self.task)
                else self._scored(name, backend)
            )
        except Interrupted:
            raise
        except ColdmarkError as error:
            return error.message + (f"; {error.hint}" if error.hint else "")

    def _calibrated(self, name: str, backend: str) -> str:
        """INT8 is what a calibration made of it, and its manifest has the accuracy.

        Raises ConfigError where there is none, with the command that makes one.
        """
        task = open_task(resolve(self._spec(backend, Precision.INT8)), cache_dir())
        assert task.quantised is not None
        found = find_calibration(cache_dir(), task.quantised.id)
        if found.backend != backend:
            return f"calibration {found.id} is of the {found.backend} backend"
        kept = found.int8  # what it chose may be BF16
        if found.aim is None or kept is None or kept.accuracy is None:
            return self._unscored(name, Precision.INT8)
        text = _figure(found.aim.metric, kept.accuracy, found.aim.unit, found.aim.target)
        if found.ratio < demanded_ratio(self.plan.spec.workload, task):
            return f"calibration {found.id} was judged by a weaker gate: {text}"
        if not kept.passed:
            return f"calibration {found.id}: {text} does not hold the accuracy gate"
        self.how[name] = f"{text}, by calibration {found.id}"
        return ""

    def _unscored(self, name: str, precision: Precision) -> str:
        """Answers that cannot be scored are computed in another precision only where that is asked for."""
        why = refusal(self.plan, self.task) or "its calibration could not be judged"
        if self.asked is not precision:
            return f"its accuracy cannot be scored ({why}); all the same: --precision {precision.value}"
        self.how[name] = f"{UNSCORED}; accuracy cannot be scored: {why}"
        return ""

    def _scored(self, name: str, backend: str) -> str:
        """BF16 over the whole evaluation set, once for each model and software."""
        path = self._path(backend, Precision.BF16)
        known = _known(path)
        if known is None:
            if not self.measure:
                return ""  # laid out only: it is measured before the search begins
            if self.on_say:
                self.on_say(f"accuracy of {name} over the evaluation set, once")
            known = self._measured(backend, Precision.BF16)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, dump_json(known))
        text = _figure(known["metric"], known["value"], known["unit"], known["target"])
        if known["value"] < known["target"]:
            return f"{text} does not hold the accuracy gate"
        self.how[name] = f"{text}, over the evaluation set"
        return ""

    def _path(self, backend: str, precision: Precision) -> Path:
        """Where the accuracy of this model, in this precision, by this software, is kept."""
        spec = self._spec(backend, precision)
        key = {
            "workload": spec.workload,
            "model": model_sha256(self.task),
            "options": task_options(spec.options, spec.workload, backend),
            "precision": precision.value,
            "software": software_versions(resolve(spec)),
            "judged": "the whole set",
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        return cache_dir() / FOLDER / f"{digest}.json"

    def _spec(self, backend: str, precision: Precision) -> Any:
        spec = self.plan.spec
        options = own_options(spec.options, spec.workload, spec.backend)
        if precision is Precision.INT8:
            own = option_groups(spec.options, spec.workload, spec.backend)["calibration"]
            options |= {f"calibration.{k}": v for k, v in own.items()}
        return replace(
            spec,
            backend=backend,
            precision=precision,
            scenario=Scenario.OFFLINE,
            target_qps=None,
            options=options,
        )

    def _measured(self, backend: str, precision: Precision) -> dict[str, Any]:
        from coldmark.runs.calibration.measure import accuracy, opened

        plan = resolve(self._spec(backend, precision))
        task = open_task(plan, cache_dir())
        assert task.model is not None
        assert task.gate is not None
        with opened(plan, task, task.model, precision, precision) as bare:
            # No floor: a metric of a part need not be near that of the whole, and nothing is compared here.
            found = accuracy(bare, task, None, lambda done: None)
        gate = task.gate
        if not math.isfinite(found.value):
            raise DataError(f"its {gate.metric} is {found.value}")
        return {"metric": gate.metric, "unit": gate.unit, "value": found.value, "target": gate.target}


def _figure(metric: str, value: float, unit: str, target: float) -> str:
    return f"{metric} {value:.5g}{' ' * bool(unit)}{unit} (target {target:.5g})"


def _known(path: Path) -> dict[str, Any] | None:
    try:
        found = read_json(path)
    except ColdmarkError:
        return None
    return (
        found if isinstance(found, dict) and {"metric", "value", "unit", "target"} <= found.keys() else None
    )
