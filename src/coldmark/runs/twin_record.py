"""A run on the twin as a run record: same directory, same metric, marked simulated, never submittable."""

from __future__ import annotations

from dataclasses import replace

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Finding, Mode, Provenance, Severity
from coldmark.core.record import Accuracy, RunRecord
from coldmark.core.system import Cooling, System
from coldmark.core.twin import TwinRun
from coldmark.runs.resolve import Plan, refusal
from coldmark.runs.twin import run_twin
from coldmark.runs.twin_setup import TwinSpec, set_up
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
        at=Operation(
            limit_w=o.power_limit_w,
            supply_degc=o.supply_degc,
            flow_l_per_min=o.flow_l_per_min,
            inlet_degc=o.inlet_degc,
            fan_share=o.fan_share,
        ),
    )


def check(plan: Plan) -> None:
    """Refuse a server or an operating point that cannot be meant. Raises ConfigError, DataError."""
    set_up(twin_spec(plan))


def simulated(record: RunRecord, held: RunDir, plan: Plan, task: Task) -> RunRecord:
    """The record of a simulated run; `twin.json` holds what stands behind its metric."""
    found = run_twin(twin_spec(plan), trace=True)
    held.write("twin.json", found)
    held.write("system.json", system(find_server(found.server), found.cooling))
    reached = found.metric.value > 0
    findings = (_note(found), *(() if reached else (_unreachable(found),)))
    return replace(
        record,
        provenance=Provenance.SIMULATED,
        verdict="VALID" if reached and Mode.PERFORMANCE in plan.spec.modes else "INVALID",
        reasons=()
        if reached
        else (f"twin.bound: expected {findings[1].expected}, found {findings[1].found}",),
        submittable=False,
        metric=found.metric if reached else None,
        accuracy=_accuracy(plan, task),
        findings=findings,
        software={"coldmark": record.software["coldmark"]},
    )


def _accuracy(plan: Plan, task: Task) -> Accuracy:
    gate = task.gate
    return Accuracy(
        metric=gate.metric if gate else plan.rule.benchmark.accuracy.metric,
        value=None,
        unit=gate.unit if gate else "",
        reference=gate.reference if gate else None,
        target=gate.target if gate else None,
        passed=None,
        reason=refusal(plan, task),
    )


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
