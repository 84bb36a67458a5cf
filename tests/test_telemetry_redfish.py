"""Redfish against a server process on loopback: both schemas, faults, credentials, certificates."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from coldmark.core.errors import ColdmarkError, ConfigError, TelemetryError
from coldmark.telemetry.bmc import FILE, PASSWORD, USER, credentials
from coldmark.telemetry.redfish import Options, Redfish, find
from coldmark.testing import SensorConformance

Serve = Callable[..., str]
SERVER = Path(__file__).with_name("redfish_server.py")


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (USER, PASSWORD, FILE):
        monkeypatch.delenv(name, raising=False)


def start(folder: Path, *args: str) -> tuple[subprocess.Popen[bytes], int]:
    port_file = folder / f"port-{time.monotonic_ns()}"
    process = subprocess.Popen(
        [sys.executable, str(SERVER), str(port_file), *args], stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 60
    while not port_file.exists():
        assert process.poll() is None, "the server has died"
        assert time.monotonic() < end, "the server does not start"
        time.sleep(0.01)
    return process, int(port_file.read_text())


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    started: list[subprocess.Popen[bytes]] = []

    def call(*args: str) -> str:
        process, port = start(tmp_path, *args)
        started.append(process)
        return f"{'https' if '--tls' in args else 'http'}://127.0.0.1:{port}"

    yield call
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def new_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, port = start(tmp_path_factory.mktemp("redfish"))
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def read(url: str, **options: object) -> dict[str, float]:
    (sensor,) = find(Options(url=url, **options)).sensors  # type: ignore[arg-type]
    row = np.full(len(sensor.channels), math.nan)
    sensor.read(row)
    sensor.close()
    return {c.name: float(v) for c, v in zip(sensor.channels, row, strict=True)}


class TestRedfish(SensorConformance):
    @pytest.fixture(autouse=True)
    def _url(self, new_server: str) -> None:
        self.url = new_server

    def make(self, tmp_path: Path) -> Redfish:
        (sensor,) = find(Options(url=self.url)).sensors
        assert isinstance(sensor, Redfish)
        return sensor


def test_the_deprecated_resources_are_read(serve: Serve) -> None:
    found = read(serve("--old"))
    assert found == {
        "redfish.1-cpu1-temp.temperature_degc": 61.5,
        "redfish.1-inlet.temperature_degc": 24.0,
        "redfish.1-fan-1.fan_rpm": 8400.0,
        "redfish.1-fan-2.fan_share": pytest.approx(0.45),
        "redfish.1-system.power_w": 1475.0,
        "redfish.1-psu1.power_w": 740.0,
    }


def test_the_newer_resources_are_read_and_not_the_old_ones_beside_them(new_server: str) -> None:
    found = read(new_server)
    assert found["redfish.1-cpu0.temperature_degc"] == 58.25
    assert found["redfish.1-bay1.fan_rpm"] == 9100
    assert found["redfish.1-a.supply_temperature_degc"] == 32.5
    assert found["redfish.1-a.flow_l_per_min"] == 11.2
    assert found["redfish.1-tray.leak"] == 0
    assert found["redfish.1-psu1.power_w"] == 812
    assert found["redfish.1.power_w"] == 1622
    assert found["redfish.1-facility-1.supply_temperature_degc"] == 27
    assert found["redfish.1-loop-1.flow_l_per_min"] == 70
    assert found["redfish.1-loop-1.pressure_kpa"] == 210
    assert found["redfish.gpu_sxm_1.power_w"] == 402.5
    assert found["redfish.gpu_sxm_1.power_limit_w"] == 500
    assert "redfish.1-cpu1-temp.temperature_degc" not in found
    assert "redfish.1-system.power_w" not in found


def test_a_limit_of_the_old_schema_is_a_constant(serve: Serve) -> None:
    (sensor,) = find(Options(url=serve("--old"))).sensors
    sensor.close()
    assert sensor.constants == {"1-cpu1-temp.slowdown_degc": 95.0}


def test_an_energy_counter_that_starts_anew_does_not_fall(serve: Serve) -> None:
    (sensor,) = find(Options(url=serve("--fault", "wrap"))).sensors
    at = [c.name for c in sensor.channels].index("redfish.1.energy_j")
    row, seen = np.zeros(len(sensor.channels)), []
    for _ in range(4):
        sensor.read(row)
        seen.append(float(row[at]) / 3.6e6)
    sensor.close()
    # After the crawl's 100.0 the counter says 100.5, 101, 0.25, 0.75: growth of .5, an unknown, .5
    assert seen == pytest.approx([0.0, 0.5, 0.5, 1.0])


def test_a_value_that_disappears_is_missing_and_the_others_stay(serve: Serve) -> None:
    (sensor,) = find(Options(url=serve("--fault", "vanish"))).sensors
    names = [c.name for c in sensor.channels]
    row = np.zeros(len(names))
    for _ in range(3):
        sensor.read(row)
    sensor.close()
    found = dict(zip(names, row.tolist(), strict=True))
    assert math.isnan(found["redfish.1-cpu0.temperature_degc"])
    assert found["redfish.1-intake.temperature_degc"] == 25


def test_a_connection_that_is_dropped_is_made_again(serve: Serve) -> None:
    assert read(serve("--fault", "drop"))["redfish.1.power_w"] == 1622


def test_one_broken_resource_does_not_hide_the_others(serve: Serve) -> None:
    found = read(serve("--old", "--fault", "broken"))
    assert "redfish.1-inlet.temperature_degc" in found
    assert "redfish.1-system.power_w" not in found


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("garbage", "not JSON"),
        ("list", "no JSON object"),
        ("huge", "more than 4 MiB"),
        ("trickle", "never ends"),
        ("redirect", "answers 302"),
    ],
)
def test_a_peer_that_misbehaves_is_an_error_that_says_so(fault: str, words: str, serve: Serve) -> None:
    with pytest.raises(TelemetryError, match=words) as caught:
        find(Options(url=serve("--fault", fault), timeout_s=0.4 if fault == "trickle" else 20))
    assert "127.0.0.1" in str(caught.value)


def test_a_slow_peer_is_given_up_in_time(serve: Serve) -> None:
    found = find(Options(url=serve("--fault", "slow"), timeout_s=0.3))
    assert found.sensors == ()
    assert "no reading" in found.missing[0].detail


def test_a_wrong_address_says_so() -> None:
    with pytest.raises(TelemetryError, match="cannot be reached"):
        find(Options(url="http://127.0.0.1:9"))
    with pytest.raises(TelemetryError, match="no host of this name"):
        find(Options(url="https://bmc.invalid"))


@pytest.mark.parametrize("url", ["bmc", "ftp://bmc", "https://", "http://h:99999999"])
def test_an_address_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        find(Options(url=url))


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        find(Options(url="https://admin:s3cret@127.0.0.1"))
    assert "s3cret" not in str(caught.value)
    assert USER in str(caught.value)


def test_the_right_password_opens_and_a_wrong_one_is_named_as_such(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve("--password", "right")
    with pytest.raises(TelemetryError, match="401"):
        find(Options(url=url))
    monkeypatch.setenv(USER, "admin")
    monkeypatch.setenv(PASSWORD, "wrong-word")
    with pytest.raises(TelemetryError, match="refuses these credentials") as caught:
        find(Options(url=url))
    assert "wrong-word" not in str(caught.value)
    monkeypatch.setenv(PASSWORD, "right")
    assert read(url)["redfish.1.power_w"] == 1622


def test_a_password_does_not_leave_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USER, "admin")
    monkeypatch.setenv(PASSWORD, "s3cret")
    with pytest.raises(ConfigError, match="without TLS"):
        find(Options(url="http://203.0.113.7"))


# --- certificates -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, made for this session."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


def test_a_certificate_nobody_vouches_for_is_refused(serve: Serve, certificate: tuple[Path, Path]) -> None:
    url = serve("--tls", *map(str, certificate))
    with pytest.raises(TelemetryError, match="certificate does not hold") as caught:
        find(Options(url=url))
    assert "verify=false" in str(caught.value)


def test_its_own_ca_makes_it_hold(serve: Serve, certificate: tuple[Path, Path]) -> None:
    url = serve("--tls", *map(str, certificate))
    found = find(Options(url=url, ca=str(certificate[0])))
    found.sensors[0].close()
    assert found.insecure == ()


def test_verification_turned_off_is_said(serve: Serve, certificate: tuple[Path, Path]) -> None:
    url = serve("--tls", *map(str, certificate))
    found = find(Options(url=url, verify=False))
    found.sensors[0].close()
    assert found.insecure == (url,)


def test_a_ca_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="no CA certificates"):
        find(Options(url="https://127.0.0.1", ca=str(tmp_path / "ca.pem")))


# --- who we are ---------------------------------------------------------------------------------


def test_credentials_come_from_a_file_of_tight_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bmc.toml"
    path.write_text('user = "root"\npassword = "s3cret"\n')
    path.chmod(0o600)
    monkeypatch.setenv(FILE, str(path))
    found = credentials()
    assert found is not None
    assert (found.user, found.password) == ("root", "s3cret")
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ('user = "root"\npassword = "s3cret"\n', 0o640, "chmod 600"),
        ("password s3cret", 0o600, "not TOML"),
        ('user = "root"\n', 0o600, "user and password"),
        ('user = "root"\npassword = 5\n', 0o600, "user and password"),
    ],
)
def test_a_file_that_others_may_read_or_that_is_no_pair_is_refused(
    text: str, mode: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bmc.toml"
    path.write_text(text)
    path.chmod(mode)
    monkeypatch.setenv(FILE, str(path))
    with pytest.raises(ColdmarkError, match=words) as caught:
        credentials()
    assert "s3cret" not in str(caught.value)


def test_half_a_pair_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USER, "admin")
    with pytest.raises(ConfigError, match="belong together"):
        credentials()


def test_no_file_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILE, os.devnull + "-not-there")
    with pytest.raises(ConfigError):
        credentials()
