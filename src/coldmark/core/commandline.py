"""Command lines that coldmark prints for somebody to type."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from coldmark.core.nouns import Precision, Scenario, Suite


def command_line(
    verb: str,
    workload: str,
    *,
    scenario: Scenario | None = None,
    suite: Suite = Suite.EDGE,
    model: str = "mini",
    round_name: str = "v2.1",
    backend: str | None = None,
    precision: Precision | None = None,
    options: Mapping[str, str] | None = None,
) -> str:
    """`coldmark VERB WORKLOAD` with its flags; suite, model and round are left out where they are the usual.

    The datacenter suite is only assumed where edge lacks the scenario, so it is always said.
    """
    words = ["coldmark", verb, workload]
    words += ["--scenario", scenario.value] if scenario else []
    words += ["--suite", suite.value] if suite is not Suite.EDGE else []
    words += ["--model", model] if model != "mini" else []
    words += ["--round", round_name] if round_name != "v2.1" else []
    words += ["--backend", backend] if backend else []
    words += ["--precision", precision.value] if precision else []
    for key, value in (options or {}).items():
        words += ["--set", f"{key}={value}"]
    return shlex.join(words)


def dotted(name: str) -> str:
    """A workload's option as `--set` takes it: its field `data_path` is data.path."""
    return name.replace("_", ".", 1)
