"""`coldmark tune`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coldmark.cli.options import json_option, parse_sets, runs_dir_option
from coldmark.core.errors import EXIT_INVALID, ConfigError
from coldmark.core.nouns import Precision

if TYPE_CHECKING:
    from coldmark.core.tuned import Trial
    from coldmark.runs.tuning.make import TunePlan, TuneSpec
    from coldmark.runs.tuning.search import OnTrial


@click.command()
@click.argument("workload", required=False)
@click.option("--scenario", help="Offline, Server, SingleStream or MultiStream.")
@click.option("--suite", help="As of run; without WORKLOAD, everything this suite demands.")
@click.option("--only", multiple=True, metavar="NAMES", help="With --suite alone: as of suite.")
@click.option("--again", is_flag=True, help="With --suite alone: also what is tuned already.")
@click.option("--model", help="mini, full, official, or a path to an ONNX file. [default: mini]")
@click.option("--backend", help="Keep to this backend. [default: searched]")
@click.option(
    "--precision", help="Keep to this precision. [default: searched among those that hold the gate]"
)
@click.option("--budget", type=float, default=180.0, show_default=True, help="Seconds for each search.")
@click.option("--memory", type=float, help="GiB one configuration may take. [default: 60 % of the machine's]")
@click.option("--trials", type=int, help="Stop searching after so many trials. [default: when time is up]")
@click.option("--slice", "slice_", type=float, default=0.4, show_default=True, help="Seconds of a reading.")
@click.option("--drift", type=float, default=0.1, show_default=True, help="How far the machine may wander.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sampler.")
@click.option("--round", "round_", help="The round whose rules are followed. [default: v2.1]")
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Keep a setting at a value; as of run."
)
@click.option("--dry-run", is_flag=True, help="Show what would be searched, and what not and why.")
@click.option("--list", "list_", is_flag=True, help="List what is tuned here.")
@click.option("--show", metavar="ID", help="Show one tuning with all its trials.")
@click.option("--forget", metavar="ID", help="Remove one tuning.")
@runs_dir_option()
@json_option()
def tune(
    workload: str | None,
    runs_dir: Path | None,
    as_json: bool,
    dry_run: bool,
    list_: bool,
    show: str | None,
    forget: str | None,
    only: tuple[str, ...],
    again: bool,
    **flags: Any,
) -> None:
    """Search the fastest configuration of WORKLOAD in one scenario, and keep it.

    What is given is fixed, the rest is searched: backend, precision, batch, streams, threads, requests,
    delay, pinning. `coldmark run` and `coldmark suite` use what is kept where nothing else is said.
    """
    from coldmark.store.rundir import default_root

    root = runs_dir or default_root()
    if list_ or show or forget:
        _kept(root, show, forget, as_json)
        return
    if workload is None and flags["suite"]:
        from coldmark.cli.tune_suite import tune_suite

        tune_suite(root, flags, only, again=again, as_json=as_json, dry_run=dry_run)
        return
    if only or again:
        raise ConfigError(
            "these choose among a whole suite", where="--only, --again", hint="leave WORKLOAD out"
        )
    _one(make_tune_spec(workload, flags), root, as_json=as_json, dry_run=dry_run)


def make_tune_spec(workload: str | None, flags: dict[str, Any]) -> TuneSpec:
    """Flags as a spec. Raises ConfigError naming what is wrong."""
    from coldmark.cli.run import make_spec
    from coldmark.runs.tuning.make import TuneSpec

    named = {k: flags.get(k) for k in ("scenario", "suite", "model", "backend", "precision", "round_")}
    if workload is None or named["scenario"] is None:
        raise ConfigError(
            f"which {'workload' if workload is None else 'scenario'}?",
            where="coldmark tune",
            hint="for example: coldmark tune resnet50 --scenario Offline, or: coldmark tune --suite edge",
        )
    return TuneSpec(
        run=make_spec(workload, named, parse_sets(flags["sets"]), None),
        backend=named["backend"],
        precision=(
            Precision.parse(named["precision"], where="--precision")  # type: ignore[arg-type]
            if named["precision"]
            else None
        ),
        budget_s=flags["budget"],
        memory_gib=flags["memory"],
        seed=flags["seed"],
        drift=flags["drift"],
        slice_s=flags["slice_"],
        most_trials=flags["trials"],
    )


def _one(spec: TuneSpec, root: Path, *, as_json: bool, dry_run: bool) -> None:
    from coldmark.report.tune import tuned_json, tuned_text
    from coldmark.runs.tuning.make import NoneHolds, plan_tune, tune

    label = f"{spec.run.workload} {spec.run.scenario}"
    with said(label) as (say, on_trial):
        planned = plan_tune(spec, on_say=say, dry=dry_run)
        if dry_run:
            record = None
        else:
            try:
                record, path = tune(planned, root, on_trial=on_trial, on_say=say)
            except NoneHolds as none:
                click.echo(none_text(label, none), err=True)
                sys.exit(EXIT_INVALID)
    if record is None:
        _dry(planned, as_json)
    elif as_json:
        click.echo(json.dumps(tuned_json(record, str(path)), indent=2))
    else:
        click.echo(tuned_text(record, str(path)))


def none_text(label: str, none: Exception) -> str:
    """What nothing came up to, and what can be done."""
    return (
        f"{label}: no configuration meets the limits; nothing was kept\n  {none}\n"
        "  allow more: --memory, another --precision, or a stated limit of your own "
        "(--set test.target_latency_ns=N, open division)"
    )


def _dry(planned: TunePlan, as_json: bool) -> None:
    from coldmark.report.tune import left_out_text, space_text

    space, run = planned.space, planned.plan.spec
    axes = {
        b.name: {a.name: " ".join(str(v).lower() for v in a.values) for a in b.axes} for b in space.branches
    }
    if as_json:
        plain = {"branches": axes, "configurations": space.count(), "left_out": space.left_out}
        click.echo(json.dumps(plain, indent=2))
        return
    title = f"{run.workload} {run.scenario} ({run.suite}, {run.round}), {run.model}"
    click.echo(space_text(title, list(axes), axes, space.count()))
    if space.left_out:
        click.echo("\n" + left_out_text(space.left_out))
    click.echo(
        f"\n  default    {space.default.name}\n  memory     up to {planned.memory_bytes / 2**30:.1f} GiB\n"
        f"  budget     {planned.spec.budget_s:g} s: the default, then trials, then the leaders in turns"
    )


def _kept(root: Path, show: str | None, forget: str | None, as_json: bool) -> None:
    """List, show or forget."""
    from coldmark.core.codec import to_plain
    from coldmark.core.errors import ColdmarkError
    from coldmark.report.tune import trials_table, tuned_json, tuned_table, tuned_text
    from coldmark.store.tuned import FOLDER, find_tuned, forget_tuned, list_tuned

    if forget:
        gone = forget_tuned(root, forget)
        click.echo(json.dumps({"forgotten": gone}) if as_json else f"forgotten: {gone}")
        return
    if show:
        record = find_tuned(root, show)
        path = str(root / FOLDER / f"{record.id}.json")
        text = tuned_text(record, path) + "\n\n" + trials_table(record)
        click.echo(json.dumps(tuned_json(record, path), indent=2) if as_json else text)
        return
    records = list_tuned(root)
    if as_json:
        plain = [{"error": str(r)} if isinstance(r, ColdmarkError) else to_plain(r) for r in records]
        click.echo(json.dumps(plain, indent=2))
    elif records:
        click.echo(tuned_table(records))
    else:
        click.echo(f"nothing is tuned in {root}; begin: coldmark tune resnet50 --scenario Offline", err=True)


@contextmanager
def said(label: str) -> Iterator[tuple[Callable[[str], None], OnTrial]]:
    """What is being done, on stderr: every trial on a terminal's live line, else those that lead or fail."""
    from coldmark.cli.progress import saying
    from coldmark.report.tune import trial_text

    best, count = 0.0, 0
    live = sys.stderr.isatty()

    with saying(label) as say:

        def on_trial(trial: Trial, gone: float) -> None:
            nonlocal best, count
            found = (trial.relative or 0.0) if trial.state == "complete" else 0.0
            leads, count = found > best, count + 1
            best = max(best, found)
            if live or leads or trial.state == "failed":
                say(f"{min(gone, 1):4.0%}  trial {count}, best {best:.3f}: {trial_text(trial)}")

        yield say, on_trial
