"""What the demo runs: every scenario once, each in a suite that has it."""

from __future__ import annotations

from coldmark.core.nouns import Length, Precision, Scenario, Suite
from coldmark.core.record import RunSpec

SCENARIOS = (
    (Scenario.SINGLE_STREAM, Suite.EDGE),
    (Scenario.MULTI_STREAM, Suite.EDGE),
    (Scenario.SERVER, Suite.DATACENTER),
    (Scenario.OFFLINE, Suite.DATACENTER),
)


def demo_specs(*, length: str, backend: str, precision: str) -> list[RunSpec]:
    """The specs of the demo. Raises ConfigError on a name that is none."""
    return [
        RunSpec(
            workload="resnet50",
            scenario=scenario,
            suite=suite,
            model="mini",
            backend=backend,
            precision=Precision.parse(precision, where="--precision"),  # type: ignore[arg-type]
            length=Length.parse(length, where="--length"),  # type: ignore[arg-type]
        )
        for scenario, suite in SCENARIOS
    ]
