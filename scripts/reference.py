"""Write docs/reference/ from the code: commands, settings, rule books. Run after changing any of them.

python scripts/reference.py [--check]
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from coldmark.backends import BACKENDS
from coldmark.cli.main import COMMANDS, cli
from coldmark.core.nouns import Suite
from coldmark.report.rules import latency_text, target_text
from coldmark.rules.book import RuleBook, load_book, rounds
from coldmark.rules.diff import diff_books
from coldmark.rules.submission_book import SubmissionBook
from coldmark.runs.resolve import TEST_KEYS, HarnessOptions
from coldmark.telemetry import SENSORS
from coldmark.telemetry.discover import family_of
from coldmark.telemetry.options import SamplingOptions
from coldmark.workloads.task import gate_ratio, workloads

OUT = Path(__file__).parents[1] / "docs" / "reference"
FULL = "v2.1"
"""The round with a page of its own; one page more for each of the others would be read by nobody."""
SAID = {"WER": "100 - WER"}
"""Metrics whose value is turned round, so that higher is better."""
NOTE = "<!-- Written by scripts/reference.py from the code; do not edit by hand. -->\n\n"


def commands() -> str:
    """Every command with its own help."""
    parts = [NOTE, "# Commands\n\n", _block(cli, "coldmark")]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        parts.append(_section(command, f"coldmark {name}", 2))
    return "".join(parts)


def _section(command: click.Command, path: str, level: int) -> str:
    text = f"{'#' * level} `{path}`\n\n{_block(command, path)}"
    if isinstance(command, click.Group) and command is not cli:
        for name in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), name)
            assert child is not None
            text += _section(child, f"{path} {name}", level + 1)
    return text


def _block(command: click.Command, path: str) -> str:
    context = click.Context(command, info_name=path, terminal_width=96, max_content_width=96)
    return f"```text\n{command.get_help(context)}\n```\n\n"


def settings() -> str:
    """Every key of `--set`."""
    text = (
        NOTE + "# Settings of `--set KEY=VALUE`\n\nA bare name is enough where only one key ends in it.\n\n"
    )
    for name in BACKENDS:
        options = BACKENDS.load(name).options
        text += f"## Backend `{name}`\n\n{BACKENDS[name].summary}\n\n" + _fields(options, "backend.")
    text += "## The harness\n\n" + _fields(HarnessOptions, "harness.")
    text += "## Telemetry\n\n" + _fields(SamplingOptions, "telemetry.")
    for name in SENSORS:
        text += f"## Sensors `{name}`\n\n{SENSORS[name].summary}.\n\n"
        text += _fields(family_of(name).options, f"{name}.")
    text += "## The test\n\nLoadGen's own settings; a departure from the round is a finding.\n\n"
    text += "".join(f"- `test.{key}`\n" for key in TEST_KEYS) + "\n"
    for name, workload in workloads().items():
        text += f"## Workload `{name}`\n\n" + "".join(
            f"- `{f.name.replace('_', '.', 1)}`\n" for f in fields(workload.options)
        )
        text += (
            "\nModel sources:\n\n"
            + "".join(f"- `{k}`: {v}\n" for k, v in workload.file.sources.items())
            + "\n"
        )
    return text


def _fields(kind: Any, prefix: str) -> str:
    """Key, default and the comment beside it in the code."""
    if not fields(kind):
        return "Nothing to set.\n\n"
    source = inspect.getsource(kind)
    rows = ""
    for f in fields(kind):
        comment = re.search(rf"^\s+{f.name}:.*?#\s*(.+)$", source, re.MULTILINE)
        default = "by scenario" if f.default is None else f"`{f.default}`"
        rows += f"| `{prefix}{f.name}` | {default} | {comment[1] if comment else ''} |\n"
    return "| key | default | meaning |\n|---|---|---|\n" + rows + "\n"


def rule_book(book: RuleBook) -> str:
    """A round's rule book as tables."""
    text = NOTE + f"# Rule book {book.round}\n\nSources: "
    text += "; ".join(f"*{name}*: {what}" for name, what in book.sources.items()) + ".\n\n## Benchmarks\n\n"
    text += "| benchmark | target | reference | samples in memory | latency "
    text += "| datacenter | edge | compliance |\n"
    text += "|---|---|---|---|---|---|---|---|\n"
    for name, b in book.benchmarks.items():
        suites = {s: ", ".join(c.value for c in b.suites.get(s, ())) or "-" for s in Suite}
        bounds = "; ".join(latency_text(s, v) for s, v in b.latency.items()) or "-"
        text += (
            f"| {name} | {', '.join(target_text(m, t) for m, t in b.targets.items())} "
            f"| {b.accuracy.reference:g} "
            f"| {b.performance_sample_count} | {bounds} | {suites[Suite.DATACENTER]} | {suites[Suite.EDGE]} "
            f"| {' '.join(b.compliance)} |\n"
        )
    text += "\n## Scenarios\n\n| scenario | metric | percentile | min duration | min queries "
    text += "| early stopping | clause |\n"
    text += "|---|---|---|---|---|---|---|\n"
    for scenario, s in book.scenarios.items():
        text += (
            f"| {scenario} | {s.metric} [{s.unit}] from `{s.result_field}` | {s.percentile:g} "
            f"| {s.min_duration_ms // 1000} s | {s.min_query_count} | {s.early_stopping} | {s.clause} |\n"
        )
    text += f"\n## Seeds\n\nqsl {book.seeds.qsl}, sample_index {book.seeds.sample_index}, "
    text += f"schedule {book.seeds.schedule} ({book.seeds.clause})\n\n" + _audits(book)
    if book.submission is not None:
        text += _system_fields(book.submission)
    text += "## Where the sources disagree\n\n"
    for c in book.conflicts:
        readings = "; ".join(f"{r.value} ({r.source})" for r in c.readings)
        text += f"- `{c.key}`: {readings}. Used: {c.used}, because {c.why}.\n"
    return text


def _audits(book: RuleBook) -> str:
    text = "## Audit tests\n\n| test | what it shows | performance | clause |\n|---|---|---|---|\n"
    for name, c in book.compliance.items():
        bound = f"{c.performance.replace('_', ' ')} {c.performance_tolerance:.0%}"
        if c.relaxed_tolerance is not None:
            limits = ", ".join(f"{s} {ns / 1e6:g} ms" for s, ns in c.relaxed_below_ns.items())
            bound += f"; {c.relaxed_tolerance:.0%} up to a latency of {limits}"
        text += f"| {name} | {c.purpose} | {bound} | {c.clause} |\n"
    return text + "\n"


def _system_fields(book: SubmissionBook) -> str:
    """The systems JSON, field by field."""
    text = "## Fields of the systems JSON\n\n| field | when | meaningful answer | what | example |\n"
    text += "|---|---|---|---|---|\n"
    for group in book.system.values():
        for name, f in group.fields.items():
            asked = "yes" if f.meaningful else "-"
            text += f"| `{name}` | {group.when} | {asked} | {f.about} | {f.example} |\n"
    return text + "\n"


def all_rounds() -> str:
    """What each round holds, and what came and went."""
    text = NOTE + "# Rule books of all rounds\n\nIn full: `coldmark rules show ROUND [BENCHMARK]`, and what "
    text += "changed in every value: `coldmark rules diff ROUND ROUND`. The complete book, with all that a "
    text += "submission's tree must hold, is [v2.1](rules-v2.1.md); the others hold what a result must be, "
    text += "the shape of the tree, and mlperf.conf.\n\n"
    text += "| round | benchmarks | came | went | scenarios | audit tests | sources disagree on |\n"
    text += "|---|---|---|---|---|---|---|\n"
    before = None
    for name in rounds():
        book = load_book(name)
        found = diff_books(before, book) if before else None
        came, went = (found.added, found.removed) if found else ((), ())
        text += (
            f"| {name} | {len(book.benchmarks)} | {_names(came)} | {_names(went)} "
            f"| {', '.join(s.value for s in book.scenarios)} | {' '.join(book.compliance) or '-'} "
            f"| {', '.join(f'`{c.key}`' for c in book.conflicts) or '-'} |\n"
        )
        before = book
    return text


def _names(keys: tuple[str, ...]) -> str:
    return ", ".join(k.partition(".")[2] for k in keys if k.startswith("benchmarks.")) or "-"


def accuracy() -> str:
    """What `scripts/accuracy.py` measured, against both targets."""
    found = json.loads((OUT / "accuracy.json").read_text())
    where = found["machine"]
    text = NOTE + (
        "# Accuracy and rate of the shipped models in each precision\n\n"
        "Measured by `scripts/accuracy.py` through the harness, on complete held-out sets, on "
        f"{where['processor']} ({', '.join(f'{k} {v}' for k, v in where['software'].items())}). The bars are "
        "99 % and 99.9 % of each model's own FP32 reference; a bar that the round does not set for this "
        "workload stands in brackets. The interval is the sampling error of a set of this size (95 %); two "
        "precisions are compared on the same samples, so much smaller differences than that are real. INT8 "
        "models are those that `coldmark calibrate` finds: the fastest that holds the strictest bar of the "
        "workload. Rates are over FP32 on the same backend, bare and interleaved: the median of five pairs, "
        "the least and the greatest.\n\n"
        "| workload | precision | accuracy | 95 % interval | of the reference | 99 % | 99.9 % "
        "| rate over FP32 |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    text += "".join(_accuracy_row(row) for row in found["rows"])
    notes = [_accuracy_note(row) for row in found["rows"] if row["precision"] == "int8"]
    return text + ("\n## What INT8 is\n\n" + "".join(notes) if notes else "")


def _accuracy_row(row: dict[str, Any]) -> str:
    value, unit, reference = row["value"], row["unit"], row["reference"]
    name, metric = f"| {row['workload']} | {row['precision']} ", SAID.get(row["metric"], row["metric"])
    if value is None:
        return f"{name}| - | - | - | - | - | - |\n"
    interval = f"{row['low']:.4g} to {row['high']:.4g}" if row["low"] is not None else "-"
    demanded = {
        f"{gate_ratio(i):g}"
        for w in workloads().values()
        for i in w.file.ids
        if row["workload"] in w.file.ids
    }
    bars = []
    for ratio in (0.99, 0.999):
        word = "passed" if value >= ratio * reference else "failed"
        bars.append(word if f"{ratio:g}" in demanded else f"({word})")
    return (
        f"{name}| {value:.4f} {unit} {metric} | {interval} "
        f"| {100 * value / reference:.3f} % of {reference:.4f} | {bars[0]} | {bars[1]} | {_speed(row)} |\n"
    )


def _speed(row: dict[str, Any]) -> str:
    speed, low = row.get("speed"), row.get("speed_low")
    if speed is None:
        return "-"
    return f"{speed:.2f}" if low is None else f"{speed:.2f} ({low:.2f} to {row['speed_high']:.2f})"


def _accuracy_note(row: dict[str, Any]) -> str:
    said = f"- **{row['workload']}**: {row['how']}"
    return said + (f"; {row['reason']}. Used instead: {row['instead']}.\n" if "instead" in row else ".\n")


def pages() -> dict[str, str]:
    """File name -> content."""
    books = {"rules.md": all_rounds(), f"rules-{FULL}.md": rule_book(load_book(FULL))}
    made = {"commands.md": commands(), "settings.md": settings(), **books}
    return made | ({"accuracy.md": accuracy()} if (OUT / "accuracy.json").is_file() else {})


def main() -> None:
    stale = [n for n, text in pages().items() if not (OUT / n).is_file() or (OUT / n).read_text() != text]
    if "--check" in sys.argv:
        if stale:
            sys.exit(f"stale: {', '.join(stale)}; run: python scripts/reference.py")
        return
    OUT.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (OUT / name).write_text(text)
    print(f"wrote {len(pages())} pages, {len(stale)} changed")


if __name__ == "__main__":
    main()
