"""Findings as they are gathered, and how a name from a hostile tree is shown."""

from __future__ import annotations

from coldmark.core.nouns import Severity
from coldmark.core.submission import TreeFinding

MAX_FINDINGS = 20_000
"""Of a tree; a larger number says nothing more. What is left out is counted."""
TEXT = 300
"""Characters of a found or expected text that are kept."""


def shown(text: object) -> str:
    """A text from a tree on one line: control characters and bytes that are no text as escapes."""
    cut = str(text)
    cut = cut if len(cut) <= TEXT else cut[:TEXT] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)


class Findings:
    """A list of findings that stays small whatever is checked."""

    def __init__(self) -> None:
        self.kept: list[TreeFinding] = []
        self.dropped = 0

    def add(
        self,
        file: str,
        rule: str,
        expected: object,
        found: object,
        clause: str,
        severity: Severity = Severity.ERROR,
        line: int = 0,
    ) -> None:
        """Keep a finding, its texts bounded and printable."""
        if len(self.kept) >= MAX_FINDINGS:
            self.dropped += 1
            return
        self.kept.append(
            TreeFinding(
                file=shown(file),
                line=line,
                rule=rule,
                severity=severity,
                expected=shown(expected),
                found=shown(found),
                clause=clause,
            )
        )

    @property
    def errors(self) -> int:
        return sum(one.severity is Severity.ERROR for one in self.kept)
