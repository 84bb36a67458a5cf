"""A round's rule book: what `books/*.toml` holds, and the rule of one benchmark-scenario."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

from coldmark.core.codec import read_toml
from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.core.nouns import Length, Scenario, Suite
from coldmark.rules.submission_book import Bandwidth, SubmissionBook
from coldmark.stats.early_stopping import floor_queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    qsl: int
    sample_index: int
    schedule: int
    test05_qsl: int
    test05_sample_index: int
    test05_schedule: int
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    confidence: float
    tolerance: float
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """Largest relative deviation of a result from what its own log says."""

    offline: float
    server: float
    multistream: float
    singlestream: float
    server_deviations: float  # standard deviations of a Poisson count that a Server rate may lie off
    clause: str
    # Time that result and counts need over the time between LoadGen's marks; None: not compared.
    time_over: float | None = None  # share it may lie above
    time_under: dict[Scenario, float] = field(default_factory=dict)  # share it may lie below
    user_conf_rate: float | None = None  # share by which user.conf's target_qps may differ from the run's


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    accuracy_log_bytes: int
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioBook:
    """What a round says of a scenario, whatever the benchmark."""

    min_duration_ms: int
    min_query_count: int
    percentile: float
    early_stopping: str  # "estimate", "bound" or "none"
    result_field: str
    metric: str
    unit: str
    scale: float
    lower_is_better: bool
    clause: str
    samples_per_query: int = 1
    audit_field: str = ""  # what the audit tests compare, where it is not the result


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyBook:
    metric: str
    unit: str
    reference: float
    ratio: float
    target: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What a round says of a benchmark, whatever the scenario."""

    official_name: str
    task: str
    dataset: str
    performance_sample_count: int
    accuracy_sample_count: int
    accuracy: AccuracyBook
    suites: dict[Suite, tuple[Scenario, ...]]
    compliance: tuple[str, ...]
    test01_sampling_target: int
    server_latency_ms: int | None = None
    equal_issue: bool = False
    bandwidth: Bandwidth | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compliance:
    purpose: str
    mode: str
    performance: str  # "within": both ways; "not_faster": only better is a fault
    performance_tolerance: float  # of the submitted score
    clause: str
    relaxed_tolerance: float | None = None
    relaxed_below_ns: dict[Scenario, int] = field(default_factory=dict)  # submitted latency it applies up to
    accuracy_tolerance: float | None = None
    accuracy_tolerance_strict: float | None = None  # of a benchmark with 99.9 in its name
    accuracy_log_rng_seed: int = 0
    performance_issue_same: bool = False
    performance_issue_same_index: int = 0
    alternate_seeds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A key on which the round's own sources disagree, and which reading is used here."""

    key: str
    used: str
    why: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBook:
    """Everything a round demands."""

    round: str
    published: str
    loadgen_version: str
    sources: dict[str, str]
    seeds: Seeds
    early_stopping: EarlyStopping
    tolerances: Tolerances
    limits: Limits
    scenarios: dict[Scenario, ScenarioBook]
    benchmarks: dict[str, Benchmark]
    compliance: dict[str, Compliance]
    submission: SubmissionBook | None = None
    conf: dict[str, str] = field(default_factory=dict)  # the round's mlperf.conf
    model_mapping: dict[str, str] = field(default_factory=dict)  # a folder's name -> official name
    conflicts: tuple[Conflict, ...] = ()

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark called `name`. Raises ConfigError with the nearest right one."""
        if name not in self.benchmarks:
            raise ConfigError(
                f"round {self.round} has no benchmark {name!r}",
                hint=did_you_mean(name, self.benchmarks),
            )
        return self.benchmarks[name]

    def rule(self, benchmark: str, suite: Suite, scenario: Scenario) -> ScenarioRule:
        """The rule of one benchmark-scenario of a suite.

        Raises ConfigError, with the suite's list, where the suite does not have that scenario.
        """
        entry = self.benchmark(benchmark)
        allowed = entry.suites.get(suite, ())
        if scenario not in allowed:
            has = ", ".join(s.value for s in allowed) or "no scenario at all"
            others = [s.value for s in Suite if scenario in entry.suites.get(s, ())]
            hint = f"{benchmark} in {suite} has: {has}"
            if others:
                hint += f"; {scenario} belongs to --suite {' or '.join(others)}"
            raise ConfigError(
                f"{benchmark} has no scenario {scenario} in the {suite} suite of {self.round}",
                where="--scenario",
                hint=hint,
            )
        return ScenarioRule(
            round=self.round,
            name=benchmark,
            suite=suite,
            scenario=scenario,
            benchmark=entry,
            book=self.scenarios[scenario],
            seeds=self.seeds,
            early_stopping=self.early_stopping,
            tolerances=self.tolerances,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioRule:
    """What a round demands of one benchmark in one scenario of one suite."""

    round: str
    name: str
    suite: Suite
    scenario: Scenario
    benchmark: Benchmark
    book: ScenarioBook
    seeds: Seeds
    early_stopping: EarlyStopping
    tolerances: Tolerances

    @property
    def target_latency_ns(self) -> int | None:
        """The latency bound of Server [ns], None elsewhere."""
        limit = self.benchmark.server_latency_ms
        if self.scenario is not Scenario.SERVER or limit is None:
            return None
        return limit * 1_000_000

    @property
    def query_floor(self) -> int:
        """Fewest queries that early stopping accepts; Offline: the round's sample count."""
        kind = self.book.early_stopping
        if kind == "none":
            return self.book.min_query_count
        return floor_queries(self.book.percentile, estimate=kind == "estimate")


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthRule:
    """What a run length changes of the round's own durations and counts."""

    purpose: str
    official: bool
    min_duration_ms: int | None = None
    min_query_count: int | None = None
    min_query_count_floor: bool = False


@dataclass(frozen=True, slots=True)
class _Lengths:
    smoke: LengthRule
    short: LengthRule
    official: LengthRule = field()


def rounds() -> list[str]:
    """The rounds that have a rule book here, oldest first."""
    folder = resources.files("coldmark.rules.books")
    names = [entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return sorted(names, key=lambda name: [int(part) for part in name.lstrip("v").split(".")])


@cache
def load_book(name: str) -> RuleBook:
    """The rule book of a round. Raises ConfigError with the nearest round that has one."""
    known = rounds()
    if name not in known:
        raise ConfigError(f"no rule book for round {name!r}", where="--round", hint=did_you_mean(name, known))
    return read_toml(Path(str(resources.files("coldmark.rules.books") / f"{name}.toml")), RuleBook)


@cache
def load_length(length: Length) -> LengthRule:
    """What a run length asks of LoadGen."""
    lengths = read_toml(Path(str(resources.files("coldmark.rules") / "lengths.toml")), _Lengths)
    rule: LengthRule = getattr(lengths, length.value)
    return rule
