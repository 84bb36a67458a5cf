"""`coldmark demo`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from coldmark.cli.options import json_option, runs_dir_option
from coldmark.core.errors import EXIT_INVALID, Doomed
from coldmark.core.record import RunRecord


@click.command()
@click.option("--length", default="smoke", show_default=True, help="smoke, short or official.")
@click.option("--backend", default="openvino", show_default=True, help="openvino or onnxruntime.")
@click.option("--precision", default="fp32", show_default=True, help="fp32, bf16 or int8.")
@runs_dir_option()
@json_option()
def demo(length: str, backend: str, precision: str, runs_dir: Path | None, as_json: bool) -> None:
    """Benchmark this machine: one scenario of each of the six workloads, then one calibrated and tuned.

    Uses the models that ship with coldmark; nothing is downloaded.
    """
    from coldmark.cli.progress import progress
    from coldmark.cli.tune import said
    from coldmark.report.text import demo_text, record_json
    from coldmark.runs.demo import demo_specs, tuned_end
    from coldmark.runs.execute import execute
    from coldmark.store.rundir import default_root

    root = runs_dir or default_root()
    done: list[tuple[RunRecord, Path]] = []
    stopped = False
    specs = demo_specs(length=length, backend=backend, precision=precision)
    try:
        for number, spec in enumerate(specs, 1):
            name = f"{spec.workload} {spec.scenario}"
            try:
                with progress(f"[{number}/{len(specs)}] {name}") as on_tick:
                    done.append(execute(spec, root, on_tick=on_tick))
            except Doomed as doom:  # the others are still worth their time
                click.echo(f"{name} {doom}", err=True)
                stopped = True
        done.append(tuned_end(specs[-1], root, said=said, progress=progress))
    finally:  # an interrupted demo still shows what it measured
        if as_json:
            click.echo(json.dumps([record_json(record, str(path)) for record, path in done], indent=2))
        elif done:
            click.echo(demo_text(done))
    if stopped or any(record.verdict != "VALID" for record, _ in done):
        sys.exit(EXIT_INVALID)
