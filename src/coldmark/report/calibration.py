"""A calibration as text: the front between accuracy and speed, and what was chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from coldmark.core.calibration import Calibration, Candidate
from coldmark.core.codec import to_plain
from coldmark.core.commandline import command_line
from coldmark.core.errors import ColdmarkError
from coldmark.core.nouns import Precision, Scenario
from coldmark.report.text import table


def calibration_json(found: Calibration, *, there: bool, folder: str) -> dict[str, Any]:
    """The object that `--json` prints."""
    return {**to_plain(found), "was_there": there, "folder": folder}


def calibration_text(
    found: Calibration, *, there: bool, folder: str, options: Mapping[str, str] | None = None
) -> str:
    """What `coldmark calibrate` prints. `options` say where the user's own model and data are."""
    head = f"{found.workload} {found.model} on {found.backend}: calibration {found.id}"
    lines = [head + (f" was made {found.made} (--again makes it anew)" if there else "")]
    if found.aim:
        aim = found.aim
        lines.append(
            f"gate: {aim.metric} {aim.target:.4f} {aim.unit}".rstrip()
            + f", {100 * found.ratio:g} % of {aim.reference:.4f} in FP32"
        )
    lines += ["", front_text(found), "", f"chosen: {chosen_text(found)}"]
    if found.quantisation:
        used = found.quantisation
        lines.append(
            "no range is from a sample: activations get their scale as they come"
            if used.dynamic
            else f"from {used.samples} samples of {used.set_name} (sha256 {used.set_sha256[:12]})"
        )
        for network, nodes in used.excluded.items():
            lines.append(f"in floating point, {network}: {', '.join(nodes)}")
        for what in (f"nodes {' '.join(used.kept)}" if used.kept else "", " and ".join(used.skipped)):
            lines += [f"in floating point always: {what}"] if what else []
    chosen = found.chosen.precision if found.chosen else Precision.FP32
    lines += [f"to run it: {_command(found, chosen, options or {})}"] if found.held else []
    if found.quantisation:
        if chosen is not Precision.INT8:
            lines.append(f"its INT8 model is run by: {_command(found, Precision.INT8, options or {})}")
        lines.append(folder)
    return "\n".join(lines)


def _command(found: Calibration, precision: Precision, options: Mapping[str, str]) -> str:
    return command_line(
        "run",
        found.workload,
        scenario=Scenario.OFFLINE,
        model=found.model,
        backend=found.backend if found.backend != "openvino" else None,
        precision=precision,
        options=options,
    )


def front_text(found: Calibration) -> str:
    """Every candidate: accuracy, gate, rate over FP32."""
    rows = [
        [
            "*" if candidate == found.chosen else "",
            candidate.name,
            "-" if candidate.accuracy is None else f"{candidate.accuracy:.4f}",
            _passed(candidate),
            _speed(candidate),
            candidate.note,
        ]
        for candidate in found.front
    ]
    return table(["", "model", "accuracy", "gate", "rate over FP32", ""], rows)


def _passed(candidate: Candidate) -> str:
    if candidate.passed is None:
        return "not judged" if not candidate.note else "-"
    return "holds" if candidate.passed else "FAILS"


def _speed(candidate: Candidate) -> str:
    if candidate.speed is None:
        return "-"
    if candidate.speed_low is None or candidate.speed_high is None:
        return f"{candidate.speed:.2f}"
    return f"{candidate.speed:.2f} ({candidate.speed_low:.2f} to {candidate.speed_high:.2f})"


def chosen_text(found: Calibration) -> str:
    """What was chosen and why."""
    name = found.chosen.name if found.chosen else Precision.FP32.value
    return f"{name}: {found.reason}"


def list_text(rows: Iterable[tuple[str, Calibration | ColdmarkError]]) -> str:
    """One line a calibration."""
    lines = [
        [name, "-", "-", "-", "-", found.message]
        if isinstance(found, ColdmarkError)
        else [
            name,
            found.workload,
            found.model,
            found.backend,
            f"{100 * found.ratio:g} %",
            chosen_text(found),
        ]
        for name, found in rows
    ]
    return table(["id", "workload", "model", "backend", "gate", "chosen"], lines)
