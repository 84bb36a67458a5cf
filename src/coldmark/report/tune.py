"""A tuning as text: what may be chosen, what was found, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from coldmark.core.codec import to_plain
from coldmark.core.errors import ColdmarkError
from coldmark.core.nouns import Measurement, Provenance
from coldmark.core.server_rate import ServerRate
from coldmark.core.tuned import Trial, TunedRecord, command
from coldmark.report.text import number, table

OUTCOMES = {
    "win": "faster than the default by more than the noise",
    "tie": "a tie within the noise: the default is kept",
    "default": "the default is the fastest",
    "only": "the default meets no limit, this does",
}

MARKS = {"tie": " tie", "default": " default is faster"}


def value_text(found: Measurement | None) -> str:
    """`1 234 samples/s (1 200 to 1 268)`; latencies in milliseconds; what no run measured is `played`."""
    if found is None:
        return "-"
    scale, unit = (1e3, "ms") if found.unit == "s" else (1.0, found.unit)
    text = f"{number(found.value * scale)} {unit}".rstrip()
    text += " played" if found.provenance is Provenance.SIMULATED else ""
    if found.low is None or found.high is None:
        return text
    return f"{text} ({number(found.low * scale)} to {number(found.high * scale)})"


def ratio_text(found: Measurement | None) -> str:
    """`1.26 (1.22 to 1.31)`."""
    if found is None:
        return "-"
    interval = "" if found.low is None or found.high is None else f" ({found.low:.3f} to {found.high:.3f})"
    return f"{found.value:.3f}{interval}"


def space_text(title: str, branches: Sequence[str], axes: dict[str, dict[str, str]], count: int) -> str:
    """What may be chosen, before anything is measured."""
    lines = [f"{title}: {count} configurations of {len(branches)} kinds", ""]
    for name in branches:
        lines.append(f"  {name}")
        lines += [f"    {axis:9} {values}" for axis, values in axes[name].items()]
    return "\n".join(lines)


def left_out_text(left_out: Sequence[str]) -> str:
    """Why what is not searched is not."""
    return "\n".join(f"  left out   {reason}" for reason in left_out)


def tuned_text(record: TunedRecord, path: str) -> str:
    """One tuning, as `coldmark tune` and `coldmark tune --show` print it."""
    key = record.key
    fixed = "".join(f", {k} {v} given" for k, v in key.fixed.items())
    states = Counter(t.state for t in record.trials)
    load = record.load_average[0] if record.load_average else 0.0
    lines = [
        f"{key.workload} {key.scenario} ({key.suite}, {key.round})  {key.model}{fixed}",
        f"  best       {record.best.name}",
        f"  value      {value_text(record.value)}",
        f"  default    {value_text(record.default_value)}  {record.default.name}",
        f"  ratio      {ratio_text(record.ratio)}  {OUTCOMES[record.outcome]}",
        *([server_text(record.server)] if record.server else []),
        f"  accuracy   {record.accuracy or '-'}",
        f"  search     {len(record.trials)} trials in {record.took_s:.0f} s of {record.budget_s:g}: "
        + ", ".join(f"{n} {state}" for state, n in sorted(states.items())),
    ]
    if record.left_out:
        lines.append(left_out_text(record.left_out))
    lines += [f"  warning    {f.rule}: expected {f.expected}, found {f.found}" for f in record.findings]
    lines += [f"  {t.state:10} {t.configuration.name}: {t.reason}" for t in _told(record.trials)]
    lines += [
        f"  machine    {key.machine.processor}, {key.machine.processors} processors, "
        f"{key.machine.memory_gib} GiB; load average {load:.1f}",
        f"  kept       {record.id}, {record.when}  {path}",
        f"  used by    {command('run', key)}  (not with --untuned)",
    ]
    return "\n".join(lines)


def server_text(found: ServerRate) -> str:
    """The searched rate with its margin and how sure it is, or that no rate holds the bound."""
    if not found.reachable:
        open_bound = f"; open division: {found.open_bound_ms:g} ms" if found.open_bound_ms else ""
        return (
            f"  rate       none holds {found.bound_ms:g} ms: the best seen is "
            f"{number(found.best_latency_ms or 0.0)} ms{open_bound}"
        )
    short = f"; at short length {number(found.short_qps)}" if found.short_qps else ""
    lines = [
        f"  rate       {number(found.rate_qps)} queries/s, {found.margin:.1%} below the limit of "
        f"{number(found.limit_qps)} ({number(found.limit_low_qps)} to {number(found.limit_high_qps)}){short}",
        f"             VALID at official length with a chance of {found.confidence:.3f}; "
        f"{len(found.trials)} trials in {found.searched_s:.0f} s",
        *(f"             {note}" for note in found.notes),
    ]
    return "\n".join(lines)


def _told(trials: Sequence[Trial]) -> list[Trial]:
    """The first failed trial of each reason."""
    seen = dict[str, Trial]()
    for trial in trials:
        if trial.state in ("failed", "infeasible"):
            seen.setdefault(trial.reason, trial)
    return list(seen.values())[:5]


def trial_text(trial: Trial) -> str:
    """`1.23 x the default, openvino bf16, batch 8, ...`, or what became of it."""
    figure = f"{trial.relative:.3f} x the default" if trial.relative is not None else trial.reason
    word = "" if trial.state == "complete" else f"{trial.state}: "
    return f"{word}{figure}, {trial.configuration.name}"


def trials_table(record: TunedRecord) -> str:
    """Every trial in the order it was made."""
    rows = [
        [
            f"{t.started_s:.1f} s",
            t.state,
            f"{t.relative:.3f}" if t.relative is not None else "-",
            f"{t.peak_rss_bytes / 2**30:.2f} GiB" if t.peak_rss_bytes else "-",
            t.configuration.name,
        ]
        for t in record.trials
    ]
    return table(["at", "state", "over default", "memory", "configuration"], rows)


def tuned_table(records: Sequence[TunedRecord | ColdmarkError]) -> str:
    """One line a tuning."""
    rows = []
    for record in records:
        if isinstance(record, ColdmarkError):
            rows.append(["unreadable", record.message, "", "", "", ""])
            continue
        key = record.key
        rows.append(
            [
                record.id,
                f"{key.workload} {key.scenario} ({key.suite}), {key.model}",
                value_text(record.value),
                ratio_text(record.ratio) + MARKS.get(record.outcome, ""),
                record.best.name,
                record.when[:16],
            ]
        )
    return table(["id", "tuned for", "value", "over the default", "configuration", "when"], rows)


def tuned_json(record: TunedRecord, path: str) -> dict[str, Any]:
    """What `--json` prints: the file, and where it is."""
    return {**to_plain(record), "path": path}
