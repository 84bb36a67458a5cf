"""Rules on the two .conf files beside a run: mlperf.conf is the round's, user.conf is the run's."""

from __future__ import annotations

import math
from functools import cache

from coldmark.core.nouns import Scenario, Severity
from coldmark.rules.book import RuleBook, load_book, rounds
from coldmark.submission.findings import Findings
from coldmark.submission.place import Entry
from coldmark.submission.scan import DetailLog
from coldmark.submission.texts import Conf, as_number, parse_conf
from coldmark.submission.tree import Tree, Unreadable, read_text

EFFECTIVE: dict[str, tuple[str, float]] = {
    "target_qps": ("effective_target_qps", 1.0),
    "target_latency": ("effective_target_latency_ns", 1e6),
    "target_latency_percentile": ("effective_target_latency_percentile", 0.01),
    "min_duration": ("effective_min_duration_ms", 1.0),
    "min_query_count": ("effective_min_query_count", 1.0),
    "samples_per_query": ("effective_samples_per_query", 1.0),
    "multi_stream_samples_per_query": ("effective_samples_per_query", 1.0),
    "performance_sample_count_override": ("effective_performance_sample_count", 1.0),
    "qsl_rng_seed": ("effective_qsl_rng_seed", 1.0),
    "sample_index_rng_seed": ("effective_sample_index_rng_seed", 1.0),
    "schedule_rng_seed": ("effective_schedule_rng_seed", 1.0),
    "max_query_count": ("effective_max_query_count", 1.0),
}
"""A .conf key, the line of the detail log that shows it, and what one of its units is there."""

_EXPECTED = {"target_latency", "target_qps", "target_latency_percentile"}
UNSEEN: dict[Scenario, set[str]] = {
    Scenario.SINGLE_STREAM: _EXPECTED | {"samples_per_query"},
    Scenario.MULTI_STREAM: _EXPECTED,
    Scenario.SERVER: {"samples_per_query"},
    Scenario.OFFLINE: _EXPECTED - {"target_qps"}
    | {"samples_per_query", "min_query_count", "max_query_count"},
}
"""Keys that LoadGen does not show as they were given: expectations, and what a scenario computes itself."""


OFF = dict.fromkeys(
    ("test05", "sample_concatenate_permutation", "max_query_count", "max_duration", "performance_issue_same",
     "performance_issue_unique", "accuracy_log_rng_seed", "accuracy_log_probability"), "0",
)  # fmt: skip
"""What LoadGen takes for keys that a file leaves out: to write it changes nothing."""


def _read_conf(tree: Tree, path: str, clause: str, findings: Findings) -> Conf | None:
    if not tree.has(path):
        return None  # the folder's rule says so
    try:
        conf = parse_conf(read_text(tree, path))
    except Unreadable as error:
        findings.add(path, "conf.text", "a text in UTF-8", error, clause)
        return None
    for line, text in conf.broken[:5]:
        findings.add(path, "conf.line", "model.scenario.key = value", text, clause, line=line)
    return conf


def check_mlperf_conf(
    tree: Tree, entry: Entry, book: RuleBook, benchmark: str, scenario: Scenario, findings: Findings
) -> None:
    """mlperf.conf is the round's own, key by key.

    What LoadGen takes of it for this benchmark and scenario breaks the round; any other line is a warning.
    """
    path = f"{entry.at('measurements')}/mlperf.conf"
    clause = f"{book.sources.get('conf', 'conf')}: unmodified"
    conf = _read_conf(tree, path, clause, findings)
    if conf is None or not book.conf:
        return
    names = {*book.conf, *conf.values}
    differ = sorted(
        (n for n in names if not _same(book.conf.get(n), conf.values.get(n))),
        key=lambda n: (conf.lines.get(n, 0), n),
    )
    if not differ:
        return
    other = _round_of(conf)
    rest = f"; {len(differ)} lines differ in all" if len(differ) > 1 else ""
    rest += f"; it is the file of {other}" if other else ""
    models = _models(benchmark, {n.rsplit(".", 2)[0] for n in book.conf}, names)
    taken = _taken_otherwise(Conf(values=book.conf), conf, models, scenario)
    if taken is not None:
        key, expected, found, line = taken
        findings.add(
            path, "conf.round", f"{key} = {expected} for {benchmark} in {scenario}", f"{found}{rest}",
            clause, line=line,
        )  # fmt: skip
        return
    first = differ[0]
    text = f"{first} = {conf.values[first]}" if first in conf.values else "no such line"
    expected = f"{first} = {book.conf[first]}" if first in book.conf else "only the round's lines"
    line = conf.lines.get(first, 0)
    findings.add(
        path, "conf.round", expected, f"{text}, which this run does not read{rest}", clause,
        Severity.WARNING, line,
    )  # fmt: skip


def _models(benchmark: str, of_round: set[str], names: set[str]) -> set[str]:
    """Names under which LoadGen may look a benchmark up: its own, or the family's (`bert` of `bert-99`).

    The family is the longest name that the round's own file has for it.
    """
    held = {n.rsplit(".", 2)[0] for n in names}
    mine = {m for m in held if m == benchmark or benchmark.startswith(f"{m}-")}
    least = max((len(m) for m in mine & of_round), default=0)
    return {m for m in mine if len(m) >= least} or {"*"}


def _taken_otherwise(
    right: Conf, found: Conf, models: set[str], scenario: Scenario
) -> tuple[str, str, str, int] | None:
    """The first key of which LoadGen takes another value: key, right value, found one, line."""
    keys = sorted({n.rpartition(".")[2] for n in (*right.values, *found.values)})
    for model in sorted(models):
        for key in keys:
            a, b = right.of(model, scenario.value, key), found.of(model, scenario.value, key)
            if a is None and b is not None and b[0] == OFF.get(key):
                continue
            if not _same(a and a[0], b and b[0]):
                return key, a[0] if a else "LoadGen's own", b[0] if b else "no such line", b[1] if b else 0
    return None


@cache
def _confs() -> dict[str, dict[str, str]]:
    return {name: load_book(name).conf for name in rounds()}


def _round_of(conf: Conf) -> str:
    """The round whose file this is, or nothing."""
    equal = [
        name
        for name, values in _confs().items()
        if values.keys() == conf.values.keys() and all(_same(v, conf.values[n]) for n, v in values.items())
    ]
    return " and ".join(equal)


def _same(expected: str | None, found: str | None) -> bool:
    if expected is None or found is None or found == expected:
        return found == expected
    a, b = as_number(expected), as_number(found)
    return a is not None and a == b and abs(a) < 2**53


def check_user_conf(
    tree: Tree, entry: Entry, book: RuleBook, log: DetailLog | None, scenario: Scenario, findings: Findings
) -> None:
    """user.conf sets what a submitter may set, and what the run then shows.

    Published trees show that files were written again after the run: where the run itself kept the round's
    values, a departure is a warning; where the result rests on it, an error.
    """
    part = book.submission
    assert part is not None
    if part.user_conf is None:
        return
    clause = part.user_conf.clause
    path = f"{entry.at('measurements')}/user.conf"
    conf = _read_conf(tree, path, clause, findings)
    if conf is None:
        return
    allowed = {*part.user_conf.may_raise, *part.user_conf.must_stay}
    for names in part.user_conf.may_set.values():
        allowed |= set(names)
    for name, text in conf.values.items():
        model, of, key = name.rsplit(".", 2)
        line = conf.lines[name]
        if key not in allowed:
            findings.add(path, "conf.key", "keys a submitter may set", name, clause, Severity.WARNING, line)
            continue
        value = as_number(text)
        if value is None:
            findings.add(path, "conf.value", f"{name} = a number", text, clause, line=line)
        elif key in part.user_conf.must_stay and _departs(book, model, of, key, text):
            findings.add(path, "conf.fixed", f"{name} as the round has it", text, clause, line=line)
        elif of in ("*", scenario.value) and log is not None:
            _against_run(path, name, key, text, log, scenario, book, findings, line)


def _departs(book: RuleBook, model: str, scenario: str, key: str, text: str) -> bool:
    """Whether a value is another than the round has for a key, in any model and scenario it could mean."""
    key = key.removeprefix("multi_stream_")
    own = [
        v
        for n, v in book.conf.items()
        if n.endswith(f".{key}")
        and (scenario == "*" or n.rsplit(".", 2)[1] in ("*", scenario))
        and (model == "*" or n.rsplit(".", 2)[0] in ("*", model))
    ]
    return bool(own) and not any(_same(v, text) for v in own)


def _against_run(
    path: str,
    name: str,
    key: str,
    text: str,
    log: DetailLog,
    scenario: Scenario,
    book: RuleBook,
    findings: Findings,
    line: int,
) -> None:
    shown, unit = EFFECTIVE.get(key, ("", 1.0))
    part = book.submission
    assert part is not None
    assert part.user_conf is not None
    if key in UNSEEN[scenario] or not shown:
        return
    ran, said = log.values.get(shown), as_number(text)
    if not isinstance(ran, int | float) or said is None or _agrees(text, said * unit, ran):
        return
    severity = Severity.WARNING
    tolerance = book.tolerances.user_conf_rate
    if key == "target_qps" and tolerance is not None and abs(said / ran - 1 if ran else 1) > tolerance:
        severity = Severity.ERROR
    elif key not in ("target_qps", *part.user_conf.may_raise) or said * unit > ran:
        severity = Severity.ERROR  # the run kept less than its user.conf asked for
        if key == "target_qps":
            severity = Severity.WARNING
    findings.add(
        path, "conf.run", f"{name} = {ran / unit:g}, as the run", text, part.user_conf.clause, severity, line
    )


def _agrees(text: str, said: float, ran: float) -> bool:
    if text.isdecimal() and isinstance(ran, int):
        return int(text) == ran or math.isclose(said, ran, rel_tol=1e-5)
    return math.isclose(said, ran, rel_tol=1e-5, abs_tol=1e-9)
