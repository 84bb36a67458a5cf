"""`coldmark podium` and `coldmark podium claim`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from coldmark.cli.options import json_option, runs_dir_option
from coldmark.cli.published import store_option
from coldmark.core.errors import EXIT_INVALID, ConfigError

FEW, MANY = 3, 10
"""Places shown of each task: where there are many tasks, and where there is one."""


@click.group(invoke_without_command=True)
@click.option("--round", "round_", default=None, help="The round. [default: v2.1, or the run's own]")
@click.option("--division", default="closed", show_default=True, help="closed, open or network.")
@click.option("--suite", default="", help="datacenter or edge. [default: each]")
@click.option("--benchmark", "benchmarks", multiple=True, help="Only this benchmark; may be repeated.")
@click.option("--scenario", "scenarios", multiple=True, help="Only this scenario; may be repeated.")
@click.option("--status", "statuses", multiple=True, help="available, preview or rdi; may be repeated.")
@click.option(
    "--pool",
    default="",
    metavar="EXPR",
    help='Who the rivals are, for example: accelerator ~ "A100-SXM" and accelerators = 8 '
    "and not power_submission.",
)
@click.option("--submitter", default="", help="Show this submitter's places; the rivals stay.")
@click.option("--system", default="", help="Show this system's places; the rivals stay.")
@click.option("--per-accelerator", is_flag=True, help="Rank rates divided by the number of accelerators.")
@click.option("--per-core", is_flag=True, help="Rank rates divided by the number of processor cores.")
@click.option(
    "--top",
    type=click.IntRange(min=0),
    default=None,
    help="Places shown of each task; 0 is all. [default: 3, or 10 of one task]",
)
@click.option("--run", "run_id", default=None, metavar="RUN_ID", help="Place this own run among them.")
@runs_dir_option()
@store_option()
@json_option()
@click.pass_context
def podium(context: click.Context, /, **options: Any) -> None:
    """Rank the published results of a round: who is first, in what, among whom.

    Each ranking says the pool it was made in and its size. --division, --status and --pool choose the
    rivals; --suite, --benchmark and --scenario the tasks; --submitter and --system whose places are shown.
    Equal results share a place.
    """
    if context.invoked_subcommand is None:
        _rank(options)


def _rank(options: dict[str, Any]) -> None:
    from coldmark.store.results import default_store, find_round, open_results

    folder = options["store"] or default_store()
    own = _own(options)
    round_ = options["round_"] or (own.record.spec.round if own else "v2.1")
    question = _question(options, round_)
    with open_results([find_round(folder, round_)]) as connection:
        if own is not None:
            _print_standing(connection, own, question, options)
        else:
            _print_ranking(connection, question, options)


def _own(options: dict[str, Any]) -> Any:
    if options["run_id"] is None:
        return None
    from coldmark.store.rundir import default_root
    from coldmark.store.standing import find_own

    for flag in ("system", "submitter", "top"):
        if options[flag]:
            raise ConfigError(
                f"--{flag} and --run do not go together",
                where="coldmark podium",
                hint="--run shows the run between its neighbours; choose the rivals with --pool",
            )
    return find_own(options["runs_dir"] or default_root(), options["run_id"])


def _question(options: dict[str, Any], round_: str) -> Any:
    from coldmark.store.pool import parse_pool
    from coldmark.store.ranking import Per, Question

    if options["per_accelerator"] and options["per_core"]:
        raise ConfigError("--per-accelerator or --per-core, not both", where="coldmark podium")
    per = Per.ACCELERATOR if options["per_accelerator"] else Per.CORE if options["per_core"] else Per.SYSTEM
    return Question(
        round=round_,
        division=options["division"],
        suite=options["suite"],
        benchmarks=options["benchmarks"],
        scenarios=options["scenarios"],
        statuses=options["statuses"],
        pool=parse_pool(options["pool"]),
        per=per,
    )


def _print_ranking(connection: Any, question: Any, options: dict[str, Any]) -> None:
    from coldmark.report.podium import ranking_json, ranking_text
    from coldmark.store.ranking import rank

    subject = _subject(connection, question, options)
    ranking = rank(connection, question)
    top = options["top"] if options["top"] is not None else FEW if len(ranking.tasks) > 1 else MANY
    if options["as_json"]:
        click.echo(json.dumps(ranking_json(ranking, top=top, subject=subject), indent=2))
    else:
        click.echo(ranking_text(ranking, top=top, subject=subject))


def _subject(connection: Any, question: Any, options: dict[str, Any]) -> frozenset[tuple[str, str]] | None:
    """Whose places are shown: the systems of a submitter, or one system."""
    from coldmark.store.compare import find_system
    from coldmark.store.ranking import choose, systems_of

    if not options["submitter"] and not options["system"]:
        return None
    if options["system"]:
        words = f"{options['submitter']}/{options['system']}" if options["submitter"] else options["system"]
        found = find_system(connection, question.round, question.division.lower(), words)
        return frozenset({(found.submitter, found.system)})
    known = systems_of(connection, question)
    name = choose("submitter", options["submitter"], {submitter for submitter, _ in known})
    return frozenset(system for system in known if system[0] == name)


def _print_standing(connection: Any, own: Any, question: Any, options: dict[str, Any]) -> None:
    from coldmark.report.standing import standing_json, standing_text
    from coldmark.store.standing import standings

    found = standings(connection, own, question)
    if options["as_json"]:
        click.echo(json.dumps(standing_json(own, found), indent=2))
    else:
        click.echo(standing_text(own, found))


@podium.command()
@click.argument("file", metavar="FILE.toml")
@click.option("--all", "every", is_flag=True, help="List every reading, also the alike ones.")
@store_option()
@json_option()
@click.pass_context
def claim(context: click.Context, file: str, every: bool, store: Path | None, as_json: bool) -> None:
    """Check a claim of first places.

    Under which reading of its pool does it hold, and under which not? FILE.toml states it;
    article-2022-09-09 comes with the package. Exit code 3 when it holds under none.
    """
    import sys

    from coldmark.report.claim import claim_json, claim_text
    from coldmark.store.claim import find_claim
    from coldmark.store.readings import check_claim
    from coldmark.store.results import default_store, find_round, open_results

    stated = find_claim(file)
    folder = store or (context.parent.params["store"] if context.parent else None) or default_store()
    with open_results([find_round(folder, stated.round)]) as connection:
        report = check_claim(connection, stated)
    if as_json or (context.parent and context.parent.params["as_json"]):
        click.echo(json.dumps(claim_json(report), indent=2))
    else:
        click.echo(claim_text(report, every=every))
    if not report.holds:
        sys.exit(EXIT_INVALID)
