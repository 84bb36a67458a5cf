"""The twin as its user meets it: commands, fit, comparison, faults, sweeps and the validation table."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from coldmark.cli.twin import twin
from coldmark.core.errors import ColdmarkError, ConfigError
from coldmark.core.nouns import Scenario
from coldmark.rules.book import load_book
from coldmark.runs.twin.calibrate import describe, fit_telemetry
from coldmark.runs.twin.compare import compare
from coldmark.runs.twin.fault import Fault, break_it
from coldmark.runs.twin.run import run_twin
from coldmark.runs.twin.setup import TwinSpec, set_up
from coldmark.runs.twin.sweep import Grid, spread, sweep
from coldmark.runs.twin.validate import TARGETS, validate
from coldmark.thermal.assembly import Operation
from coldmark.thermal.calibration import calibrate, shipped_fit, training_points, undetermined
from coldmark.thermal.workloads import published


def spec(server: str = "x660-g45-lp", benchmark: str = "bert-99", **more: object) -> TwinSpec:
    given = {"scenario": Scenario.OFFLINE, "draws": 0, **more}
    return TwinSpec(server=server, workload=benchmark, **given)  # type: ignore[arg-type]


def call(*argv: str) -> str:
    found = CliRunner().invoke(twin, list(argv), catch_exceptions=False)
    assert found.exit_code in (0, 3), found.output
    return found.output


@pytest.fixture(scope="module")
def checks() -> list:  # type: ignore[type-arg]
    return validate()


def test_json_has_the_metric_of_a_run_and_what_stands_behind_it() -> None:
    found = json.loads(
        call("run", "x660-g45-lp", "--workload", "resnet50", "--scenario", "Offline", "--json")
    )
    book = load_book("v2.1").scenarios[Scenario.OFFLINE]
    assert found["metric"]["name"] == book.metric
    assert found["metric"]["unit"] == book.unit
    assert set(found["metric"]) == {"name", "value", "unit"}
    assert found["provenance"] == "simulated"
    assert "not measured" in found["note"]
    assert found["balance_residual"] < 1e-9
    assert found["interval"]["low"] < found["metric"]["value"] < found["interval"]["high"]
    assert len(found["accelerators"]) == 8
    first = found["accelerators"][0]
    assert first["mhz"] <= 1410
    assert 40 < first["die_degc"] < 85
    assert math.fsum(found["reasons"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("server", "scenario", "unit"),
    [
        ("dgx-a100", "Server", "queries/s"),
        ("x640-g40", "Server", "queries/s"),
        ("x660-g45-lp-1x", "SingleStream", "ms"),
        ("x660-g45-lp-1x", "MultiStream", "ms"),
    ],
)
def test_every_scenario_has_its_json(server: str, scenario: str, unit: str) -> None:
    argv = ["run", server, "--workload", "resnet50", "--scenario", scenario, "--duration-s", "30", "--json"]
    found = json.loads(call(*argv))
    assert found["metric"]["unit"] == unit
    assert found["interval"]["low"] < found["metric"]["value"] < found["interval"]["high"]


@pytest.mark.parametrize(
    "argv",
    [
        ["compare", "x660-g45-lp", "--cooling-b", "air", "--workload", "rnnt", "--scenario", "Server"],
        ["sweep", "dgx-a100", "--workload", "rnnt", "--power-limit-w", "200:400:3"],
        ["fault", "dgx-a100", "--workload", "rnnt", "--fault", "fan", "--duration-s", "30"],
        ["show", "hgx-h100-air"],
    ],
)
def test_every_command_has_json_that_says_simulated(argv: list[str]) -> None:
    assert json.loads(call(*argv, "--json"))["provenance"] == "simulated"


@pytest.mark.parametrize("scenario", ["Offline", "Server"])
def test_text_says_simulated_and_never_a_plain_result(scenario: str) -> None:
    text = call("run", "dgx-a100", "--workload", "rnnt", "--scenario", scenario)
    assert "SIMULATED" in text
    assert "simulated, not measured; not an MLPerf result" in text


@pytest.mark.parametrize(
    ("benchmark", "scenario", "metric"),
    [("resnet50", Scenario.SINGLE_STREAM, "latency_p90"), ("resnet50", Scenario.MULTI_STREAM, "latency_p99")],
)
def test_streams_are_latencies_of_the_edge_suite(benchmark: str, scenario: Scenario, metric: str) -> None:
    found = run_twin(spec("x660-g45-lp-1x", benchmark, scenario=scenario, duration_s=30.0))
    assert found.metric.name == metric
    assert found.suite == "edge"
    assert 0.3 < found.metric.value < 1.0


def test_the_supply_less_the_approach_is_the_facility_water() -> None:
    """The approach is 3 K at 5 kW; this run gives the coolant a little less."""
    found = run_twin(spec(duration_s=30.0))
    assert found.facility is not None
    assert found.facility.water_degc == pytest.approx(35.0 - 3.0 * found.facility.heat_w / 5000.0, abs=0.02)
    assert 32.0 < found.facility.water_degc < 33.0
    assert found.facility.water_class == "W32"
    assert run_twin(spec("dgx-a100", duration_s=30.0)).facility is None


def test_the_reference_server_gives_its_own_score_back() -> None:
    found = run_twin(spec("dgx-a100", "bert-99"))
    assert found.metric.value == pytest.approx(28049.0, rel=2e-3)
    assert found.published is not None
    assert found.published.provenance == "published"


def test_the_shipped_fit_is_what_calibration_makes() -> None:
    fresh, shipped = calibrate(), shipped_fit()
    assert fresh.names == shipped.names
    assert fresh.mean == pytest.approx(shipped.mean, rel=1e-3, abs=1e-3)
    assert fresh.residual_share == pytest.approx(shipped.residual_share, rel=1e-3)


def test_nothing_held_out_takes_part_in_the_fit() -> None:
    servers = {p.published for p in training_points()}
    assert servers == {
        "NVIDIA/DGX-A100_A100-SXM-80GBx8_TRT",
        "NVIDIA/DGX-A100_A100-SXM-80GBx8_TRT_MaxQ",
        "NVIDIA/A100-PCIe-80GBx8_TRT",
        "NVIDIA/A100-PCIe-80GBx8_TRT_MaxQ",
    }
    assert all(p.role == "held-out" for p in published().points if p.published.startswith("Nettrix/"))


def test_calibration_admits_what_the_data_does_not_determine() -> None:
    loose = undetermined(shipped_fit())
    assert "leakage_pct_per_k" in loose
    assert "bert-99.boost_w" in loose
    assert "bert-99.core" not in loose
    for p in describe(shipped_fit()).parameters:
        assert p.low <= p.value <= p.high, p.name


def test_the_x660_is_predicted_within_two_percent(checks: list) -> None:  # type: ignore[type-arg]
    judged = [c for c in checks if c.id == "11" and c.kind == "not fitted"]
    assert len(judged) == len(TARGETS)
    assert all(c.passed for c in judged), [(c.what, c.error) for c in judged]


def test_every_closed_form_check_passes(checks: list) -> None:  # type: ignore[type-arg]
    closed = [c for c in checks if c.kind == "closed form"]
    assert len(closed) > 25
    assert [c.what for c in closed if not c.passed] == []


def test_equal_limit_h100_and_the_dgx_wall_line_pass_unfitted(checks: list) -> None:  # type: ignore[type-arg]
    found = {c.id + c.what[:13]: c.passed for c in checks if c.kind == "not fitted"}
    assert found["10H100 700 W, l"] is True
    assert found["14dgx-a100 wall"] is True


def test_known_misses_stay_in_the_table(checks: list) -> None:  # type: ignore[type-arg]
    """They are misses of the model, not of the test: this one fails when they change, so that docs follow."""
    assert {(c.id, c.what.split()[0]) for c in checks if c.passed is False} == {
        ("19", "dgx-a100"),
        ("16", "hgx-h100-liquid"),
    }


def test_the_split_multiplies_to_the_ratio() -> None:
    found = compare(spec("x660-g45-lp", draws=4), spec("dgx-a100", draws=4))
    assert math.prod(s.factor for s in found.shares) == pytest.approx(found.ratio.value, rel=1e-12)
    shares = {s.name: s.factor for s in found.shares}
    assert shares["power limit"] > 1.03
    assert abs(shares["leakage"] - 1) < 0.01
    assert shares["throttling"] == pytest.approx(1.0, abs=1e-6)


def test_equal_limit_is_always_there_and_small() -> None:
    """What cooling alone is worth at one limit is 1.000 to 1.010, far from what the limit brings."""
    for pair in (("x660-g45-lp", "dgx-a100"), ("hgx-h100-liquid", "hgx-h100-air")):
        found = compare(*(spec(name) for name in pair))
        assert found.equal_limit
        assert 1.0 <= found.equal_limit[0].ratio <= 1.010


def test_a_server_against_itself_is_one() -> None:
    found = compare(spec(), spec())
    assert found.ratio.value == 1.0
    assert all(s.factor == pytest.approx(1.0) for s in found.shares)


def test_where_air_is_marginal_the_gain_is_throttling() -> None:
    """The air what-if in a hot room, fans low: cooling is worth something, and it is named throttling."""
    poor = Operation(inlet_degc=35.0, fan_share=0.5)
    found = compare(spec(), spec(cooling="air", at=poor))
    shares = {s.name: s.factor for s in found.shares}
    assert shares["throttling"] > 1.1
    assert shares["power limit"] == pytest.approx(1.0)


def test_compare_text_always_prints_the_counterfactual() -> None:
    text = call("compare", "x660-g45-lp", "dgx-a100", "--workload", "bert-99", "--scenario", "offline")
    for word in (
        "power limit",
        "leakage",
        "throttling",
        "host",
        "at equal power limit",
        "400 W",
        "published 1.0348",
    ):
        assert word in text


def test_sweep_finds_the_warmest_supply_and_the_least_flow() -> None:
    found = sweep(spec(), Grid(supply_degc=(25.0, 45.0, 60.0), limit_w=(400.0, 500.0)))
    assert len(found.points) == 6
    assert found.warmest_supply_degc is not None
    assert 45 < found.warmest_supply_degc < 60
    cold = {(p.supply_degc, p.limit_w): p.rate_per_s for p in found.points}
    assert cold[(60.0, 500.0)] < cold[(45.0, 500.0)]
    assert cold[(25.0, 500.0)] > cold[(25.0, 400.0)]
    assert found.least_flow_l_per_min is not None
    assert found.least_flow_l_per_min < 7.5


def test_the_warmest_supply_is_where_the_run_begins_to_lose() -> None:
    found = sweep(spec(), Grid())
    warm = found.warmest_supply_degc
    assert warm is not None
    base = run_twin(spec(duration_s=300.0)).metric.value

    def at(supply: float) -> float:
        return run_twin(spec(at=Operation(supply_degc=supply), duration_s=300.0)).metric.value

    assert at(warm - 0.5) == pytest.approx(base, rel=2e-3)
    assert at(warm + 4.0) < base * 0.998


def test_spread() -> None:
    assert spread("20:50:4", where="x") == pytest.approx((20.0, 30.0, 40.0, 50.0))
    assert spread("20,30", where="x") == (20.0, 30.0)
    for bad in ("a", "1:2", "1:2:0", "nan", "1:2:x", "1:2:999999999"):
        with pytest.raises(ConfigError, match="--supply-degc"):
            spread(bad, where="--supply-degc")


def test_after_a_pump_stops_throttle_comes_before_slow_down_before_shut_down() -> None:
    found = break_it(spec(duration_s=120.0), Fault.PUMP)
    for line in found.lines[:8]:
        assert line.throttle_s is not None
        assert line.shut_down_s is not None
        assert 5 < line.throttle_s < line.shut_down_s
    # heat capacity over power: some 350 J/K, 500 W, 30 K to go
    assert 5 < (found.lines[0].throttle_s or 0) < 60
    assert found.balance_residual < 1e-9


def test_a_fouled_plate_hurts_its_own_accelerator() -> None:
    found = break_it(spec(duration_s=200.0), Fault.FOUL, accelerator=2, factor=4.0)
    highest = {line.component: line.highest_degc for line in found.lines}
    assert highest["gpu2"] > highest["gpu0"] + 10


def test_faults_that_cannot_be_are_refused() -> None:
    for fault, more, words in (
        (Fault.PUMP, {"server": "dgx-a100"}, "no coolant"),
        (Fault.FOUL, {"accelerator": 9}, "permitted: 0 to 7"),
        (Fault.FOUL, {"factor": 0.5}, "permitted: 1 to 1000"),
    ):
        server = str(more.pop("server", "x660-g45-lp"))  # type: ignore[attr-defined]
        with pytest.raises(ConfigError) as error:
            break_it(spec(server), fault, **more)  # type: ignore[arg-type]
        assert words in str(error.value)


def test_telemetry_gives_the_resistance_back(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(4), tmp_path / "t.csv"
    rows = [(p, 30 + 2 + 0.06 * p + rng.normal(0, 0.4), 30.0) for p in rng.uniform(80, 450, 200)]
    text = "power_w,die_degc,reference_degc\n" + "\n".join(",".join(map(str, r)) for r in rows)
    path.write_text(text, encoding="utf-8")
    found = {p.name: p for p in fit_telemetry(path).parameters}
    r = found["resistance_k_per_w"]
    assert r.value == pytest.approx(0.06, abs=0.001)  # three of its deviations
    assert 0.0005 < r.high - r.low < 0.0015
    assert found["resistance_k_per_w"].determined
    assert found["offset_k"].value == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("power_w,die_degc\n1,2\n", "no column 'reference_degc'"),
        ("power_w,die_degc,reference_degc\n1,2,x\n1,2,3\n3,4,5\n", "not a number"),
        ("power_w,die_degc,reference_degc\n1,2,3\n", "fewer than 3"),
        ("power_w,die_degc,reference_degc\n" + "400,60,30\n" * 5, "power spans 0.0 W"),
    ],
)
def test_telemetry_that_says_nothing_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ColdmarkError, match=words):
        fit_telemetry(path)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"server": "x660-g45"}, "did you mean"),
        ({"benchmark": "bert"}, "did you mean 'bert-99'"),
        ({"cooling": "water"}, "has no cooling 'water'"),
        ({"duration_s": 0.0}, "permitted: 1 to 86400 s"),
        ({"scenario": Scenario.SINGLE_STREAM, "benchmark": "dlrm-99"}, "no scenario SingleStream"),
        (
            {"server": "hgx-h100-air", "benchmark": "resnet50", "scenario": Scenario.SINGLE_STREAM},
            "no published",
        ),
    ],
)
def test_a_run_that_cannot_be_meant_is_refused(more: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        run_twin(spec(**more))  # type: ignore[arg-type]
    assert words in str(error.value)


def test_plots_and_traces(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot, trace = tmp_path / "run.svg", tmp_path / "run.csv"
    argv = ["run", "dgx-a100", "--workload", "rnnt", "--duration-s", "60"]
    call(*argv, "--plot", str(plot), "--trace", str(trace))
    assert "SIMULATED" in plot.read_text(encoding="utf-8")
    lines = trace.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# simulated")
    assert len(lines) == 2 + 100
    with pytest.raises(ConfigError, match=r"no plot as '\.gif'"):
        call(*argv, "--plot", str(tmp_path / "run.gif"))


def test_list_and_show() -> None:
    assert len(json.loads(call("list", "--json"))["servers"]) == 7
    text = call("show", "x660-g45-lp")
    assert "gpu.plate.scale_factor" in text
    assert "held out" in text


def test_exit_codes_of_the_command() -> None:
    argv = [sys.executable, "-m", "coldmark", "twin", "run", "x660-g45-lp", "--workload", "bert-99"]
    found = subprocess.run([*argv, "--power-limit-w", "700"], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stdout == ""
    assert "--power-limit-w" in found.stderr
    assert "permitted: 100 to 500 W" in found.stderr


def test_a_feed_limit_is_the_hosts_not_the_heat() -> None:
    found = run_twin(spec("x640-g40", "resnet50", duration_s=60.0))
    assert found.host_limited
    setup = set_up(spec("x640-g40", "resnet50"))
    assert found.metric.value == pytest.approx(setup.engine.feed_limit())
