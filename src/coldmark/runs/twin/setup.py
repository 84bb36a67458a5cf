"""What a twin run needs, found and checked before anything is simulated."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Scenario, Suite
from coldmark.rules.book import ScenarioRule, load_book
from coldmark.thermal.assembly import Assembly, Operation, assemble, find_design
from coldmark.thermal.calibration import Fit, Values, shipped_fit, unpack
from coldmark.thermal.catalogue import find_server
from coldmark.thermal.exchanger import facility_flow
from coldmark.thermal.facility import supply_for
from coldmark.thermal.model import Part, ServerModel
from coldmark.thermal.power import Curve
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
    least_queries: int = 0  # the streams play at least so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A spec with everything it names found. `at` is the spec's, with the supply that its facility gives."""

    spec: TwinSpec
    at: Operation
    rule: ScenarioRule
    cooling: str
    asm: Assembly
    values: Values
    fit: Fit
    engine: Engine

    @property
    def facility_l_per_min(self) -> float:
        """Facility water through the CDU; 0 without coolant."""
        loop = self.asm.server.loop
        dry = loop is None or self.asm.flow_l_per_min <= 0
        return 0.0 if dry or loop is None else facility_flow(loop, self.at.facility_l_per_min)

    def at_limit(self, limit_w: float, part: Part) -> Engine:
        """The benchmark on this server with other modules at another limit, fed by the same facility."""
        at = replace(self.spec.at, limit_w=limit_w)
        eng = self._engine(at, part)
        if at.facility_degc is None:
            return eng
        return self._engine(_fed(self.asm.server, self.cooling, at, eng.power, part), part)

    def resupplied(self, eng: Engine) -> Setup:
        """The setup with the supply that its facility water gives while it runs as busy as `eng`."""
        if self.spec.at.facility_degc is None:
            return self
        at = _fed(self.asm.server, self.cooling, self.spec.at, eng.power, None)
        fresh = self._engine(at, None)
        return replace(self, at=at, asm=fresh.asm, engine=fresh)

    def _engine(self, at: Operation, part: Part | None) -> Engine:
        asm = assemble(self.asm.server, self.cooling, at, part)
        return engine(asm, self.values, self.fit, self.spec.workload)


def set_up(spec: TwinSpec) -> Setup:
    """Find and check everything. Raises ConfigError before anything is simulated."""
    if not 1 <= spec.duration_s <= 86_400:
        raise ConfigError(f"{spec.duration_s:g} s", where="--duration-s", hint="permitted: 1 to 86400 s")
    server = find_server(spec.server)
    fitted_name(spec.workload)
    rule = _rule(spec)
    cooling = find_design(server, spec.cooling)[0]
    _check_facility(spec.at)
    asm = assemble(server, cooling, spec.at)
    fit = shipped_fit()
    values = unpack(fit.mean, fit.benchmarks)
    eng = engine(asm, values, fit, spec.workload)
    found = Setup(
        spec=spec, at=spec.at, rule=rule, cooling=cooling, asm=asm, values=values, fit=fit, engine=eng
    )
    return found.resupplied(eng) if found.facility_l_per_min else found


def _check_facility(at: Operation) -> None:
    if at.facility_degc is not None and at.supply_degc is not None:
        raise ConfigError(
            "--facility-degc and --supply-degc exclude each other",
            where="--facility-degc",
            hint="the supply follows from the facility water, the heat and the CDU: leave one out",
        )


def _fed(server: ServerModel, cooling: str, at: Operation, power: Curve, part: Part | None) -> Operation:
    if at.facility_degc is None or server.loop is None:
        return at
    flow = facility_flow(server.loop, at.facility_l_per_min)
    supply = supply_for(
        server.loop,
        lambda degc: assemble(server, cooling, replace(at, supply_degc=degc), part),
        power,
        at.facility_degc,
        flow,
    )
    return replace(at, supply_degc=supply)


def _rule(spec: TwinSpec) -> ScenarioRule:
    book = load_book(spec.round)
    suites = book.benchmark(spec.workload).suites
    first = Suite.DATACENTER if spec.scenario in suites.get(Suite.DATACENTER, ()) else Suite.EDGE
    return book.rule(spec.workload, spec.suite or first, spec.scenario)
