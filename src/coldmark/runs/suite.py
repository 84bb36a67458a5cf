"""A whole suite: every benchmark-scenario that a round demands, each run once, resumed where it stopped.

The suite's file names the run of each benchmark-scenario; what a run came to is read from its own record,
so that a killed suite loses nothing. A run of the 99.9 % benchmark also stands for the 99 % one where it
meets its own, higher target and all settings are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from coldmark.core.errors import ColdmarkError, ConfigError, Doomed, Interrupted, did_you_mean
from coldmark.core.nouns import Precision, State
from coldmark.core.record import RunRecord, RunSpec
from coldmark.core.suite import SuiteEntry, SuiteRecord, SuiteSpec
from coldmark.rules.book import RuleBook, load_book, load_length
from coldmark.runs.execute import OnTick, execute, pinned, resume, software_versions
from coldmark.runs.resolve import Plan, open_task, resolve
from coldmark.runs.tuned import with_tuned
from coldmark.store.rundir import read_record
from coldmark.store.suites import held_suite, read_suite, write_suite
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.task import workloads

SETTLED = (State.COMPLETE, State.STOPPED)
"""What a run may be and is not run again, unless that is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One benchmark-scenario as it stands."""

    entry: SuiteEntry
    record: RunRecord | None  # of the run that stands for it
    least_s: float  # what its tests take at the least
    may_serve: str = ""  # the stricter benchmark whose run may stand for it
    unused: str = ""  # why what was tuned for it here is not used

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: it is complete, or was stopped as it could not become VALID."""
        return self.record is not None and self.record.state in SETTLED and not self.entry.error


OnChange = Callable[[Sequence[Line], int], None]
"""Called with the suite's lines and the index of the one that runs now."""


def default_name(spec: SuiteSpec) -> str:
    """A name that says what the suite is: edge-short-mini-openvino-fp32."""
    model = Path(spec.model).stem if "/" in spec.model or spec.model.endswith(".onnx") else spec.model
    return f"{spec.suite}-{spec.length}-{model}-{spec.backend}-{spec.precision}"


def demanded(spec: SuiteSpec) -> list[SuiteEntry]:
    """What the suite demands, in the rule book's order, stricter benchmarks first.

    Raises ConfigError for a name in `only` that the suite does not have.
    """
    book = load_book(spec.round)
    entries = [
        SuiteEntry(benchmark=name, scenario=scenario)
        for name in sorted(book.benchmarks, key=lambda n: _order(book, n))
        for scenario in book.benchmarks[name].suites.get(spec.suite, ())
    ]
    names = {e.benchmark for e in entries} | {e.name for e in entries}
    for wanted in spec.only:
        if wanted not in names:
            raise ConfigError(
                f"the {spec.suite} suite of {spec.round} has no {wanted!r}",
                where="--only",
                hint=did_you_mean(wanted, names),
            )
    if spec.only:
        entries = [e for e in entries if e.benchmark in spec.only or e.name in spec.only]
    absent = sorted({e.benchmark for e in entries} - set(workloads()))
    if absent:
        have = sorted({e.benchmark for e in entries} & set(workloads()))
        raise ConfigError(
            f"{', '.join(absent)} of {spec.round} cannot be run here: coldmark has no such workload",
            where="coldmark suite",
            hint=f"--only {','.join(have)}" if have else "coldmark workloads lists what there is",
        )
    return entries


def _order(book: RuleBook, name: str) -> tuple[int, float]:
    """Book order of the workload's first benchmark, then the higher target first."""
    names = list(book.benchmarks)
    alike = workloads()[name].file.ids if name in workloads() else (name,)
    first = min(names.index(n) for n in alike if n in names)
    return first, -book.benchmarks[name].accuracy.ratio


def run_spec(spec: SuiteSpec, entry: SuiteEntry) -> RunSpec:
    """What one benchmark-scenario of the suite is run as."""
    options: dict[str, str] = {}
    for key, value in spec.options.items():
        scope, colon, name = key.partition(":")
        if not colon:
            options.setdefault(key, value)
        elif scope in (entry.benchmark, entry.name, entry.scenario.value):
            options[name] = value
    return RunSpec(
        workload=entry.benchmark,
        scenario=entry.scenario,
        suite=spec.suite,
        model=spec.model,
        backend=spec.backend,
        precision=spec.precision,
        length=spec.length,
        round=spec.round,
        options=options,
    )


def _tuned(run: RunSpec, spec: SuiteSpec, root: Path) -> tuple[RunSpec, str]:
    """With what was tuned for it here, unless the suite is to be run untuned; and why that is not used."""
    return (run, "") if spec.untuned else with_tuned(run, root, spec.given)


def check_scopes(spec: SuiteSpec, entries: Sequence[SuiteEntry]) -> None:
    """Every scope of an option is one of the suite's. Raises ConfigError."""
    known = {e.benchmark for e in entries} | {e.name for e in entries} | {e.scenario.value for e in entries}
    for key in spec.options:
        scope, colon, _ = key.partition(":")
        if colon and scope not in known:
            raise ConfigError(f"no {scope!r} in this suite", where="--set", hint=did_you_mean(scope, known))


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a suite demands, and by the name of each its plan and why what is tuned for it is not used."""

    entries: list[SuiteEntry]
    plans: dict[str, Plan]
    unused: dict[str, str]
    given: tuple[str, ...]  # of backend and precision, what the user asked for


def planned(spec: SuiteSpec, root: Path) -> Planned:
    """The suite's plans, with what is tuned in `root` where wanted. Raises ConfigError."""
    entries = demanded(spec)
    check_scopes(spec, entries)
    found = {e.name: _tuned(run_spec(spec, e), spec, root) for e in entries}
    return Planned(
        entries=entries,
        plans={name: resolve(run) for name, (run, _) in found.items()},
        unused={name: said for name, (_, said) in found.items()},
        given=spec.given,
    )


def _opened(suite: Planned) -> Planned:
    """Every task once: a missing file is known before an hour of work, and each calibration is fixed.

    Where 99 % and 99.9 % have calibrations of their own they are different work. Raises DataError, or
    ConfigError with all that is missing.
    """
    plans, missing = {}, []
    for name, plan in suite.plans.items():
        try:
            plans[name] = pinned(plan, open_task(plan, cache_dir()))
        except ConfigError as error:
            missing.append(error)
    if len(missing) == 1:
        raise missing[0]
    if missing:
        said = dict.fromkeys(f"{e.message} ({e.hint})" if e.hint else e.message for e in missing)
        raise ConfigError(
            "; ".join(said), where="coldmark suite", hint="or leave those out: --only names the others"
        )
    return replace(suite, plans=plans)


def _fixed(suite: Planned) -> Planned:
    """The same for a look ahead: what cannot be opened stays as it is, since nothing is run."""
    plans = dict(suite.plans)
    for name, plan in plans.items():
        if plan.spec.precision is Precision.INT8:
            with suppress(ColdmarkError):
                plans[name] = pinned(plan, open_task(plan, cache_dir()))
    return replace(suite, plans=plans)


def plan_suite(spec: SuiteSpec, root: Path, name: str) -> list[Line]:
    """What the suite would run and what of it is done. Raises ConfigError before anything is written."""
    suite = _fixed(planned(spec, root))
    begun = read_suite(root, name)
    found = {e.name: e for e in _same(begun, spec, name).entries} if begun else {}
    return [_line(root, found.get(e.name, e), suite) for e in suite.entries]


def _same(record: SuiteRecord, spec: SuiteSpec, name: str) -> SuiteRecord:
    """A suite's file, if it is of this spec but for the choice of benchmarks. Raises ConfigError."""
    if replace(record.spec, only=(), given=()) != replace(spec, only=(), given=()):
        raise ConfigError(
            f"the suite {name!r} was begun with other settings",
            where="--name",
            hint="give another --name, or --again to begin it anew",
        )
    return record


def _line(root: Path, entry: SuiteEntry, suite: Planned) -> Line:
    plans = suite.plans
    serves = [
        other.workload.id
        for other in plans.values()
        if other.spec.scenario is entry.scenario and stricter(other, plans[entry.name])
    ]
    record = _record(root, entry.run_id)
    if record and not _as_asked(record, plans[entry.name], suite.given):
        record = None
    return Line(
        entry=entry,
        record=record,
        least_s=least_s(plans[entry.name]),
        may_serve=serves[0] if serves else "",
        unused=suite.unused[entry.name] or ("" if entry.served_by else _since(record, plans[entry.name])),
    )


def _since(record: RunRecord | None, plan: Plan) -> str:
    """That a finished run was made before what is tuned now."""
    tuned = plan.spec.tuned
    if tuned is None or record is None or record.state is not State.COMPLETE:
        return ""
    was, began = record.spec.tuned, datetime.fromisoformat(record.started)
    if (was and (was.id, was.when) == (tuned.id, tuned.when)) or datetime.fromisoformat(tuned.when) <= began:
        return ""
    return f"tuned {tuned.when[:16]}, after its run (id {tuned.id}): --again runs it so"


def _as_asked(record: RunRecord, plan: Plan, given: Sequence[str]) -> bool:
    """Whether a run has the backend and precision that were asked for, where any were."""
    return all(getattr(record.spec, name) == getattr(plan.spec, name) for name in given)


def _record(root: Path, run_id: str) -> RunRecord | None:
    """A run's record; None where there is none or it cannot be read, which means: run it again."""
    try:
        return read_record(root / run_id) if run_id else None
    except ColdmarkError:
        return None


def least_s(plan: Plan) -> float:
    """Seconds that the performance test takes at the least."""
    by_length = load_length(plan.spec.length).min_duration_ms
    ms = plan.test_overrides.get("min_duration_ms", by_length or plan.rule.book.min_duration_ms)
    return ms / 1000


def stricter(high: Plan, low: Plan) -> bool:
    """Whether `high` is the same work under the same settings as `low`, with a higher target."""
    a, b = high.rule.benchmark, low.rule.benchmark
    own = ("official_name", "targets", "scenario_targets", "suites", "optional", "both", "both_optional")
    same = replace(a, **{name: getattr(b, name) for name in own})
    return (
        high.workload.file == low.workload.file
        and a.accuracy.ratio > b.accuracy.ratio
        and same == b
        and _settings(replace(high.spec, workload=low.spec.workload)) == _settings(low.spec)
    )


def _settings(spec: RunSpec) -> RunSpec:
    """A spec without which tuning its settings are from."""
    used = spec.tuned
    return replace(spec, tuned=replace(used, id="", when="", expected_qps=None)) if used else spec


def run_suite(
    spec: SuiteSpec,
    root: Path,
    name: str,
    *,
    again: bool = False,
    retry: bool = False,
    on_change: OnChange | None = None,
    ticker: Callable[[SuiteEntry], OnTick] | None = None,
) -> list[Line]:
    """Run what is left of a suite, writing its file after each step; returns its lines.

    A benchmark-scenario that fails is noted and the others go on. `again` begins a new suite of that name,
    `retry` runs again what came out INVALID. Raises Interrupted when the user stops it,
    ConfigError or DataError before anything is run.
    """
    suite = _opened(planned(spec, root))
    entries = suite.entries
    with held_suite(root, name):
        state = _State(spec, root, name, suite, again=again, retry=retry)
        for at, entry in enumerate(entries):
            if on_change:
                on_change(state.lines(entries), at)
            state.settle(entry, ticker(entry) if ticker else None)
        state.finish()
        lines = state.lines(entries)
        if on_change:
            on_change(lines, len(entries))
        return lines


class _State:
    """The suite's file while it is worked on."""

    def __init__(
        self, spec: SuiteSpec, root: Path, name: str, suite: Planned, *, again: bool, retry: bool
    ) -> None:
        self._root, self._suite, self._plans, self._retry = root, suite, suite.plans, retry
        begun = None if again else read_suite(root, name)
        if begun:
            _same(begun, spec, name)
        self._entries = {e.name: e for e in begun.entries} if begun else {}
        self._record = begun or SuiteRecord(name=name, spec=spec, entries=(), started=_now())

    def lines(self, entries: Sequence[SuiteEntry]) -> list[Line]:
        return [_line(self._root, self._entries.get(e.name, e), self._suite) for e in entries]

    def settle(self, entry: SuiteEntry, on_tick: OnTick | None) -> None:
        """See to it that a complete run stands for this benchmark-scenario."""
        plan = self._plans[entry.name]
        have = self._entries.get(entry.name, entry)
        record = _record(self._root, have.run_id)
        if record and not _as_asked(record, plan, self._suite.given):
            record = None  # it ran in another precision or on another backend, as tuned then
        if record and record.state in SETTLED and record.software == software_versions(plan):
            if record.verdict == "VALID" or not self._retry:
                if have.error:  # of an attempt before: it was finished by `coldmark runs resume`
                    self._put(replace(have, error=""))
                return
            record = None  # it came out INVALID: a new run, not this one resumed
        if serving := self._serving(plan):
            self._put(replace(entry, run_id=serving.run_id, served_by=serving.benchmark))
            return
        try:
            self._run(entry, plan, None if have.served_by else record, on_tick)
        except Interrupted:
            raise
        except Doomed:
            return  # its record says why
        except ColdmarkError as error:
            self._put(replace(self._entries.get(entry.name, entry), error=str(error)))

    def _serving(self, plan: Plan) -> SuiteEntry | None:
        """The entry of a stricter benchmark whose run is VALID and meets its own accuracy target."""
        for name, other in self._plans.items():
            entry = self._entries.get(name)
            if entry is None or entry.served_by or not stricter(other, plan):
                continue
            record = _record(self._root, entry.run_id)
            if (
                record
                and record.state is State.COMPLETE
                and record.accuracy
                and record.accuracy.passed
                and record.verdict == "VALID"
                and _as_asked(record, other, self._suite.given)
            ):
                return entry
        return None

    def _run(self, entry: SuiteEntry, plan: Plan, begun: RunRecord | None, on_tick: OnTick | None) -> None:
        if begun and begun.state not in SETTLED and _resumable(begun, plan):
            self._put(replace(entry, run_id=begun.run_id))
            resume(self._root / begun.run_id, on_tick=on_tick)
            return

        def started(path: Path) -> None:
            self._put(replace(entry, run_id=path.name))

        execute(plan.spec, self._root, on_tick=on_tick, on_start=started)

    def _put(self, entry: SuiteEntry) -> None:
        self._entries[entry.name] = entry
        self._write("")

    def finish(self) -> None:
        """Say that nothing is left, where nothing is."""
        if all(not e.error for e in self._entries.values()):
            self._write(_now())

    def _write(self, finished: str) -> None:
        self._record = replace(self._record, entries=tuple(self._entries.values()), finished=finished)
        write_suite(self._root, self._record)


def _resumable(begun: RunRecord, plan: Plan) -> bool:
    """Whether a run that was cut short can go on: by the same software, with the networks it began with."""
    if begun.software != software_versions(plan):
        return False
    try:
        open_task(resolve(begun.spec), cache_dir())
    except ConfigError:
        return False
    return True


def left_s(lines: Sequence[Line]) -> float | None:
    """About how long what is left takes, by what the runs so far took beyond their least; None at first."""
    whole = [x for x in lines if x.record and x.record.state is State.COMPLETE and not x.entry.served_by]
    beyond = [taken_s(line.record) - line.least_s for line in whole]
    if not beyond:
        return None
    mean = sum(max(0.0, b) for b in beyond) / len(beyond)
    return sum(line.least_s + mean for line in lines if not line.done)


def taken_s(record: RunRecord | None) -> float:
    """Seconds from a run's start to its end."""
    if record is None or not record.finished:
        return 0.0
    return (datetime.fromisoformat(record.finished) - datetime.fromisoformat(record.started)).total_seconds()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
