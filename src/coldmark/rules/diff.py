"""What two rounds say differently, key by key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from coldmark.core.codec import to_plain
from coldmark.rules.book import RuleBook

_SILENT = {"round", "published", "loadgen_version", "sources", "clause", "conflicts", "example", "dataset"}
"""Where a rule stands is no rule, and how it is put is none either."""

_WHERE_BOTH = re.compile(r"submission\.|benchmarks\..*\.(accuracy_sample_count|bandwidth\..*)$")
"""Some books say nothing of these, though their round may: that is not a change."""

_NAMED = ("benchmarks", "compliance", "scenarios")
"""Tables whose members come and go whole, and are said by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One key of two rule books; None where a book does not have it."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BookDiff:
    """What changed from one round to another."""

    before: str
    after: str
    added: tuple[str, ...]  # benchmarks, audit tests and scenarios
    removed: tuple[str, ...]
    changes: tuple[Change, ...]  # of everything else


def diff_books(before: RuleBook, after: RuleBook) -> BookDiff:
    """Everything two rule books say differently; what came or went whole is said by its name alone."""
    plain = to_plain(before), to_plain(after)
    old, new = (dict(_flat(p)) for p in plain)
    gone = {f"{t}.{n}" for t in _NAMED for n in plain[0][t] if n not in plain[1][t]}
    came = {f"{t}.{n}" for t in _NAMED for n in plain[1][t] if n not in plain[0][t]}
    passed = tuple(f"{name}." for name in gone | came)
    changes = [
        Change(key=key, before=old.get(key), after=new.get(key))
        for key in dict.fromkeys([*old, *new])
        if _unlike(old.get(key), new.get(key)) and not key.startswith(passed)
    ]
    return BookDiff(
        before=before.round,
        after=after.round,
        added=tuple(sorted(came)),
        removed=tuple(sorted(gone)),
        changes=tuple(c for c in changes if None not in (c.before, c.after) or not _WHERE_BOTH.match(c.key)),
    )


def _unlike(before: Any, after: Any) -> bool:
    """Lists are sets here: the order of scenarios or divisions is no rule."""
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        return sorted(map(str, before)) != sorted(map(str, after))
    return bool(before != after)


def _flat(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as dotted keys; what is empty or not set says nothing."""
    for name, value in data.items():
        if name in _SILENT:
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif value not in (None, "", (), []):
            yield f"{prefix}{name}", value
