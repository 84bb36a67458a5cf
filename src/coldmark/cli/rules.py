"""`coldmark rules show|diff`."""

from __future__ import annotations

import json

import click

from coldmark.cli.options import json_option


@click.group()
def rules() -> None:
    """Show what a round demands, and what changed between two rounds.

    Every value comes from the round's own checker, mlperf.conf or rules; where these disagree, both stand.
    """


@rules.command()
@click.argument("round_", metavar="ROUND")
@click.argument("benchmark", required=False)
@json_option()
def show(round_: str, benchmark: str | None, as_json: bool) -> None:
    """A round's rule book, or what it says of one BENCHMARK."""
    from coldmark.core.codec import to_plain
    from coldmark.report.rules import benchmark_text, book_text
    from coldmark.rules.book import load_book

    book = load_book(round_)
    if benchmark is None:
        click.echo(json.dumps(to_plain(book), indent=2) if as_json else book_text(book))
        return
    name = book.name_of(benchmark)
    if as_json:
        entry = {"round": book.round, "benchmark": name, **to_plain(book.benchmark(name))}
        click.echo(json.dumps(entry, indent=2))
    else:
        click.echo(benchmark_text(book, name))


@rules.command()
@click.argument("before", metavar="ROUND")
@click.argument("after", metavar="ROUND")
@json_option()
def diff(before: str, after: str, as_json: bool) -> None:
    """What a later ROUND says differently from an earlier one."""
    from coldmark.core.codec import to_plain
    from coldmark.report.rules import diff_text
    from coldmark.rules.book import load_book
    from coldmark.rules.diff import diff_books

    found = diff_books(load_book(before), load_book(after))
    click.echo(json.dumps(to_plain(found), indent=2) if as_json else diff_text(found))
