"""`coldmark submission check|build`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from coldmark.cli.options import json_option

OnProgress = Callable[[int, int, str], None]


@click.group()
def submission() -> None:
    """Build and check submissions in MLPerf's own tree."""


@submission.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--round", "round_", default="v2.1", show_default=True, help="The round whose rules hold.")
@click.option("--submitter", default="", help="Only this submitter.")
@click.option("--strict", is_flag=True, help="Let no warning pass either.")
@click.option("--findings", "every", is_flag=True, help="List every finding and result.")
@click.option(
    "--full-logs",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="A folder laid out as the tree that holds the whole accuracy logs: their hashes are checked.",
)
@click.option(
    "--processes", type=click.IntRange(0, 64), default=0, help="How many work. [default: two where it pays]"
)
@json_option()
def check(
    directory: Path,
    round_: str,
    submitter: str,
    strict: bool,
    every: bool,
    full_logs: Path | None,
    processes: int,
    as_json: bool,
) -> None:
    """Check a submission's tree.

    DIRECTORY holds `closed/`, `open/` or `network/`. Each finding says file, line, clause, what was expected
    and what was found. Exit code 3 when there is an error in the tree; nothing in it is executed.
    """
    from coldmark.core.errors import EXIT_INVALID
    from coldmark.report.submission import check_json, check_text, verdict
    from coldmark.submission.check import check_tree

    found = check_tree(
        directory,
        round_,
        submitter=submitter,
        processes=processes,
        full_logs=full_logs,
        on_progress=_progress(),
    )
    if as_json:
        click.echo(json.dumps(check_json(found, strict=strict), indent=2))
    else:
        click.echo(check_text(found, every=every, strict=strict))
    if not verdict(found, strict=strict):
        sys.exit(EXIT_INVALID)


def _progress() -> OnProgress:
    """A line on stderr: often on a terminal, now and then elsewhere."""
    live, every = sys.stderr.isatty(), 0.2 if sys.stderr.isatty() else 10.0
    last = [time.monotonic()]

    def show(done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if now - last[0] < every:
            return
        last[0] = now
        text = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB found so far checked: {what}"
        click.echo(f"\r\033[K{text[:100]}" if live else text, err=True, nl=not live)

    return show
