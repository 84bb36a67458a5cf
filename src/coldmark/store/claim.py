"""A claim of first places, checked against every reasonable pool: under which reading does it hold?

A count of firsts means nothing without its pool. A reading says how the pool of each of the subject's
systems is chosen: by accelerator, count, status, nodes and power, as a rule that is the same for all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from coldmark.core.codec import read_toml
from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.store.ranking import Entry, Per, Task

ANY = "any"
"""In a count of firsts: over all suites."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who the claim is about: systems by a pool expression, and their first places per suite."""

    name: str
    systems: str
    firsts: dict[str, int]
    says: str = ""
    tasks: dict[str, int] = field(default_factory=dict)  # of how many, where the claim says


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreClaim:
    """A single result of a subject: its score, its place among all, or both."""

    subject: str
    suite: str
    benchmark: str
    scenario: str
    score: float | None = None
    place: int | None = None
    says: str = ""
    pool: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim file."""

    title: str
    round: str
    subjects: tuple[Subject, ...]
    division: str = "closed"
    source: str = ""
    total: int | None = None
    scores: tuple[ScoreClaim, ...] = ()


_ACCELERATORS = ("", "same chip", "same chip and form", "same accelerator")


@dataclass(frozen=True, slots=True)
class Rule:
    """One way of choosing a system's rivals."""

    accelerator: str
    count: str
    status: str
    nodes: str
    power: str
    per: Per

    def narrows(self, other: Rule) -> bool:
        """Whether this rule's pools lie within the other's, and it is not the same rule."""
        if self == other or self.per is not other.per:
            return False
        rest = ("count", "status", "nodes", "power")
        levels = _ACCELERATORS.index(self.accelerator) >= _ACCELERATORS.index(other.accelerator)
        return levels and all(getattr(other, name) in ("", getattr(self, name)) for name in rest)

    def words(self) -> str:
        """Only what the rule narrows; "all systems" where it narrows nothing."""
        parts = [p for p in (self.accelerator, self.count, self.status, self.nodes, self.power) if p]
        return ", ".join(parts or ["all systems"]) + (
            f", per {self.per}" if self.per is not Per.SYSTEM else ""
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a rule gives for one subject."""

    rule: Rule
    pools: dict[str, str]  # system -> the pool it was ranked in
    firsts: dict[str, list[str]]  # suite -> the tasks it is first in
    tasks: dict[str, int]  # suite -> in how many tasks it was ranked
    holds: bool

    @property
    def count(self) -> int:
        return sum(len(tasks) for tasks in self.firsts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectReport:
    """All readings of what is said of one subject, those that hold first."""

    subject: Subject
    systems: tuple[str, ...]
    readings: tuple[Reading, ...]

    @property
    def holding(self) -> list[Reading]:
        return [reading for reading in self.readings if reading.holds]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReport:
    """What was found of a single score."""

    claim: ScoreClaim
    holds: bool
    entry: Entry | None = None  # None: there is no such result
    task: Task | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimReport:
    """A claim with its readings."""

    claim: Claim
    subjects: tuple[SubjectReport, ...]
    scores: tuple[ScoreReport, ...]

    @property
    def uniform(self) -> list[Rule]:
        """The rules under which every subject's count holds at once."""
        held = [{reading.rule for reading in report.holding} for report in self.subjects]
        common = set.intersection(*held) if held else set()
        return [rule for rule in all_rules() if rule in common]

    @property
    def adds_up(self) -> bool:
        """Whether the subjects' counts give the total that is claimed."""
        said = sum(sum(subject.firsts.values()) for subject in self.claim.subjects)
        return self.claim.total is None or self.claim.total == said

    @property
    def holds(self) -> bool:
        """Each part holds under some reading, which need not be the same one."""
        return (
            self.adds_up
            and all(report.holding for report in self.subjects)
            and all(score.holds for score in self.scores)
        )


def shipped_claims() -> dict[str, Path]:
    """The claim files that come with the package, by name."""
    folder = Path(str(resources.files("coldmark.store") / "claims"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_claim(text: str) -> Claim:
    """A claim from a file, or a shipped one by its name. Raises ConfigError or DataError."""
    shipped = shipped_claims()
    path = shipped.get(text, Path(text))
    if text not in shipped and not path.exists():
        hint = f"a path, or a shipped claim; {did_you_mean(text, shipped)}"
        raise ConfigError(f"no claim {text!r}", where="FILE.toml", hint=hint)
    claim = read_toml(path, Claim)
    for subject in claim.subjects:
        wrong = set(subject.firsts) - {"datacenter", "edge", ANY}
        if wrong:
            raise ConfigError(f"no suite {sorted(wrong)[0]!r}", where=f"{path}: subjects {subject.name!r}")
    names = [subject.name for subject in claim.subjects]
    for score in claim.scores:
        if score.subject not in names:
            hint = did_you_mean(score.subject, names)
            raise ConfigError(f"no subject {score.subject!r}", where=f"{path}: scores", hint=hint)
    return claim


def widest(rules: Iterable[Rule]) -> list[Rule]:
    """The rules that narrow none of the others."""
    given = list(rules)
    return [rule for rule in given if not any(rule.narrows(other) for other in given)]


def all_rules() -> list[Rule]:
    """The reasonable rules, from wide to narrow."""
    return [
        Rule(*parts, per)
        for per in (Per.SYSTEM, Per.ACCELERATOR)
        for parts in itertools.product(
            _ACCELERATORS,
            ("", "same count"),
            ("", "same status"),
            ("", "one node"),
            ("", "not metered for power"),
        )
    ]
