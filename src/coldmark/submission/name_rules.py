"""Rules on what a submitter's folder may hold at all: names, sizes, empty folders, files beside the tree."""

from __future__ import annotations

from collections.abc import Callable

from coldmark.core.nouns import Severity
from coldmark.rules.submission_book import NamesBook, SubmissionBook
from coldmark.submission.findings import Findings
from coldmark.submission.texts import read_object
from coldmark.submission.tree import Tree, Unreadable

_Say = Callable[[str, str, str, object], None]
MAX_EACH = 20
"""Findings of a kind and submitter; more of them say nothing more."""


def check_names(tree: Tree, above: str, part: SubmissionBook, findings: Findings) -> None:
    """All rules of the round on names and sizes below a submitter's folder."""
    book = part.names
    if book is None:
        return
    said = dict.fromkeys(("tree.size", "tree.hidden", "tree.blank", "tree.banned", "tree.empty"), 0)

    def say(path: str, rule: str, expected: str, found: object) -> None:
        said[rule] += 1
        if said[rule] <= MAX_EACH:
            findings.add(path, rule, expected, found, book.clause)

    for path in tree.under(above):
        folder = tree.folders[path]
        if book.empty_folders and not folder.files and not folder.folders:
            say(path, "tree.empty", "no empty folder", "nothing in it")
        for name, size in folder.files.items():
            if size > book.max_file_bytes:
                say(f"{path}/{name}", "tree.size", f"<= {book.max_file_bytes} bytes", f"{size} bytes")
        for name in (*folder.files, *folder.folders):
            _check_name(f"{path}/{name}", name, book, say)


def _check_name(path: str, name: str, book: NamesBook, say: _Say) -> None:
    if name.startswith("."):
        say(path, "tree.hidden", "no name that begins with a dot", name)
    if " " in name:
        say(path, "tree.blank", "no blank in a name", name)
    if name in book.banned:
        say(path, "tree.banned", "not in a submission", name)


def check_loose(tree: Tree, path: str, part: SubmissionBook, findings: Findings) -> None:
    """No files beside the divisions (but documents) nor beside the submitters."""
    book, folder = part.names, tree.get(path)
    if book is None or not book.loose_files or folder is None:
        return
    allowed = (".md", ".pdf") if path == "" else ()
    for name in [n for n in sorted(folder.files) if not n.endswith(allowed)][:MAX_EACH]:
        where = f"{path}/{name}" if path else name
        findings.add(where, "tree.loose", "files below a submitter's folder only", name, book.clause)


def read_mapping(tree: Tree, above: str, part: SubmissionBook, findings: Findings) -> dict[str, str]:
    """An open submitter's own table of models: folder -> official name; empty where there is none."""
    path = f"{above}/{part.open_mapping}"
    if not part.open_mapping or not above.startswith("open/") or not tree.has(path):
        return {}
    try:
        data = read_object(tree, path).data
    except Unreadable as error:
        findings.add(path, "tree.mapping", "a JSON object in UTF-8", error, part.clause)
        return {}
    wrong = [name for name, value in data.items() if not isinstance(value, str)]
    if wrong:
        findings.add(path, "tree.mapping", "names of models", wrong[0], part.clause, Severity.WARNING)
    return {name: value for name, value in data.items() if isinstance(value, str)}
