"""Sensor families over trees and devices that tests make: NVML, CPU, hwmon, RAPL, DCGM, PTDaemon."""

from __future__ import annotations

import http.server
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.core.errors import ConfigError, DataError, SetupError, TelemetryError
from coldmark.core.telemetry import Why
from coldmark.core.trace import Channel, component_name, distinct
from coldmark.loadgen.power_log import marks, mean_power
from coldmark.telemetry import SENSORS, cpu, dcgm, hwmon, nvml, ptd, rapl
from coldmark.telemetry.counters import Growth
from coldmark.telemetry.discover import discover, family_options, read_once
from coldmark.telemetry.prometheus import metric_of
from coldmark.telemetry.sensor import Found, Recorded
from coldmark.testing import SensorConformance
from nvml_driver import LOADED, Driver


def values(sensor: Any) -> dict[str, float]:
    row = np.full(len(sensor.channels), math.nan)
    sensor.read(row)
    return {f"{c.component}.{c.quantity}": float(v) for c, v in zip(sensor.channels, row, strict=True)}


# --- NVML ---------------------------------------------------------------------------------------


class TestNvml(SensorConformance):
    def make(self, tmp_path: Path) -> nvml.Nvml:
        return nvml.Nvml(Driver([LOADED]))


class TestRecorded(SensorConformance):
    def make(self, tmp_path: Path) -> Recorded:
        channel = Channel(family="recorded", component="gpu0", quantity="power_w", rate_hz=10)
        return Recorded(family="recorded", channels=(channel,), rows=[[400.0]] * 5)


def test_nvml_gives_units_limits_and_both_powers() -> None:
    sensor = nvml.Nvml(Driver([LOADED]))
    found = values(sensor)
    assert found["gpu0.temperature_degc"] == 61
    assert found["gpu1.temperature_degc"] == 62
    assert found["gpu0.memory_temperature_degc"] == 71
    assert found["gpu0.clock_mhz"] == 1275
    assert found["gpu0.power_w"] == 397.0  # the field's average, not GetPowerUsage
    assert found["gpu0.power_instant_w"] == 401.25
    assert found["gpu0.power_limit_w"] == 400
    assert found["gpu0.reasons"] == 4
    assert found["gpu0.utilisation_share"] == 0.98
    assert found["gpu0.power_violation_s"] == 3.0
    assert found["gpu0.thermal_violation_s"] == 0.0  # no violation is a value
    assert sensor.constants["gpu0.slowdown_degc"] == 89
    assert sensor.constants["gpu0.clock_max_mhz"] == 1410


def test_nvml_energy_is_what_was_used_since() -> None:
    later = {**LOADED, "fields": {**LOADED["fields"], 83: 5_040_000}}  # type: ignore[dict-item]
    driver = Driver([LOADED, later])
    sensor = nvml.Nvml(driver)
    driver.at = 1
    assert values(sensor)["gpu0.energy_j"] == 40.0


@pytest.mark.parametrize("blank", [0, 2**63 - 1, 2**64 - 1, 9_223_372_036_854_775_794])
def test_blank_nvml_values_are_missing(blank: int) -> None:
    state = {**LOADED, "fields": {82: blank, 83: blank, 186: blank}}
    sensor = nvml.Nvml(Driver([state]))
    assert not {"gpu0.memory_temperature_degc", "gpu0.energy_j", "gpu0.power_instant_w"} & set(values(sensor))
    assert "memory_temperature_degc" in sensor.gpus[0].lacks
    assert values(sensor)["gpu0.power_w"] == 398.5  # then GetPowerUsage it is


def test_a_value_that_nvml_loses_is_missing_and_all_lost_is_an_error() -> None:
    driver = Driver([LOADED, {k: v for k, v in LOADED.items() if k != "degc"}, {}])
    driver.nvmlDeviceGetEnforcedPowerLimit = lambda handle: driver.get("mw")  # type: ignore[method-assign]
    sensor = nvml.Nvml(driver)
    driver.at = 1
    assert math.isnan(values(sensor)["gpu0.temperature_degc"])
    driver.at = 2
    with pytest.raises(TelemetryError, match="no GPU answers"):
        values(sensor)


@pytest.mark.gpu
def test_a_real_gpu_answers() -> None:
    found = nvml.find(nvml.Options())
    if not found.sensors:
        pytest.skip(found.missing[0].detail)
    now = values(found.sensors[0])
    found.sensors[0].close()
    assert 0 < now["gpu0.temperature_degc"] < 110
    assert now["gpu0.clock_mhz"] > 0
    assert now["gpu0.power_w"] > 0


# --- CPU ----------------------------------------------------------------------------------------


def cpu_tree(root: Path, *, clocks: bool = True, throttling: bool = True) -> cpu.Options:
    proc, sys = root / "proc", root / "sys"
    proc.mkdir(parents=True)
    (proc / "stat").write_text("cpu  1000 100 500 9000 7 20 30 250 0 0\ncpu0 1 1\ncpu1 1 1\nintr 5\n")
    (proc / "cpuinfo").write_text("processor : 0\ncpu MHz\t\t: 2596.120\nflags : fpu hypervisor\n")
    for i in range(2):
        folder = sys / f"devices/system/cpu/cpu{i}"
        if clocks:
            (folder / "cpufreq").mkdir(parents=True)
            (folder / "cpufreq/scaling_cur_freq").write_text(f"{4_100_000 + 40_000 * i}\n")
            (folder / "cpufreq/cpuinfo_max_freq").write_text("4130000\n")
        if throttling:
            (folder / "thermal_throttle").mkdir(parents=True)
            (folder / "thermal_throttle/core_throttle_count").write_text(f"{3 + i}\n")
            (folder / "thermal_throttle/package_throttle_total_time_ms").write_text("1500\n")
    return cpu.Options(proc=proc, sys=sys)


class TestLoad(SensorConformance):
    def make(self, tmp_path: Path) -> Any:
        sensors = cpu.find(cpu_tree(tmp_path)).sensors
        for sensor in sensors[1:]:
            sensor.close()
        return sensors[0]


class TestRealLoad(SensorConformance):
    def make(self, tmp_path: Path) -> Any:
        found = cpu.find(cpu.Options()).sensors
        if not found:
            pytest.skip("no /proc/stat here")
        return found[0]


def test_busy_and_stolen_seconds_clocks_and_throttling(tmp_path: Path) -> None:
    found = cpu.find(cpu_tree(tmp_path))
    assert found.missing == ()
    now: dict[str, float] = {}
    for sensor in found.sensors:
        now |= values(sensor)
        sensor.close()
    tick = os.sysconf("SC_CLK_TCK")
    assert now["cpu.busy_s"] == (1000 + 100 + 500 + 20 + 30) / tick
    assert now["cpu.steal_s"] == 250 / tick
    assert now["cpu.clock_mhz"] == 4120
    assert now["cpu.throttle_count"] == 7
    assert now["cpu.throttle_s"] == 1.5
    assert found.sensors[0].constants == {"cpu.processors": 2.0}
    assert found.sensors[1].constants == {"cpu.clock_max_mhz": 4130.0}


def test_a_nominal_clock_is_no_measurement(tmp_path: Path) -> None:
    found = cpu.find(cpu_tree(tmp_path, clocks=False, throttling=False))
    assert [m.what for m in found.missing] == ["clock", "throttle counters"]
    assert "nominal" in found.missing[0].detail
    assert "virtual machine" in found.missing[0].hint
    found.sensors[0].close()


def test_cpuinfo_is_a_clock_where_the_processor_counts_it(tmp_path: Path) -> None:
    options = cpu_tree(tmp_path, clocks=False)
    (options.proc / "cpuinfo").write_text("cpu MHz : 3000.0\nflags : fpu aperfmperf\n\ncpu MHz : 3100.0\n")
    sensors = cpu.find(options).sensors
    assert values(sensors[1])["cpu.clock_mhz"] == 3050
    for sensor in sensors:
        sensor.close()


# --- hwmon --------------------------------------------------------------------------------------


def hwmon_tree(root: Path) -> Path:
    chip = root / "class/hwmon/hwmon0"
    chip.mkdir(parents=True)
    for name, text in {
        "name": "coretemp",
        "temp1_input": "61000",
        "temp1_label": "Package id 0",
        "temp1_crit": "95000",
        "temp2_input": "250000",
        "fan1_input": "8400",
        "in0_input": "12100",
        "power1_average": "215000000",
        "temp3_label": "no input",
    }.items():
        (chip / name).write_text(text + "\n")
    return root


class TestHwmon(SensorConformance):
    def make(self, tmp_path: Path) -> Any:
        root = tmp_path / "sys"
        return hwmon.find(hwmon.Options(sys=root if root.exists() else hwmon_tree(root))).sensors[0]


def test_hwmon_scales_and_leaves_out_what_cannot_be(tmp_path: Path) -> None:
    (sensor,) = hwmon.find(hwmon.Options(sys=hwmon_tree(tmp_path))).sensors
    found = values(sensor)
    sensor.close()
    assert found["coretemp-package-id-0.temperature_degc"] == 61
    assert math.isnan(found["coretemp-temp2.temperature_degc"])  # 250 degC is an open input
    assert found["coretemp-fan1.fan_rpm"] == 8400
    assert found["coretemp-in0.voltage_v"] == pytest.approx(12.1)
    assert found["coretemp-power1.power_w"] == pytest.approx(215)
    assert sensor.constants == {"coretemp-package-id-0.slowdown_degc": 95.0}


def test_no_hwmon_is_no_device(tmp_path: Path) -> None:
    (missing,) = hwmon.find(hwmon.Options(sys=tmp_path)).missing
    assert missing.why is Why.NO_DEVICE


# --- RAPL ---------------------------------------------------------------------------------------

RANGE_UJ = 262_143_328_850


def rapl_tree(root: Path) -> Path:
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "dram"), ("intel-rapl-mmio:0", "x")):
        folder = root / "class/powercap" / zone
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "energy_uj").write_text("1000000\n")
        (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (folder / "constraint_0_power_limit_uw").write_text("205000000\n")
    return root


class TestRapl(SensorConformance):
    def make(self, tmp_path: Path) -> Any:
        root = tmp_path / "sys"
        return rapl.find(rapl.Options(sys=root if root.exists() else rapl_tree(root))).sensors[0]


def test_rapl_grows_over_a_wrap_and_counts_a_package_once(tmp_path: Path) -> None:
    (sensor,) = rapl.find(rapl.Options(sys=rapl_tree(tmp_path))).sensors
    assert [c.covers for c in sensor.channels] == ["package", "memory"]
    counter = tmp_path / "class/powercap/intel-rapl:0/energy_uj"
    seen = []
    for uj in (RANGE_UJ - 2_000_000, RANGE_UJ - 500_000, 1_500_000):
        counter.write_text(f"{uj}\n")
        seen.append(values(sensor)["package-0.energy_j"])
    sensor.close()
    # 1.5 J to near the end, then .5 J to it and 1.5 J from 0.
    assert seen == pytest.approx([0.0, 1.5, 3.5])
    assert sensor.constants["package-0.power_limit_w"] == 205


def test_an_unreadable_counter_names_the_permission_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rapl_tree(tmp_path)
    counter = tmp_path / "class/powercap/intel-rapl:0/energy_uj"
    if os.geteuid() == 0:  # root reads whatever the mode says
        real = Path.open

        def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
            if self == counter:
                raise PermissionError(13, "Permission denied")
            return real(self, *args, **kwargs)

        monkeypatch.setattr(Path, "open", refuse)
    else:
        counter.chmod(0)
    found = rapl.find(rapl.Options(sys=tmp_path))
    (missing,) = found.missing
    assert missing.why is Why.NO_PERMISSION
    assert f"chmod a+r {counter}" in missing.hint
    assert len(found.sensors[0].channels) == 1
    found.sensors[0].close()


@given(st.lists(st.integers(0, 999), min_size=1, max_size=60))
def test_a_counter_with_a_range_grows_by_what_was_used(steps: list[int]) -> None:
    growth, total = Growth(1000.0), 0
    assert growth.add(700.0) == 0
    for step in steps:
        total += step
        assert growth.add(float((700 + total) % 1000)) == pytest.approx(total)


# --- DCGM ---------------------------------------------------------------------------------------

PAGE = """# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a"} 63
DCGM_FI_DEV_GPU_TEMP{gpu="1",UUID="GPU-b"} 0
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0"} 9000
DCGM_FI_DEV_GPU_UTIL{gpu="0"} 0
DCGM_FI_DEV_MEMORY_TEMP{gpu="0"} 2147483632
DCGM_FI_DEV_POWER_VIOLATION{gpu="0"} 5
"""


@pytest.fixture
def exporter() -> Iterator[str]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            data = PAGE.encode()
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
    server.shutdown()
    server.server_close()
    thread.join()


class TestDcgm(SensorConformance):
    @pytest.fixture(autouse=True)
    def _url(self, exporter: str) -> None:
        self.url = exporter

    def make(self, tmp_path: Path) -> Any:
        return dcgm.find(dcgm.Options(url=self.url)).sensors[0]


def test_blank_and_unclear_metrics_are_left_out() -> None:
    assert dict(dcgm.parse(PAGE)) == {
        ("gpu0", "temperature_degc"): 63,
        ("gpu0", "energy_j"): 9,
        ("gpu0", "utilisation_share"): 0,
    }


def test_a_page_that_is_none_is_an_error(exporter: str) -> None:
    with pytest.raises(TelemetryError, match="not a Prometheus page"):
        list(dcgm.parse("DCGM_FI_DEV_GPU_TEMP{gpu= 63"))
    with pytest.raises(TelemetryError, match="no such page"):
        dcgm.find(dcgm.Options(url=exporter.replace("/metrics", "/other")))


# --- PTDaemon -----------------------------------------------------------------------------------


def test_a_meters_log_is_a_trace_and_its_mean_is_the_published_definitions() -> None:
    data = b"".join(
        b"Time,07-22-2022 03:20:%02d.500,Watts,%.3f,Volts,230.1,Amps,-1.0,PF,-1.0,Mark,x\n" % (s, 400 + s)
        for s in range(20)
    )
    data += b"Time,07-22-2022 03:20:20.500,Watts,-1.0,Volts,-1.0\nnonsense\n"
    series = {s.channel.quantity: s for s in ptd.read_bytes(data, "spl.txt")}
    assert set(series) == {"power_w", "voltage_v"}
    window = marks("07-22-2022 03:20:05.000", "07-22-2022 03:20:15.000")
    assert window is not None
    published = mean_power(data, window)
    assert published is not None
    begin, end = window.begin.timestamp(), window.end.timestamp()
    assert series["power_w"].between(begin, end).value.mean() == pytest.approx(published.mean_w, rel=1e-12)
    assert published.mean_w == pytest.approx(409.5)  # 405 to 414


def test_a_meters_clock_may_be_in_another_zone(tmp_path: Path) -> None:
    (tmp_path / "spl.txt").write_bytes(b"Time,01-01-2026 02:00:00.000,Watts,5.0\n")
    (series,) = ptd.read_log(tmp_path / "spl.txt", begin_unix_s=0.0, utc_offset_h=2.0)
    assert series.t_s[0] == 1767225600.0  # 2026-01-01 00:00 UTC


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no line of a power meter"):
        ptd.read_bytes(b"hello", "spl.txt")
    with pytest.raises(DataError):
        ptd.read_log(tmp_path / "none")


# --- all of them --------------------------------------------------------------------------------


def test_every_family_is_found_or_says_what_is_missing() -> None:
    found = discover({}, strict=True)
    families = {s.family for s in found.sensors} | {m.family for m in found.missing}
    for s in found.sensors:
        s.close()
    assert families == set(SENSORS)
    assert all(m.detail for m in found.missing)


def test_a_misspelt_option_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"redfish\.ulr") as caught:
        family_options({"redfish.ulr": "x"})
    assert "redfish.url" in str(caught.value)


def test_a_named_device_that_does_not_answer_is_an_error_only_where_asked() -> None:
    options = family_options({"redfish.url": "http://127.0.0.1:9"})
    with pytest.raises(TelemetryError):
        discover(options, strict=True)
    found = discover(options, strict=False)
    assert any(m.family == "redfish" and m.why is Why.FAILED for m in found.missing)
    read_once(Found(sensors=found.sensors))


def test_a_family_whose_package_is_missing_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyghmi.ipmi", None)
    found = discover({}, strict=True)
    for s in found.sensors:
        s.close()
    (missing,) = [m for m in found.missing if m.family == "ipmi"]
    assert missing.why is Why.NOT_INSTALLED
    assert "coldmark[ipmi]" in missing.hint
    with pytest.raises(SetupError):
        discover(family_options({"ipmi.host": "127.0.0.1"}), strict=True)


@given(st.text(max_size=300))
def test_any_name_a_peer_sends_becomes_a_short_safe_word(text: str) -> None:
    word = component_name(text)
    assert 1 <= len(word) <= 48
    assert set(word) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")


def test_equal_names_are_told_apart() -> None:
    channel = Channel(family="ipmi", component="fan", quantity="fan_rpm", rate_hz=1)
    assert [c.component for c in distinct([channel] * 3)] == ["fan", "fan-2", "fan-3"]


@pytest.mark.parametrize(
    ("quantity", "name", "factor"),
    [
        ("temperature_degc", "coldmark_temperature_celsius", 1.0),
        ("clock_mhz", "coldmark_clock_hertz", 1e6),
        ("energy_j", "coldmark_energy_joules", 1.0),
        ("power_violation_s", "coldmark_power_violation_seconds", 1.0),
        ("flow_l_per_min", "coldmark_flow_cubic_meters_per_second", 1e-3 / 60),
        ("fan_share", "coldmark_fan_ratio", 1.0),
        ("throttle_count", "coldmark_throttle_events", 1.0),
    ],
)
def test_prometheus_names_are_in_base_units(quantity: str, name: str, factor: float) -> None:
    assert metric_of(quantity) == (name, pytest.approx(factor))
