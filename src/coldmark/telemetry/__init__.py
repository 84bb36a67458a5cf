"""Sensors: one file a family, and one line here."""

from __future__ import annotations

from coldmark.core.catalogue import Catalogue, Entry

SENSORS = Catalogue(
    "sensor family",
    {
        "nvml": Entry("coldmark.telemetry.nvml:FAMILY", "NVIDIA GPUs, by the driver's own library"),
        "cpu": Entry("coldmark.telemetry.cpu:FAMILY", "CPU load, steal, clocks and thermal throttling"),
        "hwmon": Entry("coldmark.telemetry.hwmon:FAMILY", "temperatures, fans and power from hwmon"),
        "rapl": Entry("coldmark.telemetry.rapl:FAMILY", "CPU and memory energy from powercap"),
        "redfish": Entry("coldmark.telemetry.redfish:FAMILY", "a BMC or CDU by Redfish"),
        "ipmi": Entry(
            "coldmark.telemetry.ipmi:FAMILY", "a BMC by IPMI over LAN", needs="pyghmi.ipmi", extra="ipmi"
        ),
        "dcgm": Entry("coldmark.telemetry.dcgm:FAMILY", "a DCGM exporter's Prometheus page"),
        "ptd": Entry("coldmark.telemetry.ptd:FAMILY", "a SPEC PTDaemon power log, read after the run"),
    },
)
