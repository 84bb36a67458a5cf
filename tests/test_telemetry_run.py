"""Telemetry as a user meets it: in runs, `sensors`, `watch`, `telemetry`, `twin calibrate --run`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from coldmark.cli.main import cli
from coldmark.cli.telemetry import telemetry
from coldmark.cli.twin import twin
from coldmark.core.codec import from_plain, to_plain
from coldmark.core.errors import ColdmarkError, ConfigError, DataError
from coldmark.core.nouns import Mode, Scenario, Suite
from coldmark.core.record import RunRecord, RunSpec
from coldmark.core.trace import Channel, Kind
from coldmark.loadgen.progress import FILE_NAME, Progress
from coldmark.report.telemetry import reasons_text, sparkline, value_text
from coldmark.runs.telemetry.live import growth, running_test
from coldmark.runs.telemetry.sample import RunCounters
from coldmark.runs.telemetry.verdict import assess
from coldmark.runs.telemetry.window import Window, with_meter
from coldmark.store.rundir import RECORD, RunDir, changed_files
from coldmark.store.trace import Header, TraceWriter, read_trace
from coldmark.telemetry.ptd import Options
from conftest import SMALL
from test_telemetry_loss import cpu_trace

Coldmark = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

RUN = ("run", "resnet50", "--scenario", "Offline", "--backend", "null", "--mode", "performance", *SMALL)


@pytest.mark.loadgen
def test_a_run_ends_with_a_verdict_or_says_what_is_missing(coldmark: Coldmark, tmp_path: Path) -> None:
    sets = ("test.min_duration_ms=2000", "telemetry.baseline_s=0.2", "harness.bare_s=0.1")
    done = coldmark(*RUN[: RUN.index("--length") + 2], "--json", *(x for s in sets for x in ("--set", s)))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    found = record["telemetry"]
    assert found["sampled"]
    assert found["window_basis"] == "LoadGen's power_begin and power_end"
    assert found["window_s"] >= 1.9
    assert found["cost"]["reads"] > 0
    assert found["line"]
    for name in ("clock", "temperature"):
        stated = any(level["name"] == name for level in found["levels"])
        assert stated != any(text.startswith(f"{name}: unknown") for text in found["unknown"])
    run = Path(record["run_dir"])
    run = run if run.is_absolute() else tmp_path / run
    assert changed_files(run) == []
    trace = read_trace(run / "telemetry")
    names = [m.name for m in trace.marks]
    assert names[0] == "baseline"
    assert names[-1] == "cooldown"
    assert [n for n in names if n.startswith("performance.")] == [
        f"performance.{p}" for p in ("loading", "warming", "bare", "running", "closing", "done")
    ]
    assert [m.t_s for m in trace.marks] == sorted(m.t_s for m in trace.marks)
    completed = trace.series["run.test.completed"].value
    assert completed[-1] == record["harness"]["counters"]["completed"]
    shown = coldmark("runs", "show", record["run_id"]).stdout
    assert f"telemetry  {found['line']}" in shown
    full = coldmark("telemetry", "show", record["run_id"]).stdout
    assert "of one core" in full
    exported = coldmark("telemetry", "export", record["run_id"], "--csv", "t.csv", "--parquet", "t.parquet")
    assert exported.returncode == 0, exported.stderr
    assert "run.test.completed" in (tmp_path / "t.csv").read_text()


@pytest.mark.loadgen
def test_sampling_that_is_turned_off_shows_in_the_record(coldmark: Coldmark) -> None:
    done = coldmark(*RUN, "--json", "--set", "telemetry.sampling=false")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["telemetry"]["sampled"], record["telemetry"]["why_not"]) == (False, "turned off")
    missing = coldmark("telemetry", "export", record["run_id"], "--csv", "t.csv")
    assert missing.returncode == 6
    assert "no telemetry" in missing.stderr


def test_a_named_bmc_that_does_not_answer_stops_a_run_before_it_begins(
    coldmark: Coldmark, tmp_path: Path
) -> None:
    done = coldmark(*RUN, "--set", "redfish.url=http://127.0.0.1:9")
    assert done.returncode == 5
    assert "cannot be reached" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ((*RUN, "--set", "redfish.ulr=x"), 2, "redfish.url"),
        ((*RUN, "--set", "telemetry.sample_hz=0"), 2, "telemetry.sample_hz"),
        ((*RUN, "--set", "telemetry.baselin_s=1"), 2, "telemetry.baseline_s"),
        (("telemetry", "export"), 2, "export what"),
        (("telemetry", "export", "nothing", "--csv", "x"), 2, "no run"),
        (("sensors", "--set", "hwmon.x=1"), 2, "hwmon"),
        (("sensors", "--set", "redfish.url=http://127.0.0.1:9"), 5, "does not answer"),
        (("twin", "calibrate", "--server", "dgx-a100"), 2, "--run"),
    ],
)
def test_bad_input_is_named(args: tuple[str, ...], code: int, words: str, tmp_path: Path) -> None:
    more = ("--runs-dir", str(tmp_path)) if args[0] in ("run", "telemetry") else ()
    done = CliRunner().invoke(cli, [*args, *more])
    found = done.exception
    assert (found.exit_code if isinstance(found, ColdmarkError) else done.exit_code) == code
    assert words in f"{found} {done.output}"
    assert list(tmp_path.iterdir()) == []


def test_sensors_lists_channels_and_what_is_missing(coldmark: Coldmark) -> None:
    found = json.loads(coldmark("sensors", "--json").stdout)
    assert {"channels", "missing"} <= set(found)
    for channel in found["channels"]:
        assert {"name", "unit", "rate_hz", "resolution", "value"} <= set(channel)
    for missing in found["missing"]:
        assert missing["why"] in ("not installed", "no permission", "no device", "not configured", "failed")
        assert missing["detail"]
    assert "ptd" in coldmark("sensors").stdout


def test_watch_draws_once_where_there_is_no_terminal(coldmark: Coldmark) -> None:
    done = coldmark("watch", "--seconds", "0.5")
    assert done.returncode == 0, done.stderr
    assert "last minute" in done.stdout or "no sensor answers" in done.stderr


def test_prometheus_is_served_on_loopback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "coldmark", "telemetry", "export", "--prometheus", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        assert process.stderr is not None
        match = re.search(r"http://127\.0\.0\.1:\d+/metrics", process.stderr.readline())
        assert match is not None
        end = time.monotonic() + 20
        page = ""
        while "coldmark_" not in page and time.monotonic() < end:
            with urllib.request.urlopen(match[0], timeout=10) as answer:
                page = answer.read().decode()
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()
    if Path("/proc/stat").exists():
        assert 'coldmark_busy_seconds_total{component="cpu",family="cpu"}' in page


def test_old_records_without_telemetry_are_still_read() -> None:
    spec = RunSpec(workload="resnet50", scenario=Scenario.OFFLINE, suite=Suite.EDGE)
    plain = to_plain(RunRecord(run_id="x", state="complete", spec=spec))  # type: ignore[arg-type]
    del plain["telemetry"]
    assert from_plain(plain, RunRecord, where=RECORD).telemetry is None


# --- the twin meets a machine -------------------------------------------------------------------


def write_run(root: Path, power: np.ndarray, degc: np.ndarray, **more: np.ndarray) -> Path:
    """A run directory with the trace of one GPU, sampled at 10 Hz."""
    folder = root / "20260101T000000-made-000000"
    folder.mkdir(parents=True)
    spec = RunSpec(workload="resnet50", scenario=Scenario.OFFLINE, suite=Suite.EDGE)
    record = RunRecord(run_id=folder.name, state="complete", spec=spec)  # type: ignore[arg-type]
    (folder / RECORD).write_text(json.dumps(to_plain(record)))
    columns = {"power_w": power, "temperature_degc": degc, **more}
    channels = tuple(Channel(family="nvml", component="gpu0", quantity=q, rate_hz=10.0) for q in columns)
    writer = TraceWriter(folder / "telemetry", Header(begin_ns=0, begin_unix_ns=0, channels=channels))
    t = (np.arange(len(power)) * 10**8).astype(np.int64)
    writer.write([(channels, t, np.column_stack(list(columns.values())))])
    writer.finish([])
    return folder


def loads(n: int, rng: np.random.Generator) -> np.ndarray:
    """Power that changes every 15 s between idle and 480 W [W]."""
    return np.repeat(rng.uniform(60, 480, n // 150 + 1), 150)[:n] + rng.normal(0, 2, n)


def heated(power: np.ndarray) -> np.ndarray:
    """Die over 32 degC: .03 K/W with 1.5 s, .05 K/W with 20 s; by small steps, not by the fit's formula."""
    x = np.array([0.03, 0.05]) * power[0]
    out = []
    for p in power:
        out.append(32 + x.sum())
        for _ in range(20):
            x += (np.array([0.03, 0.05]) * p - x) * 0.005 / np.array([1.5, 20.0])
    return np.array(out)


def test_a_run_gives_the_twins_parameters_back_and_a_held_out_part_checks_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    power = loads(3000, rng)
    degc = np.floor(heated(power) + rng.normal(0, 0.2, len(power)) + 0.5)
    write_run(tmp_path, power, degc)
    done = CliRunner().invoke(
        twin,
        ["calibrate", "--run", "made-000000", "--runs-dir", str(tmp_path), "--json"],
        catch_exceptions=False,
    )
    found: dict[str, Any] = json.loads(done.output)
    values = {p["name"]: p for p in found["parameters"]}
    assert values["resistance_k_per_w"]["value"] == pytest.approx(0.08, rel=0.03)
    assert values["reference_degc"]["value"] == pytest.approx(32, abs=0.5)
    assert values["slow_s"]["value"] == pytest.approx(20, rel=0.15)
    assert values["resistance_k_per_w"]["determined"]
    held = [r for r in found["residuals"] if "not fitted" in r["over"]]
    assert [(r["name"], r["unit"]) for r in held] == [("die temperature", "K")]
    assert 0 < held[0]["rms"] < 0.6
    assert held[0]["largest"] >= held[0]["rms"]


def test_power_is_fitted_where_the_clock_was_recorded(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    n = 3000
    mhz = np.repeat(rng.uniform(600, 1410, n // 150 + 1), 150)[:n]
    volts = 0.70 + 0.36e-3 * np.maximum(0, mhz - 717)
    top = 0.70 + 0.36e-3 * (1410 - 717)
    power = 80 + 300 * volts**2 * mhz / (top**2 * 1410) + rng.normal(0, 3, n)
    write_run(tmp_path, power, heated(power), clock_mhz=mhz)
    done = CliRunner().invoke(
        twin,
        ["calibrate", "--run", "made-000000", "--runs-dir", str(tmp_path), "--json"],
        catch_exceptions=False,
    )
    found = json.loads(done.output)
    held = {r["name"]: r for r in found["residuals"] if "not fitted" in r["over"]}
    assert held["power"]["unit"] == "W"
    assert held["power"]["rms"] < 8


def test_a_replay_follows_the_recorded_power(tmp_path: Path) -> None:
    power = np.r_[np.full(300, 80.0), np.full(900, 400.0)]
    write_run(tmp_path, power, np.full(1200, 40.0))
    args = ["replay", "made-000000", "--server", "x660-g45-lp-1x", "--runs-dir", str(tmp_path)]
    done = CliRunner().invoke(
        telemetry, [*args, "--csv", str(tmp_path / "r.csv"), "--json"], catch_exceptions=False
    )
    found = json.loads(done.output)
    assert found["provenance"] == "simulated"
    assert found["mean_power_w"] == pytest.approx(320, rel=0.01)
    rows = np.loadtxt(tmp_path / "r.csv", delimiter=",", skiprows=2)
    cold, hot = rows[20, 2], rows[-1, 2]
    # The plate of this server: some hundredths of a kelvin per watt more, for 320 W more.
    assert 8 < hot - cold < 40
    assert found["highest_degc"] == pytest.approx(rows[:, 2].max(), abs=0.01)
    assert found["residuals"][0]["mean"] == pytest.approx(40 - np.interp(60, rows[:, 0], rows[:, 2]), abs=15)


def test_a_server_with_other_accelerators_or_a_trace_without_power_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, np.full(300, 80.0), np.full(300, 40.0))
    args = ["replay", "made-000000", "--runs-dir", str(tmp_path), "--server"]
    found = CliRunner().invoke(telemetry, [*args, "dgx-a100"])
    assert isinstance(found.exception, ConfigError)
    assert "8 accelerators" in str(found.exception)
    short = CliRunner().invoke(twin, ["calibrate", "--run", "made-000000", "--runs-dir", str(tmp_path)])
    assert isinstance(short.exception, ConfigError | DataError) or short.exit_code == 0
    write_run(tmp_path / "b", np.full(300, np.nan), np.full(300, 40.0))
    args = ["calibrate", "--run", "made-000000", "--runs-dir", str(tmp_path / "b")]
    assert isinstance(CliRunner().invoke(twin, args).exception, DataError)


# --- beside a run -------------------------------------------------------------------------------


def test_the_run_that_is_going_is_found_and_its_rate_is_read(tmp_path: Path) -> None:
    write_run(tmp_path, np.full(10, 80.0), np.full(10, 40.0))  # an older one, which nobody holds
    assert running_test(tmp_path, None) is None
    held = RunDir.create(tmp_path, "20270101T000000-going-000001")
    (held.path / RECORD).write_text("{}")
    progress = Progress(held.test_dir(Mode.PERFORMANCE) / FILE_NAME, create=True)
    try:
        test = running_test(tmp_path, None)
        assert test == held.path / "performance"
        assert running_test(tmp_path, "going-000001") == test
        counters, row = RunCounters(), np.zeros(3)
        counters.follow(test)
        progress.set("completed", 70)
        counters.read(row)
        assert row[0] == 70
        # The next test begins at zero again; the channel goes on.
        counters.follow(test)
        progress.set("completed", 5)
        counters.read(row)
        assert row[0] == 75
    finally:
        progress.close()
        held.release()


# --- text ---------------------------------------------------------------------------------------


def test_sparklines_and_values_by_hand() -> None:
    assert sparkline([0, 1, 2, 3], 4) == "▁▃▆█"
    assert sparkline([5, 5, 5], 3) == "▄▄▄"
    assert sparkline([1, float("nan"), 2], 3) == "▁ █"
    assert sparkline([], 3) == ""
    assert value_text(float("nan"), "W") == "-"
    assert value_text(61.25, "degC") == "61.25 °C"
    assert value_text(0.456, "1") == "45.6 %"
    assert value_text(0x24, "bits", Kind.BITS) == "thermal (software), power limit"
    assert reasons_text(0) == "none"


def test_a_counter_is_shown_by_its_growth() -> None:
    t = np.arange(0, 3, 0.1)
    found = growth(t, 50 * t)
    assert found[-1] == pytest.approx(50)
    assert len(growth(t[:1], t[:1])) == 0


def test_a_meters_log_that_is_not_there_does_not_cost_the_run(tmp_path: Path) -> None:
    rate = np.full(600, 1000.0)
    window = Window(begin_s=0.0, end_s=60.0, basis="made up")
    trace = cpu_trace(rate)
    with pytest.raises(DataError):
        with_meter(trace, Options(log=str(tmp_path / "spl.txt")))
    lines = [b"Time,01-01-2026 00:00:%02d.000,Watts,500.0,Volts,230.0" % s for s in range(60)]
    (tmp_path / "spl.txt").write_bytes(b"\n".join(lines))
    trace = replace(trace, begin_unix_s=1767225600.0)
    metered = with_meter(trace, Options(log=str(tmp_path / "spl.txt")))
    (energy,) = assess(metered, window).energy
    assert (energy.covers, energy.energy_j) == ("wall", pytest.approx(30_000))
    assert energy.j_per_sample == pytest.approx(0.5)  # 500 W at 1000 samples/s
