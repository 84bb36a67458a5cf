"""Rules on `systems/<system>.json`."""

from __future__ import annotations

import re
from typing import Any

from coldmark.core.nouns import Severity, Suite
from coldmark.rules.submission_book import FieldBook, FieldGroup, SubmissionBook
from coldmark.submission.findings import Findings
from coldmark.submission.place import suites_of
from coldmark.submission.texts import JsonText, read_object
from coldmark.submission.tree import Tree, Unreadable

KNOWN_FLAGS = {"true", "false"}


def read_system(tree: Tree, path: str, findings: Findings, clause: str) -> JsonText | None:
    """A system's description, or None with the finding that says why there is none."""
    if not tree.has(path):
        findings.add(path, "system.file", "a description of the system", "no such file", clause)
        return None
    try:
        return read_object(tree, path)
    except Unreadable as error:
        findings.add(path, "system.json", "a JSON object in UTF-8", error, clause)
        return None


def check_system(
    text: JsonText,
    path: str,
    part: SubmissionBook,
    findings: Findings,
    *,
    division: str,
    submitter: str,
    power: bool,
) -> tuple[Suite, ...]:
    """All rules on a description; returns the suites it enters."""
    network = is_network(text.data, part)
    known: set[str] = set()
    empty: list[str] = []
    absent: list[str] = []
    for group in part.system.values():
        known |= set(group.fields)
        asked = group.when == "always" or (group.when == "network" and network)
        for name, field in group.fields.items():
            if name in text.data:
                check_field(text, path, name, field, group, findings)
                if field.meaningful and text.data[name] == "":
                    empty.append(name)
            elif asked and field.required:
                findings.add(path, "system.field", f"a field {name!r}", "none", group.clause)
            elif power and group.when == "power":
                absent.append(name)
    for name in text.twice:
        findings.add(path, "system.twice", "each field once", name, part.clause, line=text.line(name))
    for name in [n for n in text.data if n not in known][:20]:
        findings.add(
            path, "system.unknown", "fields the round knows", name, part.clause, line=text.line(name)
        )
    if absent:
        clause = part.system["power"].clause
        findings.add(path, "system.power", "the fields of power", ", ".join(absent), clause, Severity.WARNING)
    if empty:
        clause = part.system["base"].clause if "base" in part.system else part.clause
        severity = Severity.ERROR if part.empty_is_error else Severity.NOTE
        findings.add(path, "system.empty", "a meaningful text", ", ".join(empty), clause, severity)
    _check_names(text, path, part, findings, division, submitter)
    _check_network(text, path, part, findings, division, network=network)
    _check_memory(text, path, part, findings, division)
    return suites_of(str(text.data.get("system_type", "")))


def check_field(
    text: JsonText, path: str, name: str, field: FieldBook, group: FieldGroup, findings: Findings
) -> None:
    """A field has the type and the values it may have."""
    value: Any = text.data[name]
    if field.kind == "count":
        right = (isinstance(value, int) and not isinstance(value, bool) and value >= 0) or (
            isinstance(value, str) and (value.strip().isdecimal() or value in ("", "N/A", "-"))
        )
        expected = "a whole number"
    elif field.kind == "flag":
        right = isinstance(value, bool) or (isinstance(value, str) and value.lower() in KNOWN_FLAGS)
        expected = "true or false"
    elif field.kind == "choice":
        right = isinstance(value, str) and value.lower() in {c.lower() for c in field.choices}
        expected = " | ".join(field.choices)
    else:
        right = isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
        expected = "a text"
    if not right:
        found = f"{value!r}"
        findings.add(path, "system.type", f"{name}: {expected}", found, group.clause, line=text.line(name))


def is_network(data: dict[str, Any], part: SubmissionBook) -> bool:
    """Whether a description says that its system is over a network."""
    return part.network is not None and str(data.get(part.network.flag, "")).lower() == "true"


def _check_names(
    text: JsonText, path: str, part: SubmissionBook, findings: Findings, division: str, submitter: str
) -> None:
    for name, expected in (("division", division), ("submitter", submitter)):
        found = text.data.get(name)
        if found is not None and found != expected:
            findings.add(
                path, f"system.{name}", f"{expected}, as the folder", found, part.clause, line=text.line(name)
            )


def _check_network(
    text: JsonText, path: str, part: SubmissionBook, findings: Findings, division: str, *, network: bool
) -> None:
    book = part.network
    if book is None:
        return
    line = text.line(book.flag)
    if division in book.must_be and book.must_be[division] is not network:
        expected = f"{book.flag} = {str(book.must_be[division]).lower()} in division {division}"
        findings.add(path, "system.network", expected, str(network).lower(), book.clause, line=line)
    suites = suites_of(str(text.data.get("system_type", "")))
    if network and any(s not in book.suites for s in suites):
        findings.add(
            path, "system.network", " | ".join(book.suites), ", ".join(suites), book.clause, line=line
        )


MEMORIES = ("host_memory_configuration", "accelerator_memory_configuration")
_NO_ECC = re.compile(
    r"\b(non|no|not|without|w/o)[- ]?ECC\b|\bECC *[:=]? *(is +)?(off|no|not|none|disabled)\b", re.I
)


def _check_memory(text: JsonText, path: str, part: SubmissionBook, findings: Findings, division: str) -> None:
    """A datacenter system has ECC on: no field must say so, so only a text that says otherwise is found."""
    book = part.datacenter
    if book is None or not book.ecc or division not in part.closed_divisions:
        return
    if Suite.DATACENTER not in suites_of(str(text.data.get("system_type", ""))):
        return
    for name in MEMORIES:
        said = str(text.data.get(name, ""))
        if _NO_ECC.search(said):
            line = text.line(name)
            findings.add(path, "system.ecc", f"{name}: ECC, and on", said, book.ecc_clause, line=line)
