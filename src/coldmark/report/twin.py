"""Twin results as text. Every block says that it is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldmark.core.codec import to_plain
from coldmark.core.nouns import Measurement
from coldmark.core.twin import (
    CalibrationResult,
    Check,
    FacilityState,
    FaultResult,
    ReplayResult,
    Residual,
    SweepResult,
    TwinCompare,
    TwinRun,
)
from coldmark.report.text import metric_text, number, table

FOOT = "simulated, not measured; not an MLPerf result"


def run_json(run: TwinRun) -> dict[str, Any]:
    """The object `--json` prints: `metric` as of a run, and what stands behind it."""
    plain: dict[str, Any] = to_plain(run)
    if not run.trace:
        plain.pop("trace")
    return plain


def interval_text(m: Measurement) -> str:
    """`[325 000, 345 000]`, or nothing where there is none."""
    if m.low is None or m.high is None:
        return ""
    return f"  [{number(m.low)} to {number(m.high)}] 90 %"


def degc(value: float) -> str:
    return f"{value:.1f}"


def run_text(run: TwinRun) -> str:
    """One simulated benchmark."""
    lines = [
        f"{run.server_name}, cooling: {run.cooling}",
        f"{run.workload} {run.scenario} ({run.suite}, {run.round}), SIMULATED for {run.duration_s:g} s",
        f"  {run.metric.name:10} {metric_text(run.metric)}{interval_text(run.interval)}",
    ]
    if run.published:
        off = run.metric.value / run.published.value - 1
        lines.append(
            f"  published  {number(run.published.value)} {run.published.unit}  (simulated {off:+.1%}; "
            f"{run.published.method})"
        )
    lines += [f"  limit      {run.limit_w:g} W a module; {_supply(run)}", ""]
    lines.append(_accelerators(run))
    lines += ["", f"  why        {_reasons(run)}{'; the hosts feed no more' if run.host_limited else ''}"]
    lines += _power(run)
    lines += _events(run)
    lines.append(f"  balance    in - out - stored = {run.balance_residual:.1e} of the heat in")
    lines.append(f"  source     {FOOT}")
    return "\n".join(lines)


def _events(run: TwinRun) -> list[str]:
    """The first time each thing happened, and to how many accelerators it did."""
    first: dict[str, list[float]] = {}
    for e in run.events:
        first.setdefault(e.what, []).append(e.at_s)
    return [
        f"  {'event' if i == 0 else '':10} {what}: first at {min(at):.1f} s, {len(at)} accelerators"
        for i, (what, at) in enumerate(first.items())
    ]


def _supply(run: TwinRun) -> str:
    air = f"air {run.inlet_degc:g} degC"
    if run.supply_degc is None:
        return air
    return f"coolant {run.supply_degc:.4g} degC, {run.flow_l_per_min:g} L/min; {air}"


def _accelerators(run: TwinRun) -> str:
    rows: list[list[str]] = []
    groups: dict[tuple[str, ...], list[str]] = {}
    for a in run.accelerators:
        key = (f"{a.mhz:.0f}", f"{a.power_w:.0f}", degc(a.die_degc), degc(a.memory_degc), a.reason)
        groups.setdefault(key, []).append(a.name)
    for state, names in groups.items():
        label = names[0] if len(names) == 1 else f"{len(names)}x {names[0]}.."
        rows.append([f"  {label}", *state])
    return table(["  accelerators", "MHz", "W", "die degC", "HBM degC", "clock held by"], rows)


def _reasons(run: TwinRun) -> str:
    return ", ".join(
        f"{name} {share:.0%}" for name, share in sorted(run.reasons.items(), key=lambda x: -x[1])
    )


def _power(run: TwinRun) -> list[str]:
    p = run.power
    pump = f", coolant pump {p.pump_w:.0f} W beside it" if run.supply_degc is not None else ""
    inside = f"accelerators {p.accelerators_w:.0f}, fans {p.fans_w:.0f}"
    lines = [f"  power      {p.wall_w:.0f} W at the wall: {inside}{pump}"]
    if run.supply_degc is not None:
        lines.append(f"  heat       {p.coolant_share:.0%} leaves with the coolant")
    if run.facility is not None:
        lines += _facility(run.facility)
    if run.samples_per_j is not None:
        lines.append(
            f"  energy     {run.energy_j / 3.6e6:.3f} kWh, {number(run.samples_per_j)} samples/J at the wall"
        )
    return lines


def _facility(f: FacilityState) -> list[str]:
    """Both sides of the CDU; which of the two was given stands first."""
    most = "" if f.given else "at most "
    tail = "; the coolant supply follows" if f.given else ", as the supply needs it"
    return [
        f"  facility   water of {most}{f.water_degc:.1f} degC ({f.water_class}), {f.l_per_min:.4g} L/min, "
        f"back at {f.return_degc:.1f} degC{tail}",
        f"  CDU        {f.heat_w:.0f} W, effectiveness {f.effectiveness:.3f}, approach {f.approach_k:.2f} K; "
        f"its pumps {f.cdu_power_w:.0f} W",
    ]


def servers_table(rows: Sequence[Sequence[str]]) -> str:
    """`twin list`."""
    head = ["server", "name", "accelerators", "limit", "cooling", "published"]
    return table(head, rows) + f"\nmodels to simulate with: {FOOT}"


def compare_text(c: TwinCompare) -> str:
    """Two servers side by side, the split of their ratio, and the equal-limit counterfactual."""
    head = ["", "A", "B"]
    rows = [
        ["server", c.a.server, c.b.server],
        ["cooling", c.a.cooling, c.b.cooling],
        ["limit", f"{c.a.limit_w:g} W", f"{c.b.limit_w:g} W"],
        [f"{c.a.metric.name} [{c.a.metric.unit}]", number(c.a.metric.value), number(c.b.metric.value)],
        ["", interval_text(c.a.interval).strip(), interval_text(c.b.interval).strip()],
        ["hottest die", f"{_hottest(c.a):.1f} degC", f"{_hottest(c.b):.1f} degC"],
        ["wall", f"{c.a.power.wall_w:.0f} W", f"{c.b.power.wall_w:.0f} W"],
    ]
    published = "" if c.published_ratio is None else f"   published {c.published_ratio:.4f}"
    lines = [
        f"{c.a.workload} {c.a.scenario}, SIMULATED",
        table(head, rows),
        "",
        f"A over B     {c.ratio.value:.4f}{_span(c.ratio.low, c.ratio.high)}{published}",
        *(f"  {s.name:14} {s.factor:.4f}{_span(s.low, s.high)}" for s in c.shares),
        f"  ({c.order})",
        "",
        "at equal power limit, per accelerator (what cooling alone is worth):",
    ]
    for e in c.equal_limit:
        why = [n for n, t in (("A", e.a_throttled), ("B", e.b_throttled)) if t]
        tail = f"; {' and '.join(why)} throttled" if why else ""
        dies = f"dies {e.a_degc:.1f} and {e.b_degc:.1f} degC"
        lines.append(f"  {e.limit_w:5.0f} W  {e.ratio:.4f}{_span(e.low, e.high)}  {dies}{tail}")
    if c.equal_limit_note:
        lines.append(f"  {c.equal_limit_note}")
    return "\n".join([*lines, FOOT])


def _hottest(run: TwinRun) -> float:
    return max(a.die_degc for a in run.accelerators)


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"  [{low:.4f} to {high:.4f}]"


def checks_text(checks: Sequence[Check]) -> str:
    """The validation table, and what it adds up to."""
    rows = []
    for c in checks:
        verdict = {True: "pass", False: "FAIL", None: "-"}[c.passed]
        rows.append([c.id, c.what, c.kind, c.measured, c.predicted, c.error, c.tolerance, verdict])
    judged = [c for c in checks if c.passed is not None]
    failed = [c.id for c in judged if not c.passed]
    tail = f"{len(judged) - len(failed)} of {len(judged)} checks passed"
    if failed:
        tail += f"; failed: {', '.join(failed)}"
    head = ["check", "what", "kind", "expected", "predicted", "error", "tolerance", "verdict"]
    return f"{table(head, rows)}\n{tail}\npredicted: {FOOT}"


def sweep_text(s: SweepResult, most: int = 60) -> str:
    """The map as a table, and what the cooling could do without."""
    head = ["supply degC", "flow L/min", "inlet degC", "limit W", f"rate {s.unit}", "wall W", "pump W"]
    head += ["die degC", "HBM degC", "J/sample", "clock held by"]
    rows = [
        [
            "-" if p.supply_degc is None else f"{p.supply_degc:.1f}",
            "-" if p.flow_l_per_min is None else f"{p.flow_l_per_min:.2f}",
            f"{p.inlet_degc:.1f}",
            f"{p.limit_w:.0f}",
            number(p.rate_per_s),
            f"{p.wall_w:.0f}",
            f"{p.pump_w:.1f}",
            degc(p.die_degc),
            degc(p.memory_degc),
            f"{p.j_per_sample:.4g}",
            p.reason,
        ]
        for p in s.points[:most]
    ]
    lines = [f"{s.server}, cooling: {s.cooling}, {s.workload} Offline at rest, SIMULATED", table(head, rows)]
    if len(s.points) > most:
        lines.append(f"... and {len(s.points) - most} more (--json)")
    if (
        s.warmest_supply_degc is not None
        and s.least_flow_l_per_min is not None
        and s.least_pump_w is not None
    ):
        lines += [
            f"warmest supply that loses nothing: {s.warmest_supply_degc:.1f} degC "
            f"({_through(s)}own flow and limit)",
            f"least flow that loses nothing: {s.least_flow_l_per_min:.2f} L/min, pump {s.least_pump_w:.1f} W",
            f"(nothing: under {s.nothing_share:.1%} of the score; no flow below the plates' tables is tried)",
        ]
    return "\n".join([*lines, FOOT])


def _through(s: SweepResult) -> str:
    """Behind the warmest supply: the facility water that gives it."""
    water = s.warmest_facility_degc
    return "" if water is None else f"facility water of {water:.1f} degC through the CDU; "


def fault_text(f: FaultResult) -> str:
    """Seconds until each thing happens, per component."""
    head = ["component", "limit degC", "throttle s", "slow-down s", "shut-down s", "highest degC"]
    rows = [
        [
            line.component,
            f"{line.limit_degc:g}",
            _seconds(line.throttle_s),
            _seconds(line.slow_down_s),
            _seconds(line.shut_down_s),
            degc(line.highest_degc),
        ]
        for line in f.lines
    ]
    return "\n".join(
        [
            f"{f.server}, cooling: {f.cooling}, {f.workload} at rest under load, then: {f.fault}. SIMULATED",
            table(head, rows),
            f"rate {number(f.rate_before)} before, {number(f.rate_after)} at the end ({f.lasted_s:.1f} s)",
            f"assumed: {f.assumption}",
            f"balance: {f.balance_residual:.1e} of the heat in",
            FOOT,
        ]
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def calibration_text(c: CalibrationResult) -> str:
    """Unknowns with intervals, and those that the data leaves open."""
    rows = [
        [
            p.name,
            f"{p.value:.4g}",
            f"{p.low:.4g} to {p.high:.4g}",
            p.unit,
            f"{p.spread_of_prior:.2f}",
            "" if p.determined else "not determined",
        ]
        for p in c.parameters
    ]
    lines = [table(["parameter", "value", "90 %", "unit", "spread/prior", ""], rows)]
    lines += [f"batch overhead {b:10} {1e3 * s:.3f} ms" for b, s in c.batch_overhead_s.items()]
    lines += residual_lines(c.residuals)
    lines.append(f"{c.points} points, rms {100 * c.residual_share:.2f} %; {c.source}")
    lines.append(
        "not determined: the spread after the fit is near the prior's; never use it without its interval"
    )
    return "\n".join([*lines, c.note])


def residual_lines(residuals: Sequence[Residual]) -> list[str]:
    """`die temperature  rms 0.42 K, largest 1.3 K, mean +0.02 K over 120 (held out)`."""
    return [
        f"residual {r.name}: rms {r.rms:.3g} {r.unit}, largest {r.largest:.3g} {r.unit}, "
        f"mean {r.mean:+.3g} {r.unit} over {r.n} ({r.over})"
        for r in residuals
    ]


def replay_text(r: ReplayResult) -> str:
    """A replay: what drove the twin, where it got to, and how far from what was recorded."""
    lines = [
        f"{r.server}, cooling {r.cooling}: {r.seconds:.1f} s, {r.accelerators} accelerators, "
        f"mean power {number(r.mean_power_w)} W in all",
        f"simulated die temperature: highest {r.highest_degc:.1f} degC",
        *residual_lines(r.residuals),
    ]
    if not r.residuals:
        lines.append("no temperature was recorded: nothing to compare with")
    return "\n".join([*lines, r.note, r.source])


def server_text(plain: dict[str, Any], rows: Sequence[Sequence[str]]) -> str:
    """A server model with every parameter, its uncertainty and source."""
    lines = [f"{plain['id']}: {plain['name']}", *(f"  {note}" for note in plain["notes"])]
    for name, design in plain["designs"].items():
        ways = ", ".join(f"{k} {design[k]}" for k in ("gpu", "cpu", "memory", "rest"))
        lines.append(f"  cooling {name}: {ways}  ({design['note']})")
    lines.append(table(["parameter", "value", "unit", "+-", "source"], rows))
    return "\n".join([*lines, f"a model to simulate with: {FOOT}"])
