"""IPMI over RMCP+ against ipmi_sim of Debian's openipmi, where it is installed.

Few tests: with this simulator each command takes about a second.
"""

from __future__ import annotations

import math
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from coldmark.core.errors import ConfigError, TelemetryError
from coldmark.telemetry.bmc import FILE, PASSWORD, USER
from coldmark.telemetry.ipmi import Options, find

SIMULATOR = shutil.which("ipmi_sim")
needs_simulator = pytest.mark.skipif(SIMULATOR is None, reason="no ipmi_sim: apt install openipmi")

LAN = """
name "sim"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  user 2 true "ipmiusr" "test" admin 10 none md2 md5 straight
"""


def full_record(number: int, entity: int, kind: int, unit: int, name: str, factor: int) -> str:
    """A full sensor record of an SDR repository. Source: IPMI 2.0, table 43-1."""
    body = [0x20, 0, number, entity, 1, 0x7F, 0x68, kind, 1, 0x95, 0x7A, 0x95, 0x7A, 0x3F, 0x3F]
    body += [0, unit, 0, 0, factor, *[0] * 9, 0xFF, 0, 95, 90, 85, 0, 0, 0, 2, 2, 0, 0, 0]
    body += [0xC0 | len(name), *name.encode("ascii")]
    return " ".join(f"0x{b:02x}" for b in [number, 0, 0x51, 1, len(body), *body])


def emulation() -> str:
    lines = ["mc_setbmc 0x20", "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr"]
    for number, kind, value in ((1, 1, 45), (2, 4, 84), (3, 0xB, 123)):
        lines += [
            f"sensor_add 0x20 0 {number} {kind} 1",
            f"sensor_set_value 0x20 0 {number} {value} 0",
            f"sensor_set_event_support 0x20 0 {number} enable scanning per-state" + " 000111111111111" * 4,
        ]
    for record in (
        (1, 3, 1, 1, "CPU Temp", 1),
        (2, 29, 4, 18, "Fan 1", 100),
        (3, 7, 0xB, 6, "Sys Power", 10),
    ):
        lines.append(f"main_sdr_add 0x20 {full_record(*record)}")
    return "\n".join([*lines, "mc_enable 0x20", ""])


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A simulator that listens; its commands come from a pipe that is held open."""
    assert SIMULATOR is not None
    folder = tmp_path_factory.mktemp("ipmi")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    (folder / "lan.conf").write_text(LAN.format(port=number))
    (folder / "sim.emu").write_text(emulation())
    command = [SIMULATOR, "-c", "lan.conf", "-f", "sim.emu", "-s", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=log, stderr=log)
    end = time.monotonic() + 20
    while f":{number:04X} ".encode() not in Path("/proc/net/udp").read_bytes():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < end
        time.sleep(0.02)
    yield number
    process.kill()
    process.communicate()


@pytest.fixture(autouse=True)
def _who(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FILE, raising=False)
    monkeypatch.setenv(USER, "ipmiusr")
    monkeypatch.setenv(PASSWORD, "test")


@needs_simulator
def test_temperature_fan_and_power_come_in_their_units(port: int) -> None:
    (sensor,) = find(Options(host="127.0.0.1", port=port)).sensors
    row = np.full(len(sensor.channels), math.nan)
    sensor.read(row)
    sensor.close()
    found = {c.name: v for c, v in zip(sensor.channels, row.tolist(), strict=True)}
    # Raw 84 and 123 by the records' factors 100 rpm and 10 W.
    assert found == {
        "ipmi.cpu-temp.temperature_degc": 45.0,
        "ipmi.fan-1.fan_rpm": 8400.0,
        "ipmi.sys-power.power_w": 1230.0,
    }


@needs_simulator
def test_a_wrong_password_is_an_error_that_does_not_repeat_it(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, "wr0ng-word")
    with pytest.raises(TelemetryError, match="no session") as caught:
        find(Options(host="127.0.0.1", port=port))
    assert "wr0ng-word" not in str(caught.value)
    assert PASSWORD in str(caught.value)


def test_without_credentials_it_says_where_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(USER)
    monkeypatch.delenv(PASSWORD)
    with pytest.raises(ConfigError, match="needs a user and a password") as caught:
        find(Options(host="127.0.0.1"))
    assert PASSWORD in str(caught.value)


def test_without_an_address_nothing_is_asked() -> None:
    (missing,) = find(Options()).missing
    assert missing.why == "not configured"
