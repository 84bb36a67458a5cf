"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from coldmark.core.errors import ConfigError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def runs_dir_option() -> Decorator:
    """`--runs-dir`."""
    return click.option(
        "--runs-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=None,
        help="Where run directories are kept. [default: $COLDMARK_RUNS_DIR, or ./runs]",
    )


def sensor_set_option() -> Decorator:
    """`--set` of sensor families."""
    return click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of a sensor family, e.g. redfish.url=https://bmc.example; may be repeated.",
    )


def json_option() -> Decorator:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


def parse_sets(pairs: tuple[str, ...]) -> dict[str, str]:
    """`KEY=VALUE` options as a dictionary. Raises ConfigError."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{pair!r} is not KEY=VALUE", where="--set")
        if key.strip() in found:
            raise ConfigError(f"{key.strip()!r} is given twice", where="--set")
        found[key.strip()] = value
    return found
