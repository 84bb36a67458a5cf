"""Rule books as text: one round, one benchmark of it, or what changed between two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldmark.core.nouns import Scenario, Suite
from coldmark.report.text import table
from coldmark.rules.book import Benchmark, Conflict, Latency, RuleBook, Target
from coldmark.rules.diff import BookDiff


def book_text(book: RuleBook) -> str:
    """A round: its benchmarks, scenarios, seeds, audit tests, and where its sources disagree."""
    parts = [
        f"MLPerf Inference {book.round}" + (f", results of {book.published}" if book.published else ""),
        benchmarks_table(book),
        "(scenario): optional",
        _scenarios(book),
        f"seeds      qsl {book.seeds.qsl}, sample_index {book.seeds.sample_index}, "
        f"schedule {book.seeds.schedule}",
        "\n".join(f"{name:<10} {test.purpose}" for name, test in book.compliance.items()),
        _conflicts(book.conflicts),
        f"one benchmark: coldmark rules show {book.round} {next(iter(book.benchmarks))}",
    ]
    return "\n\n".join(part for part in parts if part)


def benchmarks_table(book: RuleBook) -> str:
    """One line a benchmark."""
    rows = [
        [
            name,
            _first_target(entry),
            str(entry.performance_sample_count),
            _asked(entry, Suite.DATACENTER),
            _asked(entry, Suite.EDGE),
            "; ".join(latency_text(s, v) for s, v in entry.latency.items()) or "-",
            " ".join(entry.compliance) or "-",
        ]
        for name, entry in book.benchmarks.items()
    ]
    head = ["benchmark", "accuracy", "samples", "datacenter", "edge", "latency", "tests"]
    return table(head, rows)


def _first_target(entry: Benchmark) -> str:
    (metric, target), *others = entry.targets.items()
    return target_text(metric, target) + (f" +{len(others)} more" if others else "")


def target_text(metric: str, target: Target) -> str:
    """`acc 75.6954 %`, `TOKENS_PER_SAMPLE 265.005 to 323.895`."""
    least = f" {target.target:.10g}" if target.target is not None else ""
    most = f" to {target.upper:.10g}" if target.upper is not None else ""
    return f"{metric}{least}{most} {target.unit}".rstrip()


def latency_text(scenario: Scenario, limit: Latency) -> str:
    """`Server 15 ms`, or the two bounds on tokens, which count where they stand."""
    if limit.ttft_ms is not None and limit.tpot_ms is not None:
        return f"{scenario} {limit.ttft_ms:g}/{limit.tpot_ms:g} ms a token"
    return f"{scenario} {limit.end_to_end_ms:g} ms"


def _asked(entry: Benchmark, suite: Suite) -> str:
    short = {"SingleStream": "SS", "MultiStream": "MS"}
    asked = [short.get(s.value, s.value) for s in entry.suites.get(suite, ())]
    free = [f"({short.get(s.value, s.value)})" for s in entry.optional.get(suite, ())]
    return " ".join([*asked, *free]) or "-"


def _scenarios(book: RuleBook) -> str:
    rows = [
        [
            scenario.value,
            f"{s.metric} [{s.unit}]",
            s.result_field,
            f"{s.min_duration_ms / 1000:g} s",
            str(s.min_query_count),
            f"{s.percentile:g}",
            s.early_stopping,
        ]
        for scenario, s in book.scenarios.items()
    ]
    return table(["scenario", "metric", "from", "duration", "queries", "percentile", "early stopping"], rows)


def _conflicts(conflicts: Sequence[Conflict]) -> str:
    if not conflicts:
        return ""
    lines = ["where the sources disagree:"]
    for c in conflicts:
        said = "; ".join(f"{r.value} ({r.source})" for r in c.readings)
        lines.append(f"  {c.key}: {said}\n    used: {c.used}, because {c.why}")
    return "\n".join(lines)


def benchmark_text(book: RuleBook, name: str) -> str:
    """All a round says of one benchmark."""
    entry = book.benchmark(name)
    lines = [
        f"{name} of MLPerf Inference {book.round} ({entry.official_name}): {entry.task}, {entry.dataset}"
    ]
    lines += [f"  accuracy    {_target_line(m, t)}" for m, t in entry.targets.items()]
    for scenario, targets in entry.scenario_targets.items():
        lines += [f"  accuracy    {scenario}: {_target_line(m, t)}" for m, t in targets.items()]
    lines.append(f"  samples     {entry.performance_sample_count} in memory, {_set_size(entry)}")
    for suite in Suite:
        lines.append(f"  {suite.value:<11} {_asked(entry, suite)}")
    lines += [f"  latency     {latency_text(s, v)}" for s, v in entry.latency.items()]
    asked = {s for by in (entry.suites, entry.optional) for of in by.values() for s in of}
    for scenario in (s for s in Scenario if s in asked or s in entry.both):
        s = book.scenario(name, scenario)
        lines.append(
            f"  {scenario.value:<12}{s.metric} [{s.unit}] from {s.result_field}, "
            f"{s.min_duration_ms / 1000:g} s and {s.min_query_count} "
            f"{'samples' if scenario is Scenario.OFFLINE else 'queries'} at least"
        )
    lines.append(f"  tests       {' '.join(entry.compliance) or 'none'}")
    if entry.equal_issue:
        lines.append("  issue       equal: every sample as often as any other")
    if entry.bandwidth is not None:
        lines.append(
            f"  bandwidth   in {entry.bandwidth.ingress} B/s, out {entry.bandwidth.egress} (datacenter)"
        )
    about = [c for c in book.conflicts if _touches(c.key, name)]
    return "\n".join([*lines, _conflicts(about)]).rstrip()


def _touches(key: str, name: str) -> bool:
    head, _, rest = key.partition(".")
    pattern = rest.partition(".")[0] if "." not in name else rest
    stem = pattern.partition("*")[0]
    return head == "benchmarks" and (pattern.startswith(name) or ("*" in pattern and name.startswith(stem)))


def _target_line(metric: str, target: Target) -> str:
    text = target_text(metric, target)
    if target.reference is not None and target.ratio is not None:
        text += f" ({target.ratio:g} of {target.reference:.10g})"
    return text


def _set_size(entry: Benchmark) -> str:
    if entry.accuracy_sample_counts:
        return ", ".join(f"{n} answered in {s}" for s, n in entry.accuracy_sample_counts.items())
    size = entry.accuracy_sample_count or entry.dataset_size
    return f"{size} answered for accuracy" if size else "the whole set answered for accuracy"


def diff_text(diff: BookDiff) -> str:
    """What changed, benchmarks first."""
    lines = [f"from {diff.before} to {diff.after}"]
    for word, names in (("added", diff.added), ("removed", diff.removed)):
        if names:
            lines.append(f"  {word:<8} {', '.join(name.partition('.')[2] for name in names)}")
    rows = [[c.key, _value(c.before), _value(c.after)] for c in diff.changes]
    if rows:
        lines.append(table(["key", diff.before, diff.after], rows))
    if not (rows or diff.added or diff.removed):
        lines.append("  nothing differs")
    return "\n".join(lines)


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return " ".join(str(v) for v in value) or "-"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
