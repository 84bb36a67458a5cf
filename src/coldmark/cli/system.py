"""`coldmark system`."""

from __future__ import annotations

import json

import click

from coldmark.cli.options import json_option


@click.command()
@json_option()
def system(as_json: bool) -> None:
    """Describe this machine in the fields of MLPerf's systems/*.json; what it cannot tell stays empty."""
    from coldmark.core.codec import to_plain
    from coldmark.report.text import table
    from coldmark.telemetry.inventory import detect

    found = to_plain(detect())
    sources = found.pop("sources")
    if as_json:
        click.echo(json.dumps({**found, "sources": sources}, indent=2))
        return
    known = [[name, value, sources.get(name, "")] for name, value in found.items() if value]
    click.echo(table(["field", "value", "read from"], known))
    click.echo("not known here: " + ", ".join(name for name, value in found.items() if not value))
