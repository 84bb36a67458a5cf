"""`coldmark demo`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from coldmark.cli.options import json_option, runs_dir_option
from coldmark.core.errors import EXIT_INVALID


@click.command()
@click.option("--length", default="smoke", show_default=True, help="smoke, short or official.")
@click.option("--backend", default="openvino", show_default=True, help="openvino or onnxruntime.")
@click.option("--precision", default="fp32", show_default=True, help="fp32 or bf16.")
@runs_dir_option()
@json_option()
def demo(length: str, backend: str, precision: str, runs_dir: Path | None, as_json: bool) -> None:
    """Benchmark this machine: image classification in all four scenarios, with the accuracy gate.

    Uses the model that ships with coldmark; nothing is downloaded.
    """
    from coldmark.cli.progress import progress
    from coldmark.report.text import demo_table, record_json, verdict_text
    from coldmark.runs.demo import demo_specs
    from coldmark.runs.execute import execute
    from coldmark.store.rundir import default_root

    root = runs_dir or default_root()
    done = []
    specs = demo_specs(length=length, backend=backend, precision=precision)
    for number, spec in enumerate(specs, 1):
        with progress(f"[{number}/{len(specs)}] {spec.workload} {spec.scenario}") as on_tick:
            done.append(execute(spec, root, on_tick=on_tick))
    records = [record for record, _ in done]
    if as_json:
        click.echo(json.dumps([record_json(record, str(path)) for record, path in done], indent=2))
    else:
        first = records[0]
        click.echo(
            f"{first.spec.workload} {first.spec.model}, {backend} {precision}, rules of {first.spec.round}, "
            f"{length} length; measured here, not an official MLPerf result\n"
        )
        click.echo(demo_table(records))
        for record, path in done:
            for reason in record.reasons:
                click.echo(f"  {record.spec.scenario}: {verdict_text(record)}: {reason}")
            click.echo(f"  {record.spec.scenario.value:13} {path}")
        click.echo(f"\nMore: coldmark runs show {records[-1].run_id} --findings")
    if any(record.verdict != "VALID" for record in records):
        sys.exit(EXIT_INVALID)
