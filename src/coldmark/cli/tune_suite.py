"""`coldmark tune --suite`: everything a suite demands, and the table before and after."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coldmark.cli.options import parse_sets
from coldmark.core.errors import EXIT_INVALID, ConfigError, RunError
from coldmark.core.nouns import Precision, Scenario, Suite

if TYPE_CHECKING:
    from coldmark.core.suite import SuiteEntry, SuiteSpec
    from coldmark.core.tuned import Trial
    from coldmark.runs.tuning.make import TuneSpec
    from coldmark.runs.tuning.suite import Ticks, TuneLine


def tune_suite(
    root: Path, flags: dict[str, Any], only: tuple[str, ...], *, again: bool, as_json: bool, dry_run: bool
) -> None:
    """Tune what is left of a suite, and show default and tuned side by side."""
    from coldmark.report.tune_suite import suite_tuning_json, suite_tuning_text
    from coldmark.runs.tuning.suite import plan_suite_tuning, tune_all

    if flags["scenario"]:
        raise ConfigError(
            "a suite has its own scenarios", where="--scenario", hint="--only BENCHMARK/SCENARIO"
        )
    suite, template = _specs(flags, only)
    if dry_run:
        lines = plan_suite_tuning(suite, template, root, again=again)
    else:
        screen = _Screen(template)
        with screen.shown() as (on_lines, ticks):
            lines = tune_all(suite, template, root, again=again, on_lines=on_lines, ticks=ticks)
    if as_json:
        click.echo(json.dumps(suite_tuning_json(suite, lines), indent=2))
    else:
        click.echo(suite_tuning_text(suite, lines, template.budget_s))
    if any(line.error and not line.verdict for line in lines):
        sys.exit(RunError.exit_code)
    if any(line.verdict for line in lines):
        sys.exit(EXIT_INVALID)


def _specs(flags: dict[str, Any], only: tuple[str, ...]) -> tuple[SuiteSpec, TuneSpec]:
    from coldmark.core.record import RunSpec
    from coldmark.core.suite import SuiteSpec
    from coldmark.runs.tuning.make import TuneSpec

    precision: Any = Precision.parse(flags["precision"], where="--precision") if flags["precision"] else None
    suite = SuiteSpec(
        suite=Suite.parse(flags["suite"], where="--suite"),  # type: ignore[arg-type]
        only=tuple(part.strip() for text in only for part in text.split(",") if part.strip()),
        model=flags["model"] or "mini",
        backend=flags["backend"] or "openvino",
        precision=precision or Precision.FP32,
        round=flags["round_"] or "v2.1",
        options=parse_sets(flags["sets"]),
    )
    template = TuneSpec(
        run=RunSpec(workload="", scenario=Scenario.OFFLINE, suite=suite.suite),  # each entry has its own
        backend=flags["backend"],
        precision=precision,
        budget_s=flags["budget"],
        memory_gib=flags["memory"],
        seed=flags["seed"],
        drift=flags["drift"],
        slice_s=flags["slice_"],
        most_trials=flags["trials"],
    )
    return suite, template


class _Screen:
    """The table that fills: redrawn on a terminal, a line a step elsewhere. It goes to stderr."""

    def __init__(self, template: TuneSpec) -> None:
        self._template = template
        self._lines: Sequence[TuneLine] = ()
        self._at = 0

    @contextmanager
    def shown(self) -> Iterator[tuple[Any, Callable[[SuiteEntry], Ticks]]]:
        if not sys.stderr.isatty():
            yield self._tell, self._plain
            return
        from coldmark.cli.progress import live_text

        with live_text() as show:

            def draw(doing: str) -> None:
                show(self._text(doing))

            def on_lines(lines: Sequence[TuneLine], at: int) -> None:
                self._lines, self._at = list(lines), at
                draw("starting")

            def ticks(entry: SuiteEntry) -> Ticks:
                from coldmark.runs.tuning.suite import Ticks

                return Ticks(
                    say=draw, on_trial=lambda trial, gone: draw(f"{min(gone, 1):.0%}, {_short(trial)}")
                )

            yield on_lines, ticks

    def _text(self, doing: str) -> str:
        from coldmark.report.tune_suite import tuning_foot, tuning_table

        table = tuning_table(self._lines, self._at, doing)
        foot = tuning_foot(self._lines, self._template.budget_s)
        return f"{table}\n\n{foot}"

    def _tell(self, lines: Sequence[TuneLine], at: int) -> None:
        """One line for the benchmark-scenario that has just been settled."""
        from coldmark.report.tune_suite import line_text, tuning_foot

        self._lines = list(lines)
        if at:
            click.echo(line_text(lines[at - 1]), err=True)
        if at < len(lines):
            click.echo(tuning_foot(lines, self._template.budget_s), err=True)

    def _plain(self, entry: SuiteEntry) -> Ticks:
        from coldmark.runs.tuning.suite import Ticks

        return Ticks(
            say=lambda text: click.echo(f"{entry.name}  {text}", err=True), on_trial=lambda trial, gone: None
        )


def _short(trial: Trial) -> str:
    return f"{trial.relative:.2f} x: {trial.configuration.name}" if trial.relative else trial.reason
