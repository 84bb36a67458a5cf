"""The texts of a built tree: conf files, descriptions, accuracy logs cut to their ends. All from records."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from coldmark.core.calibration import CHOICE, Quantisation
from coldmark.core.errors import DataError
from coldmark.core.nouns import Scenario
from coldmark.core.record import RunRecord
from coldmark.core.settings import TestSettings
from coldmark.rules.book import RuleBook
from coldmark.rules.submission_book import AccuracyLogBook
from coldmark.telemetry import SENSORS

NS_PER_MS = 1_000_000

PATH_ENDS = ("path", ".list", ".data", ".manifest")
"""Ends of the names of options that are paths of the machine a run was made on."""


def mlperf_conf(book: RuleBook) -> str:
    """The round's mlperf.conf, every key as the round has it."""
    head = f"# mlperf.conf of {book.round}, written from its rule book: every key as the round has it.\n"
    return head + "".join(f"{key} = {value}\n" for key, value in book.conf.items())


def user_conf(settings: TestSettings) -> str:
    """What the run was told beyond mlperf.conf, in LoadGen's own keys and units."""
    scenario = settings.scenario
    values: dict[str, object] = {}
    if scenario in (Scenario.SERVER, Scenario.OFFLINE) and settings.target_qps is not None:
        values["target_qps"] = repr(settings.target_qps)
    if scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM) and settings.expected_latency_ns:
        values["target_latency"] = repr(settings.expected_latency_ns / NS_PER_MS)
    values["min_duration"] = settings.min_duration_ms
    values["min_query_count"] = settings.min_query_count
    if settings.max_query_count:
        values["max_query_count"] = settings.max_query_count
    lines = [f"*.{scenario.value}.{key} = {value}\n" for key, value in values.items()]
    return "".join(lines) + f"*.*.performance_sample_count_override = {settings.performance_sample_count}\n"


def cut_log(source: Path, book: AccuracyLogBook) -> tuple[bytes, str]:
    """An accuracy log as a tree holds it, and sha256 [hex] of the whole one.

    Source: tools/submission/truncate_accuracy_log.py of the round: both ends, and a mark between.
    """
    try:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            file.seek(0)
            if size <= book.max_bytes:
                return file.read(), digest
            head = file.read(book.head_bytes)
            file.seek(size - book.tail_bytes)
            return head + book.between.encode() + file.read(book.tail_bytes), digest
    except OSError as error:
        raise DataError(error.strerror or str(error), where=str(source)) from None


def implementation(record: RunRecord, facts: Mapping[str, str]) -> dict[str, str]:
    """What the record itself says of the model: its weights and the arithmetic they were run in."""
    precision = record.spec.precision.value
    weights = facts.get("weights", "")
    digest = facts.get("model_sha256", "")
    name = f"{record.spec.workload}, model source {Path(record.spec.model).name}"
    parts = [name, weights, f"sha256 {digest}" if digest else ""]
    used = record.quantised
    made = {"weight_transformations": f"INT8 by {used.method}, see calibration_process.adoc"} if used else {}
    return {
        "weight_data_types": precision,
        "starting_weights_filename": "; ".join(part for part in parts if part),
        **made,
    }


def calibration_text(record: RunRecord) -> str:
    """calibration_process.adoc: what was done to reach the arithmetic of the run."""
    precision = record.spec.precision.value
    if record.quantised is not None:
        return _quantised_text(record, record.quantised)
    return (
        "= Calibration and weights\n\n"
        f"The model was run in {precision} by {record.spec.backend}. No calibration was done: weights and "
        f"activations are computed in {precision}, and no integer quantisation takes part.\n"
    )


def _quantised_text(record: RunRecord, used: Quantisation) -> str:
    made_with = ", ".join(f"{name} {version}" for name, version in sorted(used.made_with.items()))
    files = "".join(f"- {name}: sha256 {digest}\n" for name, digest in sorted(used.networks.items()))
    left = "".join(f"- {name}: {', '.join(nodes)}\n" for name, nodes in sorted(used.excluded.items()))
    kept = "".join(f"- nodes whose names match `{pattern}`\n" for pattern in used.kept)
    kept += "".join(f"- {name}: all of it\n" for name in used.skipped)
    return (
        "= Calibration and weights\n\n"
        f"Weights and activations were quantised to INT8 after training, by the method {used.method} "
        f"({made_with}), without any retraining; {record.spec.backend} computes what is not quantised in "
        f"{used.floating.value}.\n\n"
        f"{_ranges_text(used)}\n\n"
        f"Quantised networks:\n\n{files}"
        + (f"\nLeft in floating point always:\n\n{kept}" if kept else "")
        + (f"\nLayers left in floating point to hold the accuracy:\n\n{left}" if left else "")
    )


def _ranges_text(used: Quantisation) -> str:
    if used.dynamic:
        return (
            "Activations get their scale from each tensor as it comes: no range is from a calibration sample."
        )
    return (
        f"Ranges of the activations come from {used.samples} samples of {used.set_name} "
        f"(sha256 of the set {used.set_sha256})."
        + (f" Samples of it are scored on too, as {used.overlap}." if used.overlap else "")
    )


def measurement_readme(record: RunRecord) -> str:
    """README.md beside the conf files: the run, and the command that makes it again."""
    return (
        f"# {record.spec.workload} {record.spec.scenario.value}\n\n"
        f"Run {record.run_id}, length {record.spec.length}, by coldmark "
        f"{record.software.get('coldmark', '')}. To make it again:\n\n"
        f"```sh\n{command(record)}\n```\n"
    )


def command(record: RunRecord) -> str:
    """The command line of a run, without the paths of the machine it ran on, nor how that was watched.

    In INT8 after the one that makes the model: its id is this machine's, and named nowhere else.
    """
    spec, used = record.spec, record.quantised
    own = {k: v for k, v in spec.options.items() if k not in CHOICE and k.partition(".")[0] not in SENSORS}
    data = {k: v for k, v in own.items() if k.startswith(("model.", "data.", "vocab.", "calibration."))}
    model = spec.model if spec.model in ("mini", "full", "official") else "MODEL.onnx"
    words = [
        "coldmark", "run", spec.workload, "--suite", spec.suite.value, "--scenario", spec.scenario.value,
        "--model", model, "--backend", spec.backend, "--precision", spec.precision.value,
        "--length", spec.length.value, "--round", spec.round,
    ]  # fmt: skip
    if spec.target_qps is not None:
        words += ["--target-qps", f"{spec.target_qps:g}"]
    made = ["coldmark", "calibrate", spec.workload, "--model", model, "--backend", spec.backend]
    if used:
        made += ["--method", used.method, *([] if used.dynamic else ["--samples", str(used.samples)])]
    first = " ".join([*made, *_sets(data)]) + "\n" if used else ""
    return first + " ".join([*words, *_sets(own)])


def _sets(options: Mapping[str, str]) -> list[str]:
    found = []
    for key, value in options.items():
        found += ["--set", f"{key}={'PATH' if f'.{key}'.endswith(PATH_ENDS) else value}"]
    return found


def code_readme(model: str, commands: list[str], software: Mapping[str, str]) -> str:
    """README.md of a model's code folder: what the code is, and how each run is made again."""
    versions = "".join(f"- {name} {version}\n" for name, version in sorted(software.items()))
    return (
        f"# Code of {model}\n\nThe runs were made by coldmark (Apache-2.0) with:\n\n{versions}\n"
        "Each run again:\n\n```sh\n" + "\n".join(commands) + "\n```\n"
    )


def top_readme(submitter: str, why_not: tuple[str, ...]) -> str:
    """README.md of the submitter's folder."""
    text = f"# {submitter}\n\nBuilt by coldmark. `coldmark-manifest.json` has sha256 of every file.\n"
    if why_not:
        text += "\nNot for submission:\n\n" + "".join(f"- {reason}\n" for reason in why_not)
    return text
