"""What a twin run needs, found and checked before anything is simulated."""

from __future__ import annotations

from dataclasses import dataclass, field

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Scenario, Suite
from coldmark.rules.book import ScenarioRule, load_book
from coldmark.thermal.assembly import Assembly, Operation, assemble, find_design
from coldmark.thermal.calibration import Fit, Values, shipped_fit, unpack
from coldmark.thermal.catalogue import find_server
from coldmark.thermal.score import Engine, engine
from coldmark.thermal.workloads import fitted_name


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinSpec:
    """What is to be simulated."""

    server: str
    workload: str
    scenario: Scenario
    suite: Suite | None = None
    cooling: str | None = None
    at: Operation = field(default_factory=Operation)
    duration_s: float = 600.0
    round: str = "v2.1"
    draws: int = 48  # 0: no interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A spec with everything it names found."""

    spec: TwinSpec
    rule: ScenarioRule
    cooling: str
    asm: Assembly
    values: Values
    fit: Fit
    engine: Engine


def set_up(spec: TwinSpec) -> Setup:
    """Find and check everything. Raises ConfigError before anything is simulated."""
    if not 1 <= spec.duration_s <= 86_400:
        raise ConfigError(f"{spec.duration_s:g} s", where="--duration-s", hint="permitted: 1 to 86400 s")
    server = find_server(spec.server)
    fitted_name(spec.workload)
    rule = _rule(spec)
    cooling = find_design(server, spec.cooling)[0]
    asm = assemble(server, cooling, spec.at)
    fit = shipped_fit()
    values = unpack(fit.mean, fit.benchmarks)
    return Setup(
        spec=spec,
        rule=rule,
        cooling=cooling,
        asm=asm,
        values=values,
        fit=fit,
        engine=engine(asm, values, fit, spec.workload),
    )


def _rule(spec: TwinSpec) -> ScenarioRule:
    book = load_book(spec.round)
    suites = book.benchmark(spec.workload).suites
    first = Suite.DATACENTER if spec.scenario in suites.get(Suite.DATACENTER, ()) else Suite.EDGE
    return book.rule(spec.workload, spec.suite or first, spec.scenario)
