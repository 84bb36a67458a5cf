"""A submitter's `systems/*.json` as columns: counts become numbers where the file says one number."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from coldmark.core.imported import finding
from coldmark.core.nouns import Finding, Severity

NOTHING = frozenset({"", "-", "n/a", "na", "none", "null"})
"""How submitters write that there is no accelerator."""

MAX_COUNT = 1_000_000
"""No machine of a round has more of anything; a larger number is a slip."""


@dataclass(frozen=True, slots=True)
class PublishedSystem:
    """The columns a system description gives, and what in it could not be read."""

    columns: dict[str, Any] = field(default_factory=dict)
    division: str = ""
    submitter: str = ""
    findings: tuple[Finding, ...] = ()


def parse_system(data: bytes, path: str, statuses: Mapping[str, str]) -> PublishedSystem:
    """A system description. Broken text gives findings and whatever else stands in the file."""
    text, problem = _decode(data)
    found = [finding("published.system", path, "UTF-8", problem, Severity.NOTE)] if problem else []
    try:
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise ValueError(f"a {type(raw).__name__}, not an object")
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        what = "an empty file" if not text.strip() else str(error)
        found.append(finding("published.system", path + line, "a JSON object", what))
        return PublishedSystem(findings=tuple(found))
    found += _strange_counts(raw, path)
    return PublishedSystem(
        columns=_columns(raw, statuses),
        division=_text(raw, "division").lower(),
        submitter=_text(raw, "submitter"),
        findings=tuple(found),
    )


def _decode(data: bytes) -> tuple[str, str]:
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        return data.decode("latin-1"), f"other bytes from {error.start} on, read as Latin-1"


def _columns(raw: dict[str, Any], statuses: Mapping[str, str]) -> dict[str, Any]:
    accelerator = _text(raw, "accelerator_model_name")
    accelerator = "" if accelerator.lower() in NOTHING else accelerator
    nodes = count(raw.get("number_of_nodes"))
    per_node = _accelerators(raw.get("accelerators_per_node"), accelerator)
    processors = count(raw.get("host_processors_per_node"))
    cores = count(raw.get("host_processor_core_count"))
    status = _text(raw, "status").lower()
    return {
        "system_name": _text(raw, "system_name"),
        "suite": suites(_text(raw, "system_type")),
        "status": statuses.get(status, status),
        "accelerator": accelerator,
        "accelerators_per_node": per_node,
        "nodes": nodes,
        "accelerators": _product(per_node, nodes),
        "processor": _text(raw, "host_processor_model_name"),
        "processors_per_node": processors,
        "cores_per_processor": cores,
        "cores": _product(processors, cores, nodes),
        "memory": _text(raw, "host_memory_capacity"),
        "software": _text(raw, "framework"),
        "software_stack": _text(raw, "other_software_stack"),
        "operating_system": _text(raw, "operating_system"),
        "cooling": _text(raw, "cooling"),
        "notes": _text(raw, "hw_notes"),
    }


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    if value is None:
        return ""
    return " ".join(str(value).split())[:500]


def suites(text: str) -> str:
    """`datacenter`, `edge` or `datacenter,edge`, whatever the order and case in the file."""
    words = {word.strip() for word in text.lower().split(",")}
    return ",".join(suite for suite in ("datacenter", "edge") if suite in words)


def count(value: Any) -> int | None:
    """A count as submitters write it: 8, "8", "4 (big); 4 (LITTLE)" (8), "10 (8 performance …)" (10).

    None for "", "(8,4)", "N/A", "eight", and for anything else that does not say one number.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return int(value) if value == value and 0 <= value <= MAX_COUNT and value == int(value) else None
    bare = re.sub(r"\([^()]*\)", " ", str(value))
    parts = [part.strip() for part in bare.split(";")]
    if not all(re.fullmatch(r"[0-9]{1,7}", part) for part in parts):
        return None
    total = sum(int(part) for part in parts)
    return total if total <= MAX_COUNT else None


def _accelerators(value: Any, accelerator: str) -> int | None:
    if not accelerator and str(value if value is not None else "").strip().lower() in NOTHING:
        return 0
    return count(value)


def _product(*counts: int | None) -> int | None:
    total = 1
    for number in counts:
        if number is None:
            return None
        total *= number
    return total if total <= MAX_COUNT else None


def _strange_counts(raw: dict[str, Any], path: str) -> Iterator[Finding]:
    """Counts that say something, but not one number."""
    for key in ("accelerators_per_node", "number_of_nodes", "host_processors_per_node"):
        value = raw.get(key)
        if value is None or count(value) is not None:
            continue
        if key != "accelerators_per_node" or str(value).strip().lower() not in NOTHING:
            shown = f"{key}: {value!r}"[:120]
            yield finding("published.count", path, "one number", shown, Severity.NOTE)
