"""`coldmark telemetry show|export|replay`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from coldmark.cli.options import json_option, parse_sets, runs_dir_option, sensor_set_option
from coldmark.core.errors import ConfigError, DataError


@click.group()
def telemetry() -> None:
    """Show, export and replay what sensors recorded; serve it to Prometheus."""


def _trace_folder(run_id: str, runs_dir: Path | None) -> Path:
    from coldmark.store.rundir import default_root, find_run
    from coldmark.store.trace import newest_trace

    return newest_trace(find_run(runs_dir or default_root(), run_id))


@telemetry.command("show")
@click.argument("run_id")
@runs_dir_option()
@json_option()
def show(run_id: str, runs_dir: Path | None, as_json: bool) -> None:
    """What the sensors of a run say of its result, in full."""
    from coldmark.core.codec import dump_json
    from coldmark.report.telemetry import telemetry_text
    from coldmark.store.rundir import default_root, find_run, read_record

    path = find_run(runs_dir or default_root(), run_id)
    found = read_record(path).telemetry
    if found is None:
        raise DataError("this run has no telemetry", where=str(path), hint="it was not sampled, or simulated")
    click.echo(dump_json(found) if as_json else telemetry_text(found), nl=not as_json)


@telemetry.command("export")
@click.argument("run_id", required=False)
@click.option(
    "--csv", "csv_path", type=click.Path(dir_okay=False, path_type=Path), help="Write RUN_ID's trace."
)
@click.option("--parquet", type=click.Path(dir_okay=False, path_type=Path), help="Write RUN_ID's trace.")
@click.option(
    "--prometheus", type=click.IntRange(0, 65535), metavar="PORT", help="Serve this machine's sensors."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that --prometheus listens on.")
@click.option("--seconds", type=click.FloatRange(0.1), help="Serve so long. [default: until Ctrl-C]")
@sensor_set_option()
@runs_dir_option()
def export(
    run_id: str | None,
    csv_path: Path | None,
    parquet: Path | None,
    prometheus: int | None,
    host: str,
    seconds: float | None,
    sets: tuple[str, ...],
    runs_dir: Path | None,
) -> None:
    """Write the trace of RUN_ID as CSV or Parquet, or serve this machine's sensors to Prometheus."""
    if prometheus is not None:
        if run_id or csv_path or parquet:
            raise ConfigError("--prometheus serves the machine, not a run", where="coldmark telemetry export")
        _serve(prometheus, host, seconds, sets)
        return
    if run_id is None or not (csv_path or parquet):
        raise ConfigError(
            "export what?",
            where="coldmark telemetry export",
            hint="RUN_ID with --csv FILE or --parquet FILE, or --prometheus PORT",
        )
    from coldmark.store.trace import export_csv, export_parquet, read_trace

    trace = read_trace(_trace_folder(run_id, runs_dir))
    for path, write in ((csv_path, export_csv), (parquet, export_parquet)):
        if path is not None:
            click.echo(f"{write(trace, path)} readings of {len(trace.series)} channels: {path}")


def _serve(port: int, host: str, seconds: float | None, sets: tuple[str, ...]) -> None:
    from coldmark.core.telemetry import Measured
    from coldmark.runs.telemetry.live import watching
    from coldmark.telemetry.discover import discover, family_options
    from coldmark.telemetry.prometheus import serve

    with watching(discover(family_options(parse_sets(sets)), strict=True), None) as sampler:
        at, stop = serve(lambda: [Measured(channel=c, value=v) for c, v in sampler.latest()], host, port)
        click.echo(f"serving http://{host}:{at}/metrics", err=True)
        try:
            end = None if seconds is None else time.monotonic() + seconds
            while end is None or time.monotonic() < end:
                time.sleep(0.2)
        finally:
            stop()


@telemetry.command("replay")
@click.argument("run_id")
@click.option("--server", required=True, help="The twin's server, an id of `twin list` or a .toml file.")
@click.option("--cooling", help="A cooling design of the server. [default: as built]")
@click.option("--supply-degc", type=float, help="Coolant supply temperature.")
@click.option("--inlet-degc", type=float, help="Air inlet temperature.")
@click.option("--fan-share", type=float, help="Fan duty, share of full speed.")
@click.option(
    "--csv", "csv_path", type=click.Path(dir_okay=False, path_type=Path), help="Write both over time."
)
@runs_dir_option()
@json_option()
def replay(
    run_id: str,
    server: str,
    cooling: str | None,
    csv_path: Path | None,
    runs_dir: Path | None,
    as_json: bool,
    supply_degc: float | None,
    inlet_degc: float | None,
    fan_share: float | None,
) -> None:
    """Drive the twin of SERVER with the power that RUN_ID's accelerators drew.

    Says how far the twin's temperatures are from the recorded ones, where there are any.
    """
    from coldmark.cli.twin import check_finite
    from coldmark.core.codec import dump_json
    from coldmark.report.twin import replay_text
    from coldmark.runs.telemetry.replay import replay as run_replay
    from coldmark.runs.telemetry.replay import write_csv
    from coldmark.store.trace import read_trace
    from coldmark.thermal.assembly import Operation

    check_finite({"supply_degc": supply_degc, "inlet_degc": inlet_degc, "fan_share": fan_share})
    at = Operation(supply_degc=supply_degc, inlet_degc=inlet_degc, fan_share=fan_share)
    folder = _trace_folder(run_id, runs_dir)
    found = run_replay(read_trace(folder), server, cooling, at, where=str(folder))
    if csv_path:
        write_csv(found, csv_path)
    click.echo(dump_json(found.summary) if as_json else replay_text(found.summary), nl=not as_json)
