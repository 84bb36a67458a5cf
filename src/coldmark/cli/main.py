"""The `coldmark` command. Subcommands are imported only when called, so that help is quick."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType

import click

import coldmark
from coldmark.core.errors import ColdmarkError, did_you_mean

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("coldmark.cli.demo:demo", "Benchmark this machine with all six workloads, in minutes."),
    "run": ("coldmark.cli.run:run", "Measure one workload in one scenario."),
    "calibrate": ("coldmark.cli.calibrate:calibrate", "Make an INT8 model that holds its accuracy gate."),
    "tune": ("coldmark.cli.tune:tune", "Search the fastest configuration, and keep it for run and suite."),
    "suite": ("coldmark.cli.suite:suite", "Run all that a suite demands; stop and go on as you like."),
    "runs": ("coldmark.cli.runs:runs", "List and show what was measured."),
    "watch": ("coldmark.cli.watch:watch", "Show temperatures, clocks, power and rate as they are now."),
    "compliance": ("coldmark.cli.compliance:compliance", "Run the audit tests of finished runs."),
    "submission": ("coldmark.cli.submission:submission", "Build and check submissions in MLPerf's own tree."),
    "rules": ("coldmark.cli.rules:rules", "Show what a round demands, and what changed between two."),
    "workloads": ("coldmark.cli.workloads:workloads", "List the workloads and what a round asks of them."),
    "published": ("coldmark.cli.published:published", "Import, query and show published results."),
    "podium": ("coldmark.cli.podium:podium", "Rank published results, and place a run among them."),
    "twin": (
        "coldmark.cli.twin:twin",
        "Simulate a server: its score, heat and clocks, and what cooling is worth.",
    ),
    "sensors": ("coldmark.cli.sensors:sensors", "List this machine's sensors, and what is missing and why."),
    "telemetry": (
        "coldmark.cli.telemetry:telemetry",
        "Show, export and replay what sensors recorded; serve it to Prometheus.",
    ),
    "system": ("coldmark.cli.system:system", "Describe this machine in MLPerf's words."),
}
"""Command -> (module:attribute, one line for --help)."""


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(f"no command {args[0]!r}; {did_you_mean(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(coldmark.__version__, prog_name="coldmark")
def cli() -> None:
    """Measure AI servers the MLPerf Inference way.

    Results go to stdout, progress to stderr. Exit codes: 0 fine, 2 a name or value that cannot be meant,
    3 INVALID, 4 something is not installed, 5 a backend or a run failed, 6 bad data, 130 interrupted.
    """


def _terminate(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point: errors as text on stderr, each with its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: a run's record shall say how it ended
        signal.signal(number, _terminate)
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except ColdmarkError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("error: interrupted", err=True)
        code = 130
    except BrokenPipeError:
        # The reader of stdout is gone; say nothing more, and keep Python from trying at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code if isinstance(code, int) else 0)
