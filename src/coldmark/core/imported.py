"""What an import or a check of published results found."""

from __future__ import annotations

from dataclasses import dataclass, field

from coldmark.core.nouns import Finding, Severity
from coldmark.core.published import PublishedRun

CLAUSE = "coldmark: reading a results tree"


def finding(
    rule: str, subject: str, expected: str, found: str, severity: Severity = Severity.ERROR
) -> Finding:
    """A finding about a file of a tree."""
    return Finding(
        rule=rule, severity=severity, subject=subject, expected=expected, found=found, clause=CLAUSE
    )


@dataclass(slots=True)
class Imported:
    """What an import found: rows, findings, and how many files of each kind were read."""

    rows: list[PublishedRun] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    total: int = 0  # rows in the round's table afterwards
    changed: bool = False  # whether the table was written
    table: str = ""  # its path
    seconds: float = 0.0

    @property
    def errors(self) -> list[Finding]:
        """Files that could not be read, or not as a result."""
        return [one for one in self.findings if one.severity is Severity.ERROR]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check of plausibility found: of how many runs, and how far each kind is off at most."""

    round: str
    runs: int  # looked at
    checked: int  # whose log says enough to recompute the result
    worst: dict[str, float]  # scenario -> largest |deviation|
    tolerances: dict[str, float]  # scenario -> allowed
    findings: tuple[Finding, ...]
    clause: str = ""
