"""Finished runs as their directories hold them, made from hand-written logs: no LoadGen takes part."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import submission_tree as tree
from coldmark.core.calibration import Quantisation
from coldmark.core.nouns import Length, Provenance, Scenario, State, Suite
from coldmark.core.record import RunRecord, RunSpec
from coldmark.core.settings import SourcedSettings, TestSettings
from coldmark.core.system import System
from coldmark.store.rundir import COMPLIANCE, RunDir

SAMPLES = 5000


def whole_log(samples: int) -> bytes:
    entries = [f'{{ "seq_id" : {i}, "qsl_idx" : {i}, "data" : "{i % 1000:08X}" }}' for i in range(samples)]
    return ("[\n" + ",\n".join(entries) + "\n]\n").encode()


def settings(scenario: Scenario, minimum_ms: int) -> TestSettings:
    seeds = tree.BOOK.seeds
    from coldmark.core.nouns import Mode

    return TestSettings(
        scenario=scenario,
        mode=Mode.PERFORMANCE,
        min_duration_ms=minimum_ms,
        min_query_count=24576 if scenario is Scenario.OFFLINE else tree.CONF[scenario.value],
        qsl_rng_seed=seeds.qsl,
        sample_index_rng_seed=seeds.sample_index,
        schedule_rng_seed=seeds.schedule,
        performance_sample_count=1024,
        target_qps={Scenario.OFFLINE: 1000.0, Scenario.SERVER: 500.0}.get(scenario),
        expected_latency_ns=2_000_000 if scenario is Scenario.SINGLE_STREAM else None,
    )


def run(
    root: Path,
    scenario: str,
    *,
    model: str = "mini",
    length: Length = Length.SHORT,
    verdict: str = "VALID",
    state: State = State.COMPLETE,
    provenance: Provenance = Provenance.MEASURED,
    suite: Suite = Suite.EDGE,
    processor: str = "CPU X",
    compliance: bool = False,
    spec: dict[str, Any] | None = None,
    quantised: Quantisation | None = None,
    extra: dict[str, bytes] | None = None,
) -> Path:
    """Write one run; returns its directory."""
    official = length is Length.OFFICIAL
    samples = 50000 if model == "official" else SAMPLES
    which = Scenario(scenario)
    held = RunDir.create(root, f"20261123T120000-resnet50-{which.slug}-{len(list(root.glob('*'))):06x}")
    asked = RunSpec(
        workload="resnet50", scenario=which, suite=suite, model=model, length=length, **(spec or {})
    )
    held.write("record.json", RunRecord(
        run_id=held.path.name, state=state, spec=asked, provenance=provenance, verdict=verdict,
        quantised=quantised,
        submittable=official and model == "official", software={"coldmark": "0.1.0", "openvino": "2026.4"},
    ))  # fmt: skip
    held.write("system.json", System(
        host_processor_model_name=processor, host_processors_per_node="1", host_processor_core_count="2",
        host_memory_capacity="24 GiB", host_storage_type="SSD", host_storage_capacity="100 GiB",
        operating_system="Linux", framework="openvino 2026.4", other_software_stack="Python 3.11",
    ))  # fmt: skip
    held.write(
        "task.json",
        {"workload": "resnet50", "samples": samples, "weights": "drawn shapes", "model_sha256": "0a"},
    )
    put(held.path, scenario, samples, 600000 if official else 60000)
    sourced = SourcedSettings(settings=settings(which, 600000 if official else 60000))
    held.write("performance/settings.json", sourced)
    for name, data in (extra or {}).items():
        tree.write(held.path / name, data)
    held.seal()
    if compliance:
        cut = whole_log(4096)
        tree.compliance(held.path / COMPLIANCE, scenario, cut, hashlib.sha256(cut).hexdigest())
        held.seal_added(COMPLIANCE)
    held.release()
    return held.path


def put(folder: Path, scenario: str, samples: int, minimum_ms: int) -> None:
    """The logs of both tests."""

    def log(**kind: Any) -> str:
        text = tree.detail(scenario, **kind)
        text = text.replace(
            '"effective_min_duration_ms", "value": 600000',
            f'"effective_min_duration_ms", "value": {minimum_ms}',
        )
        return text.replace(f'"value": {tree.TOTAL}', f'"value": {samples}', 1)

    tree.write(folder / "performance/mlperf_log_detail.txt", log())
    tree.write(folder / "performance/mlperf_log_summary.txt", tree.summary(scenario))
    tree.write(folder / "accuracy/mlperf_log_detail.txt", log(accuracy=True))
    tree.write(folder / "accuracy/mlperf_log_summary.txt", "\nNo errors encountered during test.\n")
    whole = whole_log(samples)
    tree.write(folder / "accuracy/mlperf_log_accuracy.json", whole)
    good = samples * 80 // 100
    tree.write(
        folder / "accuracy/accuracy.txt",
        f"accuracy=80.000%, good={good}, total={samples}\nhash={hashlib.sha256(whole).hexdigest()}\n",
    )


def answers() -> str:
    """A --system-file that says all that no machine knows."""
    groups = tree.BOOK.submission.system  # type: ignore[union-attr]
    said = {name: field for key in ("base", "since_v1") for name, field in groups[key].fields.items()}
    said = {n: f for n, f in said.items() if n not in ("division", "submitter", "system_name", "system_type")}
    lines = ["[system]"]
    for name, field in said.items():
        value = "available" if name == "status" else "1" if field.kind == "count" else "as built"
        lines.append(f"{json.dumps(name)} = {json.dumps(value)}")
    fields = tree.BOOK.submission.implementation.fields  # type: ignore[union-attr]
    said = [name for name in fields if name not in ("weight_data_types", "starting_weights_filename")]
    return "\n".join([*lines, "[implementation]", *(f'{name} = "No"' for name in said)]) + "\n"
