"""Plots of a twin run over time, and its columns as CSV."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from coldmark.core.errors import ConfigError, DataError, SetupError
from coldmark.core.twin import TwinRun

SUFFIXES = (".png", ".svg")


def plot_run(run: TwinRun, path: Path) -> None:
    """Temperatures, clocks, power and score over time as .png or .svg.

    Raises SetupError without matplotlib.
    """
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
    figure = Figure(figsize=(9, 9), layout="constrained")
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
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=str(path)) from None


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
    axis.legend(loc="center right", fontsize=8, ncols=2)


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
