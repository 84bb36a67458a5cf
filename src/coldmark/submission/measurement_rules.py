"""Rules on `measurements/`: the implementation's description, user.conf and mlperf.conf beside the run."""

from __future__ import annotations

import fnmatch
import math

from coldmark.core.nouns import Scenario, Severity
from coldmark.rules.book import RuleBook
from coldmark.submission.findings import Findings
from coldmark.submission.place import Entry
from coldmark.submission.scan import DetailLog
from coldmark.submission.system_rules import check_field
from coldmark.submission.texts import Conf, as_number, parse_conf, read_object
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


def check_implementation(tree: Tree, entry: Entry, book: RuleBook, findings: Findings) -> None:
    """The JSON that says what was done to the model."""
    part = book.submission
    assert part is not None
    assert part.implementation is not None
    group, above = part.implementation, entry.at("measurements")
    folder = tree.get(above)
    names = sorted(folder.files) if folder else []
    mine = [n for n in names if n.startswith(entry.system) and n.endswith(".json")]
    mine.sort(key=lambda n: not n.endswith(f"_{entry.scenario}.json"))
    if not mine:
        expected = f"{entry.system}_<implementation>_{entry.scenario}.json"
        findings.add(above, "measurements.json", expected, "none", group.clause)
        return
    path = f"{above}/{mine[0]}"
    try:
        text = read_object(tree, path)
    except Unreadable as error:
        findings.add(path, "measurements.json", "a JSON object in UTF-8", error, group.clause)
        return
    for name, field in group.fields.items():
        if name not in text.data:
            findings.add(path, "measurements.field", f"a field {name!r}", "none", group.clause)
            continue
        check_field(text, path, name, field, group, findings)
        if field.meaningful and text.data[name] == "":
            findings.add(
                path, "measurements.empty", f"{name}: a meaningful text", "nothing", group.clause,
                Severity.WARNING, text.line(name),
            )  # fmt: skip
    for name in [n for n in text.data if n not in group.fields][:20]:
        findings.add(
            path, "measurements.unknown", "fields the round knows", name, group.clause,
            Severity.WARNING, text.line(name),
        )  # fmt: skip
    for name in text.twice:
        findings.add(path, "measurements.twice", "each field once", name, group.clause, line=text.line(name))


def check_readme(tree: Tree, entry: Entry, clause: str, findings: Findings) -> None:
    """A README says something."""
    path = f"{entry.at('measurements')}/README.md"
    size = tree.size(path)
    if size is not None and size < 3:
        findings.add(path, "measurements.readme", "how to run it", f"{size} bytes", clause)


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
    tree: Tree, entry: Entry, book: RuleBook, findings: Findings, severity: Severity
) -> None:
    """mlperf.conf is the round's own, key by key."""
    path = f"{entry.at('measurements')}/mlperf.conf"
    clause = f"{book.sources.get('conf', 'conf')}: unmodified"
    conf = _read_conf(tree, path, clause, findings)
    if conf is None or not book.conf:
        return
    wrong = [n for n in book.conf if not _same(book.conf[n], conf.values.get(n))]
    extra = [n for n in conf.values if n not in book.conf]
    if not wrong and not extra:
        return
    first = min([*wrong, *extra], key=lambda n: conf.lines.get(n, 0))
    found = f"{first} = {conf.values[first]}" if first in conf.values else "no such line"
    if len(wrong) + len(extra) > 1:
        found += f"; {len(wrong) + len(extra)} lines differ in all"
    expected = f"{first} = {book.conf[first]}" if first in book.conf else "only the round's lines"
    findings.add(path, "conf.round", expected, found, clause, severity, conf.lines.get(first, 0))


def _same(expected: str, found: str | None) -> bool:
    if found is None or found == expected:
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


def files_of(patterns: tuple[str, ...], names: list[str]) -> list[str]:
    """The names that any of the patterns means."""
    return [n for n in names if any(fnmatch.fnmatchcase(n, p) for p in patterns)]
