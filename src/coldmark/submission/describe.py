"""`systems/<system>.json`: what the machine told, what a person must say, and how each field is explained."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldmark.core.codec import read_bounded, read_json
from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.rules.submission_book import FieldBook, SubmissionBook

SPELT = {"accelerator_on-chip_memories": "accelerator_on_chip_memories"}
"""MLPerf's name of a field, and ours where it cannot be the same."""
SET_BY_BUILD = ("division", "submitter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A field that nobody has said yet."""

    part: str  # system or implementation
    name: str
    field: FieldBook


def read_answers(path: Path, part: SubmissionBook) -> dict[str, dict[str, Any]]:
    """A TOML or JSON file with tables `system` and `implementation`. Raises ConfigError on unknown keys."""
    if path.suffix == ".json":
        data = read_json(path)
    else:
        try:
            data = tomllib.loads(read_bounded(path).decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"not TOML: {error}", where=str(path)) from None
    if not isinstance(data, dict):
        raise ConfigError("not a table", where=str(path))
    known = {"system": known_system(part), "implementation": known_implementation(part)}
    for name, table in data.items():
        if name not in known or not isinstance(table, dict):
            raise ConfigError(f"unknown table {name!r}", where=str(path), hint=did_you_mean(name, known))
        for key, value in table.items():
            if key not in known[name]:
                hint = did_you_mean(key, known[name])
                raise ConfigError(f"unknown field {key!r}", where=f"{path}: [{name}]", hint=hint)
            check_answer(key, value, known[name][key], where=f"{path}: [{name}] {key}")
    return {name: dict(data.get(name, {})) for name in known}


def check_answer(name: str, value: Any, field: FieldBook, *, where: str) -> None:
    """An answer has a value the field may have. Raises ConfigError."""
    text = str(value)
    if field.kind == "choice" and text not in field.choices:
        raise ConfigError(f"{text!r} is none of {', '.join(field.choices)}", where=where)
    if field.kind == "count" and not text.isdecimal():
        raise ConfigError(f"{text!r} is no whole number", where=where)
    if not isinstance(value, str | int) or "\n" in text or len(text) > 2000:
        raise ConfigError(f"{name} is one line of text", where=where)


def known_system(part: SubmissionBook) -> dict[str, FieldBook]:
    """Every field that a description may have."""
    return {name: field for group in part.system.values() for name, field in group.fields.items()}


def known_implementation(part: SubmissionBook) -> dict[str, FieldBook]:
    """Every field of an implementation's description."""
    return dict(part.implementation.fields) if part.implementation else {}


def asked_system(part: SubmissionBook, *, power: bool) -> dict[str, FieldBook]:
    """The fields that a description must have."""
    return {
        name: field
        for group in part.system.values()
        if group.when == "always" or (group.when == "power" and power)
        for name, field in group.fields.items()
        if field.required or group.when == "power"
    }


def detected(system: Mapping[str, Any], part: SubmissionBook) -> dict[str, Any]:
    """What a run's own record of its machine says, by MLPerf's names; empty texts are not known."""
    found: dict[str, Any] = {}
    for name, field in known_system(part).items():
        value = system.get(SPELT.get(name, name))
        if isinstance(value, str) and value and name not in SET_BY_BUILD:
            found[name] = int(value) if field.kind == "count" and value.isdecimal() else value
    if found.get("accelerators_per_node") == 0:
        found.setdefault("accelerator_model_name", "N/A")
        found.setdefault("accelerator_memory_capacity", "N/A")
    return found


def questions(
    asked: Mapping[str, FieldBook], known: Mapping[str, Any], part: str, leave_out: tuple[str, ...] = ()
) -> list[Question]:
    """The fields that are asked for and not known."""
    return [
        Question(part=part, name=name, field=field)
        for name, field in asked.items()
        if name not in known and name not in leave_out
    ]


def explain(found: list[Question]) -> str:
    """What is missing, each field explained."""
    return "\n".join(
        f"  [{q.part}] {q.name}: {q.field.about}"
        + (f" One of: {', '.join(q.field.choices)}." if q.field.choices else "")
        + (f" Example: {q.field.example}" if q.field.example else "")
        for q in found
    )


def template(
    part: SubmissionBook, known: Mapping[str, Any], of_records: Collection[str], *, power: bool
) -> str:
    """A file for --system-file: what is known filled in, what is not to be filled in, all explained.

    `of_records` are fields of an implementation that each run's own record says.
    """
    lines = ["# For: coldmark submission build --system-file THIS_FILE", "", "[system]"]
    for name, field in asked_system(part, power=power).items():
        if name not in SET_BY_BUILD:
            lines += _line(name, field, known)
    lines += ["", "[implementation]"]
    for name, field in known_implementation(part).items():
        if name in of_records:
            lines += [f"# {field.about}", f"# {name} is written for each run from its record"]
        else:
            lines += _line(name, field, {})
    return "\n".join(lines) + "\n"


def _line(name: str, field: FieldBook, known: Mapping[str, Any]) -> list[str]:
    choices = f" One of: {', '.join(field.choices)}." if field.choices else ""
    example = f" Example: {field.example}" if field.example else ""
    key = name if name.replace("_", "").isalnum() else json.dumps(name)
    value = json.dumps(known[name], ensure_ascii=False) if name in known else ""
    return [f"# {field.about}{choices}{example}", f"{key} = {value}" if value else f"# {key} = "]
