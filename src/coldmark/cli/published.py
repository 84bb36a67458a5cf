"""`coldmark published import|list|show|query|compare|check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from coldmark.cli.options import json_option

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def store_option() -> Decorator:
    """`--store`."""
    return click.option(
        "--store",
        type=click.Path(file_okay=False, path_type=Path),
        default=None,
        help="Where imported rounds are kept. [default: $COLDMARK_PUBLISHED_DIR, or the user's data folder]",
    )


def round_option() -> Decorator:
    """`--round`."""
    return click.option(
        "--round", "round_", default="v2.1", show_default=True, help="The round, for example v2.1."
    )


def csv_option() -> Decorator:
    """`--csv`."""
    return click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")


def division_option() -> Decorator:
    """`--division`."""
    return click.option("--division", default="closed", show_default=True, help="closed, open or network.")


@click.group()
def published() -> None:
    """Import, query and show the published results of a round.

    The table of v2.1 comes with the package: computed from mlcommons/inference_results_v2.1 at commit
    91f7859b8 (Apache-2.0). Other rounds are imported from a checkout or an archive of their repository.
    """


@published.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--round", "round_", required=True, help="The round the results are of, for example v2.1.")
@click.option("--replace", is_flag=True, help="Drop the round's other rows instead of keeping them.")
@click.option("--source", default="", help="What to call the source in each row. [default: PATH's name]")
@click.option("--findings", is_flag=True, help="List every finding, not only the errors.")
@store_option()
@json_option()
def import_(
    path: Path,
    round_: str,
    replace: bool,
    source: str,
    findings: bool,
    store: Path | None,
    as_json: bool,
) -> None:
    """Import a results tree: a folder or a tar archive.

    PATH is a checkout of a results repository, a part of one, or an archive of either. Every performance
    run becomes a row or a finding. Exit code 6 when a file could not be read; the rest is imported all
    the same.
    """
    import sys

    from coldmark.core.errors import DataError
    from coldmark.report.published import import_json, import_text
    from coldmark.runs.publish import import_tree
    from coldmark.store.results import default_store

    found = import_tree(path, round_, store or default_store(), source=source, replace=replace)
    if as_json:
        click.echo(json.dumps(import_json(found), indent=2))
    else:
        click.echo(import_text(found, path.name, round_, every=findings))
    if found.errors:
        sys.exit(DataError.exit_code)


@published.command("list")
@click.option("--round", "round_", default="", help="List the systems of this round instead of the rounds.")
@click.option("--division", default="", help="Only this division.")
@click.option("--submitter", default="", help="Only this submitter.")
@store_option()
@csv_option()
@json_option()
def list_(
    round_: str, division: str, submitter: str, store: Path | None, as_csv: bool, as_json: bool
) -> None:
    """List the rounds that are here, or with --round its systems."""
    from coldmark.store.listing import list_rounds, list_systems
    from coldmark.store.results import default_store, find_round, open_results

    folder = store or default_store()
    if not round_:
        _print(list_rounds(folder), as_csv, as_json)
        return
    with open_results([find_round(folder, round_)]) as connection:
        _print(list_systems(connection, round_, division, submitter), as_csv, as_json)


@published.command()
@click.argument("system")
@round_option()
@division_option()
@store_option()
@csv_option()
@json_option()
def show(system: str, round_: str, division: str, store: Path | None, as_csv: bool, as_json: bool) -> None:
    """Show everything a system has published.

    SYSTEM is its folder, SUBMITTER/FOLDER, or words that only it has.
    """
    from coldmark.report.published import system_text
    from coldmark.store.compare import find_system
    from coldmark.store.listing import system_results
    from coldmark.store.results import default_store, find_round, open_results

    with open_results([find_round(store or default_store(), round_)]) as connection:
        found = find_system(connection, round_, division, system)
        answer = system_results(connection, round_, found)
    if as_csv or as_json:
        _print(answer, as_csv, as_json)
    else:
        click.echo(system_text(answer.dicts()))


@published.command()
@click.argument("sql")
@click.option("--round", "rounds_", multiple=True, help="Only this round; may be repeated. [default: all]")
@store_option()
@csv_option()
@json_option()
def query(sql: str, rounds_: tuple[str, ...], store: Path | None, as_csv: bool, as_json: bool) -> None:
    """Ask the table `results` in SQL: one SELECT.

    A row is a performance run, the SQL is DuckDB's. Nothing but that table is within reach: no file, no
    network, no setting.
    """
    from coldmark.store.results import default_store, find_round, open_results, rounds_known
    from coldmark.store.results import query as ask

    folder = store or default_store()
    names = rounds_ or tuple(rounds_known(folder))
    with open_results([find_round(folder, name) for name in names]) as connection:
        _print(ask(connection, sql), as_csv, as_json)


@published.command()
@click.argument("a")
@click.argument("b")
@round_option()
@division_option()
@click.option("--benchmark", default="", help="Only this benchmark.")
@store_option()
@csv_option()
@json_option()
def compare(
    a: str,
    b: str,
    round_: str,
    division: str,
    benchmark: str,
    store: Path | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Compare two systems, benchmark by benchmark.

    Above 1 the system A is better than B, for latencies too.
    """
    from coldmark.core.codec import to_plain
    from coldmark.report.podium import compare_text
    from coldmark.store.compare import compare as compared
    from coldmark.store.compare import find_system
    from coldmark.store.ranking import choose
    from coldmark.store.results import Answer, default_store, find_round, open_results

    with open_results([find_round(store or default_store(), round_)]) as connection:
        first, second = (find_system(connection, round_, division, text) for text in (a, b))
        ratios = compared(connection, round_, first, second)
    if benchmark:
        name = choose("benchmark", benchmark, {ratio.benchmark for ratio in ratios})
        ratios = [ratio for ratio in ratios if ratio.benchmark == name]
    if as_json:
        said = {"round": round_, "a": to_plain(first), "b": to_plain(second), "ratios": to_plain(ratios)}
        click.echo(json.dumps(said, indent=2))
    elif as_csv:
        rows = [to_plain(ratio) for ratio in ratios]
        columns = tuple(rows[0]) if rows else ()
        _print(Answer(columns, [tuple(row.values()) for row in rows]), as_csv=True, as_json=False)
    else:
        click.echo(compare_text(round_, first, second, ratios))


@published.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@round_option()
@click.option("--division", default="", help="Only this division. [default: all]")
@click.option("--submitter", default="", help="Only this submitter.")
@store_option()
@json_option()
def check(
    path: Path | None, round_: str, division: str, submitter: str, store: Path | None, as_json: bool
) -> None:
    """Check that each result follows from its own log.

    It is recomputed from fields of the log that do not hold it, and what does not fit is reported.
    Without PATH the stored results are checked; with PATH a tree that is not imported. Exit code 3 when
    something does not fit.
    """
    import sys

    from coldmark.core.codec import to_plain
    from coldmark.core.errors import EXIT_INVALID
    from coldmark.report.published import check_text
    from coldmark.runs.plausible import check_stored, check_tree
    from coldmark.store.results import default_store

    if path is None:
        checked = check_stored(store or default_store(), round_, division, submitter)
    else:
        checked = check_tree(path, round_, division, submitter)
    if as_json:
        click.echo(json.dumps(to_plain(checked), indent=2))
    else:
        click.echo(check_text(checked))
    if checked.findings:
        sys.exit(EXIT_INVALID)


def _print(answer: Any, as_csv: bool, as_json: bool) -> None:
    """An answer as JSON rows, CSV or a table."""
    from coldmark.report.podium import answer_text
    from coldmark.store.results import to_csv

    if as_json:
        click.echo(json.dumps(answer.dicts(), indent=2, default=str))
    elif as_csv:
        click.echo(to_csv(answer), nl=False)
    else:
        click.echo(answer_text(answer.columns, answer.rows))
