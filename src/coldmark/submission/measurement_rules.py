"""Rules on `measurements/`: the implementation's description and how to run it."""

from __future__ import annotations

from coldmark.core.nouns import Severity
from coldmark.rules.book import RuleBook
from coldmark.submission.findings import Findings
from coldmark.submission.place import Entry
from coldmark.submission.system_rules import check_field
from coldmark.submission.texts import read_object
from coldmark.submission.tree import Tree, Unreadable


def check_implementation(tree: Tree, entry: Entry, book: RuleBook, findings: Findings) -> None:
    """The JSON that says what was done to the model."""
    part = book.submission
    assert part is not None
    assert part.implementation is not None
    group, above = part.implementation, entry.at("measurements")
    folder = tree.get(above)
    names = sorted(folder.files) if folder else []
    mine = [n for n in names if n.startswith(entry.system) and n.endswith(".json")]
    mine.sort(key=lambda n: not n.endswith(f"_{entry.scenario}.json"))
    if not mine:
        expected = f"{entry.system}_<implementation>_{entry.scenario}.json"
        findings.add(above, "measurements.json", expected, "none", group.clause)
        return
    path = f"{above}/{mine[0]}"
    try:
        text = read_object(tree, path)
    except Unreadable as error:
        findings.add(path, "measurements.json", "a JSON object in UTF-8", error, group.clause)
        return
    for name, field in group.fields.items():
        if name not in text.data:
            findings.add(path, "measurements.field", f"a field {name!r}", "none", group.clause)
            continue
        check_field(text, path, name, field, group, findings)
        if field.meaningful and text.data[name] == "":
            findings.add(
                path, "measurements.empty", f"{name}: a meaningful text", "nothing", group.clause,
                Severity.ERROR if part.empty_is_error else Severity.WARNING, text.line(name),
            )  # fmt: skip
    for name in [n for n in text.data if n not in group.fields][:20]:
        findings.add(
            path, "measurements.unknown", "fields the round knows", name, group.clause,
            Severity.WARNING, text.line(name),
        )  # fmt: skip
    for name in text.twice:
        findings.add(path, "measurements.twice", "each field once", name, group.clause, line=text.line(name))


def check_readme(tree: Tree, entry: Entry, clause: str, findings: Findings) -> None:
    """A README says something."""
    path = f"{entry.at('measurements')}/README.md"
    size = tree.size(path)
    if size is not None and size < 3:
        findings.add(path, "measurements.readme", "how to run it", f"{size} bytes", clause)
