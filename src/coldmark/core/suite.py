"""A suite's nouns: what was asked for, and which run stands for each of its benchmark-scenarios."""

from __future__ import annotations

from dataclasses import dataclass, field

from coldmark.core.nouns import Length, Precision, Scenario, Suite

SCHEMA = 1
"""Version of the suite file's JSON form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteSpec:
    """What the user asked of a whole suite."""

    suite: Suite
    only: tuple[str, ...] = ()  # benchmarks, or benchmark/scenario; empty: all that the suite demands
    model: str = "mini"
    backend: str = "openvino"
    precision: Precision = Precision.FP32
    length: Length = Length.SHORT
    round: str = "v2.1"
    options: dict[str, str] = field(default_factory=dict)  # KEY, or SCOPE:KEY with a scope as in `only`
    given: tuple[str, ...] = ()  # of backend and precision, what the user asked for: it is never tuned away
    untuned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteEntry:
    """One benchmark-scenario and the run that stands for it; no run yet where `run_id` is empty."""

    benchmark: str
    scenario: Scenario
    run_id: str = ""
    served_by: str = ""  # the stricter benchmark whose run also meets this one's target
    error: str = ""  # why the last attempt left no complete run

    @property
    def name(self) -> str:
        return f"{self.benchmark}/{self.scenario.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRecord:
    """What `suites/NAME.json` holds."""

    schema: int = SCHEMA
    name: str
    spec: SuiteSpec
    entries: tuple[SuiteEntry, ...]
    started: str = ""  # ISO 8601, UTC
    finished: str = ""  # empty while something is left to run
