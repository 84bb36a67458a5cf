"""What a check of a submission's tree found, as text and as plain data."""

from __future__ import annotations

from collections import Counter
from typing import Any

from coldmark.core.nouns import Severity
from coldmark.core.submission import CheckedTree, TreeFinding, TreeResult

MOST = 40
"""Findings shown as text, unless all are asked for."""
ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def check_text(found: CheckedTree, *, every: bool = False, strict: bool = False) -> str:
    """The findings, worst first, then what they come to."""
    lines = [_finding(one) for one in _shown(found, every=every)]
    left = len(found.findings) - len(lines)
    if left > 0:
        kinds = Counter(one.rule for one in found.findings)
        most = ", ".join(f"{rule} {count}" for rule, count in kinds.most_common(6))
        lines.append(f"… {left} more findings (--findings lists all); most are {most}")
    if lines:
        lines.append("")
    lines += [_result(one) for one in found.results] if every or len(found.results) <= MOST else []
    lines.append(_summary(found, strict=strict))
    return "\n".join(lines)


def _shown(found: CheckedTree, *, every: bool) -> list[TreeFinding]:
    ordered = sorted(found.findings, key=lambda one: ORDER[one.severity])
    if every:
        return ordered
    return [one for one in ordered if one.severity is not Severity.NOTE][:MOST]


def _finding(one: TreeFinding) -> str:
    return (
        f"{one.severity.value.upper()} {one.place}\n"
        f"  {one.rule}: expected {one.expected}, found {one.found}\n"
        f"  clause: {one.clause}"
    )


def _result(one: TreeResult) -> str:
    text = f"{one.path}: {one.value:.6g} {one.unit}"
    if one.accuracy:
        text += f", accuracy {one.accuracy}"
    if one.power is not None:
        text += f", {one.power:.6g} {one.power_unit}"
    return text + (" (inferred)" if one.inferred else "")


def _summary(found: CheckedTree, *, strict: bool) -> str:
    counts = ", ".join(f"{found.count(s)} {s.value}{'s' * (found.count(s) != 1)}" for s in Severity)
    rate = f"{found.files} files, {found.bytes / 1e6:.1f} MB in {found.seconds:.1f} s"
    text = f"{len(found.results)} of {found.entries} results of {found.round} accepted: {counts} ({rate})"
    if found.dropped:
        text += f"; {found.dropped} findings more were not kept"
    short = [length for length in found.lengths if length != "official"]
    if short:
        text += f"\nmarked as {', '.join(short)} length: checked against that, not eligible for publication"
    return f"{text}\n{'OK' if verdict(found, strict=strict) else 'REJECTED'}"


def verdict(found: CheckedTree, *, strict: bool = False) -> bool:
    """Whether the tree passes; `strict` lets no warning pass either."""
    return found.accepted and not (strict and found.count(Severity.WARNING))


def check_json(found: CheckedTree, *, strict: bool = False) -> dict[str, Any]:
    """Everything the check found, as plain data."""
    return {
        "schema": 1,
        "root": found.root,
        "round": found.round,
        "accepted": verdict(found, strict=strict),
        "entries": found.entries,
        "errors": found.count(Severity.ERROR),
        "warnings": found.count(Severity.WARNING),
        "notes": found.count(Severity.NOTE),
        "dropped_findings": found.dropped,
        "lengths": list(found.lengths),
        "files": found.files,
        "bytes": found.bytes,
        "seconds": round(found.seconds, 3),
        "results": [_fields(one) for one in found.results],
        "findings": [_fields(one) for one in found.findings],
    }


def _fields(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}
