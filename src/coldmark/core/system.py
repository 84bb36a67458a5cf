"""The system under test as MLPerf's `systems/*.json` describes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Cooling(StrEnum):
    """How heat leaves a component."""

    AIR = "air"
    LIQUID = "liquid"
    HYBRID = "hybrid"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Fields are named as in MLPerf's `systems/*.json` of v2.1; an empty string is "not known here".

    Numbers that MLPerf writes as text stay text, as the field does.
    """

    division: str = ""
    submitter: str = ""
    status: str = ""
    system_type: str = ""
    system_name: str = ""
    system_type_detail: str = ""
    number_of_nodes: str = "1"
    host_processors_per_node: str = ""
    host_processor_model_name: str = ""
    host_processor_frequency: str = ""
    host_processor_core_count: str = ""
    host_processor_vcpu_count: str = ""
    host_processor_caches: str = ""
    host_processor_interconnect: str = ""
    host_memory_capacity: str = ""
    host_memory_configuration: str = ""
    host_storage_type: str = ""
    host_storage_capacity: str = ""
    host_networking: str = ""
    host_networking_topology: str = ""
    host_network_card_count: str = ""
    accelerators_per_node: str = "0"
    accelerator_model_name: str = ""
    accelerator_frequency: str = ""
    accelerator_host_interconnect: str = ""
    accelerator_interconnect: str = ""
    accelerator_interconnect_topology: str = ""
    accelerator_memory_capacity: str = ""
    accelerator_memory_configuration: str = ""
    accelerator_on_chip_memories: str = ""
    cooling: str = ""
    framework: str = ""
    operating_system: str = ""
    other_software_stack: str = ""
    hw_notes: str = ""
    sw_notes: str = ""
    sources: dict[str, str] = field(default_factory=dict)  # field -> where it was read
