"""Every reading of a claim: each subject ranked in each reasonable pool, and what comes of it."""

from __future__ import annotations

import re
from typing import Any

import duckdb

from coldmark.core.errors import ConfigError
from coldmark.store.claim import (
    ANY,
    Claim,
    ClaimReport,
    Reading,
    Rule,
    ScoreClaim,
    ScoreReport,
    Subject,
    SubjectReport,
    all_rules,
)
from coldmark.store.pool import parse_pool
from coldmark.store.ranking import Per, Question, Task, places
from coldmark.store.results import ask

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
    readings = [reading for rule in all_rules() if (reading := _read(ranked, subject, systems, rule))]
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
