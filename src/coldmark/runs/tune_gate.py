"""Which precisions hold the accuracy gate, and how that is known. FP32 is what the gate is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coldmark.core.codec import dump_json, read_json
from coldmark.core.errors import ColdmarkError, Interrupted
from coldmark.core.nouns import Length, Mode, Precision, Scenario
from coldmark.runs.execute import execute, software_versions
from coldmark.runs.resolve import Plan, refusal, resolve
from coldmark.runs.tuned import model_sha256, task_options
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
        if precision is Precision.INT8:
            return f"no calibrated model; to make one: coldmark calibrate {self.plan.spec.workload}"
        if why := refusal(self.plan, self.task):
            if self.asked is not precision:
                return f"its accuracy cannot be scored ({why}); all the same: --precision {precision}"
            self.how[name] = f"asked for by --precision; accuracy cannot be scored: {why}"
            return ""
        try:
            return self._scored(name, backend, precision)
        except Interrupted:
            raise
        except ColdmarkError as error:
            return f"its accuracy could not be measured: {error.message}"

    def _scored(self, name: str, backend: str, precision: Precision) -> str:
        path = self._path(backend, precision)
        known = _known(path)
        if known is None:
            if not self.measure:
                return ""  # laid out only: it is measured before the search begins
            if self.on_say:
                self.on_say(f"accuracy of {name} over the evaluation set, once")
            known = self._measured(backend, precision)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, dump_json(known))
        text = f"{known['value']:.5g} {known['unit']} (target {known['target']:.5g})".replace("  ", " ")
        if not known["passed"]:
            return f"{known['metric']} {text} does not hold the accuracy gate"
        self.how[name] = f"{known['metric']} {text}, over the evaluation set"
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
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        return cache_dir() / FOLDER / f"{digest}.json"

    def _spec(self, backend: str, precision: Precision) -> Any:
        spec = self.plan.spec
        tasks = task_options(spec.options, spec.workload, spec.backend)
        # A task's options go by their own dotted names: `data_path` is data.path.
        options = {k.partition(".")[2].replace("_", ".", 1): v for k, v in tasks.items()}
        return replace(
            spec,
            backend=backend,
            precision=precision,
            scenario=Scenario.OFFLINE,
            modes=(Mode.ACCURACY,),
            length=Length.SMOKE,
            target_qps=None,
            options={**options, "telemetry.baseline_s": "0", "telemetry.cooldown_s": "0"},
        )

    def _measured(self, backend: str, precision: Precision) -> dict[str, Any]:
        record, path = execute(self._spec(backend, precision), cache_dir() / FOLDER)
        accuracy = record.accuracy
        if accuracy is None or accuracy.value is None or accuracy.target is None:
            raise ColdmarkError(f"no accuracy came of {backend} {precision}", where=str(path))
        return {
            "metric": accuracy.metric,
            "unit": accuracy.unit,
            "value": accuracy.value,
            "target": accuracy.target,
            "passed": bool(accuracy.passed),
            "run": path.name,
        }


def _known(path: Path) -> dict[str, Any] | None:
    try:
        found = read_json(path)
    except ColdmarkError:
        return None
    return found if isinstance(found, dict) and {"value", "target", "passed"} <= found.keys() else None
