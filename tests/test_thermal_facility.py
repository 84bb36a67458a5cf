"""The CDU in the loop: what facility water gives for a supply, and what a supply asks of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Scenario
from coldmark.core.twin import FacilityState, TwinRun
from coldmark.runs.twin.compare import compare
from coldmark.runs.twin.run import run_twin
from coldmark.runs.twin.setup import TwinSpec, set_up
from coldmark.runs.twin.sweep import Grid, sweep
from coldmark.thermal.assembly import Operation
from coldmark.thermal.catalogue import find_server, load_server
from coldmark.thermal.cdu import cool_enough_class, ntu_for
from coldmark.thermal.exchanger import Exchanger, exchanger, rated_ua_w_per_k
from coldmark.thermal.model import Loop

X660 = "x660-g45-lp"


def loop_of(name: str = X660) -> Loop:
    loop = find_server(name).loop
    assert loop is not None
    return loop


def spec(server: str = X660, scenario: Scenario = Scenario.OFFLINE, **at: float) -> TwinSpec:
    return TwinSpec(
        server=server,
        workload="resnet50",
        scenario=scenario,
        at=Operation(**at),  # type: ignore[arg-type]
        duration_s=5.0,
        draws=0,
    )


def ran(**at: float) -> tuple[TwinRun, FacilityState, Exchanger]:
    found = run_twin(spec(**at))
    f = found.facility
    assert f is not None
    assert found.supply_degc is not None
    assert found.flow_l_per_min is not None
    x = exchanger(loop_of(), found.flow_l_per_min, found.supply_degc, f.water_degc, f.l_per_min)
    return found, f, x


def test_a_cdu_at_its_rated_heat_by_hand() -> None:
    """7.5 L/min of PG25 at 35 degC carry 502.1 W/K, 7.9 L/min of water 547 W/K. 5 kW raise the coolant by
    9.96 K; with an approach of 3 K the effectiveness is 9.96 / 12.96 = 0.7685.
    """
    found = exchanger(loop_of(), 7.5, 35.0, 32.0, 7.9)
    assert found.coolant_w_per_k == pytest.approx(502.1, rel=1e-3)
    assert found.facility_w_per_k == pytest.approx(547.5, rel=2e-3)
    assert found.effectiveness == pytest.approx(0.7685, rel=1e-3)
    assert 5000.0 * found.approach_k_per_w == pytest.approx(3.0, rel=1e-9)


def test_half_the_facility_water_by_hand() -> None:
    """Half the flow leaves 2^-0.8 = 0.574 of its film, so UA falls to 2 / (1 + 1.741) = 0.7297 of itself."""
    found = exchanger(loop_of(), 7.5, 35.0, 32.0, 7.9 / 2)
    low, high = sorted((found.coolant_w_per_k, found.facility_w_per_k))
    ua = ntu_for(found.effectiveness, low / high) * low
    assert ua == pytest.approx(0.7297 * rated_ua_w_per_k(loop_of()), rel=1e-3)


@pytest.mark.parametrize("name", ["x660-g45-lp", "x660-g45-lp-1x", "x640-g40", "hgx-h100-liquid"])
def test_every_loop_has_its_approach_at_its_rated_heat(name: str) -> None:
    loop = loop_of(name)
    supply, approach = loop.supply_degc.value, loop.approach_k.value
    found = exchanger(
        loop, loop.flow_l_per_min.value, supply, supply - approach, loop.facility_l_per_min.value
    )
    assert loop.cdu_rated_w.value * found.approach_k_per_w == pytest.approx(approach, rel=1e-9)
    assert 0.5 < found.effectiveness < 0.95


@pytest.mark.parametrize("at", [{"facility_degc": 30.0}, {"facility_degc": 40.0, "facility_l_per_min": 4.0}])
def test_both_sides_of_the_exchanger_carry_the_same_heat(at: dict[str, float]) -> None:
    found, f, x = ran(**at)
    assert found.supply_degc is not None
    coolant_return = found.supply_degc + f.heat_w / x.coolant_w_per_k
    least = min(x.coolant_w_per_k, x.facility_w_per_k)
    assert (f.return_degc - f.water_degc) * x.facility_w_per_k == pytest.approx(f.heat_w, rel=1e-9)
    assert f.effectiveness * least * (coolant_return - f.water_degc) == pytest.approx(f.heat_w, rel=1e-6)
    assert f.approach_k == pytest.approx(found.supply_degc - f.water_degc)
    assert f.return_degc < coolant_return
    assert f.given
    # and that heat is what the network gives the coolant: all of the wall's but what the air takes
    assert 0.75 * found.power.wall_w < f.heat_w < found.power.wall_w


def test_warmer_facility_water_is_a_warmer_supply_and_a_hotter_die() -> None:
    runs = [ran(facility_degc=t)[0] for t in (20.0, 28.0, 36.0, 44.0)]
    supplies = [r.supply_degc or 0.0 for r in runs]
    dies = [max(a.die_degc for a in r.accelerators) for r in runs]
    assert supplies == sorted(set(supplies))
    assert dies == sorted(set(dies))


def test_more_facility_flow_is_a_cooler_supply() -> None:
    supplies = [ran(facility_degc=30.0, facility_l_per_min=v)[0].supply_degc or 0.0 for v in (4.0, 7.9, 20.0)]
    assert supplies == sorted(supplies, reverse=True)
    assert supplies[-1] > 30.0


def test_the_water_that_a_supply_needs_gives_that_supply() -> None:
    asked, need, _ = ran(supply_degc=41.0)
    assert not need.given
    back, _, _ = ran(facility_degc=need.water_degc)
    assert back.supply_degc == pytest.approx(41.0, abs=1e-6)
    assert back.metric == asked.metric


def test_a_server_that_is_less_busy_heats_its_supply_less() -> None:
    offline, server = (
        run_twin(spec("x660-g45-lp-1x", s, facility_degc=30.0))
        for s in (Scenario.OFFLINE, Scenario.SINGLE_STREAM)
    )
    assert offline.supply_degc is not None
    assert server.supply_degc is not None
    assert 30.0 < server.supply_degc < offline.supply_degc - 0.1


def test_compare_feeds_both_from_one_facility() -> None:
    found = compare(spec(facility_degc=32.0), spec("hgx-h100-liquid", facility_degc=32.0))
    waters = {run.facility.water_degc for run in (found.a, found.b) if run.facility}
    assert waters == {32.0}
    assert found.a.supply_degc != found.b.supply_degc


def test_a_sweep_names_the_facility_water_of_its_warmest_supply() -> None:
    found = sweep(spec(), Grid())
    assert found.warmest_supply_degc is not None
    assert found.warmest_facility_degc is not None
    assert 1.0 < found.warmest_supply_degc - found.warmest_facility_degc < 3.0


def test_water_class_that_is_cool_enough() -> None:
    assert [cool_enough_class(t) for t in (16.0, 17.0, 32.5, 44.9, 60.0)] == [
        "cooler than W17",
        "W17",
        "W32",
        "W40",
        "W45",
    ]


@pytest.mark.parametrize(
    ("server", "at", "words"),
    [
        (X660, {"facility_degc": 30.0, "supply_degc": 35.0}, ["--facility-degc", "exclude each other"]),
        (X660, {"facility_degc": 3.0}, ["--facility-degc", "dew point", "permitted: 13."]),
        (X660, {"facility_degc": 94.9}, ["--facility-degc", "permitted: "]),
        (X660, {"facility_degc": 120.0}, ["--facility-degc", "to below 95 degC"]),
        (
            X660,
            {"facility_degc": 30.0, "facility_l_per_min": 0.5},
            ["--facility-l-per-min", "permitted: 1.98 to 31.6 L/min"],
        ),
        ("dgx-a100", {"facility_degc": 30.0}, ["--facility-degc", "no coolant"]),
    ],
)
def test_facility_water_that_cannot_be_is_refused(
    server: str, at: dict[str, float], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        set_up(spec(server, **at))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("cdu_rated_w", "0.0", ["loop.cdu_rated_w", "permitted: above 0 W"]),
        ("approach_k", "0.0", ["loop.approach_k", "permitted: above 0 K"]),
        ("facility_l_per_min", "4.0", ["loop.approach_k", "permitted: above 8.", "facility_l_per_min"]),
        ("facility_l_per_min", "0.0", ["loop.facility_l_per_min", "permitted: above 0"]),
    ],
)
def test_an_exchanger_that_cannot_be_built_names_file_and_key(
    key: str, value: str, words: list[str], tmp_path: Path
) -> None:
    text = Path(find_server(X660).file).read_text(encoding="utf-8").splitlines()
    for i, line in enumerate(text):
        if line.startswith(f"{key} = "):
            before, _, tail = line.partition("value = ")
            text[i] = f"{before}value = {value}{tail[tail.index(',') :]}"
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(text), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_server(path)
    for word in [str(path), *words]:
        assert word in str(error.value)
