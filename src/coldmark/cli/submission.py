"""`coldmark submission check|build|template`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coldmark.cli.options import json_option, runs_dir_option

if TYPE_CHECKING:
    from coldmark.submission.describe import Question

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
    if sys.stderr.isatty():
        click.echo("\r\033[K", err=True, nl=False)
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


def runs_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--runs` and `--suite`."""
    command = click.option(
        "--suite", "suites", multiple=True, help="All runs of a suite, by its name (coldmark suite list)."
    )(command)
    return click.option("--runs", "names", multiple=True, help="A run's id; once for each run.")(command)


@submission.command()
@click.option("--submitter", required=True, help="Who submits: the name of the folder.")
@click.option("--system", required=True, help="What the system is called in the tree.")
@click.option("--division", default="open", show_default=True, help="closed, open or network.")
@runs_options
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The new folder for the tree.")
@click.option(
    "--system-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="TOML or JSON with tables `system` and `implementation`; see submission template.",
)
@click.option("--infer", is_flag=True, help="Let a run stand for missing scenarios that the round infers.")
@click.option("--leave-empty", is_flag=True, help="Leave open fields empty instead of asking for them.")
@click.option(
    "--pack", "kind", default="tar.gz", show_default=True, help="tar.gz, tar.xz, or none: no archive."
)
@runs_dir_option()
def build(
    submitter: str,
    system: str,
    division: str,
    names: tuple[str, ...],
    suites: tuple[str, ...],
    out: Path,
    system_file: Path | None,
    infer: bool,
    leave_empty: bool,
    kind: str,
    runs_dir: Path | None,
) -> None:
    """Build a submission's tree from runs, and pack it.

    What a run's record does not know of its system is asked for, each field explained; nothing is guessed.
    Runs of `mini` or `full` models, or shorter than the round's, are refused for the closed division; in the
    open one they go under a submitter whose name ends in -NOT-FOR-SUBMISSION.
    """
    from coldmark.core.errors import ConfigError
    from coldmark.core.nouns import Division
    from coldmark.submission.build import build as build_tree
    from coldmark.submission.build import complete, load_runs, plan_build
    from coldmark.submission.describe import read_answers
    from coldmark.submission.pack import OPENERS, pack
    from coldmark.submission.place import submission_of

    if kind not in (*OPENERS, "none"):
        known = ", ".join([*OPENERS, "none"])
        raise ConfigError(f"no archive kind {kind!r}", where="--pack", hint=f"known: {known}")
    runs = load_runs(*_run_paths(names, suites, runs_dir))
    where = Division.parse(division, where="--division")
    plan, open_ = plan_build(
        runs, submitter=submitter, system=system, division=Division(where), answers={}, infer=infer
    )
    if system_file is not None:
        answers = read_answers(system_file, submission_of(plan.book))
        plan, open_ = plan_build(
            runs, submitter=submitter, system=system, division=Division(where), answers=answers, infer=infer
        )
    if open_:
        plan = complete(plan, _answers(open_, leave_empty=leave_empty))
    build_tree(plan, out)
    said = [f"tree of {len(runs)} runs: {out}"]
    if kind != "none":
        said.append(f"packed: {pack(out, out.with_name(f'{out.name}.{kind}'), kind)}")
    if plan.why_not:
        said.append(f"not for submission, as {plan.submitter} says: {'; '.join(plan.why_not)}")
    click.echo("\n".join([*said, f"check it: coldmark submission check {out}"]))


@submission.command()
@runs_options
@runs_dir_option()
def template(names: tuple[str, ...], suites: tuple[str, ...], runs_dir: Path | None) -> None:
    """Print a file for --system-file: what the runs know is filled in, the rest is explained."""
    from coldmark.core.codec import read_json
    from coldmark.rules.book import load_book
    from coldmark.submission import describe
    from coldmark.submission.build import load_runs, said_by_all, software_of
    from coldmark.submission.place import submission_of

    runs = load_runs(*_run_paths(names, suites, runs_dir))
    part = submission_of(load_book(runs[0].record.spec.round))
    known = describe.detected(read_json(runs[0].path / "system.json"), part)
    known |= software_of(runs)
    power = any((run.path / "power").is_dir() for run in runs)
    click.echo(describe.template(part, known, said_by_all(runs), power=power), nl=False)


def _run_paths(
    names: tuple[str, ...], suites: tuple[str, ...], runs_dir: Path | None
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The runs named and those of suites, and which of them also stand for a looser benchmark."""
    from coldmark.store.rundir import default_root, find_run
    from coldmark.store.suites import find_suite

    root = runs_dir or default_root()
    paths = [find_run(root, name) for name in names]
    serving: list[tuple[Path, str]] = []
    for name in suites:
        for entry in find_suite(root, name).entries:
            if entry.served_by:
                serving.append((root / entry.run_id, entry.benchmark))
            else:
                paths.append(root / entry.run_id)
    return list(dict.fromkeys(paths)), serving


def _answers(open_: list[Question], *, leave_empty: bool) -> dict[str, dict[str, Any]]:
    """Ask for each open field on a terminal; elsewhere say what is missing. Raises ConfigError."""
    from coldmark.core.errors import ConfigError
    from coldmark.submission.describe import check_answer, explain

    given: dict[str, dict[str, Any]] = {"system": {}, "implementation": {}}
    left = [q for q in open_ if not leave_empty or q.field.kind != "text"]
    for question in open_:
        if question not in left:
            given[question.part][question.name] = ""
    if left and not sys.stdin.isatty():
        raise ConfigError(
            f"{len(left)} fields are not known:\n{explain(left)}",
            where="--system-file",
            hint="coldmark submission template --runs RUN > FILE.toml; fill it in; --system-file FILE.toml",
        )
    for question in left:
        given[question.part][question.name] = _ask(question, check_answer)
    return given


def _ask(question: Question, check_answer: Callable[..., None]) -> str:
    from coldmark.core.errors import ConfigError

    field = question.field
    choices = f" One of: {', '.join(field.choices)}." if field.choices else ""
    example = f" Example: {field.example}" if field.example else ""
    click.echo(f"\n{field.about}{choices}{example}", err=True)
    while True:
        text: str = click.prompt(question.name, default="", show_default=False, err=True)
        try:
            check_answer(question.name, text, field, where=question.name)
        except ConfigError as error:
            click.echo(str(error), err=True)
            continue
        return text
