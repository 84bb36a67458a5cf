"""What a round says of a submission's tree: the `[submission]` part of a rule book, as types.

Only data: who builds or checks a tree reads it here, and no name of a file, field or limit stands in code.
Paths are below `<division>/<submitter>/`; `{system}`, `{model}`, `{scenario}` and `{test}` stand for folders.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from coldmark.core.nouns import Scenario, Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderBook:
    """A folder of the tree: the files it must hold, and those it may hold besides."""

    path: str
    when: str  # always, closed (also network), power, test01, test01_unequal
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()  # `*` stands for any text within a name
    others: str = "error"  # what any other file is: an error, or "allowed"
    tests: tuple[str, ...] = ()  # audit tests it is asked of, where not of all
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldBook:
    """A field of a JSON file, explained for whoever has to fill it in."""

    about: str
    kind: str = "text"  # text, count (whole number, also as text), flag (true or false, also as text), choice
    meaningful: bool = False  # the rules ask for a meaningful response, not for an empty text
    required: bool = True  # the key must be there
    choices: tuple[str, ...] = ()
    example: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldGroup:
    """Fields that stand under one clause, and when the group is asked for."""

    clause: str
    when: str  # always, power, network
    fields: dict[str, FieldBook]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyText:
    """How `accuracy.txt` says a metric; the first line that matches counts. Group 1 is the value."""

    pattern: str
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyLogBook:
    """`mlperf_log_accuracy.json` in a tree: cut to its ends, with the digest of the whole in accuracy.txt."""

    max_bytes: int
    head_bytes: int
    tail_bytes: int
    between: str  # stands for what was cut out
    hash_pattern: str  # group 1: sha256 of the whole file, in hex
    significant_digits: int  # an accuracy is reported to so many, rounded half to even
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBook:
    """What is read from a detail log, by LoadGen's own key."""

    dialect: str  # "mllog" lines of JSON, or "text"
    validity: str
    valid: str
    query_count: str
    sut_name: str
    errors_known: tuple[str, ...] = ()  # error lines with this text do not count
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """A result taken from another scenario's log: `multiply` times the field, or `divide` over it."""

    scenario: Scenario
    source: Scenario
    suites: tuple[Suite, ...]
    field: str
    clause: str
    multiply: float | None = None
    divide: float | None = None
    zero_is_missing: bool = False  # LoadGen writes 0 where there were too few queries


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSession:
    """What `client.json` and `server.json` of the power workflow must say."""

    fields: tuple[str, ...]
    ptd_versions: tuple[str, ...]
    meters: dict[str, int]  # model as PTDaemon names it -> its device number
    hashed_files: tuple[str, ...]  # below performance/; sha1 of each in both files' `results`
    uncertainty_check: str  # the line of ptd_logs.txt that says the check was on
    common_ranging_errors: tuple[str, ...]
    common_testing_errors: tuple[str, ...]
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerBook:
    """How power is taken from a run's logs, and what makes it a power result."""

    units: dict[Scenario, str]  # W: mean power; J or mJ: energy of a query
    begin_key: str
    end_key: str
    time_format: str  # strptime
    utc: bool  # times in spl.txt and the log need no shift by the hosts' time zones
    clock: str
    sample_time_column: int  # of a line of spl.txt, split at commas
    sample_watts_column: int
    duration_tolerance: float  # ranging against testing, of the longer
    clock_difference_ms: int  # client against server, at each phase
    documents: tuple[str, ...]  # one of each somewhere on the way measurements/ .. {scenario}
    document_folders: tuple[str, ...]
    skip_other_lines: bool = False  # whether lines of spl.txt that say no power are skipped
    documents_required: bool = False  # whether the round's checker asks for them
    session: PowerSession
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkBook:
    """The network division: the SUT behind a network."""

    flag: str
    must_be: dict[str, bool]  # division -> whether its systems are over a network
    sut_name_contains: str
    suites: tuple[Suite, ...]
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatacenterBook:
    """What the datacenter suite asks of a system besides."""

    ecc: bool
    ecc_clause: str
    bandwidth_described: bool
    bandwidth_clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserConf:
    """What a submitter's user.conf may set."""

    may_set: dict[Scenario, tuple[str, ...]]
    may_raise: tuple[str, ...]  # any scenario; not below the round's own value
    must_stay: tuple[str, ...]  # any scenario; may be written, as the round has it
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesBook:
    """What a submitter's folder may hold at all."""

    max_file_bytes: int
    banned: tuple[str, ...]  # names of folders
    empty_folders: bool  # whether they are errors
    loose_files: bool  # whether files beside divisions and submitters are errors
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBook:
    """What the open division is let off."""

    free: tuple[str, ...]
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionBook:
    """Everything a round asks of a submission's tree."""

    layout: str  # name of the shape of the tree: v0.5, v1.0 or v6.0
    divisions: tuple[str, ...]
    closed_divisions: tuple[str, ...]  # targets, scenarios and compliance hold here
    ignored_folders: tuple[str, ...]
    availabilities: tuple[str, ...]
    system_types: tuple[str, ...]
    scenario_folders: dict[str, Scenario]  # spelling of a folder -> what it means
    performance_runs: dict[str, int]  # by scenario; "default" for the others
    clause: str
    folders: dict[str, FolderBook] = field(default_factory=dict)
    system: dict[str, FieldGroup] = field(default_factory=dict)
    implementation: FieldGroup | None = None
    accuracy_text: dict[str, AccuracyText] = field(default_factory=dict)
    accuracy_log: AccuracyLogBook | None = None
    log: LogBook | None = None
    inferred: tuple[Inferred, ...] = ()
    power: PowerBook | None = None
    network: NetworkBook | None = None
    datacenter: DatacenterBook | None = None
    user_conf: UserConf | None = None
    open_division: OpenBook | None = None
    names: NamesBook | None = None
    open_mapping: str = ""  # an open submitter's own file of folder -> official name
    empty_is_error: bool = False  # whether a meaningful field must not be empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Bytes a sample into and out of a datacenter system: elements times their size, plus bytes."""

    ingress: str  # the rule's formula
    ingress_elements: dict[str, int] = field(default_factory=dict)  # kind of element -> how many a sample
    ingress_bytes: int = 0
    egress: str = "> 0"
    egress_elements: dict[str, int] = field(default_factory=dict)
