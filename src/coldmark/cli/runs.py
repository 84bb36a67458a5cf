"""`coldmark runs list|show|resume`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from coldmark.cli.options import json_option, runs_dir_option
from coldmark.core.errors import EXIT_INVALID


@click.group()
def runs() -> None:
    """List and show what was measured."""


@runs.command("list")
@runs_dir_option()
@json_option()
def list_(runs_dir: Path | None, as_json: bool) -> None:
    """One line a run, oldest first; killed runs are marked incomplete."""
    from coldmark.core.errors import ColdmarkError
    from coldmark.report.text import record_json, runs_table
    from coldmark.store.rundir import default_root, list_runs

    root = runs_dir or default_root()
    found = list_runs(root)
    if as_json:
        click.echo(
            json.dumps(
                [
                    {"run_id": name, "state": "unreadable", "reason": str(record)}
                    if isinstance(record, ColdmarkError)
                    else record_json(record, str(root / name))
                    for name, record in found
                ],
                indent=2,
            )
        )
    elif found:
        click.echo(runs_table(found))
    else:
        click.echo(f"no runs in {root}; make one with: coldmark run resnet50 --scenario Offline", err=True)


@runs.command()
@click.argument("run_id")
@click.option("--findings", is_flag=True, help="Every finding with its clause.")
@runs_dir_option()
@json_option()
def show(run_id: str, findings: bool, runs_dir: Path | None, as_json: bool) -> None:
    """One run in full. RUN_ID may be shortened to its beginning or end."""
    from coldmark.report.text import findings_text, record_json, run_text
    from coldmark.store.rundir import MANIFEST, changed_files, default_root, find_run, read_record

    path = find_run(runs_dir or default_root(), run_id)
    record = read_record(path)
    if as_json:
        click.echo(json.dumps(record_json(record, str(path)), indent=2))
        return
    click.echo(run_text(record, str(path)))
    if (path / MANIFEST).is_file() and (changed := changed_files(path)):
        click.echo(f"  CHANGED    since the run was sealed: {', '.join(changed[:8])}")
    if findings:
        click.echo(findings_text(record))


@runs.command()
@click.argument("run_id")
@runs_dir_option()
@json_option()
def resume(run_id: str, runs_dir: Path | None, as_json: bool) -> None:
    """Finish a run that was killed or interrupted: what completed is kept, the rest is run again."""
    from coldmark.cli.progress import progress
    from coldmark.report.text import record_json, run_text
    from coldmark.runs.execute import resume as resume_run
    from coldmark.store.rundir import default_root, find_run

    path = find_run(runs_dir or default_root(), run_id)
    with progress(path.name) as on_tick:
        record = resume_run(path, on_tick=on_tick)
    click.echo(
        json.dumps(record_json(record, str(path)), indent=2) if as_json else run_text(record, str(path))
    )
    if record.verdict != "VALID":
        sys.exit(EXIT_INVALID)
