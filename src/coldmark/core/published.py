"""A published performance run as one row: what a round's logs and system files say of it."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRun:
    """One performance run of a results repository. None or "" is "not published", never zero.

    The fields are the columns of the table `results`, in this order; one that ends in a unit has it.
    """

    round: str  # v2.1
    division: str  # closed, open or network
    submitter: str
    system: str  # the folder's name: the system's identity within its submitter
    system_name: str  # what the submitter calls it
    suite: str  # datacenter, edge or "datacenter,edge"; "" before rounds had suites
    benchmark: str  # canonical: resnet is resnet50
    scenario: str  # the folder's: what the result is submitted for
    run: int  # 1; rounds before v1.0 have up to five Server runs
    score: float  # in `unit`
    unit: str
    metric: str
    lower_is_better: bool
    validity: str  # LoadGen's own verdict: VALID or INVALID
    inferred: bool  # the log is of another scenario than the folder
    logged_scenario: str
    status: str = ""  # available, preview or rdi
    accelerator: str = ""
    accelerators_per_node: int | None = None  # 0: none; None: the file does not say one number
    nodes: int | None = None
    accelerators: int | None = None  # of all nodes
    processor: str = ""
    processors_per_node: int | None = None
    cores_per_processor: int | None = None
    cores: int | None = None  # of all processors of all nodes
    memory: str = ""
    software: str = ""
    software_stack: str = ""
    operating_system: str = ""
    cooling: str = ""
    notes: str = ""  # hardware notes
    accuracy: float | None = None
    accuracy_metric: str = ""
    power_submission: bool = False  # the run was metered at the wall
    power: float | None = None  # recomputed from spl.txt, in `power_unit`
    power_unit: str = ""  # W, or J/query for the streams
    power_window: str = ""  # marks: between power_begin and power_end; busiest: an estimate without them
    queries: int | None = None
    samples_per_query: int | None = None
    target_qps: float | None = None
    target_latency_ns: int | None = None
    min_duration_ms: int | None = None
    min_query_count: int | None = None
    mean_latency_ns: int | None = None
    p50_latency_ns: int | None = None
    p90_latency_ns: int | None = None
    p99_latency_ns: int | None = None
    p999_latency_ns: int | None = None
    max_latency_ns: int | None = None
    deviation: float | None = None  # logged result over what the log's other fields give, minus 1
    source: str = ""  # where the files come from
    path: str  # of the summary log within the source

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two rows the same run of the same round."""
        place = (self.division, self.submitter, self.system, self.benchmark, self.scenario)
        return (self.round, *place, str(self.run))


COLUMNS: dict[str, str] = {f.name: str(f.type) for f in fields(PublishedRun)}
"""Column -> Python type, as written above."""

IDENTITY = ("round", "division", "submitter", "system", "benchmark", "scenario", "run")
"""The columns that make a row unique."""
