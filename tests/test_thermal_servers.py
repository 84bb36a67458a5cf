"""Server files: those that ship, and every way a user's own can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from coldmark.core.errors import ConfigError, DataError
from coldmark.thermal.assembly import Operation, assemble
from coldmark.thermal.catalogue import find_part, find_server, load_server, server_ids
from coldmark.thermal.fluids import FLUIDS
from coldmark.thermal.network import heat_leaving_w, steady
from coldmark.thermal.parameters import unit_of, walk
from coldmark.thermal.plates import find_table, plate_own_resistance

IDS = [
    "a100-pcie-8x",
    "dgx-a100",
    "hgx-h100-air",
    "hgx-h100-liquid",
    "x640-g40",
    "x660-g45-lp",
    "x660-g45-lp-1x",
]


def text(name: str) -> str:
    return (resources.files("coldmark.thermal") / "servers" / f"{name}.toml").read_text(encoding="utf-8")


def test_the_seven_servers_ship() -> None:
    assert server_ids() == IDS


@pytest.mark.parametrize("name", IDS)
def test_every_parameter_has_unit_source_and_uncertainty(name: str) -> None:
    server = find_server(name)
    found = [*walk(server), *walk(find_part(server.gpu.part))]
    assert len(found) > 60
    for path, key, p in found:
        assert p.unit == unit_of(key)[0], path
        assert p.source.strip(), path
        assert p.uncertainty >= 0, path


@pytest.mark.parametrize("name", IDS)
def test_every_cooling_design_assembles_and_balances(name: str) -> None:
    server = find_server(name)
    for design in server.designs:
        asm = assemble(server, design)
        power = np.zeros(len(asm.mats.c))
        power[asm.sources] = 50.0
        rest = steady(asm.mats, power, asm.boundary_degc)
        out = heat_leaving_w(asm.mats, rest, asm.boundary_degc)
        assert out == pytest.approx(power.sum(), rel=1e-9), design
        assert len(asm.die) == server.gpu.count


def test_a_hybrid_server_splits_its_heat_by_component() -> None:
    """Plates on the GPUs alone take the GPUs' heat; CPUs and memory go with the air."""
    asm = assemble(find_server("x660-g45-lp"), "gpu-only")
    power = np.zeros(len(asm.mats.c))
    power[asm.die] = 500.0
    power[asm.other["cpu0"]] = 150.0
    rest = steady(asm.mats, power, asm.boundary_degc)
    wet = list(asm.liquid)
    flow = asm.mats.leave[wet]
    coolant = float(flow @ (rest[wet] - asm.boundary_degc[0]))
    assert coolant == pytest.approx(4000.0, rel=1e-9)


def test_the_last_plate_of_a_branch_is_the_warmest() -> None:
    asm = assemble(find_server("x640-g40"), "liquid")
    power = np.zeros(len(asm.mats.c))
    power[asm.die] = 300.0
    rest = steady(asm.mats, power, asm.boundary_degc)[asm.die]
    assert np.all(np.diff(rest[:4]) > 1.0)


def test_a_user_adds_a_server_by_one_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text("dgx-a100").replace('id = "dgx-a100"', 'id = "mine"'), encoding="utf-8")
    assert load_server(path).id == "mine"
    assert find_server(str(path)).origin == str(path)


def drop(start: str, end: str) -> Callable[[str], str]:
    def edit(s: str) -> str:
        i = s.index(start)
        j = s.find(end, i + 1) if end else -1
        return s[:i] + (s[j:] if j > 0 else "")

    return edit


def put(old: str, new: str) -> Callable[[str], str]:
    def edit(s: str) -> str:
        assert old in s
        return s.replace(old, new, 1)

    return edit


BAD = {
    "unknown key": (put("[gpu]\n", "[gpu]\ncolour = 3\n"), ["gpu", "unknown key 'colour'"]),
    "missing unit": (
        put('fixed_k_per_w = { value = 0.022, unit = "K/W",', "fixed_k_per_w = { value = 0.022,"),
        ["gpu.air.fixed_k_per_w", "missing key 'unit'"],
    ),
    "wrong unit": (
        put('fixed_k_per_w = { value = 0.022, unit = "K/W"', 'fixed_k_per_w = { value = 0.022, unit = "W/K"'),
        ["gpu.air.fixed_k_per_w", "use 'K/W'"],
    ),
    "zero resistance": (
        put("fixed_k_per_w = { value = 0.022", "fixed_k_per_w = { value = 0.0"),
        ["gpu.air.fixed_k_per_w: 0 K/W is not permitted", "permitted: above 0 K/W"],
    ),
    "negative resistance": (
        put("fixed_k_per_w = { value = 0.022", "fixed_k_per_w = { value = -1.0"),
        ["gpu.air.fixed_k_per_w: -1 K/W is not permitted", "permitted: above 0 K/W"],
    ),
    "not a number": (
        put("fixed_k_per_w = { value = 0.022", "fixed_k_per_w = { value = nan"),
        ["gpu.air.fixed_k_per_w: nan K/W is not permitted"],
    ),
    "loop without pump": (drop("[loop.pump]", ""), ["loop.pump: a loop without pump", "[loop.pump]"]),
    "limit outside the module": (
        put("default_limit_w = { value = 500.0", "default_limit_w = { value = 900.0"),
        ["gpu.default_limit_w: 900 W is outside the range", "permitted: 100 to 500 W"],
    ),
    "no source": (
        put('source = "MLPerf v2.1 system description: TDP 500 W [V]"', 'source = " "'),
        ["gpu.default_limit_w: no source"],
    ),
    "unknown part": (put('part = "a100-sxm4-80gb-500w"', 'part = "a100"'), ["gpu.part: no part 'a100'"]),
    "unknown design": (
        put('design = "liquid"', 'design = "liqid"'),
        ["design: 'liqid'", "did you mean 'liquid'"],
    ),
    "plate without data": (drop("[gpu.plate]", "[cpu]"), ["designs.liquid.gpu", "gpu has no plate data"]),
    "branches that do not divide": (
        put("gpus_per_branch = 2", "gpus_per_branch = 3"),
        ["loop.gpus_per_branch: 3 does not divide 8", "permitted: a divisor of 8"],
    ),
    "table of another fluid": (
        put('fluid = "pg25"', 'fluid = "water"'),
        ["plate.table", "was measured with pg25, the loop holds water"],
    ),
    "no TOML": (put("[gpu]", "[gpu"), ["not TOML"]),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_server_file_is_refused_with_file_key_and_range(name: str, tmp_path: Path) -> None:
    edit, words = BAD[name]
    path = tmp_path / "bad.toml"
    path.write_text(edit(text("x660-g45-lp")), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_server(path)
    for word in [*words, *([str(path)] if name != "unknown part" else [])]:
        assert word in str(error.value)


def test_a_missing_file_is_bad_data(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        find_server(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("server", "at", "words"),
    [
        (
            "x660-g45-lp",
            Operation(flow_l_per_min=1.0),
            ["--flow-l-per-min", "permitted: 0.4 to 2.4 L/min a plate"],
        ),
        ("x660-g45-lp", Operation(flow_l_per_min=-3.0), ["--flow-l-per-min", "permitted: above 0"]),
        (
            "x660-g45-lp",
            Operation(supply_degc=12.0),
            ["--supply-degc", "dew point", "permitted: 15.9 degC or more"],
        ),
        ("x660-g45-lp", Operation(limit_w=600.0), ["--power-limit-w", "permitted: 100 to 500 W"]),
        ("x640-g40", Operation(limit_w=100.0), ["--power-limit-w", "permitted: 150 to 300 W"]),
        ("dgx-a100", Operation(supply_degc=30.0), ["--supply-degc", "no coolant"]),
        ("dgx-a100", Operation(inlet_degc=40.0), ["--inlet-degc", "permitted: 10 to 35 degC"]),
        ("dgx-a100", Operation(fan_share=0.05), ["gpu0.sink", "outside its data", "permitted: "]),
    ],
)
def test_an_operating_point_outside_what_is_known_is_refused(
    server: str, at: Operation, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        assemble(find_server(server), None, at)
    for word in words:
        assert word in str(error.value)


def test_case_over_inlet_is_the_tables_resistance() -> None:
    """One accelerator of 500 W at its branch flow:

    package minus supply is R(V) P, the factor on the plate's part.
    """
    asm = assemble(find_server("x660-g45-lp-1x"))
    gpu = asm.server.gpu.plate
    assert gpu is not None
    power = np.zeros(len(asm.mats.c))
    power[asm.die] = 500.0
    rest = steady(asm.mats, power, asm.boundary_degc)
    case = rest[asm.mats.index["gpu0.package"]] - asm.boundary_degc[0]
    outlet = rest[asm.mats.index["gpu0.coolant"]] - asm.boundary_degc[0]
    flow = 500.0 / outlet / FLUIDS["pg25"].heat_rate_w_per_k(1.0, 35.0)
    own = plate_own_resistance(flow, find_table(gpu.table)) * gpu.scale_factor.value
    assert case == pytest.approx(500.0 * own + outlet / 2, rel=1e-3)
