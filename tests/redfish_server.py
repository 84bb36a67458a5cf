"""A Redfish service for tests, in a process of its own: both generations of the schema, and faults.

    python redfish_server.py PORT_FILE [--old] [--fault NAME] [--tls CERT KEY] [--password WORD]

Faults: slow (answers after 3 s), trickle (a byte now and then), garbage (no JSON), huge (6 MiB), list (JSON,
no object), redirect (to another host), wrap (the energy counter falls after two reads), vanish (a reading is
gone after two reads), drop (closes every kept connection), broken (500 for one resource).
"""

from __future__ import annotations

import argparse
import base64
import json
import ssl
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

ROOT = "/redfish/v1/"


def links(path: str, **names: str) -> dict[str, Any]:
    return {"@odata.id": path, **{k: {"@odata.id": v} for k, v in names.items()}}


def members(path: str, *names: str) -> dict[str, Any]:
    return {"@odata.id": path, "Members": [{"@odata.id": f"{path}/{n}"} for n in names]}


def excerpt(value: float) -> dict[str, Any]:
    return {"Reading": value, "DataSourceUri": "/redfish/v1/Chassis/1/Sensors/x"}


C = "/redfish/v1/Chassis/1"
CDU = "/redfish/v1/ThermalEquipment/CDUs/1"
GPU = "/redfish/v1/Systems/HGX/Processors/GPU_SXM_1"


def old() -> dict[str, dict[str, Any]]:
    """Thermal and Power, deprecated in 2020.4."""
    return {
        ROOT: links(ROOT, Chassis="/redfish/v1/Chassis"),
        "/redfish/v1/Chassis": members("/redfish/v1/Chassis", "1"),
        C: {"Id": "1", **links(C, Thermal=f"{C}/Thermal", Power=f"{C}/Power")},
        f"{C}/Thermal": {
            "@odata.id": f"{C}/Thermal",
            "Temperatures": [
                {"MemberId": "0", "Name": "CPU1 Temp", "ReadingCelsius": 61.5, "UpperThresholdCritical": 95},
                {"MemberId": "1", "Name": "Inlet", "ReadingCelsius": 24},
                {"MemberId": "2", "Name": "Absent", "ReadingCelsius": None},
            ],
            "Fans": [
                {"MemberId": "0", "Name": "FAN 1", "Reading": 8400, "ReadingUnits": "RPM"},
                {"MemberId": "1", "Name": "FAN 2", "Reading": 45, "ReadingUnits": "Percent"},
            ],
        },
        f"{C}/Power": {
            "@odata.id": f"{C}/Power",
            "PowerControl": [{"MemberId": "0", "Name": "System", "PowerConsumedWatts": 1475.0}],
            "PowerSupplies": [{"MemberId": "0", "Name": "PSU1", "PowerInputWatts": 740.0}],
        },
    }


def new() -> dict[str, dict[str, Any]]:
    """ThermalSubsystem, PowerSubsystem, EnvironmentMetrics, ThermalEquipment; the old ones beside them."""
    thermal = f"{C}/ThermalSubsystem"
    found = old()
    found[ROOT] = links(
        ROOT,
        Chassis="/redfish/v1/Chassis",
        ThermalEquipment="/redfish/v1/ThermalEquipment",
        Systems="/redfish/v1/Systems",
    )
    found[C] |= links(
        C,
        ThermalSubsystem=thermal,
        PowerSubsystem=f"{C}/PowerSubsystem",
        EnvironmentMetrics=f"{C}/EnvironmentMetrics",
    )
    return found | {
        thermal: links(
            thermal,
            ThermalMetrics=f"{thermal}/ThermalMetrics",
            Fans=f"{thermal}/Fans",
            CoolantConnectors=f"{thermal}/CoolantConnectors",
            LeakDetection=f"{thermal}/LeakDetection",
        ),
        f"{thermal}/ThermalMetrics": {
            "@odata.id": f"{thermal}/ThermalMetrics",
            "TemperatureReadingsCelsius": [
                {"DeviceName": "CPU0", "Reading": 58.25, "DataSourceUri": f"{C}/Sensors/CPU0"},
                {"DeviceName": "Intake", "Reading": 25, "DataSourceUri": f"{C}/Sensors/Intake"},
            ],
        },
        f"{thermal}/Fans": members(f"{thermal}/Fans", "Bay1"),
        f"{thermal}/Fans/Bay1": {
            "@odata.id": f"{thermal}/Fans/Bay1",
            "Id": "Bay1",
            "SpeedPercent": {"Reading": 45, "SpeedRPM": 9100},
        },
        f"{thermal}/CoolantConnectors": members(f"{thermal}/CoolantConnectors", "A"),
        f"{thermal}/CoolantConnectors/A": {
            "@odata.id": f"{thermal}/CoolantConnectors/A",
            "Id": "A",
            "SupplyTemperatureCelsius": excerpt(32.5),
            "ReturnTemperatureCelsius": excerpt(41.0),
            "FlowLitersPerMinute": excerpt(11.2),
        },
        f"{thermal}/LeakDetection": links(
            f"{thermal}/LeakDetection", LeakDetectors=f"{thermal}/LeakDetection/LeakDetectors"
        ),
        f"{thermal}/LeakDetection/LeakDetectors": members(f"{thermal}/LeakDetection/LeakDetectors", "Tray"),
        f"{thermal}/LeakDetection/LeakDetectors/Tray": {
            "@odata.id": f"{thermal}/LeakDetection/LeakDetectors/Tray",
            "Id": "Tray",
            "DetectorState": "OK",
        },
        f"{C}/PowerSubsystem": links(
            f"{C}/PowerSubsystem", PowerSupplies=f"{C}/PowerSubsystem/PowerSupplies"
        ),
        f"{C}/PowerSubsystem/PowerSupplies": members(f"{C}/PowerSubsystem/PowerSupplies", "PSU1"),
        f"{C}/PowerSubsystem/PowerSupplies/PSU1": {
            "Id": "PSU1",
            **links(f"{C}/PowerSubsystem/PowerSupplies/PSU1", Metrics=f"{C}/PSU1Metrics"),
        },
        f"{C}/PSU1Metrics": {"@odata.id": f"{C}/PSU1Metrics", "InputPowerWatts": excerpt(812.0)},
        f"{C}/EnvironmentMetrics": {
            "@odata.id": f"{C}/EnvironmentMetrics",
            "PowerWatts": excerpt(1622.0),
            "EnergykWh": excerpt(100.0),
        },
        "/redfish/v1/ThermalEquipment": links(
            "/redfish/v1/ThermalEquipment", CDUs="/redfish/v1/ThermalEquipment/CDUs"
        ),
        "/redfish/v1/ThermalEquipment/CDUs": members("/redfish/v1/ThermalEquipment/CDUs", "1"),
        CDU: {
            "Id": "1",
            **links(
                CDU,
                PrimaryCoolantConnectors=f"{CDU}/Primary",
                SecondaryCoolantConnectors=f"{CDU}/Secondary",
            ),
        },
        f"{CDU}/Primary": members(f"{CDU}/Primary", "1"),
        f"{CDU}/Primary/1": {
            "@odata.id": f"{CDU}/Primary/1",
            "Id": "1",
            "SupplyTemperatureCelsius": excerpt(27.0),
        },
        f"{CDU}/Secondary": members(f"{CDU}/Secondary", "1"),
        f"{CDU}/Secondary/1": {
            "@odata.id": f"{CDU}/Secondary/1",
            "Id": "1",
            "SupplyTemperatureCelsius": excerpt(31.0),
            "FlowLitersPerMinute": excerpt(70.0),
            "SupplyPressurekPa": excerpt(210.0),
        },
        "/redfish/v1/Systems": members("/redfish/v1/Systems", "HGX"),
        "/redfish/v1/Systems/HGX": {
            "Id": "HGX",
            **links("/redfish/v1/Systems/HGX", Processors="/redfish/v1/Systems/HGX/Processors"),
        },
        "/redfish/v1/Systems/HGX/Processors": members("/redfish/v1/Systems/HGX/Processors", "GPU_SXM_1"),
        GPU: {
            "Id": "GPU_SXM_1",
            "ProcessorType": "GPU",
            **links(GPU, EnvironmentMetrics=f"{GPU}/EnvironmentMetrics"),
        },
        f"{GPU}/EnvironmentMetrics": {
            "@odata.id": f"{GPU}/EnvironmentMetrics",
            "TemperatureCelsius": excerpt(55),
            "PowerWatts": excerpt(402.5),
            "PowerLimitWatts": {"Reading": 500, "SetPoint": 500, "AllowableMax": 500},
        },
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    tree: ClassVar[dict[str, dict[str, Any]]] = {}
    fault: ClassVar[str] = ""
    password: ClassVar[str] = ""
    seen: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        fault = self.fault
        if self.password:
            expected = "Basic " + base64.b64encode(f"admin:{self.password}".encode()).decode()
            if self.headers.get("Authorization") != expected:
                self.answer(401, b"{}")
                return
        if fault == "slow" and self.path != ROOT:
            time.sleep(3)
        if fault == "redirect":
            self.send_response(302)
            self.send_header("Location", "http://203.0.113.9/redfish/v1/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        resource = self.tree.get(self.path)
        if resource is None:
            self.answer(404, b"{}")
            return
        self.seen[self.path] += 1
        data = json.dumps(self.changed(resource)).encode()
        if fault == "garbage":
            data = b"<html>" + b"\xff" * 40
        elif fault == "list":
            data = b"[1, 2]"
        elif fault == "huge":
            data = b"[" + b"0," * (3 << 20) + b"0]"
        elif fault == "broken" and self.path.endswith("/Power"):
            self.answer(500, b"{}")
            return
        self.answer(200, data)

    def changed(self, resource: dict[str, Any]) -> dict[str, Any]:
        path, again = self.path, self.seen[self.path] > 2
        if self.fault == "wrap" and path.endswith("Chassis/1/EnvironmentMetrics"):
            steps = [100.0, 100.5, 101.0, 0.25, 0.75]
            value = steps[min(self.seen[path] - 1, len(steps) - 1)]
            return {**resource, "EnergykWh": excerpt(value)}
        if self.fault == "vanish" and path.endswith("ThermalMetrics") and again:
            return {**resource, "TemperatureReadingsCelsius": resource["TemperatureReadingsCelsius"][1:]}
        return resource

    def answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.fault == "drop":
            self.close_connection = True  # without saying so: the client must find out
        self.end_headers()
        try:
            if self.fault == "trickle":
                for i in range(len(data)):
                    self.wfile.write(data[i : i + 1])
                    self.wfile.flush()
                    time.sleep(0.05)
            else:
                self.wfile.write(data)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port_file", type=Path)
    parser.add_argument("--old", action="store_true")
    parser.add_argument("--fault", default="")
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--password", default="")
    args = parser.parse_args()
    Handler.tree = old() if args.old else new()
    Handler.fault, Handler.password = args.fault, args.password
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    aside = args.port_file.with_suffix(".part")
    aside.write_text(str(server.server_address[1]))
    aside.replace(args.port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
