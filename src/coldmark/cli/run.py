"""`coldmark run`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from coldmark.cli.options import json_option, parse_sets, runs_dir_option
from coldmark.core.errors import EXIT_INVALID, ConfigError
from coldmark.core.nouns import Length, Mode, Precision, Scenario, Suite
from coldmark.core.record import RunSpec

MODES = {
    "performance": (Mode.PERFORMANCE,),
    "accuracy": (Mode.ACCURACY,),
    "both": (Mode.PERFORMANCE, Mode.ACCURACY),
}


@click.command()
@click.argument("workload", required=False)
@click.option("--scenario", help="Offline, Server, SingleStream or MultiStream.")
@click.option("--suite", help="datacenter or edge. [default: the one that has the scenario; edge if both do]")
@click.option("--model", help="mini, full, official, or a path to an ONNX file. [default: mini]")
@click.option("--backend", help="openvino, onnxruntime, null or twin. [default: openvino]")
@click.option("--server", help="With --backend twin: the server to simulate. [default: x660-g45-lp]")
@click.option("--precision", help="fp32, bf16, or int8 (see calibrate). [default: fp32]")
@click.option("--mode", help="performance, accuracy or both. [default: both]")
@click.option(
    "--length", help="smoke (seconds), short (a minute) or official (the round's own). [default: short]"
)
@click.option(
    "--target-qps", help="Server: arrival rate; Offline: expected rate; a number or auto. [default: auto]"
)
@click.option("--round", "round_", help="The round whose rules are followed. [default: v2.1]")
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the backend, the test, the harness or the data; may be repeated.",
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A run.toml with the same keys; flags win over it.",
)
@click.option("--untuned", is_flag=True, help="Do not use what `coldmark tune` has kept for this machine.")
@click.option("--go-on", is_flag=True, help="To the end, though the run can no longer become VALID.")
@click.option("--watch", is_flag=True, help="Show temperatures, clocks, power and rate while it runs.")
@runs_dir_option()
@json_option()
def run(
    workload: str | None,
    watch: bool,
    untuned: bool,
    go_on: bool,
    sets: tuple[str, ...],
    server: str | None,
    config: Path | None,
    runs_dir: Path | None,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Measure WORKLOAD in one scenario: performance, then accuracy, each in a process of its own."""
    from coldmark.cli.progress import progress
    from coldmark.report.text import record_json, run_text
    from coldmark.runs.execute import execute
    from coldmark.store.rundir import default_root

    options = parse_sets(sets) | ({"backend.server": server} if server else {})
    options |= {"harness.go_on": "true"} if go_on else {}
    spec = make_spec(workload, flags, options, config)
    if server and spec.backend != "twin":
        raise ConfigError(
            f"only the twin has a server to choose; the backend is {spec.backend}",
            where="--server",
            hint=f"add --backend twin, or: coldmark twin run {server} --workload {spec.workload}",
        )
    label, root = f"{spec.workload} {spec.scenario}", runs_dir or default_root()
    if not untuned:
        spec = _tuned(spec, root, given_names(flags, config))
    if watch:
        from coldmark.cli.watch import watched_progress

        with watched_progress(label) as (on_tick, on_sampler):
            record, path = execute(spec, root, on_tick=on_tick, on_sampler=on_sampler)
    else:
        with progress(label) as on_tick:
            record, path = execute(spec, root, on_tick=on_tick)
    if as_json:
        click.echo(json.dumps(record_json(record, str(path)), indent=2))
    else:
        click.echo(run_text(record, str(path)))
    if record.verdict != "VALID":
        sys.exit(EXIT_INVALID)


def given_names(flags: dict[str, str | None], config: Path | None) -> set[str]:
    """What the user said by flag or file: nothing that was tuned takes its place."""
    values = _from_file(config)[0] if config else {}
    return {*values, *(name.rstrip("_") for name, value in flags.items() if value is not None)}


def _tuned(spec: RunSpec, root: Path, given: set[str]) -> RunSpec:
    """The spec with what was tuned for it; what was tuned and is not used is said."""
    from coldmark.store.tuned import FOLDER

    if not (root / FOLDER).is_dir():
        return spec
    from coldmark.runs.tuned import with_tuned

    spec, said = with_tuned(spec, root, given)
    if said:
        click.echo(f"tuning {said}", err=True)
    return spec


def make_spec(
    workload: str | None, flags: dict[str, str | None], sets: dict[str, str], config: Path | None
) -> RunSpec:
    """Flags over a run.toml over the defaults, as a spec. Raises ConfigError naming what is wrong."""
    from coldmark.workloads.task import find_workload

    values, options = _from_file(config) if config else ({}, {})
    values |= {name.rstrip("_"): value for name, value in flags.items() if value is not None}
    if workload:
        values["workload"] = workload
    for name in ("workload", "scenario"):
        if name not in values:
            raise ConfigError(
                f"which {name}?",
                where="coldmark run",
                hint="for example: coldmark run resnet50 --scenario Offline",
            )
    find_workload(values["workload"])
    scenario: Any = Scenario.parse(values["scenario"], where="--scenario")
    mode = values.get("mode", "both")
    if mode not in MODES:
        raise ConfigError(f"no mode {mode!r}", where="--mode", hint="performance, accuracy or both")
    rest: dict[str, Any] = {name: values[name] for name in ("model", "backend", "round") if name in values}
    return RunSpec(
        workload=values["workload"],
        scenario=scenario,
        suite=_suite(values, scenario),
        precision=Precision.parse(values.get("precision", "fp32"), where="--precision"),  # type: ignore[arg-type]
        length=Length.parse(values.get("length", "short"), where="--length"),  # type: ignore[arg-type]
        modes=MODES[mode],
        target_qps=_rate(values.get("target_qps", "auto")),
        options={**options, **sets},
        **rest,
    )


def _suite(values: dict[str, str], scenario: Scenario) -> Suite:
    """The suite asked for, or the one that has the scenario."""
    from coldmark.rules.book import load_book

    if "suite" in values:
        return Suite.parse(values["suite"], where="--suite")  # type: ignore[return-value]
    has = load_book(values.get("round", "v2.1")).benchmark(values["workload"]).suites
    return Suite.EDGE if scenario in has.get(Suite.EDGE, ()) else Suite.DATACENTER


def _rate(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{text!r} is neither a number nor auto", where="--target-qps") from None


FILE_KEYS = (
    "workload",
    "scenario",
    "suite",
    "model",
    "backend",
    "precision",
    "mode",
    "length",
    "target_qps",
    "round",
)


def _from_file(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """A run.toml: the flags' names at top level, and a table `set`. Every unknown key is named."""
    import tomllib

    from coldmark.core.codec import read_bounded
    from coldmark.core.errors import did_you_mean

    try:
        data = tomllib.loads(read_bounded(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not TOML: {error}", where=str(path)) from None
    sets = data.pop("set", {})
    for key, value in data.items():
        if key not in FILE_KEYS:
            raise ConfigError(
                f"unknown key {key!r}", where=str(path), hint=did_you_mean(key, [*FILE_KEYS, "set"])
            )
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise ConfigError(f"{key} is not a text or a number", where=str(path))
    if not isinstance(sets, dict):
        raise ConfigError("set is not a table", where=str(path))
    return {k: str(v) for k, v in data.items()}, {k: str(v) for k, v in _flat(sets).items()}


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys: [set.backend] batch = 8 is backend.batch."""
    out: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out
