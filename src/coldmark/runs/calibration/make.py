"""`coldmark calibrate`: what is asked, whether it is there already, and if not, made and kept."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from coldmark.core.calibration import SCHEMA, Aim, Calibration, Candidate, Quantisation
from coldmark.core.errors import ConfigError, DataError
from coldmark.core.nouns import Precision
from coldmark.core.record import RunSpec
from coldmark.core.sut import Indices
from coldmark.runs.calibrated import demanded_ratio, digests, network_paths
from coldmark.runs.calibration.capture import capture, drawn
from coldmark.runs.calibration.methods import METHODS
from coldmark.runs.calibration.search import Found, Say, Search
from coldmark.runs.resolve import Plan, open_task, option_groups, resolve
from coldmark.store.calibrations import keep, read_calibration, workplace
from coldmark.store.rundir import sha256
from coldmark.telemetry.inventory import detect
from coldmark.workloads.task import Recipe, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateSpec:
    """What the user asked for."""

    run: RunSpec  # workload, model, backend and options; in FP32
    methods: tuple[str, ...] = ()
    samples: int | None = None
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A calibration that is fully determined: equal ones have one id."""

    plan: Plan
    task: Task
    calibration: Task
    recipe: Recipe
    indices: Indices
    models: dict[str, str]
    set_sha256: str
    evaluated_sha256: str
    made_with: dict[str, str]
    methods: tuple[str, ...]

    @property
    def id(self) -> str:
        run, gate = self.plan.spec, self.task.gate
        groups = option_groups(run.options, run.workload, run.backend)
        key = {
            "schema": SCHEMA,
            "machine": [platform.machine(), detect().host_processor_model_name],
            "workload": run.workload,
            "backend": run.backend,
            "options": [groups["backend"], groups["task"]],
            "models": self.models,
            "set": self.set_sha256,
            "evaluated": [self.task.library.name, self.task.samples, self.evaluated_sha256],
            "methods": self.methods,
            "recipe": repr(self.recipe),
            "ratio": demanded_ratio(run.workload, self.task),
            "gate": [gate.metric, gate.reference, gate.target] if gate else None,
            "refusal": self.task.refusal,
            "versions": self.made_with,
        }
        return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def calibrate(spec: CalibrateSpec, cache: Path, say: Say) -> tuple[Calibration, bool]:
    """The calibration asked for, and whether it was there already.

    Raises ConfigError, SetupError or DataError; then, or when interrupted, nothing is kept.
    """
    asked = _asked(spec, cache, say)
    there = None if spec.again else read_calibration(cache, asked.id)
    if there is not None and there.front[0].passed is not False:
        # Where FP32 itself failed the labels may have been put right since: they are not part of the id.
        return there, True
    started = time.monotonic()
    with workplace(cache) as place:
        say(f"running {len(asked.indices)} calibration samples in FP32")
        captured = capture(asked.plan, asked.calibration, asked.indices, lambda done: None)
        paths = {name: path for name, path in _paths(asked).items() if captured.get(name)}
        found = Search(
            plan=asked.plan,
            task=asked.task,
            recipe=asked.recipe,
            captured=captured,
            paths=paths,
            methods=asked.methods,
            place=place,
            say=say,
        ).run()
        used = max(len(feeds) for feeds in captured.values())
        made = _noted(asked, found, min(used, len(asked.indices)), time.monotonic() - started)
        keep(cache, made, found.files)
    return made, False


def _asked(spec: CalibrateSpec, cache: Path, say: Say) -> _Asked:
    plan = resolve(spec.run)
    plan.backend.require(Precision.INT8)
    for method in spec.methods:
        METHODS.load(method, where="--method")
    task = open_task(plan, cache)
    if task.model is None:
        raise ConfigError(f"the {plan.backend.name} backend computes no model", where="--backend")
    if task.calibration is None:
        raise ConfigError(
            f"{spec.run.workload} with {spec.run.model} has no calibration samples",
            where="--model",
            hint="--model mini has; of your own model and data say which with --set data.KEY=PATH",
        )
    recipe = task.recipe or Recipe()
    calibration = task.calibration()
    wanted = recipe.samples if spec.samples is None else spec.samples
    if wanted < 1:
        raise ConfigError(f"{wanted} is below 1", where="--samples")
    indices = drawn(calibration.samples, wanted)
    say(f"comparing {calibration.samples} calibration samples with the evaluation set")
    set_sha256, evaluated_sha256 = _compared(task, calibration, indices)
    return _Asked(
        plan=plan,
        task=task,
        calibration=calibration,
        recipe=recipe,
        indices=indices,
        models=digests(network_paths(task.model)),
        set_sha256=set_sha256,
        evaluated_sha256=evaluated_sha256,
        made_with=_versions(plan),
        methods=spec.methods,
    )


def _compared(task: Task, calibration: Task, indices: Indices) -> tuple[str, str]:
    """Digests of the calibration samples that are used, and of the evaluation set.

    Raises DataError where a sample of the calibration set, used or not, is scored on as well.
    """
    known = task.identity
    evaluated = [known(index) for index in range(task.samples)] if known else []
    if calibration.identity is None:
        return _digest([calibration.library.name, str(indices.tolist())]), _digest(evaluated)
    own = [calibration.identity(index) for index in range(calibration.samples)]
    if not calibration.overlap:
        first = {name: index for index, name in reversed(list(enumerate(evaluated)))}
        both = [first[name] for name in own if name in first]
        if both:
            raise DataError(
                f"{len(both)} of {len(own)} calibration samples are in the evaluation set "
                f"(sample {min(both)} of {task.library.name}, for one)",
                where=calibration.library.name,
                hint="calibrate on samples that are not scored on",
            )
    return _digest([own[int(index)] for index in indices]), _digest(evaluated)


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _paths(asked: _Asked) -> dict[str, Path]:
    assert asked.task.model is not None
    paths = network_paths(asked.task.model)
    return {name: path for name, path in paths.items() if name not in asked.recipe.skip}


def _versions(plan: Plan) -> dict[str, str]:
    names = ("nncf", "onnx", "onnxruntime", "openvino")
    found = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {**{name: found[name] for name in names if name in found}, **plan.backend.versions()}


def _noted(asked: _Asked, found: Found, used: int, seconds: float) -> Calibration:
    run, gate, best = asked.plan.spec, asked.task.gate, found.quantised
    judged = gate is not None and not asked.task.refusal
    quantisation = None
    if best is not None:
        quantisation = Quantisation(
            id=asked.id,
            method=best.method,
            floating=best.floating,
            excluded=best.excluded,
            networks={name: sha256(path) for name, path in found.files.items()},
            set_name=asked.calibration.library.name,
            set_sha256=asked.set_sha256,
            samples=used,
            made_with=asked.made_with,
            overlap=asked.calibration.overlap,
            kept=asked.recipe.keep,
            skipped=asked.recipe.skip,
            official=asked.calibration.official or not asked.task.official,
        )
    return Calibration(
        id=asked.id,
        workload=run.workload,
        model=run.model,
        backend=run.backend,
        models=asked.models,
        ratio=demanded_ratio(run.workload, asked.task),
        aim=Aim(metric=gate.metric, unit=gate.unit, reference=gate.reference, target=gate.target)
        if gate and judged
        else None,
        front=found.front,
        chosen=found.chosen,
        quantisation=quantisation,
        reason=reason(found.front, found.chosen, asked.task),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
    )


def reason(front: tuple[Candidate, ...], chosen: Candidate | None, task: Task) -> str:
    """Why this one was chosen, in a sentence."""
    if task.gate is None or task.refusal:
        unjudged = f"{_unjudged(front, chosen)}; accuracy is not judged"
        return f"{unjudged}: {task.refusal}" if task.refusal else unjudged
    int8 = [c for c in front if c.precision is Precision.INT8]
    held = any(c.passed for c in int8)
    missed = _missed(int8, task.gate.target)
    if chosen is None:
        if held:
            return "INT8 holds the gate but is slower than FP32 here: stay with FP32"
        if any(c.passed for c in front if c.precision is Precision.BF16):
            return f"{missed}; BF16 does but is slower than FP32 here: stay with FP32"
        itself = front[0]
        if itself.passed is False and itself.accuracy is not None:
            return (
                f"FP32 itself reaches {itself.accuracy:.4f} where {task.gate.target:.4f} is needed: "
                "check data.path and the model"
            )
        return f"{missed}, nor does BF16 where there is one: stay with FP32"
    if chosen.precision is Precision.BF16:
        return "INT8 holds the gate, but BF16 is faster here" if held else f"{missed}: BF16 is the way back"
    mixed = f", with {chosen.left_out} layers left in floating point" if chosen.left_out else ""
    faster = any(c.passed and (c.speed or 0.0) > (chosen.speed or 0.0) for c in front)
    alike = "the most accurate of those that are as fast as the fastest, within the noise, and hold the gate"
    return (alike if faster else "the fastest that holds the gate") + mixed


def _unjudged(front: tuple[Candidate, ...], chosen: Candidate | None) -> str:
    int8 = [c for c in front if c.precision is Precision.INT8]
    if chosen is not None and chosen.precision is Precision.INT8:
        return "the first method" if int8[0].speed is not None else "the first method that could quantise it"
    if not any(c.speed is not None for c in int8):
        return "no method could quantise it"
    return "no INT8 is faster" if chosen is not None else "INT8 is slower than FP32 here: stay with FP32"


def _missed(int8: list[Candidate], target: float) -> str:
    best = max(int8, key=_accuracy_of, default=None)
    at_best = f" (the best reaches {best.accuracy:.4f})" if best and best.accuracy is not None else ""
    return f"no INT8 model holds {target:.4f}{at_best}"


def _accuracy_of(candidate: Candidate) -> float:
    return -1.0 if candidate.accuracy is None else candidate.accuracy
