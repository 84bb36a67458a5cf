"""A round's rule book: what `books/*.toml` holds, and the rule of one benchmark-scenario."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
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
    clause: str
    test05_qsl: int | None = None  # None: the round has no TEST05
    test05_sample_index: int | None = None
    test05_schedule: int | None = None

    def alternate(self) -> Seeds:
        """The seeds of TEST05 in the places of the ordinary ones. Raises ConfigError where there are none."""
        qsl, index, schedule = self.test05_qsl, self.test05_sample_index, self.test05_schedule
        if qsl is None or index is None or schedule is None:
            raise ConfigError("this round has no other seeds to test with", where="TEST05")
        return replace(self, qsl=qsl, sample_index=index, schedule=schedule)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    confidence: float
    tolerance: float
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """Largest relative deviation of a result from what its own log says."""

    measured: bool = False  # on the round's own logs; else v2.1's are taken
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
    refusal: str = ""  # why coldmark cannot run it; empty where it can


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What differs from the scenario's own in one benchmark."""

    clause: str
    min_duration_ms: int | None = None
    min_query_count: int | None = None
    percentile: float | None = None
    result_field: str | None = None
    metric: str | None = None
    unit: str | None = None
    scale: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A metric of accuracy and where it has to lie."""

    unit: str
    target: float | None = None  # least; one of the two bounds stands
    reference: float | None = None
    ratio: float | None = None  # target over reference, where the round writes it so
    upper: float | None = None  # most
    audit_tolerance: float | None = None  # TEST01's, where it is not the test's own


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyBook:
    """A benchmark's first metric with its target: all there is in most benchmarks."""

    metric: str
    unit: str
    reference: float
    ratio: float
    target: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long an answer may take in one scenario: whole, or to the first and for each further token."""

    end_to_end_ms: float | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What a round says of a benchmark, whatever the scenario."""

    official_name: str
    task: str
    dataset: str
    performance_sample_count: int
    targets: dict[str, Target]  # by metric; the first is the one results tables show
    suites: dict[Suite, tuple[Scenario, ...]]  # required
    accuracy_sample_count: int | None = None
    dataset_size: int | None = None  # samples of the whole set, where the checker holds it
    accuracy_sample_counts: dict[Scenario, int] = field(default_factory=dict)  # where they differ
    scenario_targets: dict[Scenario, dict[str, Target]] = field(default_factory=dict)  # where they differ
    optional: dict[Suite, tuple[Scenario, ...]] = field(default_factory=dict)
    both: tuple[Scenario, ...] = ()  # required of a system of type "datacenter,edge"
    both_optional: tuple[Scenario, ...] = ()
    latency: dict[Scenario, Latency] = field(default_factory=dict)
    min_queries: dict[Scenario, int] = field(default_factory=dict)  # the checker's
    accuracy_files: tuple[str, ...] = ()  # that lie below accuracy/ besides; without their endings
    compliance: tuple[str, ...] = ()
    test01_sampling_target: int = 0
    overrides: dict[Scenario, Override] = field(default_factory=dict)
    equal_issue: bool = False
    bandwidth: Bandwidth | None = None

    @property
    def accuracy(self) -> AccuracyBook:
        """The first metric."""
        metric, first = next(iter(self.targets.items()))
        target = first.target or 0.0
        reference = target if first.reference is None else first.reference
        return AccuracyBook(
            metric=metric,
            unit=first.unit,
            reference=reference,
            ratio=1.0 if first.ratio is None else first.ratio,
            target=target,
        )

    def scenarios(self, suite: Suite) -> tuple[Scenario, ...]:
        """The scenarios of a suite, required and optional."""
        return self.suites.get(suite, ()) + self.optional.get(suite, ())

    def targets_in(self, scenario: Scenario) -> dict[str, Target]:
        """The metrics and where they have to lie in one scenario."""
        return self.scenario_targets.get(scenario, self.targets)

    @property
    def server_latency_ms(self) -> float | None:
        """The bound of Server [ms] on whole answers, None where there is none."""
        limit = self.latency.get(Scenario.SERVER)
        return None if limit is None else limit.end_to_end_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Compliance:
    purpose: str
    mode: str
    performance: str  # "within": both ways; "not_faster", "not_slower": one way; "none"
    performance_tolerance: float  # of the submitted score
    clause: str
    supported: bool = True  # whether coldmark runs it
    relaxed_tolerance: float | None = None
    relaxed_below_ns: dict[Scenario, int] = field(default_factory=dict)  # submitted latency it applies up to
    accuracy_tolerance: float | None = None
    accuracy_tolerance_strict: float | None = None  # of a benchmark with 99.9 in its name
    accuracy_log_rng_seed: int = 0
    performance_issue_unique: bool = False
    performance_issue_same: bool = False
    performance_issue_same_index: int = 0
    alternate_seeds: bool = False
    answers: tuple[tuple[str, ...], ...] = ()  # lines of verify_accuracy.txt, one of each; no run to compare
    valid: bool = True  # whether its run must be a VALID one of full length
    against: str = ""  # the test whose run it is compared with, where that is not the submitted run
    not_in: tuple[Scenario, ...] = ()  # scenarios it is not asked of


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

    def name_of(self, name: str) -> str:
        """A benchmark's name here, by that or its official one. Raises ConfigError with the nearest."""
        official = {b.official_name: key for key, b in self.benchmarks.items()}
        if name in official and name not in self.benchmarks:
            return official[name]
        self.benchmark(name)
        return name

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark called `name`. Raises ConfigError with the nearest right one."""
        if name not in self.benchmarks:
            raise ConfigError(
                f"round {self.round} has no benchmark {name!r}",
                hint=did_you_mean(name, self.benchmarks),
            )
        return self.benchmarks[name]

    def scenario(self, benchmark: str, scenario: Scenario) -> ScenarioBook:
        """What the round says of a scenario in one benchmark."""
        book, other = self.scenarios[scenario], self.benchmark(benchmark).overrides.get(scenario)
        if other is None:
            return book
        changed = {f.name: v for f in fields(other) if (v := getattr(other, f.name)) is not None}
        return replace(book, **{**changed, "clause": f"{book.clause}; {other.clause}"})

    def rule(self, benchmark: str, suite: Suite, scenario: Scenario) -> ScenarioRule:
        """The rule of one benchmark-scenario of a suite.

        Raises ConfigError, with the suite's list, where the suite does not have that scenario.
        """
        entry = self.benchmark(benchmark)
        allowed = entry.scenarios(suite)
        if scenario not in allowed:
            has = ", ".join(s.value for s in allowed) or "no scenario at all"
            others = [s.value for s in Suite if scenario in entry.scenarios(s)]
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
            book=self.scenario(benchmark, scenario),
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
        return round(limit * 1_000_000)

    @property
    def refusal(self) -> str:
        """Why coldmark cannot run it; empty where it can."""
        limit = self.benchmark.latency.get(self.scenario)
        if limit is not None and (limit.ttft_ms or limit.tpot_ms):
            return "its latency is bounded token by token, and coldmark measures whole answers"
        return self.book.refusal

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


def rounds(folder: Path | None = None) -> list[str]:
    """The rounds that have a rule book in a folder (here, without one), oldest first."""
    names = [entry.stem for entry in (folder or _books()).iterdir() if entry.suffix == ".toml"]
    return sorted(names, key=lambda name: [int(part) for part in name.lstrip("v").split(".")])


def _books() -> Path:
    return Path(str(resources.files("coldmark.rules.books")))


def _nearest(name: str, known: list[str]) -> str:
    """The hint for a round that has no book: the one nearest in number, else in spelling."""
    given = re.fullmatch(r"v?(\d{1,3})\.(\d)", name)
    if given is None or not known:
        return did_you_mean(name, known)
    number = int(given[1]) * 10 + int(given[2])
    return f"did you mean '{min(known, key=lambda n: abs(int(re.sub('[^0-9]', '', n)) - number))}'?"


@cache
def load_book(name: str, folder: Path | None = None) -> RuleBook:
    """The rule book of a round. Raises ConfigError with the nearest round that has one."""
    known = rounds(folder)
    if name not in known:
        raise ConfigError(f"no rule book for round {name!r}", where="--round", hint=_nearest(name, known))
    book = read_toml((folder or _books()) / f"{name}.toml", RuleBook)
    if book.round != name:
        raise ConfigError(f"says it is round {book.round!r}", where=f"{name}.toml", hint="name both alike")
    return book


@cache
def load_length(length: Length) -> LengthRule:
    """What a run length asks of LoadGen."""
    lengths = read_toml(Path(str(resources.files("coldmark.rules") / "lengths.toml")), _Lengths)
    rule: LengthRule = getattr(lengths, length.value)
    return rule
