"""Everything a tuning may choose among: backends, the precisions each can hold, and each one's own axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from coldmark.backends import BACKENDS
from coldmark.backends.build import processors
from coldmark.backends.space import Axis, SpaceRequest, Value
from coldmark.core.errors import ColdmarkError, ConfigError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.record import RunSpec
from coldmark.core.sut import Model
from coldmark.core.tuned import Configuration
from coldmark.runs.resolve import Plan, option_groups
from coldmark.workloads.task import Task

ROWS_BATCH = 8
"""Batch of Offline and Server where nobody asks for one and samples are rows."""

LARGEST_BATCH_S = 1.0
"""A batch that would take longer is not tried: nothing is gained by it that a smaller one lacks, and to read
it costs the time of many others."""

Gate = Callable[[str, Precision], str]
"""(backend, precision) -> why its answers may not be used; empty where they hold the accuracy gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One backend in one precision, and the axes along which it is searched."""

    backend: str
    precision: Precision
    axes: tuple[Axis, ...]

    @property
    def name(self) -> str:
        return f"{self.backend} {self.precision.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Configurations that can be searched; the default is one of them, and every search starts with it."""

    branches: tuple[Branch, ...]
    default: Configuration
    left_out: tuple[str, ...] = ()

    def suggest(self, trial: Any) -> Configuration:
        """Let an Optuna trial choose, axis by axis.

        An axis bound by another has a name for each bound: what a number stands for never changes.
        """
        names = [b.name for b in self.branches]
        branch = self.branches[names.index(trial.suggest_categorical("branch", names))]
        chosen: dict[str, Value] = {}
        for axis in branch.axes:
            values = axis.allowed(chosen)
            name = _parameter(branch, axis, chosen)
            at = trial.suggest_int(name, 0, len(values) - 1) if len(values) > 1 else 0
            chosen[axis.name] = values[at]
        return configuration(branch, chosen)

    def parameters(self, branch: Branch, wanted: Mapping[str, Value]) -> dict[str, Any]:
        """What Optuna is to be told so that it suggests `wanted`; absent axes stay as usual."""
        chosen: dict[str, Value] = {}
        found: dict[str, Any] = {"branch": branch.name}
        for axis in branch.axes:
            values = axis.allowed(chosen)
            want = wanted.get(axis.name, axis.usual)
            at = values.index(want) if want in values else 0
            if len(values) > 1:
                found[_parameter(branch, axis, chosen)] = at
            chosen[axis.name] = values[at]
        return found

    def starts(self) -> list[dict[str, Any]]:
        """What is tried first: each branch as usual, then each with as many streams as fit.

        Those with small batches, and with the smallest: large models have time for few trials, and a sample
        in each stream is often best for them.
        """
        usual = [self.parameters(b, {}) for b in self.branches]
        wide = [self.parameters(b, _wide(b, below)) for below in (2, None) for b in self.branches]
        found: list[dict[str, Any]] = []
        for start in [*usual, *wide]:
            if start not in found:
                found.append(start)
        return found

    def count(self) -> int:
        """Configurations in all."""
        return sum(sum(1 for _ in _combinations(b.axes, {})) for b in self.branches)

    def effective(self, found: Configuration) -> tuple[Any, ...]:
        """Equal for configurations that come to the same."""
        branch = next((b for b in self.branches if (b.backend, b.precision) == _of(found)), None)
        options = dict(found.options)
        for axis in branch.axes if branch else ():
            options.setdefault(f"backend.{axis.name}", text(axis.usual))
        return (*_of(found), *sorted(options.items()))

    def unusual(self, found: Configuration) -> int:
        """Settings that are not as usual."""
        branch = next((b for b in self.branches if (b.backend, b.precision) == _of(found)), None)
        usual = {f"backend.{a.name}": text(a.usual) for a in (branch.axes if branch else ())}
        return sum(usual.get(key) != value for key, value in found.options.items())

    def bounded(self, rate: float) -> Space:
        """Without batches that would take too long at `rate` in what a batch counts [1/s]."""
        most = max(1.0, rate * LARGEST_BATCH_S)
        return replace(self, branches=tuple(replace(b, axes=_below(b.axes, most)) for b in self.branches))


def _of(found: Configuration) -> tuple[str, Precision]:
    return found.backend, found.precision


def _below(axes: Sequence[Axis], most: float) -> tuple[Axis, ...]:
    return tuple(
        replace(a, values=tuple(v for v in a.values if v <= max(most, a.usual))) if a.name == "batch" else a
        for a in axes
    )


def _parameter(branch: Branch, axis: Axis, chosen: Mapping[str, Value]) -> str:
    bound = f">={chosen[axis.at_least]}" if axis.at_least in chosen else ""
    return f"{branch.backend}.{axis.name}{bound}"


def _wide(branch: Branch, below: int | None) -> dict[str, Value]:
    """As many streams as there are threads, and a batch so many steps below the usual; None: the smallest."""
    found: dict[str, Value] = {}
    for axis in branch.axes:
        if axis.name == "streams":
            found["streams"] = axis.values[-1]
            found["requests"] = axis.values[-1] + 1
        if axis.name == "batch" and len(axis.values) > 2:
            usual = axis.values.index(axis.usual)
            found["batch"] = axis.values[0 if below is None else max(0, usual - below)]
    return found


def _combinations(axes: Sequence[Axis], chosen: dict[str, Value]) -> Iterator[dict[str, Value]]:
    if not axes:
        yield chosen
        return
    for value in axes[0].allowed(chosen):
        yield from _combinations(axes[1:], {**chosen, axes[0].name: value})


def configuration(branch: Branch, chosen: Mapping[str, Value]) -> Configuration:
    """Chosen values as a backend takes them."""
    return Configuration(
        backend=branch.backend,
        precision=branch.precision,
        options={f"backend.{name}": text(value) for name, value in chosen.items()},
    )


def text(value: Value) -> str:
    """A value as `--set` takes it."""
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def build_space(
    plan: Plan, task: Task, spec: RunSpec, *, backend: str | None, precision: Precision | None, gate: Gate
) -> Space:
    """What may be searched for a plan whose fixed values are `spec.options` and what is not None here.

    Raises ConfigError where nothing is left, with every reason.
    """
    out: list[str] = []
    branches: list[Branch] = []
    for name in [backend] if backend else list(BACKENDS):
        try:
            branches += _branches(plan, task, spec, name, precision, gate, out)
        except ColdmarkError as error:
            if backend:
                raise
            out.append(f"{name}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    if not branches:
        raise ConfigError(
            f"nothing can be searched: {'; '.join(out) or 'the backend has no settings to choose'}",
            where="coldmark tune",
            hint="leave --backend, --precision or --set out",
        )
    default = Configuration(
        backend=plan.spec.backend,
        precision=plan.spec.precision,
        options={f"backend.{k}": v for k, v in _given(spec, plan.spec.backend).items()},
    )
    return Space(branches=tuple(branches), default=default, left_out=tuple(out))


def _given(spec: RunSpec, backend: str) -> dict[str, str]:
    return option_groups(spec.options, spec.workload, backend)["backend"]


def _branches(
    plan: Plan,
    task: Task,
    spec: RunSpec,
    name: str,
    precision: Precision | None,
    gate: Gate,
    out: list[str],
) -> list[Branch]:
    """One backend in each precision it may be used in."""
    backend = BACKENDS.load(name, where="--backend")
    axes = tuple(backend.space(request_for(plan, task)))
    if not axes:
        return []
    given = _given(spec, name)
    axes = tuple(_fixed(axis, given[axis.name]) if axis.name in given else axis for axis in axes)
    found = []
    for each in [precision] if precision else list(Precision):
        try:
            why = "" if each is Precision.INT8 else backend.require(each)
        except ColdmarkError as error:
            if precision:
                raise
            why = error.message
        if why := why or gate(name, each):
            out.append(f"{name} {each.value}: {why}")
            continue
        found.append(Branch(backend=name, precision=each, axes=axes))
    return found


def _fixed(axis: Axis, given: str) -> Axis:
    value: Value
    if isinstance(axis.usual, bool):
        value = given.lower() in ("true", "yes", "on", "1")
    else:
        try:
            value = float(given)
        except ValueError:
            raise ConfigError(f"{given!r} is no number", where=f"--set backend.{axis.name}") from None
        value = int(value) if value.is_integer() else value
    return replace(axis, values=(value,), usual=value, at_least="")


def request_for(plan: Plan, task: Task) -> SpaceRequest:
    """What a backend's space is made for."""
    per, scenario = plan.rule.book.samples_per_query, plan.spec.scenario
    rows = not hasattr(task.model, "batch")
    if isinstance(task.model, Model) or task.model is None:
        batch = {Scenario.SINGLE_STREAM: 1, Scenario.MULTI_STREAM: per}.get(scenario, ROWS_BATCH)
    else:
        batch = task.model.batch[scenario]
    limit = plan.test_overrides.get("target_latency_ns", plan.rule.target_latency_ns)
    return SpaceRequest(
        scenario=scenario,
        processors=processors(),
        batch=batch,
        samples_per_query=per,
        limit_s=limit * 1e-9 if limit else None,
        rows=rows,
    )
