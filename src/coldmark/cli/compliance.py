"""`coldmark compliance`."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coldmark.cli.options import json_option, runs_dir_option
from coldmark.core.errors import EXIT_INVALID, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coldmark.core.compliance import ComplianceRecord, EarlierTry, Pace, ScoreAnswers, TestVerdict
    from coldmark.rules.audit import Audit
    from coldmark.runs.execute import OnTick
    from coldmark.runs.resolve import Plan


@click.command()
@click.argument("run_ids", metavar="[RUN...]", nargs=-1)
@click.option(
    "--suite", "suites", multiple=True, help="All runs of a suite, by its name (coldmark suite list)."
)
@click.option(
    "--tries",
    type=click.IntRange(1, 10),
    default=1,
    show_default=True,
    help="Runs of a test at most, where the machine's own bare rate explains why its score is off.",
)
@runs_dir_option()
@json_option()
def compliance(
    run_ids: tuple[str, ...], suites: tuple[str, ...], tries: int, runs_dir: Path | None, as_json: bool
) -> None:
    """Run the audit tests that a round asks of finished runs, and write their verification files.

    Each RUN (its id, or the beginning or end of it) is run again with LoadGen's audit settings, at its own
    rates, and judged. Tests that completed before are kept.
    """
    from coldmark.report.compliance import compliance_text
    from coldmark.runs.compliance import auditable
    from coldmark.store.rundir import default_root, find_run
    from coldmark.store.suites import find_suite

    root = runs_dir or default_root()
    paths = [find_run(root, run_id) for run_id in run_ids]
    paths += [root / entry.run_id for name in suites for entry in find_suite(root, name).entries]
    paths = list(dict.fromkeys(paths))
    if not paths:
        raise ConfigError("which runs?", where="coldmark compliance", hint="RUN..., or --suite NAME")
    for path in paths:
        auditable(path)  # everything that can be refused is refused before anything is run
    found = [(path, _comply(path, tries)) for path in paths]
    if as_json:
        click.echo(json.dumps({"runs": [_plain(path, record) for path, record in found]}, indent=2))
    else:
        click.echo("\n".join(compliance_text(record, str(path)) for path, record in found))
    if not all(record.passed for _, record in found):
        sys.exit(EXIT_INVALID)


def _comply(path: Path, tries: int) -> ComplianceRecord:
    from coldmark.cli.progress import progress
    from coldmark.runs.compliance import comply

    with ExitStack() as stack:

        def on_test(name: str) -> OnTick:
            stack.close()
            return stack.enter_context(progress(f"{path.name} {name}"))

        return comply(path, _verify, on_test=on_test, tries=tries)


def _verify(
    audit: Audit,
    folder: Path,
    run: Path,
    plan: Plan,
    score: ScoreAnswers | None,
    pace: Pace | None,
    earlier: Sequence[EarlierTry],
) -> TestVerdict:
    from coldmark.core.codec import from_plain, read_json
    from coldmark.core.nouns import Mode
    from coldmark.core.settings import SourcedSettings
    from coldmark.submission.verification import Submitted, verify

    settings = folder / "run" / "settings.json"
    return verify(
        audit,
        folder,
        Submitted(performance=run / Mode.PERFORMANCE.value, accuracy=run / Mode.ACCURACY.value),
        settings=from_plain(read_json(settings), SourcedSettings, where=str(settings)).settings,
        length=plan.spec.length,
        score=score,
        pace=pace,
        earlier=earlier,
    )


def _plain(path: Path, record: ComplianceRecord) -> dict[str, Any]:
    from coldmark.core.codec import to_plain

    plain: dict[str, Any] = to_plain(record)
    for name, verdict in record.tests.items():
        plain["tests"][name]["passed"] = verdict.passed
    return {"passed": record.passed, **plain, "run_dir": str(path)}
