"""A summary log says what its detail log says."""

from __future__ import annotations

import math

from coldmark.loadgen.dialects import load_dialects
from coldmark.loadgen.published_log import parse_summary
from coldmark.rules.book import RuleBook
from coldmark.submission.findings import Findings
from coldmark.submission.scan import DetailLog
from coldmark.submission.tree import Tree, Unreadable, read_bytes

PRINTED = 1e-4
"""Relative difference between the two files' printing: six digits in one, two decimals in the other."""
WORDS = {True: "Yes", False: "No"}


def check_summary(tree: Tree, path: str, log: DetailLog, findings: Findings, book: RuleBook) -> None:
    """Every value of the summary that the detail log has too is the same."""
    if not tree.has(path):
        return  # the folder's rule says so
    clause = "coldmark: both logs are of one run"
    try:
        data = read_bytes(tree, path)
    except Unreadable as error:
        findings.add(path, "summary.text", "a readable summary", error, clause)
        return
    summary = parse_summary(data, load_dialects())
    for problem in summary.problems[:5]:
        findings.add(path, "summary.line", "a value", problem.text, clause, line=problem.line)
    part = book.submission
    assert part is not None
    assert part.log is not None
    if part.log.validity not in summary.values:
        findings.add(path, "summary.verdict", "Result is : VALID", "no such line", part.log.clause)
    for key, said in summary.values.items():
        logged = log.values.get(key)
        if logged is None or _same(said, logged):
            continue
        findings.add(
            path, "summary.detail", f"{key} = {logged}", said, clause, line=summary.lines.get(key, 0)
        )


def _same(said: object, logged: object) -> bool:
    if isinstance(logged, bool):
        return str(said).lower() in (WORDS[logged].lower(), str(logged).lower())
    if isinstance(said, int | float) and isinstance(logged, int | float):
        return math.isclose(said, logged, rel_tol=PRINTED, abs_tol=0.006)
    if isinstance(said, int | float):
        return True  # a number in one wording, a text in the other
    return str(said).replace(" ", "") == str(logged).replace(" ", "")
