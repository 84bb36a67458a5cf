"""`coldmark twin`: the server twin. Everything it prints is simulated."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from coldmark.cli.options import json_option, runs_dir_option
from coldmark.core.codec import dump_json
from coldmark.core.errors import ConfigError

# The twin's matrices are small: a second BLAS thread costs more than it brings.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@click.group()
def twin() -> None:
    """Simulate a server: its score, temperatures, clocks and power, and what its cooling is worth."""


def benchmark_options() -> Decorator:
    """`--workload`, `--scenario`, `--suite`, `--round`."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option("--round", "round_", default="v2.1", help="The round whose rules are followed."),
            click.option("--suite", help="datacenter or edge. [default: the one that has the scenario]"),
            click.option(
                "--scenario", default="Offline", help="Offline, Server, SingleStream or MultiStream."
            ),
            click.option("--workload", required=True, help="A benchmark of the round, e.g. bert-99."),
        ):
            function = option(function)
        return function

    return add


def operation_options() -> Decorator:
    """What the user may turn."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option("--fan-share", type=float, help="Fan duty, share of full speed."),
            click.option("--inlet-degc", type=float, help="Air inlet temperature."),
            click.option("--power-limit-w", type=float, help="Power limit of each accelerator."),
            click.option("--facility-l-per-min", type=float, help="Facility water through the CDU."),
            click.option(
                "--facility-degc",
                type=float,
                help="Facility water temperature; the coolant supply follows through the CDU.",
            ),
            click.option("--flow-l-per-min", type=float, help="Coolant flow of the whole server."),
            click.option("--supply-degc", type=float, help="Coolant supply temperature."),
        ):
            function = option(function)
        return function

    return add


def make_spec(server: str, options: dict[str, Any]) -> Any:
    """Flags as a twin spec. Raises ConfigError naming what is wrong."""
    from coldmark.core.nouns import Scenario, Suite
    from coldmark.runs.twin.setup import TwinSpec
    from coldmark.thermal.assembly import Operation

    check_finite(options)
    suite = options.get("suite")
    return TwinSpec(
        server=server,
        workload=options["workload"],
        scenario=Scenario.parse(options["scenario"], where="--scenario"),  # type: ignore[arg-type]
        suite=Suite.parse(suite, where="--suite") if suite else None,  # type: ignore[arg-type]
        cooling=options.get("cooling"),
        round=options.get("round_", "v2.1"),
        duration_s=options.get("duration_s", 600.0),
        at=Operation(
            limit_w=options.get("power_limit_w"),
            supply_degc=options.get("supply_degc"),
            flow_l_per_min=options.get("flow_l_per_min"),
            inlet_degc=options.get("inlet_degc"),
            fan_share=options.get("fan_share"),
            facility_degc=options.get("facility_degc"),
            facility_l_per_min=options.get("facility_l_per_min"),
        ),
    )


def check_finite(options: dict[str, Any]) -> None:
    """Numbers are numbers, and a fan share is a share. Raises ConfigError."""
    import math

    for key, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{value} is no number to work with", where=f"--{key.replace('_', '-')}")
    share = options.get("fan_share")
    if share is not None and not 0.05 <= share <= 1:
        raise ConfigError(f"{share:g}", where="--fan-share", hint="permitted: 0.05 to 1")


@twin.command("run")
@click.argument("server")
@benchmark_options()
@click.option("--cooling", help="A cooling design of the server. [default: as built]")
@operation_options()
@click.option("--duration-s", type=float, default=600.0, show_default=True, help="Simulated seconds.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a .png or .svg over time."
)
@click.option(
    "--trace", type=click.Path(dir_okay=False, path_type=Path), help="Write the columns over time as .csv."
)
@json_option()
def run(server: str, as_json: bool, plot: Path | None, trace: Path | None, **options: Any) -> None:
    """Simulate one benchmark on SERVER (an id of `twin list`, or a .toml file)."""
    from coldmark.report.twin import run_json, run_text
    from coldmark.runs.twin.run import run_twin

    found = run_twin(make_spec(server, options), trace=bool(plot or trace))
    if plot:
        from coldmark.report.twin_plot import plot_run

        plot_run(found, plot)
    if trace:
        from coldmark.report.twin_plot import write_trace

        write_trace(found, trace)
    click.echo(dump_json(run_json(found)) if as_json else run_text(found), nl=not as_json)


@twin.command("compare")
@click.argument("server_a")
@click.argument("server_b", required=False)
@benchmark_options()
@click.option("--cooling-a", help="Cooling design of A. [default: as built]")
@click.option("--cooling-b", help="Cooling design of B. [default: as built]")
@operation_options()
@json_option()
def compare(
    server_a: str,
    server_b: str | None,
    cooling_a: str | None,
    cooling_b: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare SERVER_A with SERVER_B, or one server in two cooling designs.

    The ratio of scores is split into power limit, leakage, throttling and host, and both are put at one power
    limit. The options that turn something (--supply-degc and the like) turn it where it exists.
    """
    from dataclasses import replace

    from coldmark.report.twin import compare_text
    from coldmark.runs.twin.compare import compare as compare_specs

    if server_b is None and cooling_b is None and cooling_a is None:
        raise ConfigError(
            "compare with what?",
            where="coldmark twin compare",
            hint="a second server, or --cooling-a and --cooling-b",
        )
    a = replace(make_spec(server_a, options), cooling=cooling_a)
    b = replace(make_spec(server_b or server_a, options), cooling=cooling_b)
    found = compare_specs(*(_without_coolant_where_dry(s) for s in (a, b)))
    click.echo(dump_json(found) if as_json else compare_text(found), nl=not as_json)


def _without_coolant_where_dry(spec: Any) -> Any:
    """The spec without coolant settings where its cooling has no coolant."""
    from dataclasses import replace

    from coldmark.thermal.assembly import find_design
    from coldmark.thermal.catalogue import find_server

    design = find_design(find_server(spec.server), spec.cooling)[1]
    if "plate" in (design.gpu, design.cpu, design.memory, design.rest):
        return spec
    keys = ("supply_degc", "flow_l_per_min", "facility_degc", "facility_l_per_min")
    return replace(spec, at=replace(spec.at, **dict.fromkeys(keys)))


@twin.command("validate")
@json_option()
def validate(as_json: bool) -> None:
    """Check the twin against closed forms and published data: the whole table, misses included."""
    import sys

    from coldmark.core.errors import EXIT_INVALID
    from coldmark.report.twin import checks_text
    from coldmark.runs.twin.validate import validate as run_checks

    checks = run_checks()
    if as_json:
        click.echo(dump_json({"provenance": "simulated", "checks": checks}), nl=False)
    else:
        click.echo(checks_text(checks))
    if any(c.passed is False for c in checks):
        sys.exit(EXIT_INVALID)


@twin.command("list")
@json_option()
def list_servers(as_json: bool) -> None:
    """List the servers that can be simulated."""
    from coldmark.report.twin import servers_table
    from coldmark.thermal.catalogue import find_part, find_server, server_ids

    models = [find_server(name) for name in server_ids()]
    if as_json:
        rows = [
            {
                "id": m.id,
                "name": m.name,
                "accelerators": m.gpu.count,
                "part": m.gpu.part,
                "default_limit_w": m.gpu.default_limit_w.value,
                "designs": list(m.designs),
                "design": m.design,
                "published": m.published,
            }
            for m in models
        ]
        click.echo(dump_json({"provenance": "simulated", "servers": rows}), nl=False)
        return
    click.echo(
        servers_table(
            [
                [
                    m.id,
                    m.name,
                    f"{m.gpu.count}x {find_part(m.gpu.part).name}",
                    f"{m.gpu.default_limit_w.value:g} W",
                    ", ".join([m.design, *(d for d in m.designs if d != m.design)]),
                    m.published or "-",
                ]
                for m in models
            ]
        )
    )


@twin.command("show")
@click.argument("server")
@json_option()
def show(server: str, as_json: bool) -> None:
    """Show every parameter of SERVER with its uncertainty and source."""
    from coldmark.core.codec import to_plain
    from coldmark.report.twin import server_text
    from coldmark.thermal.catalogue import find_part, find_server
    from coldmark.thermal.parameters import walk

    model = find_server(server)
    part = find_part(model.gpu.part)
    if as_json:
        found = {"provenance": "simulated", "server": model, "part": part}
        click.echo(dump_json({k: to_plain(v) for k, v in found.items()}), nl=False)
        return
    named = [*((f"part.{path}", p) for path, _, p in walk(part)), *((path, p) for path, _, p in walk(model))]
    rows = [[path, f"{p.value:g}", p.unit, f"{p.uncertainty:g}", p.source] for path, p in named]
    click.echo(server_text(to_plain(model), rows))


@twin.command("sweep")
@click.argument("server")
@benchmark_options()
@click.option("--cooling", help="A cooling design of the server. [default: as built]")
@click.option("--supply-degc", help="LOW:HIGH:COUNT or a list, e.g. 20:55:8.")
@click.option("--flow-l-per-min", help="LOW:HIGH:COUNT or a list.")
@click.option("--power-limit-w", help="LOW:HIGH:COUNT or a list.")
@click.option("--inlet-degc", help="LOW:HIGH:COUNT or a list.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write the map as .png or .svg."
)
@json_option()
def sweep(server: str, as_json: bool, plot: Path | None, **options: Any) -> None:
    """Map score and energy of SERVER over supply, flow and power limit."""
    from coldmark.report.twin import sweep_text
    from coldmark.runs.twin.sweep import Grid, spread
    from coldmark.runs.twin.sweep import sweep as run_sweep

    keys = {"supply_degc": "supply_degc", "flow_l_per_min": "flow_l_per_min", "inlet_degc": "inlet_degc"}
    keys["power_limit_w"] = "limit_w"
    grid = Grid(
        **{
            field: spread(text, where=f"--{key.replace('_', '-')}")
            for key, field in keys.items()
            if (text := options.pop(key)) is not None
        }
    )
    found = run_sweep(make_spec(server, options), grid)
    if plot:
        from coldmark.report.twin_plot import plot_sweep

        plot_sweep(found, plot)
    click.echo(dump_json(found) if as_json else sweep_text(found), nl=not as_json)


@twin.command("fault")
@click.argument("server")
@benchmark_options()
@click.option("--cooling", help="A cooling design of the server. [default: as built]")
@operation_options()
@click.option("--fault", "fault_name", required=True, help="pump, flow, fan or foul.")
@click.option("--accelerator", type=int, default=0, show_default=True, help="Whose plate or sink is fouled.")
@click.option("--factor", type=float, default=4.0, show_default=True, help="On its film resistance.")
@click.option("--duration-s", type=float, default=600.0, show_default=True, help="At most so many seconds.")
@json_option()
def fault(
    server: str, fault_name: str, accelerator: int, factor: float, as_json: bool, **options: Any
) -> None:
    """Break the cooling of SERVER under load: seconds until throttle and shut-down, per component."""
    from coldmark.report.twin import fault_text
    from coldmark.runs.twin.fault import break_it, find_fault

    check_finite({"factor": factor})
    found = break_it(
        make_spec(server, options), find_fault(fault_name), accelerator=accelerator, factor=factor
    )
    click.echo(dump_json(found) if as_json else fault_text(found), nl=not as_json)


@twin.command("calibrate")
@click.option(
    "--points", type=click.Path(dir_okay=False, path_type=Path), help="A .toml of [[points]] to fit on."
)
@click.option(
    "--telemetry",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A .csv with power_w, die_degc, reference_degc of one accelerator at rest.",
)
@click.option("--run", "run_id", help="A run whose trace is fitted: heat path and power of its accelerator.")
@click.option("--server", help="With --run: whose voltage curve is taken. [default: dgx-a100]")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the fit as .json.")
@runs_dir_option()
@json_option()
def calibrate(
    points: Path | None,
    telemetry: Path | None,
    run_id: str | None,
    server: str | None,
    write: Path | None,
    runs_dir: Path | None,
    as_json: bool,
) -> None:
    """Fit shares and powers again, with intervals, and say what the data does not determine.

    Without options: on the published scores that ship, as the shipped fit was made.
    """
    from coldmark.report.twin import calibration_text
    from coldmark.runs.twin.calibrate import describe, fit_all, fit_points, fit_telemetry
    from coldmark.store.rundir import write_whole

    if sum(x is not None for x in (points, telemetry, run_id)) > 1:
        raise ConfigError(
            "--points, --telemetry and --run exclude each other", where="coldmark twin calibrate"
        )
    if server and not run_id:
        raise ConfigError("only a run's fit takes a server", where="--server", hint="add --run RUN_ID")
    if run_id:
        from coldmark.runs.twin.calibrate_run import fit_run
        from coldmark.store.rundir import default_root, find_run
        from coldmark.store.trace import newest_trace, read_trace

        folder = newest_trace(find_run(runs_dir or default_root(), run_id))
        found = fit_run(read_trace(folder), server or "dgx-a100", where=str(folder))
        if write:
            write_whole(write, dump_json(found))
    elif telemetry:
        found = fit_telemetry(telemetry)
    else:
        click.echo("fitting, half a minute ...", err=True)
        fit = fit_points(points) if points else fit_all()
        found = describe(fit)
        if write:
            write_whole(write, dump_json(fit))
    click.echo(dump_json(found) if as_json else calibration_text(found), nl=not as_json)
