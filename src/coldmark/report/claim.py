"""A checked claim as text, and as the object that --json prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from coldmark.report.podium import entry_json, score_text
from coldmark.store.claim import ANY, ClaimReport, Reading, ScoreReport, SubjectReport, widest


def claim_text(report: ClaimReport, *, every: bool) -> str:
    """A claim with the readings under which it holds and those under which it fails."""
    claim = report.claim
    lines = [f"claim: {claim.title}" + (f" ({claim.source})" if claim.source else "")]
    lines.append(f"checked against {claim.round}, {claim.division} division")
    for subject in report.subjects:
        lines += ["", *_subject_lines(subject, every=every)]
    for score in report.scores:
        word = "holds" if score.holds else "FAILS"
        where = score.claim.pool or "all systems"
        said = score.claim.says or f"{score.claim.benchmark} {score.claim.scenario}"
        lines += ["", f'"{said}" {word}: {_found(score)} ({where})']
    return "\n".join([*lines, "", *_verdict_lines(report)])


def _subject_lines(report: SubjectReport, *, every: bool) -> Iterable[str]:
    subject = report.subject
    counts = " + ".join(f"{n}{'' if s == ANY else ' ' + s}" for s, n in subject.firsts.items())
    places = "place" if sum(subject.firsts.values()) == 1 else "places"
    yield f'{subject.name}: {counts} first {places} claimed ("{subject.says}")'
    yield f"  systems: {', '.join(report.systems)}"
    held = report.holding
    yield f"  holds in {len(held)} of {len(report.readings)} readings" + ("" if held else ": under none")
    for word, wanted in (("holds", True), ("fails", False)):
        readings = [r for r in report.readings if r.holds is wanted]
        groups = [[r] for r in readings] if every else _alike(readings)
        for group in groups if every or wanted else groups[:4]:
            yield from _reading_lines(word, group, full=wanted)
        if not every and not wanted and len(groups) > 4:
            yield f"  fails  in {len(groups) - 4} more ways (--all lists every reading)"


def _alike(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Readings that give the same firsts, the widest rule first."""
    groups: dict[str, list[Reading]] = {}
    for reading in readings:
        groups.setdefault(str(sorted(reading.firsts.items())), []).append(reading)
    return list(groups.values())


def _reading_lines(word: str, group: Sequence[Reading], *, full: bool) -> Iterable[str]:
    """The widest of the readings that give the same firsts, with their pools where they hold."""
    wide = widest(reading.rule for reading in group)
    first = group[0]
    counts = ", ".join(
        f"{len(first.firsts.get(suite, []))} of {n} {suite}" for suite, n in sorted(first.tasks.items())
    )
    also = f"; so do {len(group) - len(wide)} narrower ones" if len(group) > len(wide) else ""
    names = "; or ".join(rule.words() for rule in wide)
    yield f"  {word}  {names}: {counts or 'no place'}{also}"
    if full:
        for reading in group:
            if reading.rule in wide:
                for pool in sorted(set(reading.pools.values())):
                    yield f"         pool: {pool or 'all systems'}"
        for suite, tasks in sorted(first.firsts.items()):
            yield f"         {suite}: {', '.join(tasks)}"


def _found(score: ScoreReport) -> str:
    if score.entry is None or score.task is None:
        return "there is no such result"
    place = f"place {score.entry.place} of {score.task.size}"
    return f"{score_text(score.entry.value)} {score.task.unit}, {place}"


def _verdict_lines(report: ClaimReport) -> Iterable[str]:
    claim = report.claim
    if claim.total is not None:
        parts = " + ".join(str(n) for s in claim.subjects for n in s.firsts.values())
        right = "adds up" if report.adds_up else "does NOT add up"
        yield f"{parts} = {claim.total} {right}"
    rules = report.uniform
    if rules:
        wide = widest(rules)
        names = "; or ".join(rule.words() for rule in wide)
        also = f" (and {len(rules) - len(wide)} narrower ones)" if len(rules) > len(wide) else ""
        yield f"one rule for all subjects under which every count holds: {names}{also}"
    elif len(claim.subjects) > 1:
        yield "no one rule makes every count hold: the claim takes each subject in a pool of its own"
    if report.holds:
        yield "the claim HOLDS under the readings marked so above, and under no other that was tried"
    else:
        yield "the claim FAILS: a part of it holds under none of the readings that were tried"


def claim_json(report: ClaimReport) -> dict[str, Any]:
    """The object that `podium claim --json` prints: every reading."""
    return {
        "title": report.claim.title,
        "source": report.claim.source,
        "round": report.claim.round,
        "division": report.claim.division,
        "total": report.claim.total,
        "adds_up": report.adds_up,
        "holds": report.holds,
        "one_rule_for_all": [rule.words() for rule in report.uniform],
        "subjects": [
            {
                "name": s.subject.name,
                "says": s.subject.says,
                "claimed": s.subject.firsts,
                "systems": list(s.systems),
                "readings": [
                    {
                        "rule": r.rule.words(),
                        "holds": r.holds,
                        "pools": r.pools,
                        "firsts": r.firsts,
                        "tasks": r.tasks,
                        "count": r.count,
                    }
                    for r in s.readings
                ],
            }
            for s in report.subjects
        ],
        "scores": [
            {"says": s.claim.says, "holds": s.holds, "found": entry_json(s.entry)} for s in report.scores
        ],
    }
