"""A server and its accelerator as data: the nouns that `servers/*.toml` and `parts/*.toml` are read into."""

from __future__ import annotations

from dataclasses import dataclass, field

from coldmark.thermal.parameters import Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An accelerator: limits, clocks, voltage, leakage, and the heat path inside the module."""

    id: str
    name: str
    family: str  # which fit describes it: "a100" or "h100"
    form: str  # "sxm" or "pcie"
    power_min_w: Parameter
    power_max_w: Parameter
    tdp_w: Parameter  # what leakage is a share of
    idle_w: Parameter
    idle_mhz: Parameter
    boost_mhz: Parameter
    memory_mhz: Parameter
    memory_reference_mhz: Parameter  # that of the part the shares were fitted on
    max_operating_degc: Parameter
    slowdown_degc: Parameter
    shutdown_degc: Parameter
    memory_max_degc: Parameter
    hysteresis_k: Parameter
    voltage_min_v: Parameter
    voltage_knee_mhz: Parameter
    voltage_slope_mv_per_mhz: Parameter
    leakage_slope_pct_per_k: Parameter  # of TDP, at 60 degC and the voltage of the boost clock
    leakage_rate_per_k: Parameter
    memory_idle_w: Parameter
    memory_load_w: Parameter
    junction_k_per_w: Parameter  # die to package lid, interface included
    memory_k_per_w: Parameter  # HBM stacks to package lid
    die_j_per_k: Parameter
    memory_j_per_k: Parameter
    package_j_per_k: Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """A heat sink in air: R = fixed + flow part (V / nominal)^-exponent, to the mean air temperature."""

    fixed_k_per_w: Parameter
    flow_k_per_w: Parameter
    flow_exponent: Parameter
    nominal_m3_per_s: Parameter  # air past one sink at which the flow part holds
    low_factor: Parameter  # permitted range as factors of the nominal flow
    high_factor: Parameter
    sink_j_per_k: Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """A cold plate: a table of case-to-inlet resistance against flow, and a factor on it."""

    table: str
    scale_factor: Parameter
    plate_j_per_k: Parameter
    coolant_l: Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """CPUs, memory or the rest of the board: so many alike, each with its ways to be cooled."""

    count: int
    idle_w: Parameter  # each
    load_w: Parameter  # each, while the benchmark runs
    junction_k_per_w: Parameter
    max_operating_degc: Parameter
    die_j_per_k: Parameter
    air: Sink | None = None
    plate: Plate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """How the accelerators sit in this server."""

    part: str
    count: int
    default_limit_w: Parameter
    air: Sink | None = None
    plate: Plate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AirSide:
    """Fans by the fan laws, and the order in which air meets the parts."""

    inlet_degc: Parameter
    inlet_class: str  # ASHRAE A1 to A4
    layout: str  # "series": board, then accelerators, then the rest; "split": side by side
    fans: int
    full_m3_per_s: Parameter  # all fans at full speed in this box
    full_w: Parameter
    load_share: Parameter  # fan duty under load
    idle_share: Parameter
    gpu_share: Parameter  # share of the air that passes the accelerators
    gpu_rows: int  # accelerators one behind the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Pump:
    """A pump's head against flow, relative to its nominal point, and its overall efficiency."""

    flow_l_per_min: Parameter
    head_pa: Parameter
    efficiency_share: Parameter
    curve_flow: tuple[float, ...]
    curve_head: tuple[float, ...]
    curve_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """The coolant loop of one server, and the CDU behind it."""

    fluid: str
    supply_degc: Parameter
    flow_l_per_min: Parameter
    gpus_per_branch: int
    branch_pa: Parameter  # pressure drop of one branch at the nominal flow, exponent 1.85
    manifold_pa: Parameter
    uneven_share: Parameter  # flow spread between parallel branches, one standard deviation
    approach_k: Parameter  # CDU: supply over facility water
    facility_pump_share: Parameter  # pump and control power of the CDU over its heat
    room_degc: Parameter
    room_humidity_share: Parameter
    dew_margin_k: Parameter
    cdu_rated_w: Parameter  # heat of this server at which the CDU has that approach, at nominal flows
    facility_l_per_min: Parameter  # facility water through this server's share of the CDU
    pump: Pump | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Which parts are cooled by cold plates and which by air: "plate" or "air" each."""

    gpu: str
    cpu: str
    memory: str
    rest: str = "air"
    note: str = ""
    load_share: Parameter | None = None  # fan duty under load, where it differs from the server's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What the host does to the score, and to the wall power."""

    rate_factor: Parameter  # score per accelerator at equal clocks, over the server the shares were fitted on
    feed_gb_per_s: Parameter  # samples the hosts can bring to the accelerators together
    supply_share: Parameter  # efficiency of the power supplies under load
    supply_idle_share: Parameter  # and at idle, far below their rating


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerModel:
    """A server: `servers/ID.toml`."""

    id: str
    name: str
    design: str  # the one that is built; others are what-ifs
    gpu: Gpu
    cpu: Component
    memory: Component
    others: dict[
        str, Component
    ]  # switches, regulators, network, drives, power supplies: cooled as design.rest
    host: Host
    designs: dict[str, Design]
    air: AirSide
    loop: Loop | None = None
    published: str = ""  # SUBMITTER/SYSTEM of the round's results
    notes: tuple[str, ...] = field(default_factory=tuple)
    origin: str = ""  # the file it was read from; set on loading

    @property
    def file(self) -> str:
        """Where to look when a number of this server is refused."""
        return self.origin or f"{self.id}.toml"

    @property
    def components(self) -> dict[str, Component]:
        """Everything that is no accelerator, by name."""
        return {"cpu": self.cpu, "memory": self.memory, **self.others}
