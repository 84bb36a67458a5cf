"""An import, a check and a published system as text and as JSON objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from coldmark.core.codec import to_plain
from coldmark.core.imported import Checked, Imported
from coldmark.core.nouns import Finding, Severity
from coldmark.report.podium import machine_text, score_text
from coldmark.report.text import table

SHOWN = 20
"""Findings printed before the rest is only counted."""


def import_text(found: Imported, name: str, round_: str, *, every: bool) -> str:
    """What was imported, what could not be, and where it is now."""
    divisions = Counter(row.division for row in found.rows)
    each = ", ".join(f"{division} {count}" for division, count in sorted(divisions.items()))
    read = sum(found.files.values())
    lines = [
        f"{name}: {len(found.rows)} runs of {round_} ({each}) from {read} files in {found.seconds:.1f} s",
        *(f"  {count:6} {kind}" for kind, count in sorted(found.files.items())),
    ]
    lines += findings_lines(found.findings if every else found.errors, found.findings)
    state = "written" if found.changed else "unchanged, it said the same before"
    return "\n".join([*lines, f"table: {found.table} ({found.total} runs, {state})"])


def findings_lines(shown: Sequence[Finding], every: Sequence[Finding]) -> list[str]:
    """Counts of all findings, and some of them."""
    counts = Counter(one.severity for one in every)
    if not counts:
        return ["findings: none"]
    said = ", ".join(f"{counts[severity]} {severity.value}s" for severity in Severity if counts[severity])
    rest = len(every) - len(shown)
    lines = [f"findings: {said}" + (f" ({rest} not listed: --findings)" if rest else "")]
    for one in shown[:SHOWN] if len(shown) > 2 * SHOWN and rest else shown:
        lines.append(f"  {one.severity.value:8}{one.subject}")
        lines.append(f"          {one.rule}: expected {one.expected}, found {one.found}")
    if len(shown) > 2 * SHOWN and rest:
        lines.append(f"  and {len(shown) - SHOWN} more (--findings lists them)")
    return lines


def import_json(found: Imported) -> dict[str, Any]:
    """The object that `published import --json` prints; the rows themselves are in the table."""
    return {
        "runs": len(found.rows),
        "files": found.files,
        "table": found.table,
        "table_runs": found.total,
        "changed": found.changed,
        "seconds": round(found.seconds, 3),
        "findings": to_plain(found.findings),
    }


def check_text(checked: Checked) -> str:
    """What does not fit, and how well the rest does."""
    lines = [
        f"{checked.round}: {checked.runs} runs, {checked.checked} of them recomputed from their own logs",
        table(
            ["logged scenario", "largest deviation", "allowed"],
            [
                [name, f"{off:.2%}", f"{checked.tolerances[name]:.1%}"]
                for name, off in sorted(checked.worst.items())
            ],
        ),
        f"  {checked.clause}",
    ]
    if not checked.findings:
        return "\n".join([*lines, "everything fits"])
    lines.append(f"{len(checked.findings)} do not fit:")
    lines += [f"  {one.subject}\n    {one.found}, expected {one.expected}" for one in checked.findings]
    return "\n".join(lines)


def system_text(rows: Sequence[dict[str, Any]]) -> str:
    """A published system and all its results."""
    first = rows[0]
    lines = [f"{first['submitter']}/{first['system']}  {first['system_name']}"]
    for name, value in (
        ("round", f"{first['round']}, {first['division']} division, {first['suite'] or 'no suite named'}"),
        ("status", first["status"]),
        ("machine", machine_text(first) + _nodes(first)),
        ("processors", _processors(first)),
        ("memory", first["memory"]),
        ("cooling", first["cooling"] or "not published"),
        ("software", first["software"]),
        ("system", first["operating_system"]),
        ("notes", first["notes"]),
        ("source", f"published: {first['source']}"),
    ):
        if value:
            lines.append(f"  {name:11}{value}")
    head = ["benchmark", "scenario", "score", "unit", "accuracy", "power", "off its log", ""]
    return "\n".join([*lines, table(head, [_result_line(row) for row in rows])])


def _nodes(row: dict[str, Any]) -> str:
    return f" on {row['nodes']} nodes" if row["nodes"] and row["nodes"] > 1 else ""


def _processors(row: dict[str, Any]) -> str:
    sockets = f"{row['processors_per_node']}x " if row["processors_per_node"] else ""
    cores = f", {row['cores']} cores in all" if row["cores"] else ""
    return f"{sockets}{row['processor']}{cores}"


def _result_line(row: dict[str, Any]) -> list[str]:
    accuracy = "" if row["accuracy"] is None else f"{row['accuracy']:.6g} {row['accuracy_metric']}"
    power = "" if row["power"] is None else f"{score_text(row['power'])} {row['power_unit']}"
    off = "" if row["deviation"] is None else f"{row['deviation']:+.2%}"
    marks = [row["validity"]] if row["validity"] != "VALID" else []
    if row["inferred"]:
        marks.append(f"inferred from {row['logged_scenario']}")
    if row["power_window"] == "busiest":
        marks.append("power without the run's marks: estimated")
    score = score_text(row["score"])
    return [row["benchmark"], row["scenario"], score, row["unit"], accuracy, power, off, "; ".join(marks)]
