"""`coldmark suite plan|run|list`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coldmark.cli.options import json_option, parse_sets, runs_dir_option
from coldmark.core.errors import EXIT_INVALID, RunError
from coldmark.core.nouns import Length, Precision, State, Suite

if TYPE_CHECKING:
    from coldmark.core.suite import SuiteEntry, SuiteSpec
    from coldmark.report.suite import SuiteRow
    from coldmark.runs.execute import OnTick, Tick
    from coldmark.runs.suite import Line


@click.group()
def suite() -> None:
    """Run all that a suite demands, and see how far it is."""


def _spec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        json_option(),
        runs_dir_option(),
        click.option("--name", help="What the suite is called. [default: made of its settings]"),
        click.option(
            "--set",
            "sets",
            multiple=True,
            metavar="[SCOPE:]KEY=VALUE",
            help="As of run; a scope (bert-99, Server, bert-99/Server) keeps it to these.",
        ),
        click.option(
            "--round", "round_", default="v2.1", show_default=True, help="Whose rules are followed."
        ),
        click.option("--length", default="short", show_default=True, help="smoke, short or official."),
        click.option("--untuned", is_flag=True, help="Do not use what `coldmark tune` has kept."),
        click.option("--precision", help="fp32, bf16 or int8. [default: what is tuned, else fp32]"),
        click.option("--backend", help="As of run. [default: what is tuned, else openvino]"),
        click.option("--model", default="mini", show_default=True, help="mini, full or official."),
        click.option(
            "--only",
            multiple=True,
            metavar="NAMES",
            help="Benchmarks, or BENCHMARK/SCENARIO; separated by commas, may be repeated.",
        ),
        click.option("--suite", "suite_name", required=True, help="datacenter or edge."),
    ):
        command = option(command)
    return command


@suite.command()
@_spec_options
def plan(name: str | None, runs_dir: Path | None, as_json: bool, **flags: Any) -> None:
    """What would be run, what of it is done, and how long it takes at the least."""
    from coldmark.report.suite import suite_json, suite_text
    from coldmark.runs.suite import default_name, left_s, plan_suite
    from coldmark.store.rundir import default_root

    spec, root = _spec(**flags), runs_dir or default_root()
    name = name or default_name(spec)
    lines = plan_suite(spec, root, name)
    rows = _rows(lines)
    if as_json:
        click.echo(json.dumps(suite_json(spec, name, rows, str(root)), indent=2))
    else:
        click.echo(suite_text(spec, name, rows, left_s(lines)))


@suite.command()
@_spec_options
@click.option("--again", is_flag=True, help="Begin anew, though a suite of this name is there.")
@click.option("--retry", is_flag=True, help="Run again what came out INVALID or was stopped early.")
def run(
    name: str | None, runs_dir: Path | None, as_json: bool, again: bool, retry: bool, **flags: Any
) -> None:
    """Run what is left of a suite: stopped or killed, the same command goes on where it was.

    A run of a 99.9 % benchmark also stands for the 99 % one where it meets its higher target.
    """
    from coldmark.report.suite import suite_json, suite_text
    from coldmark.runs.suite import default_name, run_suite
    from coldmark.store.rundir import default_root

    spec, root = _spec(**flags), runs_dir or default_root()
    name = name or default_name(spec)
    screen = _Screen(spec, name)
    with screen.shown() as (on_change, ticker):
        lines = run_suite(spec, root, name, again=again, retry=retry, on_change=on_change, ticker=ticker)
    rows = _rows(lines)
    if as_json:
        click.echo(json.dumps(suite_json(spec, name, rows, str(root)), indent=2))
    else:
        click.echo(suite_text(spec, name, rows, None))
    if any(not line.done for line in lines):
        sys.exit(RunError.exit_code)
    if any(line.record is None or line.record.verdict != "VALID" for line in lines):
        sys.exit(EXIT_INVALID)


@suite.command("list")
@runs_dir_option()
@json_option()
def list_(runs_dir: Path | None, as_json: bool) -> None:
    """The suites begun here."""
    from coldmark.core.codec import to_plain
    from coldmark.report.text import table
    from coldmark.store.rundir import default_root
    from coldmark.store.suites import list_suites, read_suite

    root = runs_dir or default_root()
    found = [r for name in list_suites(root) if (r := read_suite(root, name))]
    if as_json:
        click.echo(json.dumps([to_plain(record) for record in found], indent=2))
    elif found:
        rows = [[r.name, str(len(r.entries)), r.started, r.finished or "not finished"] for r in found]
        click.echo(table(("suite", "runs", "started", "finished"), rows))
    else:
        click.echo(f"no suites in {root}; begin one: coldmark suite run --suite edge", err=True)


def _spec(
    suite_name: str,
    only: tuple[str, ...],
    model: str,
    backend: str | None,
    precision: str | None,
    length: str,
    round_: str,
    sets: tuple[str, ...],
    untuned: bool,
) -> SuiteSpec:
    from coldmark.core.suite import SuiteSpec

    return SuiteSpec(
        suite=Suite.parse(suite_name, where="--suite"),  # type: ignore[arg-type]
        only=tuple(part.strip() for text in only for part in text.split(",") if part.strip()),
        model=model,
        backend=backend or "openvino",
        precision=Precision.parse(precision or "fp32", where="--precision"),  # type: ignore[arg-type]
        length=Length.parse(length, where="--length"),  # type: ignore[arg-type]
        round=round_,
        options=parse_sets(sets),
        given=tuple(n for n, value in (("backend", backend), ("precision", precision)) if value),
        untuned=untuned,
    )


def _rows(lines: Sequence[Line], running: int = -1, doing: str = "") -> list[SuiteRow]:
    from coldmark.report.suite import SuiteRow
    from coldmark.runs.suite import taken_s

    return [
        SuiteRow(
            entry=line.entry,
            record=line.record,
            least_s=line.least_s,
            taken_s=taken_s(line.record),
            may_serve=line.may_serve,
            unused=line.unused,
            running=doing if at == running and not line.done else "",
        )
        for at, line in enumerate(lines)
    ]


class _Screen:
    """The table that fills: redrawn on a terminal, a line a step elsewhere. It goes to stderr."""

    def __init__(self, spec: SuiteSpec, name: str) -> None:
        self._spec, self._name = spec, name
        self._lines: Sequence[Line] = ()
        self._at = 0
        self._told: set[str] = set()

    @contextmanager
    def shown(self) -> Iterator[tuple[Callable[[Sequence[Line], int], None], Callable[[SuiteEntry], OnTick]]]:
        if not sys.stderr.isatty():
            yield self._tell, self._plain
            return
        from coldmark.cli.progress import live_text

        with live_text() as show:

            def draw(doing: str) -> None:
                show(self._text(doing))

            def on_change(lines: Sequence[Line], at: int) -> None:
                self._lines, self._at = lines, at
                draw("starting")

            yield on_change, lambda entry: self._drawn(draw)

    def _text(self, doing: str) -> str:
        from coldmark.report.suite import suite_text
        from coldmark.runs.suite import left_s

        rows = _rows(self._lines, self._at, doing)
        return suite_text(self._spec, self._name, rows, left_s(self._lines))

    def _drawn(self, draw: Callable[[str], None]) -> OnTick:
        import time

        from coldmark.cli.progress import LIVE_HZ, tick_text

        last = [0.0]

        def on_tick(tick: Tick) -> None:
            if time.monotonic() - last[0] >= 1 / LIVE_HZ:
                last[0] = time.monotonic()
                draw(tick_text(tick))

        return on_tick

    def _tell(self, lines: Sequence[Line], at: int) -> None:
        """One line for each benchmark-scenario that has just been settled."""
        from coldmark.report.suite import stopped_text, suite_foot
        from coldmark.report.text import accuracy_text, metric_text
        from coldmark.runs.suite import left_s

        for line in lines[:at]:
            if line.entry.name in self._told:
                continue
            self._told.add(line.entry.name)
            found = f"failed: {line.entry.error}" if line.entry.error else "not complete"
            if line.record and line.record.state is State.STOPPED:
                found = stopped_text(line.record)
            elif line.done and line.record:
                metric, accuracy = metric_text(line.record.metric), accuracy_text(line.record.accuracy)
                found = f"{line.record.verdict} {metric}, {accuracy}"
            served = f", by the run of {line.entry.served_by}" if line.entry.served_by else ""
            click.echo(f"{line.entry.name}: {found}{served}", err=True)
        if at < len(lines):
            click.echo(suite_foot(_rows(lines), left_s(lines)), err=True)

    def _plain(self, entry: SuiteEntry) -> OnTick:
        from coldmark.cli.progress import plain

        return plain(entry.name)
