"""How each round's LoadGen logs say things, as data: `dialects.toml` as nouns."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

from coldmark.core.codec import read_toml
from coldmark.core.errors import ConfigError, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """Which value of a log is the result, in which rounds. `logged` is set where it is inferred."""

    scenario: str
    key: str
    metric: str
    unit: str
    logged: str = ""
    needs: str = ""  # a key that must be in the log too
    since: str = ""
    until: str = ""
    scale: float = 1.0
    divide: float = 0.0  # > 0: score = divide / value
    lower_is_better: bool = False

    def score(self, value: float) -> float | None:
        """The score in `unit`; None for the 0 that LoadGen writes where there is no estimate."""
        if value <= 0:
            return None
        return self.divide / value if self.divide else value * self.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyPattern:
    metric: str
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    key: str
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailDialect:
    mark: str
    keys: tuple[str, ...]
    text_power: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialects:
    """The wording of all rounds, and which number each round calls the result."""

    rounds: tuple[str, ...]
    labels: dict[str, str]
    blocks: dict[str, str]
    block_labels: dict[str, dict[str, str]]
    words: Words
    phrases: tuple[Phrase, ...]
    detail: DetailDialect
    scenarios: dict[str, str]
    logged_as: dict[str, str]
    benchmarks: dict[str, str]
    headlines: tuple[Headline, ...]
    inferred: tuple[Headline, ...]
    accuracy: tuple[AccuracyPattern, ...]
    statuses: dict[str, str] = field(default_factory=dict)

    def require_round(self, name: str) -> str:
        """The round's name. Raises ConfigError with the nearest right one."""
        if name not in self.rounds:
            raise ConfigError(f"no round {name!r}", where="--round", hint=did_you_mean(name, self.rounds))
        return name

    def scenario(self, text: str) -> str:
        """LoadGen's spelling of a scenario, or "" for what is none."""
        folded = "".join(c for c in text.lower() if c not in " -_")
        return self.scenarios.get(folded, "")

    def benchmark(self, folder: str) -> str:
        """The canonical name of a benchmark's folder."""
        return self.benchmarks.get(folder.lower(), folder)

    def headlines_of(self, round_: str, scenario: str, logged: str) -> list[Headline]:
        """Which numbers are the result of a folder's scenario whose log is of `logged`, in order."""
        by_design = self.logged_as.get(scenario, scenario)
        if by_design == logged:
            return [h for h in self.headlines if h.scenario == logged and self._holds(h, round_)]
        return [
            h
            for h in self.inferred
            if (h.scenario, h.logged) == (scenario, logged) and self._holds(h, round_)
        ]

    def is_inferred(self, scenario: str, logged: str) -> bool:
        """Whether a folder's scenario is not the one that was run."""
        return self.logged_as.get(scenario, scenario) != logged

    def _holds(self, headline: Headline, round_: str) -> bool:
        at = self.rounds.index(round_)
        first = self.rounds.index(headline.since) if headline.since else 0
        last = self.rounds.index(headline.until) if headline.until else len(self.rounds) - 1
        return first <= at <= last


@cache
def load_dialects() -> Dialects:
    """The shipped table."""
    return read_toml(Path(str(resources.files("coldmark.loadgen") / "dialects.toml")), Dialects)
