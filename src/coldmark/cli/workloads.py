"""`coldmark workloads`."""

from __future__ import annotations

import json
from typing import Any

import click

from coldmark.cli.options import json_option


@click.command()
@click.option(
    "--round", "round_", default="v2.1", show_default=True, help="The round whose demands are shown."
)
@json_option()
def workloads(round_: str, as_json: bool) -> None:
    """List the workloads, their model sources, and what a round asks of each."""
    from coldmark.report.text import table
    from coldmark.rules.book import load_book
    from coldmark.workloads.task import workloads as known

    book = load_book(round_)
    rows: list[dict[str, Any]] = []
    for name, workload in known().items():
        entry = book.benchmarks.get(name)
        rows.append(
            {
                "workload": name,
                "title": workload.file.title,
                "task": workload.file.task,
                "models": workload.file.sources,
                "suites": {s.value: [c.value for c in cs] for s, cs in entry.suites.items()} if entry else {},
                "target": f"{entry.accuracy.target:g} {entry.accuracy.unit} {entry.accuracy.metric}"
                if entry
                else "",
                "server_latency_ms": entry.server_latency_ms if entry else None,
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo(
        table(
            ["workload", "task", "datacenter", "edge", f"{round_} target", "Server bound"],
            [
                [
                    r["workload"],
                    r["task"],
                    " ".join(r["suites"].get("datacenter", [])),
                    " ".join(r["suites"].get("edge", [])),
                    r["target"],
                    f"{r['server_latency_ms']:g} ms" if r["server_latency_ms"] else "-",
                ]
                for r in rows
            ],
        )
    )
    for r in rows:
        for source, what in r["models"].items():
            click.echo(f"  {r['workload']} --model {source}: {what}")
