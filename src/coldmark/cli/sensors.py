"""`coldmark sensors`."""

from __future__ import annotations

import json
import math
import sys

import click

from coldmark.cli.options import json_option, parse_sets, sensor_set_option


@click.command()
@sensor_set_option()
@json_option()
def sensors(sets: tuple[str, ...], as_json: bool) -> None:
    """List the sensors of this machine, and what is missing and why.

    A BMC or an exporter is asked when it is named: --set redfish.url=https://bmc.example
    """
    from coldmark.core.codec import to_plain
    from coldmark.core.errors import TelemetryError
    from coldmark.core.telemetry import Why
    from coldmark.report.telemetry import sensors_text
    from coldmark.telemetry.discover import discover, family_options, read_once

    found = discover(family_options(parse_sets(sets)), strict=False)
    now = read_once(found)
    if as_json:
        channels = [
            {
                "name": m.channel.name,
                **to_plain(m.channel),
                "unit": m.channel.unit,
                "kind": m.channel.kind.value,
                "value": None if math.isnan(m.value) else m.value,
            }
            for m in now
        ]
        out = {"channels": channels, "missing": to_plain(found.missing), "insecure": list(found.insecure)}
        click.echo(json.dumps(out, indent=2))
    else:
        click.echo(sensors_text(now, found.missing))
    if any(m.why is Why.FAILED for m in found.missing):
        click.echo("error: a sensor that was named does not answer", err=True)
        sys.exit(TelemetryError.exit_code)
