"""A claim of first places, checked against every reasonable pool: under which reading does it hold?

A count of firsts means nothing without its pool. A reading says how the pool of each of the subject's
systems is chosen: by accelerator, count, status, nodes and power, as a rule that is the same for all of them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb

from coldmark.core.codec import read_toml
from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.store.pool import parse_pool
from coldmark.store.ranking import Entry, Per, Question, Task, places
from coldmark.store.results import ask

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
        return [rule for rule in _rules() if rule in common]

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


_SYSTEM_COLUMNS = ("accelerator", "accelerators", "status", "nodes", "power_submission", "division")


def check_claim(connection: duckdb.DuckDBPyConnection, claim: Claim) -> ClaimReport:
    """Every reading of a claim. Raises ConfigError where a subject has no system."""
    ranked = _Ranked(connection, claim)
    return ClaimReport(
        claim=claim,
        subjects=tuple(_check_subject(ranked, subject) for subject in claim.subjects),
        scores=tuple(_check_score(ranked, score) for score in claim.scores),
    )


class _Ranked:
    """Rankings of one round and division, each made once."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, claim: Claim) -> None:
        self.connection, self.claim = connection, claim
        self._made: dict[tuple[str, Per, str, str], list[Task]] = {}
        self._members: dict[str, str] = {}

    def tasks(self, pool: str, per: Per, system: dict[str, Any]) -> list[Task]:
        """The tasks in which a system has a place in a pool; pools of the same runs are ranked once."""
        key = (self._same(pool), per, system["submitter"], system["system"])
        if key not in self._made:
            question = Question(
                round=self.claim.round, division=self.claim.division, pool=parse_pool(pool), per=per
            )
            self._made[key] = places(self.connection, question, key[2], key[3])
        return self._made[key]

    def _same(self, pool: str) -> str:
        """Who is in a pool, as one word."""
        if pool not in self._members:
            parsed = parse_pool(pool)
            answer = ask(
                self.connection,
                "SELECT count(*), sum(hash(path)) FROM results "  # noqa: S608
                f"WHERE round = ? AND division = ? AND ({parsed.sql})",
                [self.claim.round, self.claim.division, *parsed.parameters],
            )
            self._members[pool] = str(answer.rows[0])
        return self._members[pool]

    def systems(self, subject: Subject) -> list[dict[str, Any]]:
        """The subject's systems. Raises ConfigError where there is none."""
        pool = parse_pool(subject.systems, where=f"subjects {subject.name!r}: systems")
        columns = ", ".join(("submitter", "system", *_SYSTEM_COLUMNS))
        found = ask(
            self.connection,
            f"SELECT DISTINCT {columns} FROM results "  # noqa: S608
            f"WHERE round = ? AND division = ? AND ({pool.sql}) ORDER BY ALL",
            [self.claim.round, self.claim.division, *pool.parameters],
        ).dicts()
        if not found:
            raise ConfigError(
                f"no system of {self.claim.round}, {self.claim.division} division, is {subject.name!r}",
                where=f"subjects {subject.name!r}: systems = {subject.systems!r}",
                hint="list them: coldmark published list --systems",
            )
        return found


def widest(rules: Iterable[Rule]) -> list[Rule]:
    """The rules that narrow none of the others."""
    given = list(rules)
    return [rule for rule in given if not any(rule.narrows(other) for other in given)]


def _rules() -> list[Rule]:
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


_CHIP = re.compile(r"(?P<chip>\b[A-Za-z]{1,4}\d+[A-Za-z]?)-(?P<form>SXM|PCIe)", re.IGNORECASE)


def _pool(rule: Rule, system: dict[str, Any]) -> str | None:
    """The rule as a pool expression for one system; None where its own facts do not say."""
    parts: list[str] = []
    name = str(system["accelerator"])
    if rule.accelerator:
        chip = _CHIP.search(name)
        if rule.accelerator == "same accelerator" or (not chip and name):
            parts.append(f'accelerator = "{name}"')
        elif chip:
            said = chip["chip"] if rule.accelerator == "same chip" else chip[0]
            parts.append(f'accelerator ~ "{said}"')
        else:
            parts.append("accelerators = 0")
    if rule.count:
        if system["accelerators"] is None:
            return None
        parts.append(f"accelerators = {system['accelerators']}")
    if rule.status:
        parts.append(f'status = "{system["status"]}"')
    if rule.nodes:
        parts.append("nodes = 1")
    if rule.power:
        parts.append("not power_submission")
    return " and ".join(parts)


def _check_subject(ranked: _Ranked, subject: Subject) -> SubjectReport:
    systems = ranked.systems(subject)
    readings = [reading for rule in _rules() if (reading := _read(ranked, subject, systems, rule))]
    return SubjectReport(
        subject=subject,
        systems=tuple(f"{s['submitter']}/{s['system']}" for s in systems),
        readings=tuple(sorted(readings, key=lambda reading: not reading.holds)),
    )


def _read(ranked: _Ranked, subject: Subject, systems: list[dict[str, Any]], rule: Rule) -> Reading | None:
    pools: dict[str, str] = {}
    firsts: dict[str, list[str]] = {}
    tasks: dict[str, set[tuple[str, str]]] = {}
    for system in systems:
        pool = _pool(rule, system)
        if pool is None:
            return None
        pools[system["system"]] = pool
        for task in ranked.tasks(pool, rule.per, system):
            tasks.setdefault(task.suite, set()).add((task.benchmark, task.scenario))
            if task.firsts:
                firsts.setdefault(task.suite, []).append(f"{task.benchmark} {task.scenario}")
    counts = {suite: len(names) for suite, names in tasks.items()}
    return Reading(rule=rule, pools=pools, firsts=firsts, tasks=counts, holds=_holds(subject, firsts, counts))


def _holds(subject: Subject, firsts: dict[str, list[str]], tasks: dict[str, int]) -> bool:
    """The count is exact in each suite the claim names; of how many, where it says so."""
    for suite, said in subject.firsts.items():
        found = sum(map(len, firsts.values())) if suite == ANY else len(firsts.get(suite, []))
        if found != said:
            return False
    return all(tasks.get(suite, 0) == said for suite, said in subject.tasks.items())


def _check_score(ranked: _Ranked, claim: ScoreClaim) -> ScoreReport:
    """The subject's best result in the task that is named, against what is said of it."""
    subject = next(s for s in ranked.claim.subjects if s.name == claim.subject)
    named = (claim.suite, claim.benchmark, claim.scenario)
    found = [
        (task.entries[0].place, task)
        for system in ranked.systems(subject)
        for task in ranked.tasks(claim.pool, Per.SYSTEM, system)
        if (task.suite, task.benchmark, task.scenario) == named
    ]
    if not found:
        return ScoreReport(claim=claim, holds=False)
    place, task = min(found, key=lambda pair: pair[0])
    entry = task.entries[0]
    right = claim.score is None or abs(entry.value / claim.score - 1) < SAME_SCORE
    return ScoreReport(claim=claim, holds=right and claim.place in (None, place), entry=entry, task=task)


SAME_SCORE = 1e-6
"""A claim repeats a published number; it does not measure one."""
