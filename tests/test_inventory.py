"""The machine's own words."""

from __future__ import annotations

from dataclasses import fields

from coldmark.core.system import System
from coldmark.telemetry.inventory import detect, parse_nvidia


def test_what_is_detected_has_a_source_and_the_rest_stays_empty() -> None:
    found = detect(software={"openvino": "1", "coldmark": "2"})
    assert found.host_memory_capacity.endswith("GiB")
    assert found.framework == "openvino 1"
    assert found.other_software_stack.startswith("coldmark 2, Python 3.")
    assert set(found.sources) <= {f.name for f in fields(System)}
    assert found.submitter == ""


def test_gpus_are_read_from_the_drivers_table() -> None:
    text = "NVIDIA A100-SXM4-80GB, 81920 MiB, 1410 MHz\n" * 8
    assert parse_nvidia(text) == {
        "accelerators_per_node": "8",
        "accelerator_model_name": "NVIDIA A100-SXM4-80GB",
        "accelerator_memory_capacity": "81920 MiB",
        "accelerator_frequency": "1410 MHz",
    }


def test_a_driver_that_says_something_else_means_no_gpu() -> None:
    for text in ("", "No devices were found\n", "NVIDIA-SMI has failed, because, it, did\n"):
        assert parse_nvidia(text) == {"accelerators_per_node": "0"}
