"""A run on the twin as a run record: same directory, same metric, same checks; marked simulated, never
submittable.
"""

from __future__ import annotations

from dataclasses import replace

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Finding, Mode, Provenance, Scenario, Severity
from coldmark.core.record import RunRecord
from coldmark.core.runlog import RunLog
from coldmark.core.settings import SourcedSettings, TestSettings
from coldmark.core.system import Cooling, System
from coldmark.core.twin import TwinRun
from coldmark.loadgen.virtual_log import VirtualTest, virtual_log
from coldmark.rules.run_checks import CheckedRun, check_run
from coldmark.runs.resolve import Plan, base_settings, length_values, refusal
from coldmark.runs.twin.run import run_twin
from coldmark.runs.twin.setup import TwinSpec, set_up
from coldmark.runs.verdict import metric_of, reason_of, results_of, unscored
from coldmark.store.rundir import RunDir
from coldmark.thermal.assembly import Operation, find_design
from coldmark.thermal.catalogue import find_part, find_server
from coldmark.thermal.model import ServerModel
from coldmark.workloads.task import Task

CLAUSE = "coldmark: docs/explanation/twin.md"


def twin_spec(plan: Plan) -> TwinSpec:
    """The twin's spec of a resolved run. Raises ConfigError for what has no meaning in virtual time."""
    o, spec = plan.backend_options, plan.spec
    if spec.target_qps is not None:
        raise ConfigError(
            "the twin finds the highest rate itself",
            where="--target-qps",
            hint="leave it out with --backend twin",
        )
    unknown = sorted(set(plan.test_overrides) - {"min_duration_ms"})
    if unknown:
        raise ConfigError(
            f"the twin does not take test.{unknown[0]}",
            where="--set",
            hint="permitted: test.min_duration_ms",
        )
    own = (
        plan.test_overrides.get("min_duration_ms")
        or plan.length.min_duration_ms
        or plan.rule.book.min_duration_ms
    )
    return TwinSpec(
        server=o.server,
        workload=spec.workload,
        scenario=spec.scenario,
        suite=spec.suite,
        cooling=o.cooling or None,
        round=spec.round,
        duration_s=(own or plan.rule.book.min_duration_ms) / 1000,
        least_queries=length_values(plan).get("min_query_count", plan.rule.book.min_query_count),
        at=Operation(
            limit_w=o.power_limit_w,
            supply_degc=o.supply_degc,
            flow_l_per_min=o.flow_l_per_min,
            inlet_degc=o.inlet_degc,
            fan_share=o.fan_share,
            facility_degc=o.facility_degc,
            facility_l_per_min=o.facility_l_per_min,
        ),
    )


def check(plan: Plan) -> None:
    """Refuse a server or an operating point that cannot be meant. Raises ConfigError, DataError."""
    set_up(twin_spec(plan))


def simulated(record: RunRecord, held: RunDir, plan: Plan, task: Task) -> RunRecord:
    """The record of a simulated run, judged by the checks of a real one.

    `twin.json` holds what stands behind its metric, `log.json` what a detail log would say.
    """
    found = run_twin(twin_spec(plan), trace=True)
    sourced = _settings(plan, task, found)
    log = _log(plan, found, sourced.settings)
    held.write("twin.json", found)
    held.write("settings.json", sourced)
    held.write("log.json", log)
    held.write("system.json", system(find_server(found.server), found.cooling))
    reached = found.metric.value > 0
    findings = [_note(found), *_extrapolated(found, log, sourced.settings)]
    findings += [] if reached else [_unreachable(found)]
    findings += check_run(
        CheckedRun(log=log, settings=sourced.settings, rule=plan.rule, length=plan.spec.length)
    )
    reasons = tuple(reason_of(f) for f in findings if f.severity is Severity.ERROR)
    return replace(
        record,
        provenance=Provenance.SIMULATED,
        verdict="VALID" if not reasons and Mode.PERFORMANCE in plan.spec.modes else "INVALID",
        reasons=reasons,
        submittable=False,
        metric=metric_of(log, plan),
        accuracy=unscored(plan, task, refusal(plan, task)),
        findings=tuple(findings),
        results=results_of(log),
        software={"coldmark": record.software["coldmark"]},
    )


def _settings(plan: Plan, task: Task, found: TwinRun) -> SourcedSettings:
    """What a real run would have been told, with the rate that the twin found."""
    sourced = base_settings(plan, task, Mode.PERFORMANCE)
    if plan.rule.book.lower_is_better:
        return sourced
    return sourced.override("twin: the rate it found", target_qps=found.metric.value)


def _log(plan: Plan, found: TwinRun, settings: TestSettings) -> RunLog:
    return virtual_log(
        VirtualTest(
            value=found.metric.value / plan.rule.book.scale,
            simulated_s=found.duration_s,
            played=found.played,
        ),
        settings,
        plan.rule,
        path=f"log.json (simulated, server {found.server})",
    )


def _extrapolated(found: TwinRun, log: RunLog, settings: TestSettings) -> list[Finding]:
    """Server: fewer queries are played than the duration holds; they stand for the rest."""
    needed = found.metric.value * settings.min_duration_ms / 1000
    played = log.number("result_query_count")
    if found.scenario is not Scenario.SERVER or played is None or played >= needed:
        return []
    return [
        Finding(
            rule="twin.queries",
            severity=Severity.NOTE,
            subject=log.path,
            expected=f"{needed:.0f} queries in {settings.min_duration_ms} ms",
            found=f"{played:.0f} played; they stand for the rest, at temperatures at rest",
            clause=CLAUSE,
        )
    ]


def _note(found: TwinRun) -> Finding:
    return Finding(
        rule="twin.simulated",
        severity=Severity.NOTE,
        subject=found.server,
        expected="a measurement",
        found=f"{found.note}; 90 % {found.interval.low:.6g} to {found.interval.high:.6g} {found.metric.unit}",
        clause=CLAUSE,
    )


def _unreachable(found: TwinRun) -> Finding:
    return Finding(
        rule="twin.bound",
        severity=Severity.ERROR,
        subject=found.server,
        expected="a rate that holds the latency bound",
        found="none does",
        clause=CLAUSE,
    )


def system(server: ServerModel, cooling: str) -> System:
    """The simulated server in MLPerf's words, as far as its file knows."""
    design = find_design(server, cooling)[1]
    ways = {design.gpu, design.cpu, design.memory, design.rest}
    how = Cooling.HYBRID if len(ways) == 2 else (Cooling.LIQUID if "plate" in ways else Cooling.AIR)
    return System(
        system_name=server.name,
        accelerators_per_node=str(server.gpu.count),
        accelerator_model_name=find_part(server.gpu.part).name,
        host_processors_per_node=str(server.cpu.count),
        cooling=how.value,
        hw_notes="simulated: a server twin, not a machine",
        sources={"system_name": f"server model {server.id}"},
    )
