"""From what the user asked to what will be run: every name checked, every value with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from coldmark.backends import BACKENDS
from coldmark.backends.build import Backend
from coldmark.core.calibration import CalibrationOptions
from coldmark.core.codec import from_strings
from coldmark.core.commandline import dotted
from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.core.nouns import Mode, Precision, Scenario
from coldmark.core.record import RunSpec
from coldmark.core.settings import SourcedSettings, TestSettings
from coldmark.rules.book import LengthRule, ScenarioRule, load_book, load_length
from coldmark.runs.calibrated import command as calibrate_command
from coldmark.runs.calibrated import with_calibration
from coldmark.telemetry import SENSORS
from coldmark.telemetry.options import SamplingOptions
from coldmark.workloads.task import Task, Workload, find_workload

TEST_KEYS = (
    "min_duration_ms",
    "max_duration_ms",
    "min_query_count",
    "max_query_count",
    "target_latency_ns",
    "expected_latency_ns",
    "performance_sample_count",
    "qsl_rng_seed",
    "sample_index_rng_seed",
    "schedule_rng_seed",
)
"""The test settings a user may change with `--set test.KEY=VALUE`; the checks say what that costs."""

AUTO = "auto: from the bare rate, measured before the test"


@dataclass(frozen=True, slots=True, kw_only=True)
class HarnessOptions:
    """`--set harness.KEY=VALUE`."""

    stall_s: float = 120.0  # no completion for so long (or 30 batches long, if that is more) is a stall
    bare_s: float = 1.5  # how long the bare rate is measured, before and again after the test
    go_on: bool = False  # to its end, though it can no longer become VALID

    def __post_init__(self) -> None:
        if not 1 <= self.stall_s <= 86400:
            raise ConfigError(f"{self.stall_s} is not in 1 to 86400", where="--set harness.stall_s")
        if not 0.05 <= self.bare_s <= 600:
            raise ConfigError(f"{self.bare_s} is not in 0.05 to 600", where="--set harness.bare_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A resolved run."""

    spec: RunSpec
    workload: Workload
    backend: Backend
    backend_options: Any
    task_options: Any
    harness: HarnessOptions
    rule: ScenarioRule
    length: LengthRule
    test_overrides: dict[str, int] = field(default_factory=dict)
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    sensors: dict[str, Any] = field(default_factory=dict)  # options by family; empty: all by default


def resolve(spec: RunSpec) -> Plan:
    """Check every name and key of a spec. Raises ConfigError or SetupError before anything is written."""
    workload = find_workload(spec.workload)
    rule = load_book(spec.round).rule(spec.workload, spec.suite, spec.scenario)
    if rule.refusal:
        raise ConfigError(
            f"{spec.workload} {spec.scenario} of {spec.round} cannot be run here: {rule.refusal}",
            where="--scenario",
            hint="its rules can be read: coldmark rules show " + spec.round,
        )
    backend: Backend = BACKENDS.load(spec.backend, where="--backend")
    backend.require(spec.precision)
    groups = _split(spec.options, workload, backend)
    if spec.target_qps is not None and spec.scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM):
        raise ConfigError(
            f"{spec.scenario} has no rate to aim at: the next query follows the last answer",
            where="--target-qps",
            hint="leave it out; expected latency is --set test.expected_latency_ns=N",
        )
    if spec.target_qps is not None and not 0 < spec.target_qps < 1e9:
        raise ConfigError(f"{spec.target_qps} is not in 0 to 1e9", where="--target-qps")
    return Plan(
        spec=spec,
        workload=workload,
        backend=backend,
        rule=rule,
        length=load_length(spec.length),
        backend_options=from_strings(groups["backend"], backend.options, where="--set backend"),
        task_options=from_strings(groups["task"], workload.options, where="--set"),
        harness=from_strings(groups["harness"], HarnessOptions, where="--set harness"),
        test_overrides=_test_overrides(groups["test"], spec.scenario),
        calibration=_calibration(groups["calibration"], spec),
        sampling=from_strings(groups["telemetry"], SamplingOptions, where="--set telemetry"),
        sensors=_sensor_options(groups["sensor"]),
    )


def option_groups(options: Mapping[str, str], workload: str, backend: str) -> dict[str, dict[str, str]]:
    """Options by who owns them (backend, test, harness, task, telemetry, sensor), by their short names.

    Raises ConfigError for a key that neither the workload nor the backend has.
    """
    return _split(options, find_workload(workload), BACKENDS.load(backend, where="--backend"))


def _calibration(given: Mapping[str, str], spec: RunSpec) -> CalibrationOptions:
    if given and spec.precision is not Precision.INT8:
        raise ConfigError(
            f"{spec.precision} is not calibrated", where="--set calibration", hint="add --precision int8"
        )
    return from_strings(given, CalibrationOptions, where="--set calibration")


def _sensor_options(given: Mapping[str, str]) -> dict[str, Any]:
    """Options of sensor families. Their files are only imported where one is given."""
    if not given:
        return {}
    from coldmark.telemetry.discover import family_options

    return family_options(given)


def _split(options: Mapping[str, str], workload: Workload, backend: Backend) -> dict[str, dict[str, str]]:
    """The options by who owns them (`backend.batch`, `data.path`); a bare name does where only one fits."""
    owners = {f"backend.{f.name}": ("backend", f.name) for f in fields(backend.options)}
    owners |= {f"test.{name}": ("test", name) for name in TEST_KEYS}
    owners |= {f"harness.{f.name}": ("harness", f.name) for f in fields(HarnessOptions)}
    owners |= {f"calibration.{f.name}": ("calibration", f.name) for f in fields(CalibrationOptions)}
    owners |= {f"telemetry.{f.name}": ("telemetry", f.name) for f in fields(SamplingOptions)}
    owners |= {dotted(f.name): ("task", f.name) for f in fields(workload.options)}
    groups: dict[str, dict[str, str]] = {
        "backend": {},
        "test": {},
        "harness": {},
        "task": {},
        "calibration": {},
        "telemetry": {},
        "sensor": {},
    }
    for key, value in options.items():
        if key not in owners and key.partition(".")[0] in SENSORS:
            groups["sensor"][key] = value
            continue
        fits = [key] if key in owners else [k for k in owners if k.partition(".")[2] == key]
        if len(fits) != 1:
            near = [*owners, *(k.partition(".")[2] for k in owners)]
            hint = f"could be: {', '.join(fits)}" if fits else did_you_mean(key, near)
            raise ConfigError(f"no key {key!r} for {workload.id} on {backend.name}", where="--set", hint=hint)
        group, name = owners[fits[0]]
        groups[group][name] = value
    return groups


_ONLY_IN = {
    "target_latency_ns": (Scenario.SERVER,),
    "expected_latency_ns": (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM),
}


def _test_overrides(given: Mapping[str, str], scenario: Scenario) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, text in given.items():
        if scenario not in _ONLY_IN.get(key, (scenario,)):
            raise ConfigError(
                f"{scenario} has no {key}",
                where=f"--set test.{key}",
                hint=f"it belongs to {' and '.join(_ONLY_IN[key])}",
            )
        try:
            found[key] = int(text)
        except ValueError:
            raise ConfigError(f"{text!r} is no whole number", where=f"--set test.{key}") from None
        if not 0 <= found[key] < 1 << 64:
            raise ConfigError(f"{text} is not in 0 to 2^64", where=f"--set test.{key}")
    return found


def open_task(plan: Plan, cache: Any) -> Task:
    """The plan's workload with its model source, quantised where INT8 is asked for.

    Raises ConfigError or DataError.
    """
    task = plan.workload.open(
        plan.spec.model, plan.task_options, cache=cache, need_model=plan.backend.needs_model
    )
    if plan.spec.precision is Precision.INT8:
        task = with_calibration(task, plan.spec, plan.calibration, cache)
        _require_floating(plan, task)
    refused = refusal(plan, task)
    if refused and plan.spec.modes == (Mode.ACCURACY,):
        raise ConfigError(
            f"accuracy is refused: {refused}",
            where="--mode accuracy",
            hint="--mode performance, or another --model or --backend",
        )
    return task


def _require_floating(plan: Plan, task: Task) -> None:
    """What is not quantised needs its arithmetic too: a calibration may come from another machine."""
    assert task.quantised is not None
    try:
        plan.backend.require(task.quantised.floating)
    except ConfigError as error:
        raise ConfigError(
            f"calibration {task.quantised.id} computes what is not quantised in {task.quantised.floating}: "
            f"{error.message}",
            where="--precision int8",
            hint=f"calibrate on this machine: {calibrate_command(plan.spec)}",
        ) from None


def refusal(plan: Plan, task: Task) -> str:
    """Why this run's answers cannot be scored; empty where they can."""
    if not plan.backend.needs_model:
        return f"the {plan.backend.name} backend computes nothing"
    return task.refusal


def base_settings(plan: Plan, task: Task, mode: Mode) -> SourcedSettings:
    """The settings of one test: rule book, then length, then the user's own, each value with its source.

    Rates and latencies that are to be measured are left open.
    """
    rule, book = plan.rule, plan.rule.book
    scenario = plan.spec.scenario
    source = f"rule book {rule.round}"
    out = SourcedSettings(
        settings=TestSettings(
            scenario=scenario,
            mode=mode,
            min_duration_ms=book.min_duration_ms,
            min_query_count=book.min_query_count,
            qsl_rng_seed=rule.seeds.qsl,
            sample_index_rng_seed=rule.seeds.sample_index,
            schedule_rng_seed=rule.seeds.schedule,
            performance_sample_count=task.library.performance_count,
            target_latency_percentile=None if scenario is Scenario.OFFLINE else book.percentile,
            target_latency_ns=rule.target_latency_ns,
            samples_per_query=book.samples_per_query if scenario is Scenario.MULTI_STREAM else None,
            sample_concatenate_permutation=rule.benchmark.equal_issue,
        )
    )
    out = SourcedSettings(
        settings=out.settings,
        sources={f.name: source for f in fields(TestSettings) if getattr(out.settings, f.name) is not None},
    )
    out = out.override("sample library", performance_sample_count=task.library.performance_count)
    out = out.override(f"length {plan.spec.length}", **length_values(plan))
    if plan.spec.target_qps is not None:
        out = out.override("--target-qps", target_qps=plan.spec.target_qps)
    for key, value in plan.test_overrides.items():
        out = out.override(f"--set test.{key}", **{key: value})
    return out


def length_values(plan: Plan) -> dict[str, int]:
    """What the run length changes of the round's own duration and count."""
    length, values = plan.length, dict[str, int]()
    if length.min_duration_ms is not None:
        values["min_duration_ms"] = length.min_duration_ms
    if length.min_query_count_floor and plan.rule.book.early_stopping != "none":
        values["min_query_count"] = plan.rule.query_floor
    elif length.min_query_count_floor:
        values["min_query_count"] = 1
    if length.min_query_count is not None:
        values["min_query_count"] = length.min_query_count
    return values
