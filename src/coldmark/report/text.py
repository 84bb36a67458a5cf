"""A run record as text for a terminal, and tables of several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from coldmark.core.calibration import Quantisation
from coldmark.core.codec import to_plain
from coldmark.core.errors import ColdmarkError
from coldmark.core.nouns import Length, Provenance, Scenario, Severity, State
from coldmark.core.record import Accuracy, Harness, Metric, RunRecord, RunSpec


def record_json(record: RunRecord, run_dir: str) -> dict[str, Any]:
    """The object that `--json` prints: the record, its spec's names on top."""
    plain: dict[str, Any] = to_plain(record)
    spec = plain.pop("spec")
    head = {
        k: spec[k]
        for k in ("workload", "scenario", "suite", "model", "backend", "precision", "length", "round")
    }
    return {"run_id": plain.pop("run_id"), **head, **plain, "spec": spec, "run_dir": run_dir}


def number(value: float) -> str:
    """Four significant digits, thousands apart: 1 234, 12.35, 0.4321."""
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.4g}"


def metric_text(metric: Metric | None) -> str:
    return f"{number(metric.value)} {metric.unit}" if metric else "-"


def accuracy_text(accuracy: Accuracy | None) -> str:
    """`81.24 % (target 80.10) passed`, or why there is none."""
    if accuracy is None:
        return "-"
    if accuracy.value is None:
        return (
            f"refused: {accuracy.reason}"
            if accuracy.passed is None and accuracy.reason
            else accuracy.reason or "-"
        )
    word = "passed" if accuracy.passed else "FAILED"
    value, target = (_score(v, accuracy.unit) for v in (accuracy.value, accuracy.target))
    return f"{value}{' ' * bool(accuracy.unit)}{accuracy.unit} (target {target}) {word}"


def _score(value: float | None, unit: str) -> str:
    """Two decimals of a percentage; four of a share of 1, where two would not tell 99 % from 99.9 %."""
    return "-" if value is None else f"{value:.{2 if unit else 4}f}"


def harness_text(record: RunRecord) -> str:
    """The share of the bare rate; in Server, where the rate is prescribed, it is a load and says so."""
    if record.harness is None or record.harness.share is None:
        return "-"
    return f"{record.harness.share:.3f}" + (" (load)" if record.spec.scenario is Scenario.SERVER else "")


def verdict_text(record: RunRecord) -> str:
    """The verdict with the length it holds for; only an official one can be submitted."""
    if record.state is not State.COMPLETE:
        return f"{record.state.value.upper()}: {record.reason}"
    tail = "" if record.submittable else f" ({record.spec.length} length, {why_not(record)})"
    return record.verdict + tail


def why_not(record: RunRecord) -> str:
    """Why this run cannot be submitted as it is."""
    if record.provenance is Provenance.SIMULATED:
        return "simulated, never submitted"
    if record.spec.length is not Length.OFFICIAL:
        return "not for submission"
    if record.verdict != "VALID":
        return "not for submission"
    if record.spec.model != "official":
        return f"{record.spec.model} is not MLPerf's model"
    if record.quantised and not record.quantised.official:
        return "its calibration list is none of MLPerf's"
    return "not both tests were run"


def run_text(record: RunRecord, run_dir: str) -> str:
    """One run, as `coldmark run` and `coldmark runs show` print it."""
    spec = record.spec
    lines = [
        f"{spec.workload} {spec.scenario} ({spec.suite}, {spec.round})  {_what_ran(record)}",
        *([f"  quantised  {quantised_text(record.quantised)}"] if record.quantised else []),
        *([f"  tuned      {tuned_text(spec)}"] if spec.tuned else []),
        f"  result     {metric_text(record.metric)}{_metric_name(record.metric)}",
        f"  verdict    {verdict_text(record)}",
    ]
    lines += [f"             {reason}" for reason in record.reasons]
    lines.append(f"  accuracy   {accuracy_text(record.accuracy)}{_interval(record.accuracy)}")
    lines.append(f"  harness    {_harness_line(record.harness)}")
    if record.telemetry:
        lines.append(f"  telemetry  {record.telemetry.line}")
    shown = [f for f in record.findings if f.severity is Severity.WARNING]
    lines += [f"  warning    {f.rule}: expected {f.expected}, found {f.found}" for f in shown]
    notes = sum(f.severity is Severity.NOTE for f in record.findings)
    lines.append(
        f"  record     {run_dir}"
        + (f"  ({notes} notes: coldmark runs show {record.run_id} --findings)" if notes else "")
    )
    lines.append(f"  source     {record.provenance}; this is not an official MLPerf result")
    return "\n".join(lines)


def quantised_text(used: Quantisation) -> str:
    """`nncf-mixed, the rest in bf16, 2 layers left out; from 300 samples of shapes-510004 (id 02c6...)`."""
    left = sum(len(nodes) for nodes in used.excluded.values())
    parts = [
        f"{used.method}, the rest in {used.floating}",
        *([f"{left} layer{'s' * (left > 1)} left out"] if left else []),
        *([f"without nodes {' '.join(used.kept)}"] if used.kept else []),
        *([f"without {' and '.join(used.skipped)}"] if used.skipped else []),
    ]
    samples = "no samples" if used.dynamic else f"{used.samples} samples of {used.set_name}"
    return f"{', '.join(parts)}; from {samples} (calibration {used.id})"


def tuned_text(spec: RunSpec) -> str:
    """Which settings come from a tuning, and from which."""
    assert spec.tuned is not None
    settings = [f"{key.partition('.')[2] or key} {value}" for key, value in spec.tuned.settings.items()]
    return f"{', '.join(settings)}  (tuned {spec.tuned.when[:10]}, id {spec.tuned.id})"


def _what_ran(record: RunRecord) -> str:
    """Model, backend and precision; a twin runs no model, it stands for a server with the round's own."""
    spec = record.spec
    if record.provenance is Provenance.SIMULATED:
        server = spec.options.get("backend.server") or spec.options.get("server") or "its default server"
        return f"{spec.backend} of {server}, the round's own model"
    return f"{spec.model}, {spec.backend} {spec.precision}"


def _interval(accuracy: Accuracy | None) -> str:
    if accuracy is None or accuracy.low is None or accuracy.high is None:
        return ""
    low, high = _score(accuracy.low, accuracy.unit), _score(accuracy.high, accuracy.unit)
    return f"; {accuracy.samples} samples, 95 % interval {low} to {high}"


def _metric_name(metric: Metric | None) -> str:
    return f"  {metric.name}" if metric else ""


def _harness_line(harness: Harness | None) -> str:
    if harness is None or harness.share is None or harness.bare_rate is None:
        return "-"
    text = f"{harness.share:.3f} of the bare rate {number(harness.bare_rate)} samples/s ({harness.method})"
    if harness.bare_before and harness.bare_after:
        text += f"; bare before {number(harness.bare_before)}, after {number(harness.bare_after)}"
    return text


def findings_text(record: RunRecord) -> str:
    """Every finding with its clause."""
    if not record.findings:
        return "no findings"
    return "\n".join(
        f"{f.severity.value:8} {f.rule}\n         expected {f.expected}; found {f.found}\n         {f.clause}"
        for f in record.findings
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns aligned to their widest cell; the first row names them."""
    lines = [list(head), *([*row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def runs_table(runs: Iterable[tuple[str, RunRecord | ColdmarkError]]) -> str:
    """One line a run."""
    rows = []
    for run_id, record in runs:
        if isinstance(record, ColdmarkError):
            rows.append([run_id, "unreadable", record.message[:60], "", "", ""])
            continue
        state = record.verdict if record.state is State.COMPLETE else record.state.value
        rows.append(
            [
                run_id,
                f"{record.spec.model}/{record.spec.backend}/{record.spec.precision}",
                metric_text(record.metric),
                state,
                record.spec.length.value,
                accuracy_text(record.accuracy),
            ]
        )
    return table(["run", "model", "result", "verdict", "length", "accuracy"], rows)


def demo_text(done: Sequence[tuple[RunRecord, Path]]) -> str:
    """The demo's result: one line a run, then why a verdict is not VALID, then where it all lies.

    A last run that is tuned is compared with the one before it, the same untuned.
    """
    spec = done[0][0].spec
    lines = [
        f"{spec.model} models, {spec.backend} {spec.precision}, rules of {spec.round}, "
        f"{spec.length} length; measured here, not an official MLPerf result",
        "",
        table(
            ["workload", "scenario", "precision", "result", "metric", "verdict", "accuracy", "harness share"],
            [_demo_row(record) for record, _ in done],
        ),
        "",
    ]
    for record, _ in done:
        lines += [f"{record.spec.workload} is INVALID: {reason}" for reason in record.reasons]
    last = done[-1][0]
    before = [r for r, _ in done[:-1] if _what(r) == _what(last)]
    if last.spec.tuned and before:
        lines += _tuned_lines(last, before[-1])
    lines += [f"{record.spec.workload:13} {path}" for record, path in done]
    return "\n".join([*lines, "", f"More: coldmark runs show {done[-1][0].run_id} --findings"])


def _what(record: RunRecord) -> tuple[str, Scenario]:
    return record.spec.workload, record.spec.scenario


def _tuned_lines(tuned: RunRecord, untuned: RunRecord) -> list[str]:
    """What calibration and tuning were worth, and how the result is used again."""
    spec, a, b = tuned.spec, tuned.metric, untuned.metric
    factor = f"{a.value / b.value:.2f} times" if a and b and b.value else "not comparable with"
    return [
        f"{spec.workload} {spec.scenario} tuned: {factor} the untuned {untuned.spec.precision} before it",
        *([f"  quantised  {quantised_text(tuned.quantised)}"] if tuned.quantised else []),
        f"  tuned      {tuned_text(spec)}",
        f"  used from now on by: coldmark run {spec.workload} --scenario {spec.scenario}",
        "",
    ]


def _demo_row(record: RunRecord) -> list[str]:
    return [
        record.spec.workload,
        record.spec.scenario.value,
        record.spec.precision.value + (" tuned" if record.spec.tuned else ""),
        metric_text(record.metric),
        record.metric.name if record.metric else "-",
        record.verdict,
        accuracy_text(record.accuracy),
        harness_text(record),
    ]
