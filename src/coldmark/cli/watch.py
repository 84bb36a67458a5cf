"""`coldmark watch`, and the panel of `coldmark run --watch`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coldmark.cli.options import parse_sets, runs_dir_option, sensor_set_option

if TYPE_CHECKING:
    from coldmark.telemetry.sampler import Sampler

REDRAW_HZ = 2.0
"""No oftener: drawing takes processor time from what may be measured beside it."""


@click.command()
@click.argument("run_id", required=False)
@click.option("--seconds", type=click.FloatRange(0.1), help="Stop after so long. [default: until Ctrl-C]")
@click.option("--all", "show_all", is_flag=True, help="Every channel, voltages and limits too.")
@sensor_set_option()
@runs_dir_option()
def watch(
    run_id: str | None,
    seconds: float | None,
    show_all: bool,
    sets: tuple[str, ...],
    runs_dir: Path | None,
) -> None:
    """Show the sensors of this machine live, and the rate of a run that is going.

    RUN_ID may be shortened; without it the newest run of the folder that is still going is taken.
    """
    from coldmark.runs.telemetry.live import running_test, watching
    from coldmark.store.rundir import default_root
    from coldmark.telemetry.discover import discover, family_options

    found = discover(family_options(parse_sets(sets)), strict=True)
    test = running_test(runs_dir or default_root(), run_id)
    with watching(found, test) as sampler:
        if not sampler.channels:
            click.echo("no sensor answers on this machine; see: coldmark sensors", err=True)
            return
        show(sampler, f"watching{f' {test.parent.name}' if test else ''}", seconds, show_all=show_all)


def show(sampler: Sampler, title: str, seconds: float | None, *, show_all: bool) -> None:
    """Redraw until Ctrl-C or the end of `seconds`; without a terminal once, at the end."""
    from rich.console import Console
    from rich.live import Live

    end = None if seconds is None else time.monotonic() + seconds
    console = Console()
    if not console.is_terminal:
        time.sleep(seconds if seconds is not None else 1.0)
        console.print(panel(sampler, title, None, show_all=show_all))
        return
    try:
        with Live(console=console, auto_refresh=False, transient=False) as live:
            while end is None or time.monotonic() < end:
                time.sleep(1 / REDRAW_HZ)
                rows = console.size.height - 4
                live.update(panel(sampler, title, rows, show_all=show_all), refresh=True)
    except KeyboardInterrupt:
        return


def panel(sampler: Sampler, title: str, rows: int | None, *, show_all: bool = False) -> Any:
    """The live table: channel, value now, a minute of history, its range."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from coldmark.report.telemetry import live_range, live_value, sparkline
    from coldmark.runs.telemetry.live import live_rows

    found = live_rows(sampler, show_all=show_all)
    out = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in (("", "left"), ("now", "right"), ("last minute", "left"), ("range", "left")):
        out.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in found[: rows or len(found)]:
        now = Text(live_value(row.last, row.unit, row.channel.kind), style="bold red" if row.alarm else "")
        out.add_row(Text(row.name), now, Text(sparkline(row.values), style="cyan"), live_range(row.values))
    if rows and len(found) > rows:
        out.add_row(f"... and {len(found) - rows} more", "", "", "")
    return out


@contextmanager
def watched_progress(label: str) -> Iterator[tuple[Callable[[Any], None], Callable[[Any], None]]]:
    """Ticks and sensors of a run in one live panel on stderr; plain ticks where that is no terminal."""
    from coldmark.cli.progress import progress, tick_text

    if not sys.stderr.isatty():
        with progress(label) as on_tick:
            yield on_tick, lambda sampler: None
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console, held = Console(stderr=True), dict[str, Any](text="starting")

    class View:
        """Drawn anew at every refresh of the live display."""

        def __rich__(self) -> Any:
            head = Text(f"{label}  {held['text']}")
            if "sampler" not in held:
                return head
            return Group(head, panel(held["sampler"], "", console.size.height - 6))

    with Live(View(), console=console, refresh_per_second=REDRAW_HZ):
        yield (
            lambda tick: held.update(text=tick_text(tick)),
            lambda sampler: held.update(sampler=sampler),
        )
