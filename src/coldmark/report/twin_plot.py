"""Plots of a twin run over time, and its columns as CSV."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from coldmark.core.errors import ConfigError, DataError, SetupError
from coldmark.core.twin import SweepPoint, SweepResult, TwinRun

SUFFIXES = (".png", ".svg")


def plot_run(run: TwinRun, path: Path) -> None:
    """Temperatures, clocks, power and score over time as .png or .svg.

    Raises SetupError without matplotlib.
    """
    figure = _figure(path, (9, 9))
    axes = figure.subplots(4, 1, sharex=True)
    time = run.trace["time_s"]
    names = [a.name for a in run.accelerators]
    _temperatures(axes[0], run, time, names)
    for name in names:
        axes[1].plot(time, run.trace[f"{name}.mhz"], lw=1)
    axes[1].set_ylabel("core clock [MHz]")
    axes[2].plot(time, run.trace["wall_w"], color="black", label="wall")
    axes[2].plot(time, _sum(run, names, "power_w"), color="tab:red", label="accelerators")
    axes[2].set_ylabel("power [W]")
    axes[2].set_ylim(bottom=0)
    axes[2].legend(loc="lower right")
    axes[3].plot(time, run.trace["rate_per_s"], color="tab:green")
    axes[3].set_ylabel("rate [samples/s]")
    axes[3].set_xlabel("time [s]")
    for event in run.events[:4]:
        axes[0].axvline(event.at_s, color="grey", ls=":", lw=1)
    figure.suptitle(
        f"SIMULATED: {run.server_name}, {run.cooling}\n{run.workload} {run.scenario}, {run.limit_w:g} W",
        fontsize=11,
    )
    _save(figure, path)


def _figure(path: Path, size: tuple[float, float]) -> Any:
    if path.suffix not in SUFFIXES:
        raise ConfigError(
            f"no plot as {path.suffix!r}", where="--plot", hint="a path that ends in .png or .svg"
        )
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SetupError(
            "plots need matplotlib", where="--plot", hint="install it: pip install 'coldmark[plots]'"
        ) from None
    return Figure(figsize=size, layout="constrained")


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=str(path)) from None


def plot_sweep(found: SweepResult, path: Path) -> None:
    """Rate and energy against the swept axis with the most values; a line for each of the others."""
    figure = _figure(path, (9, 7))
    keys = ("supply_degc", "flow_l_per_min", "limit_w", "inlet_degc")
    counts = {k: len({getattr(p, k) for p in found.points}) for k in keys}
    axis = max(keys, key=lambda k: counts[k])
    lines: dict[str, list[SweepPoint]] = {}
    for p in found.points:
        label = ", ".join(f"{k} {getattr(p, k):.4g}" for k in keys if k != axis and counts[k] > 1)
        lines.setdefault(label, []).append(p)
    top, bottom = figure.subplots(2, 1, sharex=True)
    for label, points in list(lines.items())[:12]:
        x = [getattr(p, axis) for p in points]
        top.plot(x, [p.rate_per_s for p in points], marker=".", label=label or None)
        bottom.plot(x, [p.j_per_sample for p in points], marker=".")
    top.set_ylabel(f"rate [{found.unit}]")
    bottom.set_ylabel("energy [J/sample, wall and pump]")
    bottom.set_xlabel(axis)
    if len(lines) > 1:
        top.legend(fontsize=7)
    figure.suptitle(
        f"SIMULATED: {found.server}, {found.cooling}, {found.workload} Offline at rest", fontsize=11
    )
    _save(figure, path)


def _temperatures(axis: Any, run: TwinRun, time: list[Any], names: list[str]) -> None:
    for i, name in enumerate(names):
        label = ("die", "HBM") if i == 0 else (None, None)
        axis.plot(time, run.trace[f"{name}.die_degc"], color="tab:red", lw=1, label=label[0])
        axis.plot(time, run.trace[f"{name}.memory_degc"], color="tab:purple", lw=1, label=label[1])
    others = [k for k in run.trace if k.endswith(".degc")]
    shades = ["tab:blue", "tab:cyan", "tab:olive", "tab:brown", "tab:pink", "tab:grey"]
    for i, key in enumerate(
        k for k in others if k.split(".")[0] in ("cpu0", "memory", "switches", "supplies")
    ):
        axis.plot(time, run.trace[key], color=shades[i % len(shades)], lw=1, label=key.split(".")[0])
    axis.set_ylabel("temperature [degC]")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)


def _sum(run: TwinRun, names: list[str], what: str) -> list[float]:
    return [sum(values) for values in zip(*(run.trace[f"{n}.{what}"] for n in names), strict=True)]


def write_trace(run: TwinRun, path: Path) -> None:
    """The columns over time as CSV; the first line says that they are simulated. Raises DataError."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            file.write(f"# {run.note}: {run.server}, {run.cooling}, {run.workload} {run.scenario}\n")
            rows = csv.writer(file)
            rows.writerow(run.trace)
            rows.writerows(zip(*run.trace.values(), strict=True))
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=str(path)) from None
