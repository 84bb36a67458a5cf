"""From a server model, a cooling design and an operating point to a thermal network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.thermal.air import check_inlet, fan_flow_m3_per_s, fan_power_w, sink_resistance
from coldmark.thermal.catalogue import check_limit, design_way, find_part
from coldmark.thermal.cdu import check_dew_point
from coldmark.thermal.fluids import air_heat_rate_w_per_k, find_fluid
from coldmark.thermal.hydraulics import Resistance, loop_drop, parallel_flows, pump_power_w, speed_for
from coldmark.thermal.model import Component, Design, Part, Plate, ServerModel, Sink
from coldmark.thermal.network import Array, Link, Matrices, Network, Node, Stream, matrices
from coldmark.thermal.plates import find_table, plate_own_resistance

BOUNDARIES = ("supply", "inlet")
INTERFACE = 0.2
"""Share of a plate's own resistance that lies between package and plate; only transients see it. [M]"""
AIR_J_PER_K = 8.0
"""Heat capacity of an air volume with what little metal is in it.

[M]; it only sets a time of milliseconds.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What the user may turn, and what may break. None: as the server file says."""

    limit_w: float | None = None
    supply_degc: float | None = None
    flow_l_per_min: float | None = None
    inlet_degc: float | None = None
    fan_share: float | None = None
    facility_degc: float | None = None  # in place of supply_degc, which then follows; see facility.py
    facility_l_per_min: float | None = None
    flow_factor: float = 1.0  # faults: what is left of the coolant flow
    fans_running: float = 1.0  # faults: share of the fans that turn
    foul: Mapping[int, float] = field(
        default_factory=dict
    )  # faults: accelerator -> factor on its plate or sink


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """A network with the meaning of its nodes."""

    server: ServerModel
    part: Part
    design: Design
    network: Network
    mats: Matrices
    die: Array  # [g] node indices
    memory: Array  # [g]
    other: dict[str, int]  # component -> node that takes its power
    boundary_degc: Array  # [supply, inlet]
    limit_w: float
    flow_l_per_min: float
    plate_l_per_min: float
    fan_w: float
    pump_w: float
    loop_pa: float
    dew_margin_k: float | None
    liquid: tuple[int, ...]  # nodes whose streams leave as coolant

    @property
    def sources(self) -> Array:
        """Nodes that take power: dies, memories, then the others in order."""
        return np.concatenate([self.die, self.memory, np.array(list(self.other.values()))]).astype(int)


def find_design(server: ServerModel, name: str | None, *, where: str = "--cooling") -> tuple[str, Design]:
    """A cooling design by name; the built one where none is asked for. Raises ConfigError."""
    name = name or server.design
    if name not in server.designs:
        raise ConfigError(
            f"{server.id} has no cooling {name!r}", where=where, hint=did_you_mean(name, server.designs)
        )
    return name, server.designs[name]


def assemble(
    server: ServerModel,
    design_name: str | None = None,
    at: Operation | None = None,
    part: Part | None = None,
) -> Assembly:
    """The network of a server. Raises ConfigError where the operating point is outside what is known."""
    design = find_design(server, design_name)[1]
    return _Build(server, design, at or Operation(), part or find_part(server.gpu.part)).finish()


class _Build:
    """Nodes, links and streams as they are collected."""

    def __init__(self, server: ServerModel, design: Design, at: Operation, part: Part) -> None:
        self.server, self.design, self.at = server, design, at
        self.part = part
        self.nodes: list[Node] = []
        self.links: list[Link] = []
        self.streams: list[Stream] = []
        self.liquid: list[str] = []
        self.wet = [key for key in ("gpu", "cpu", "memory") if getattr(design, key) == "plate"]
        if design.rest == "plate":
            self.wet.append("rest")
        self.inlet = server.air.inlet_degc.value if at.inlet_degc is None else at.inlet_degc
        check_inlet(self.inlet, server.air.inlet_class)
        self.limit = server.gpu.default_limit_w.value if at.limit_w is None else at.limit_w
        check_limit(self.limit, self.part, "--power-limit-w")
        duty = design.load_share or server.air.load_share
        self.duty = duty.value if at.fan_share is None else at.fan_share
        self.air_flow = fan_flow_m3_per_s(server.air, self.duty, at.fans_running)
        self.supply, self.flow, self.margin = self._loop()

    def _loop(self) -> tuple[float, float, float | None]:
        loop = self.server.loop
        if loop is None or not self.wet:
            for key, value in (
                ("--supply-degc", self.at.supply_degc),
                ("--flow-l-per-min", self.at.flow_l_per_min),
                ("--facility-degc", self.at.facility_degc),
                ("--facility-l-per-min", self.at.facility_l_per_min),
            ):
                if value is not None:
                    raise ConfigError(
                        f"{self.server.id} has no coolant in this cooling",
                        where=key,
                        hint="leave it out, or choose another --cooling",
                    )
            return self.inlet, 0.0, None
        supply = loop.supply_degc.value if self.at.supply_degc is None else self.at.supply_degc
        flow = loop.flow_l_per_min.value if self.at.flow_l_per_min is None else self.at.flow_l_per_min
        if flow <= 0:
            raise ConfigError(f"{flow:g} L/min", where="--flow-l-per-min", hint="permitted: above 0")
        margin = check_dew_point(
            supply, loop.room_degc.value, loop.room_humidity_share.value, loop.dew_margin_k.value
        )
        return supply, flow, margin

    # --- collecting ---------------------------------------------------------------------------

    def node(self, name: str, c: float) -> str:
        self.nodes.append(Node(name=name, c_j_per_k=c))
        return name

    def link(self, a: str, b: str, r: float, *, mean: bool = False) -> None:
        self.links.append(Link(a=a, b=b, r_k_per_w=r, mean_of_stream=mean))

    def finish(self) -> Assembly:
        air_of = self._air_zones()
        for i in range(self.server.gpu.count):
            self._gpu_module(i)
        gpu_flows, branch = self._branches() if self.wet else ([], 0.0)
        self._gpu_cooling(air_of, gpu_flows)
        other = self._others(air_of, branch)
        net = Network(
            nodes=tuple(self.nodes),
            links=tuple(self.links),
            streams=tuple(self.streams),
            boundaries=BOUNDARIES,
        )
        mats = matrices(net)
        pump_w, loop_pa = self._pump()
        count = range(self.server.gpu.count)
        return Assembly(
            server=self.server,
            part=self.part,
            design=self.design,
            network=net,
            mats=mats,
            die=np.array([mats.index[f"gpu{i}.die"] for i in count]),
            memory=np.array([mats.index[f"gpu{i}.hbm"] for i in count]),
            other={name: mats.index[node] for name, node in other.items()},
            boundary_degc=np.array([self.supply, self.inlet]),
            limit_w=self.limit,
            flow_l_per_min=self.flow * self.at.flow_factor,
            plate_l_per_min=min([*gpu_flows, branch] if branch else gpu_flows, default=0.0),
            fan_w=fan_power_w(self.server.air, self.duty, self.at.fans_running),
            pump_w=pump_w,
            loop_pa=loop_pa,
            dew_margin_k=self.margin,
            liquid=tuple(mats.index[name] for name in self.liquid),
        )

    # --- air ----------------------------------------------------------------------------------

    def _air_zones(self) -> dict[str, str]:
        """Air volumes and the streams through them; the zone of "board", "rest" and each "gpuN"."""
        air, zones = self.server.air, {"board": "air.board", "rest": "air.rest"}
        total = air_heat_rate_w_per_k(self.air_flow, self.inlet)
        for zone in ("air.board", "air.rest"):
            self.node(zone, AIR_J_PER_K)
        dry_gpus = self.design.gpu == "air"
        through = total * air.gpu_share.value if dry_gpus else 0.0
        series = air.layout == "series"
        to_board = total if series else total - through
        self._stream("inlet", "air.board", to_board)
        ends = self._gpu_columns("air.board" if series else "inlet", through, zones) if dry_gpus else []
        if series:
            for end, rate in ends:
                self._stream(end, "air.rest", rate)
        self._stream("air.board", "air.rest", total - through)
        return zones

    def _gpu_columns(self, start: str, through: float, zones: dict[str, str]) -> list[tuple[str, float]]:
        columns, ends = self._columns(), []
        for col in range(columns):
            upstream = start
            for i in range(col, self.server.gpu.count, columns):
                zones[f"gpu{i}"] = self.node(f"gpu{i}.air", AIR_J_PER_K)
                self._stream(upstream, zones[f"gpu{i}"], through / columns)
                upstream = zones[f"gpu{i}"]
            ends.append((upstream, through / columns))
        return ends

    def _columns(self) -> int:
        return -(-self.server.gpu.count // max(1, self.server.air.gpu_rows))

    def _stream(self, a: str, b: str, rate: float) -> None:
        self.streams.append(Stream(a=a, b=b, w_per_k=rate))

    # --- coolant ------------------------------------------------------------------------------

    def _hydraulics(self) -> tuple[list[Resistance], Resistance, int]:
        """Branches (accelerators first, then CPUs and what follows them), manifold, accelerator branches.

        Neighbouring branches draw `uneven_share` less and more than their part.
        """
        loop = self.server.loop
        assert loop is not None
        gpus = self.server.gpu.count // loop.gpus_per_branch if "gpu" in self.wet else 0
        cpus = self.server.cpu.count if set(self.wet) - {"gpu"} else 0
        each = loop.flow_l_per_min.value / max(1, gpus + cpus)
        u = loop.uneven_share.value
        branches = [
            Resistance(dp_pa=loop.branch_pa.value, flow_l_per_min=each * (1 + (u if i % 2 else -u)))
            for i in range(gpus + cpus)
        ]
        manifold = Resistance(dp_pa=loop.manifold_pa.value, flow_l_per_min=loop.flow_l_per_min.value)
        return branches, manifold, gpus

    def _branches(self) -> tuple[list[float], float]:
        """Flow [L/min] of each accelerator branch, and of the mean CPU branch (0 where there is none)."""
        branches, _, gpus = self._hydraulics()
        flows, _ = parallel_flows(branches, self.flow)
        rest = flows[gpus:]
        return flows[:gpus], sum(rest) / len(rest) if rest else 0.0

    def _pump(self) -> tuple[float, float]:
        loop = self.server.loop
        if loop is None or not self.wet or loop.pump is None:
            return 0.0, 0.0
        branches, manifold, _ = self._hydraulics()
        speed_for(loop.pump, branches, manifold, self.flow)
        drop = loop_drop(branches, manifold, self.flow)
        return pump_power_w(self.flow, drop, loop.pump.efficiency_share.value), drop

    def _fluid_rate(self, litres: float) -> float:
        loop = self.server.loop
        assert loop is not None
        return find_fluid(loop.fluid).heat_rate_w_per_k(litres * self.at.flow_factor, self.supply)

    def _fluid_node(self, name: str, plate: Plate) -> str:
        loop = self.server.loop
        assert loop is not None
        fluid = find_fluid(loop.fluid)
        c = plate.coolant_l.value * 1e-3 * fluid.density_kg_per_m3(self.supply)
        return self.node(name, c * fluid.heat_capacity_j_per_kg_k(self.supply))

    def _own(self, plate: Plate, branch: float) -> float:
        """The plate's own resistance; in a fault it keeps the value of the lowest tabulated flow at least."""
        table = find_table(plate.table)
        fault = self.at.flow_factor < 1.0
        flow = max(branch * self.at.flow_factor, table.range_l_per_min[0]) if fault else branch
        where = "--flow-l-per-min" if self.at.flow_l_per_min is not None else f"{self.server.file}: loop"
        return plate_own_resistance(flow, table, where=where) * plate.scale_factor.value

    # --- parts --------------------------------------------------------------------------------

    def _gpu_module(self, i: int) -> None:
        p = self.part
        die, hbm = (
            self.node(f"gpu{i}.die", p.die_j_per_k.value),
            self.node(f"gpu{i}.hbm", p.memory_j_per_k.value),
        )
        package = self.node(f"gpu{i}.package", p.package_j_per_k.value)
        self.link(die, package, p.junction_k_per_w.value)
        self.link(hbm, package, p.memory_k_per_w.value)

    def _gpu_cooling(self, air_of: dict[str, str], flows: list[float]) -> None:
        gpu, loop = self.server.gpu, self.server.loop
        if self.design.gpu == "air":
            assert gpu.air is not None
            flow = self.air_flow * self.server.air.gpu_share.value / self._columns()
            for i in range(gpu.count):
                self._to_air(
                    f"gpu{i}.package",
                    f"gpu{i}.sink",
                    gpu.air,
                    flow,
                    air_of[f"gpu{i}"],
                    self.at.foul.get(i, 1),
                )
            return
        assert gpu.plate is not None and loop is not None  # noqa: PT018
        upstream = "supply"
        for i in range(gpu.count):
            if i % loop.gpus_per_branch == 0:
                upstream = "supply"
            flow, foul = flows[i // loop.gpus_per_branch], self.at.foul.get(i, 1)
            upstream = self._to_plate(f"gpu{i}", f"gpu{i}.package", gpu.plate, flow, upstream, foul)
            if i % loop.gpus_per_branch == loop.gpus_per_branch - 1:
                self.liquid.append(upstream)

    def _to_air(self, hot: str, sink: str, data: Sink, flow: float, zone: str, foul: float = 1.0) -> None:
        total = sink_resistance(data, self._known(data, flow), where=f"{self.server.file}: {sink}")
        fixed = data.fixed_k_per_w.value
        self.node(sink, data.sink_j_per_k.value)
        self.link(hot, sink, fixed)
        self.link(sink, zone, (total - fixed) * foul, mean=True)

    def _known(self, data: Sink, flow: float) -> float:
        """In a fan fault the sink keeps the resistance of its lowest known flow; else outside is an error."""
        if self.at.fans_running >= 1.0:
            return flow
        return max(flow, data.low_factor.value * data.nominal_m3_per_s.value)

    def _to_plate(
        self, name: str, hot: str, data: Plate, flow: float, upstream: str, foul: float = 1.0
    ) -> str:
        own = self._own(data, flow)
        plate = self.node(f"{name}.plate", data.plate_j_per_k.value)
        fluid = self._fluid_node(f"{name}.coolant", data)
        self.link(hot, plate, INTERFACE * own)
        self.link(plate, fluid, (1 - INTERFACE) * own * foul, mean=True)
        self._stream(upstream, fluid, self._fluid_rate(flow))
        return fluid

    def _others(self, air_of: dict[str, str], branch: float) -> dict[str, str]:
        """CPUs one by one, every other component as one lump; component -> node that takes its power."""
        taken: dict[str, str] = {}
        tails: list[str] = []
        cpu = self.server.cpu
        for j in range(cpu.count):
            name = f"cpu{j}"
            taken[name] = self.node(f"{name}.die", cpu.die_j_per_k.value)
            tails.append(
                self._component(name, taken[name], cpu, "cpu", air_of["board"], branch, ["supply"], 1)
            )
        for name, noun in [("memory", self.server.memory), *self.server.others.items()]:
            zone = air_of["board"] if name == "memory" else air_of["rest"]
            taken[name] = self.node(name, noun.die_j_per_k.value * noun.count)
            key = name if name == "memory" else f"others.{name}"
            ups = [t for t in tails if t] or ["supply"] * cpu.count
            tail = self._component(name, taken[name], noun, key, zone, branch, ups, noun.count)
            tails = [tail] if tail else tails
        self.liquid += [t for t in tails if t]
        taken["fans"] = air_of["rest"]
        return taken

    def _component(
        self,
        name: str,
        hot: str,
        noun: Component,
        key: str,
        zone: str,
        branch: float,
        ups: list[str],
        lump: int,
    ) -> str:
        """Connect a component, or a lump of so many; its coolant volume, or "" where it is in air."""
        if design_way(self.design, key) == "air":
            assert noun.air is not None
            self._lump_air(name, hot, noun, noun.air, zone, lump)
            return ""
        assert noun.plate is not None
        own = self._own(noun.plate, branch)
        plate = self.node(f"{name}.plate", noun.plate.plate_j_per_k.value * lump)
        fluid = self._fluid_node(f"{name}.coolant", replace(noun.plate))
        self.link(hot, plate, noun.junction_k_per_w.value / lump + INTERFACE * own)
        self.link(plate, fluid, (1 - INTERFACE) * own, mean=True)
        for up in ups:
            rate = branch * (self.server.cpu.count / len(ups) if name[:3] != "cpu" else 1)
            self._stream(up, fluid, self._fluid_rate(rate))
        return fluid

    def _lump_air(self, name: str, hot: str, noun: Component, data: Sink, zone: str, lump: int) -> None:
        share = (
            self.air_flow
            if self.design.gpu == "plate" or self.server.air.layout == "series"
            else (self.air_flow * (1 - self.server.air.gpu_share.value))
        )
        total = sink_resistance(data, self._known(data, share), where=f"{self.server.file}: {name}.air")
        fixed = data.fixed_k_per_w.value
        sink = self.node(f"{name}.sink", data.sink_j_per_k.value * lump)
        self.link(hot, sink, (noun.junction_k_per_w.value + fixed) / lump)
        self.link(sink, zone, (total - fixed) / lump, mean=True)
