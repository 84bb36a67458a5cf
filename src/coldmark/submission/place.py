"""Where things lie in a tree of the v1.0 layout, and which benchmark and scenario a folder's name means."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Scenario, Suite
from coldmark.rules.book import Benchmark, RuleBook, load_book, rounds
from coldmark.rules.submission_book import FolderBook, SubmissionBook

LAYOUTS = ("v1.0",)
"""Shapes of a tree that are read here."""


def submission_of(book: RuleBook) -> SubmissionBook:
    """The book's part on trees. Raises ConfigError for a round whose trees are not read."""
    part = book.submission
    why = _why_not(part)
    if part is None or why:
        raise ConfigError(
            f"trees of {book.round} are not read: its rule book {why}",
            where="--round",
            hint="rounds whose trees are read: " + ", ".join(read_rounds()),
        )
    return part


NEEDED = ("folders", "system", "implementation", "accuracy_text", "accuracy_log", "log")
"""Parts of a book without which a tree of its round cannot be checked."""


def _why_not(part: SubmissionBook | None) -> str:
    if part is None:
        return "says nothing of them"
    if part.layout not in LAYOUTS:
        return f"gives them another shape ({part.layout}), which is not read here"
    missing = [name for name in NEEDED if not getattr(part, name)]
    if missing:
        return f"does not hold all that a check needs: {', '.join(missing)}"
    return "" if part.log and part.log.dialect == "mllog" else "has logs in another wording"


@cache
def read_rounds() -> list[str]:
    """The rounds whose trees are read."""
    return [name for name in rounds() if not _why_not(load_book(name).submission)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A benchmark-scenario of a system of a submitter."""

    division: str
    submitter: str
    system: str
    model: str
    scenario: str  # folder

    def at(self, part: str) -> str:
        """Its folder below `results`, `measurements` or `compliance`."""
        return f"{self.division}/{self.submitter}/{part}/{self.system}/{self.model}/{self.scenario}"

    @property
    def path(self) -> str:
        return self.at("results")

    def expand(self, pattern: str, test: str = "") -> str:
        """A folder of the book, whole: `results/{system}/…` becomes a path of the tree."""
        text = f"{self.division}/{self.submitter}/{pattern}"
        names = {"system": self.system, "model": self.model, "scenario": self.scenario, "test": test}
        for name, value in names.items():
            text = text.replace("{" + name + "}", value)
        return text


def find_benchmark(book: RuleBook, folder: str, *, closed: bool) -> Benchmark | None:
    """The benchmark that a model's folder means; the open division may call its models freely.

    There the longest known name that the folder's holds decides.
    """
    named = {b.official_name: b for b in book.benchmarks.values()}
    mapped = {name: named[to] for name, to in book.model_mapping.items() if to in named}
    known = mapped | book.benchmarks | named
    if folder in known:
        return known[folder]
    if closed:
        return None
    held = [name for name in known if name in folder.lower()]
    return known[max(held, key=len)] if held else None


def name_in(book: RuleBook, benchmark: Benchmark) -> str:
    """The name under which a book keeps a benchmark."""
    return next(name for name, one in book.benchmarks.items() if one is benchmark)


def suites_of(system_type: str) -> tuple[Suite, ...]:
    """The suites a `system_type` enters; none where it says no known one."""
    names = {part.strip() for part in system_type.split(",")}
    return tuple(s for s in Suite if s.value in names)


def scenarios_of(benchmark: Benchmark, suites: tuple[Suite, ...]) -> set[Scenario]:
    """The scenarios that a benchmark needs in all of some suites."""
    return {scenario for suite in suites for scenario in benchmark.suites.get(suite, ())}


def folders_when(part: SubmissionBook, when: str) -> list[FolderBook]:
    """The folders that the book asks for under a condition."""
    return [folder for folder in part.folders.values() if folder.when == when]
