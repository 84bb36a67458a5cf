"""`coldmark calibrate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from coldmark.cli.options import json_option, parse_sets
from coldmark.core.errors import EXIT_INVALID, ConfigError


@click.command()
@click.argument("workload", required=False)
@click.option("--model", help="mini, full, official, or a path to an ONNX file. [default: mini]")
@click.option("--backend", help="openvino or onnxruntime. [default: openvino]")
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="Only this way of quantising; may be repeated. [default: several]",
)
@click.option("--samples", type=int, help="Calibration samples. [default: the workload's own]")
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the backend, the harness or the data; may be repeated.",
)
@click.option("--again", is_flag=True, help="Make it anew where it is there already.")
@click.option("--list", "list_", is_flag=True, help="List the calibrations there are, and the methods.")
@json_option()
def calibrate(
    workload: str | None,
    model: str | None,
    backend: str | None,
    methods: tuple[str, ...],
    samples: int | None,
    sets: tuple[str, ...],
    again: bool,
    list_: bool,
    as_json: bool,
) -> None:
    """Make an INT8 model of WORKLOAD that holds its accuracy gate, as fast as can be.

    Methods, and layers left in floating point, are tried on the workload's calibration samples and judged on
    its evaluation set. The result is kept: `coldmark run WORKLOAD --precision int8` uses it.
    """
    from coldmark.cli.progress import saying
    from coldmark.cli.run import make_spec
    from coldmark.report.calibration import calibration_json, calibration_text
    from coldmark.runs.calibration.make import CalibrateSpec
    from coldmark.runs.calibration.make import calibrate as make
    from coldmark.runs.tuned import own_options
    from coldmark.store.calibrations import calibration_dir
    from coldmark.workloads.cache import cache_dir

    cache = cache_dir()
    if list_:
        _list(cache, as_json)
        return
    if not workload:
        raise ConfigError(
            "which workload?", where="coldmark calibrate", hint="for example: coldmark calibrate resnet50"
        )
    flags: dict[str, str | None] = {"model": model, "backend": backend, "scenario": "Offline"}
    spec = CalibrateSpec(
        run=make_spec(workload, flags, parse_sets(sets), None),
        methods=methods,
        samples=samples,
        again=again,
    )
    with saying(spec.run.workload) as say:
        found, there = make(spec, cache, say)
    folder = str(calibration_dir(cache, found.id))
    if as_json:
        click.echo(json.dumps(calibration_json(found, there=there, folder=folder), indent=2))
    else:
        asked = spec.run
        own = own_options(asked.options, asked.workload, asked.backend)
        click.echo(calibration_text(found, there=there, folder=folder, options=own))
    if not found.held:
        sys.exit(EXIT_INVALID)


def _list(cache: Path, as_json: bool) -> None:
    from coldmark.core.codec import to_plain
    from coldmark.core.errors import ColdmarkError
    from coldmark.report.calibration import list_text
    from coldmark.runs.calibration.methods import METHODS
    from coldmark.store.calibrations import list_calibrations

    rows = list_calibrations(cache)
    if as_json:
        plain = [
            {"id": name, "error": str(found)} if isinstance(found, ColdmarkError) else to_plain(found)
            for name, found in rows
        ]
        click.echo(json.dumps(plain, indent=2))
        return
    click.echo(list_text(rows))
    click.echo()
    for name, entry in METHODS.items():
        click.echo(f"  --method {name}: {entry.summary}")
