"""Rankings and comparisons as text for a terminal, and as the objects that --json prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from coldmark.report.text import number, table
from coldmark.store.compare import Ratio, SystemName
from coldmark.store.ranking import Entry, Per, Ranking, Task

NAME_WIDTH = 46


def short(text: str, width: int = NAME_WIDTH) -> str:
    """Text cut to a column's width."""
    return text if len(text) <= width else text[: width - 1] + "…"


def score_text(value: float) -> str:
    """A score with the digits a ranking needs: 679 915, 2 618 482.46, 591.149, 1.53113."""
    if value >= 1000:
        whole = f"{value:,.2f}".replace(",", " ")
        return whole.removesuffix(".00")
    return f"{value:.6g}"


def gap_text(gap: float) -> str:
    """How far from the first, in percent of it; blank for the first and who shares its place."""
    if gap == 0:
        return ""
    # Enough digits to see a photo finish, and a speck beside a giant.
    close = abs(gap) < 0.01 or abs(gap + 1) < 0.005
    return f"{gap * 100:+.3f} %" if close else f"{gap * 100:+.1f} %"


def ranking_text(ranking: Ranking, *, top: int, subject: frozenset[tuple[str, str]] | None = None) -> str:
    """Each task with its pool's size; `top` lines a task (0: all), or only the subject's lines."""
    blocks = [_pool_line(ranking)]
    if not ranking.tasks:
        blocks.append("nobody is in this pool")
    elif subject is not None:
        blocks.append(_subject_table(ranking, subject))
    else:
        blocks += [_task_text(task, _shown(task, top, None), ranking.question.per) for task in ranking.tasks]
    if len(ranking.tasks) > 1:
        blocks.append(firsts_text(ranking, subject))
    return "\n\n".join(blocks)


def _subject_table(ranking: Ranking, subject: frozenset[tuple[str, str]]) -> str:
    """One line for each place of the systems asked for, and who is first."""
    rows = [
        [
            task.suite,
            task.benchmark,
            task.scenario,
            f"{entry.place} of {task.size}",
            score_text(entry.value),
            task.unit,
            gap_text(entry.gap),
            short(entry.row["system"], 32),
            "" if entry.place == 1 else short("/".join(task.firsts[0].system), 48),
        ]
        for task in ranking.tasks
        for entry in _shown(task, 0, subject)
    ]
    if not rows:
        return "no result of the systems asked for is in this pool"
    head = ["suite", "benchmark", "scenario", "place", "score", "unit", "to first", "system", "who is first"]
    return table(head, rows)


def _pool_line(ranking: Ranking) -> str:
    entries = sum(task.size for task in ranking.tasks)
    line = f"pool: {ranking.question.words()}"
    line += f"\n      {_count(entries, 'place')} in {_count(len(ranking.tasks), 'task')}, "
    line += f"from {_count(ranking.runs, 'run')}"
    sources = Counter(str(e.row["source"]) for t in ranking.tasks for e in t.entries)
    if len(sources) > 1:
        said = ", ".join(f"{name} ({places})" for name, places in sources.most_common())
        line += f"\n      places by source: {said}"
    for count, why in (
        (ranking.invalid, "INVALID"),
        (ranking.uncounted, f"with no known number of {_plural(ranking.question.per)}"),
        (ranking.latencies, "of latencies, which are not divided"),
    ):
        if count:
            line += f"\n      left out: {count} runs {why}"
    return line


def _count(number_of: int, what: str) -> str:
    return f"{number_of} {what}" + ("" if number_of == 1 else "s")


def _plural(per: Per) -> str:
    return "accelerators" if per is Per.ACCELERATOR else "cores"


def _shown(task: Task, top: int, subject: frozenset[tuple[str, str]] | None) -> list[Entry]:
    if subject is not None:
        return [entry for entry in task.entries if entry.system in subject]
    return [entry for entry in task.entries if not top or entry.place <= top]


def _task_text(task: Task, entries: Sequence[Entry], per: Per) -> str:
    divided = "" if per is Per.SYSTEM else f" per {per}"
    better = "lower is better" if task.lower_is_better else "higher is better"
    name = f"{task.benchmark} {task.scenario}{_in_suite(task.suite)}"
    head = f"{name}: {task.unit}{divided}, {better}, among {task.size}"
    rows = [
        [
            f"{entry.place}",
            score_text(entry.value),
            gap_text(entry.gap),
            entry.row["submitter"],
            short(entry.row["system"]),
            short(machine_text(entry.row), 40),
            _marks(entry.row),
        ]
        for entry in entries
    ]
    shared = table(["place", "score", "to first", "submitter", "system", "machine", ""], rows)
    return head + "\n" + indent(shared)


def _in_suite(suite: str) -> str:
    return f" ({suite})" if suite else ""


def machine_text(row: dict[str, Any]) -> str:
    """`8x NVIDIA A100-SXM-80GB`, or the processor where there is no accelerator."""
    if not row["accelerator"]:
        sockets = f"{row['processors_per_node']}x " if row["processors_per_node"] else ""
        return f"{sockets}{row['processor']}"
    count = "" if row["accelerators"] is None else f"{row['accelerators']}x "
    return f"{count}{row['accelerator']}"


def _marks(row: dict[str, Any]) -> str:
    """What keeps a result from being like the others."""
    said = [] if row["status"] in ("available", "") else [row["status"]]
    if row["inferred"]:
        said.append(f"inferred from {row['logged_scenario']}")
    return ", ".join(said)


def indent(text: str) -> str:
    """Text two columns to the right."""
    return "\n".join(f"  {line}" for line in text.splitlines())


def firsts_text(ranking: Ranking, subject: frozenset[tuple[str, str]] | None = None) -> str:
    """First places counted per system, in this pool and no other."""
    rows = []
    for system, tasks in ranking.firsts().items():
        if subject is None or system in subject:
            suites = {suite: sum(t.suite == suite for t in tasks) for suite in _suites(ranking)}
            rows.append([str(len(tasks)), *(str(n or "") for n in suites.values()), system[0], system[1]])
    head = ["firsts", *(suite or "-" for suite in _suites(ranking)), "submitter", "system"]
    title = f"first places in this pool ({len(ranking.tasks)} tasks; a shared first counts for each)"
    return title + "\n" + (indent(table(head, rows)) if rows else "  none")


def _suites(ranking: Ranking) -> list[str]:
    return sorted({task.suite for task in ranking.tasks})


def ranking_json(
    ranking: Ranking, *, top: int, subject: frozenset[tuple[str, str]] | None = None
) -> dict[str, Any]:
    """The object that `podium --json` prints."""
    question = ranking.question
    return {
        "round": question.round,
        "division": question.division,
        "pool": {
            "words": question.words(),
            "expression": question.pool.text,
            "statuses": list(question.statuses),
            "per": question.per.value,
            "runs": ranking.runs,
            "left_out": {
                "invalid": ranking.invalid,
                "no_divisor": ranking.uncounted,
                "latencies": ranking.latencies,
            },
        },
        "provenance": "published",
        "tasks": [
            {
                "suite": task.suite,
                "benchmark": task.benchmark,
                "scenario": task.scenario,
                "metric": task.metric,
                "unit": task.unit,
                "lower_is_better": task.lower_is_better,
                "size": task.size,
                "entries": [entry_json(entry) for entry in _shown(task, top, subject)],
            }
            for task in ranking.tasks
        ],
        "firsts": [
            {
                "submitter": system[0],
                "system": system[1],
                "firsts": len(tasks),
                "tasks": [
                    {"suite": t.suite, "benchmark": t.benchmark, "scenario": t.scenario} for t in tasks
                ],
            }
            for system, tasks in ranking.firsts().items()
            if subject is None or system in subject
        ],
    }


_SAID = (
    "submitter", "system", "system_name", "accelerator", "accelerators", "nodes", "status", "processor",
    "cores", "software", "inferred", "power", "power_unit", "power_window", "path", "source",
)  # fmt: skip


def entry_json(entry: Entry | None) -> dict[str, Any] | None:
    """One place."""
    if entry is None:
        return None
    said = {name: entry.row[name] for name in _SAID}
    return {"place": entry.place, "score": entry.value, "to_first": entry.gap, **said}


def compare_text(round_: str, a: SystemName, b: SystemName, ratios: Sequence[Ratio]) -> str:
    """Ratios of two systems; above 1 is in favour of A, for rates and latencies alike."""
    lines = [
        f"{round_}, {a.division} division",
        f"  A  {a.label}  {a.system_name}",
        f"  B  {b.label}  {b.system_name}",
    ]
    if a.accelerators != b.accelerators:
        lines.append(f"  they differ in accelerators: {a.accelerators} and {b.accelerators}")
    if not ratios:
        return "\n".join([*lines, "nothing that both have published"])
    rows = [
        [
            r.benchmark,
            r.scenario,
            score_text(r.a),
            score_text(r.b),
            r.unit,
            f"{r.ratio:.3f}",
            "A" if r.ratio > 1 else "B" if r.ratio < 1 else "=",
        ]
        for r in ratios
    ]
    shown = table(["benchmark", "scenario", "A", "B", "unit", "A over B", "better"], rows)
    ahead = sum(r.ratio > 1 for r in ratios)
    tail = f"A is better in {ahead} of {len(ratios)}; of a latency the ratio is B over A"
    return "\n".join([*lines, shown, tail])


def answer_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A query's answer as a table; what is not published is blank."""
    return table(columns, [[_cell(value) for value in row] for row in rows])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return number(value) if abs(value) < 1000 else score_text(value)
    return short(str(value), 80).replace("\n", " ")
