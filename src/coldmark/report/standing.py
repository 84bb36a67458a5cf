"""An own run between its published neighbours, as text and as the object that --json prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from coldmark.report.podium import entry_json, gap_text, indent, machine_text, score_text, short
from coldmark.report.text import table
from coldmark.store.ranking import Entry
from coldmark.store.standing import OwnRun, Standing


def standing_text(own: OwnRun, standings: Sequence[Standing]) -> str:
    """An own run between its published neighbours; never a line of the ranking itself."""
    spec = own.record.spec
    lines = [
        f"{spec.workload} {spec.scenario} ({spec.suite}, {spec.round}), run {own.record.run_id}",
        f"  {own.label}: {score_text(own.metric.value)} {own.metric.unit} ({own.metric.name})",
        f"  {'; '.join(own.caveats) or 'official length and model, VALID, accuracy passed'}",
    ]
    for standing in standings:
        lines += ["", *_standing_lines(standing, own.label)]
    return "\n".join(lines)


def _standing_lines(standing: Standing, label: str) -> Iterable[str]:
    task, placed = standing.task, standing.placed
    size = f": {task.size} published results" if task else ""
    yield f"pool: {standing.ranking.question.words()}{size}"
    if task is None or placed is None or standing.value is None:
        yield f"  no place: {standing.reason}"
        return
    gap = gap_text(placed.gap) or "level with it"
    yield f"  would be place {placed.place} of {placed.of}; to the first: {gap} ({standing.unit})"
    mine = ["here", score_text(standing.value), label, "", ""]
    rows = [_neighbour("above", placed.above), mine, _neighbour("below", placed.below)]
    yield indent(table(["", "score", "submitter", "system", "machine"], [r for r in rows if r]))


def _neighbour(word: str, entry: Entry | None) -> list[str]:
    if entry is None:
        return [word, "", "nobody", "", ""]
    row = entry.row
    machine = short(machine_text(row), 40)
    return [
        f"{word} ({entry.place})",
        score_text(entry.value),
        row["submitter"],
        short(row["system"]),
        machine,
    ]


def standing_json(own: OwnRun, standings: Sequence[Standing]) -> dict[str, Any]:
    """The object that `podium --run --json` prints."""
    spec = own.record.spec
    return {
        "run_id": own.record.run_id,
        "label": own.label,
        "provenance": own.record.provenance.value,
        "caveats": list(own.caveats),
        "benchmark": spec.workload,
        "scenario": spec.scenario.value,
        "suite": spec.suite.value,
        "round": spec.round,
        "length": spec.length.value,
        "model": spec.model,
        "verdict": own.record.verdict,
        "score": own.metric.value,
        "unit": own.metric.unit,
        "standings": [
            {
                "pool": s.ranking.question.words(),
                "per": s.ranking.question.per.value,
                "size": s.task.size if s.task else 0,
                "value": s.value,
                "unit": s.unit,
                "place": s.placed.place if s.placed else None,
                "of": s.placed.of if s.placed else None,
                "to_first": s.placed.gap if s.placed else None,
                "above": entry_json(s.placed.above) if s.placed else None,
                "below": entry_json(s.placed.below) if s.placed else None,
                "reason": s.reason,
            }
            for s in standings
        ],
    }
