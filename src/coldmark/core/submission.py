"""What a check of a submission's tree found: findings with their place, and the results it holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from coldmark.core.nouns import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFinding:
    """A departure from a clause, in a file of a tree; `line` counts from 1, 0 is the file as a whole."""

    file: str  # below the tree's root, "/" between
    rule: str  # dotted name, e.g. "log.seeds"
    severity: Severity
    expected: str
    found: str
    clause: str
    line: int = 0

    @property
    def place(self) -> str:
        """`file:line`, or the file alone."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeResult:
    """A result of a tree: what a round's table would show of it."""

    path: str  # division/submitter/results/system/benchmark/scenario
    division: str
    submitter: str
    system: str
    model: str  # folder
    benchmark: str  # the round's official name of it
    scenario: str
    value: float
    unit: str
    accuracy: str = ""  # as accuracy.txt says it
    inferred: bool = False  # from another scenario's log
    power: float | None = None
    power_unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTree:
    """What a check found of a tree."""

    root: str
    round: str
    results: tuple[TreeResult, ...]
    findings: tuple[TreeFinding, ...]
    dropped: int = 0  # findings beyond the most that are kept
    entries: int = 0  # division/submitter/system/benchmark/scenario looked at
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    lengths: tuple[str, ...] = field(default_factory=tuple)  # run lengths that trees of ours are marked with

    def count(self, severity: Severity) -> int:
        """How many findings of a severity."""
        return sum(one.severity is severity for one in self.findings)

    @property
    def accepted(self) -> bool:
        """No error in it, and something that could be one."""
        return not self.count(Severity.ERROR) and bool(self.results)
