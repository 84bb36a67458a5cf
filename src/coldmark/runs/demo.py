"""What the demo runs: one scenario of each workload, and among them every scenario."""

from __future__ import annotations

from coldmark.core.nouns import Length, Precision, Scenario, Suite
from coldmark.core.record import RunSpec

RUNS = (
    ("resnet50", Suite.EDGE, Scenario.MULTI_STREAM),
    ("retinanet", Suite.DATACENTER, Scenario.OFFLINE),
    ("3d-unet-99.9", Suite.EDGE, Scenario.SINGLE_STREAM),
    ("rnnt", Suite.DATACENTER, Scenario.SERVER),
    ("bert-99.9", Suite.DATACENTER, Scenario.OFFLINE),
    ("dlrm-99.9", Suite.DATACENTER, Scenario.SERVER),
)


def demo_specs(*, length: str, backend: str, precision: str) -> list[RunSpec]:
    """The specs of the demo. Raises ConfigError on a name that is none."""
    return [
        RunSpec(
            workload=workload,
            scenario=scenario,
            suite=suite,
            model="mini",
            backend=backend,
            precision=Precision.parse(precision, where="--precision"),  # type: ignore[arg-type]
            length=Length.parse(length, where="--length"),  # type: ignore[arg-type]
        )
        for workload, suite, scenario in RUNS
    ]
