"""A tuning's nouns: configurations, what was tried of them, and which was kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from coldmark.core.commandline import command_line, dotted
from coldmark.core.nouns import Finding, Measurement, Precision, Scenario, Suite
from coldmark.core.server_rate import ServerRate

SCHEMA = 1
"""Version of the tuned file's JSON form."""


UNSCORED = "asked for by --precision"
"""How the accuracy of a precision is said to hold the gate that nobody can score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a search chooses among: a backend, its arithmetic, and the backend's own options."""

    backend: str
    precision: Precision
    options: dict[str, str] = field(default_factory=dict)  # backend.KEY -> value, as --set takes them

    @property
    def name(self) -> str:
        """`openvino int8, batch 8, streams 1`."""
        settings = (f"{key.partition('.')[2]} {value}" for key, value in self.options.items())
        return ", ".join([f"{self.backend} {self.precision.value}", *settings])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One configuration as it was tried during the search."""

    configuration: Configuration
    state: str  # complete, rejected (stopped early: clearly worse), infeasible, failed
    value: float | None = None  # in the record's unit, as it was read
    relative: float | None = None  # score over the default's, both corrected by the reference
    slices: int = 0  # how often it was read
    started_s: float = 0.0  # since the search began
    ended_s: float = 0.0
    peak_rss_bytes: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a machine is told from another by."""

    processor: str
    processors: int  # logical ones this process may use
    memory_gib: int  # rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedKey:
    """What a tuned configuration is kept for."""

    machine: Machine
    workload: str
    scenario: Scenario
    suite: Suite
    round: str
    model: str  # mini, full, official, or a path
    fixed: dict[str, str] = field(default_factory=dict)  # what was given, by flag or dotted key


def command(verb: str, key: TunedKey) -> str:
    """`coldmark VERB` with the flags that make this key."""
    options, precision = {}, key.fixed.get("precision")
    for name, value in key.fixed.items():
        if name not in ("backend", "precision"):
            owner, _, option = name.partition(".")
            options[dotted(option) if owner == "task" else name] = value
    return command_line(
        verb,
        key.workload,
        scenario=key.scenario,
        suite=key.suite,
        model=key.model,
        round_name=key.round,
        backend=key.fixed.get("backend"),
        precision=Precision(precision) if precision else None,
        options=options,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedRecord:
    """What `tuned/ID.json` holds."""

    schema: int = SCHEMA
    id: str
    key: TunedKey
    model_sha256: str
    software: dict[str, str]
    best: Configuration
    outcome: str  # win; tie or default (it is kept, as nothing beats it or it is the fastest); only
    value: Measurement
    default: Configuration
    default_value: Measurement | None
    ratio: Measurement | None  # of scores, over the default; where that is kept, of its best rival
    accuracy: str  # how the best one's precision holds the gate
    expected_qps: float | None = None  # Offline: rate a run may expect [samples/s]
    server: ServerRate | None = None  # Server: the rate searched for the best configuration
    trials: tuple[Trial, ...] = ()
    findings: tuple[Finding, ...] = ()
    left_out: tuple[str, ...] = ()
    seed: int = 0
    budget_s: float = 0.0
    took_s: float = 0.0
    when: str = ""  # ISO 8601, UTC
    load_average: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedUse:
    """What of a tuned configuration a run uses; it stands in the run's spec."""

    id: str
    when: str
    settings: dict[str, str]  # backend, precision and options that come from it
    expected_qps: float | None = None
    server_qps: float | None = None  # to ask for, at the run's length
    server_bare_rate: float | None = None  # samples/s of the machine when that was found
