"""Rules on an accuracy folder: the metric against its target, the cut log, and the hash of the whole one."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from coldmark.core.nouns import Scenario, Severity
from coldmark.rules.book import Benchmark, RuleBook, Target
from coldmark.rules.submission_book import AccuracyLogBook, AccuracyText
from coldmark.submission.findings import Findings
from coldmark.submission.texts import as_number, parse_accuracy, parse_hashes
from coldmark.submission.tree import Tree, Unreadable, read_bytes, read_text

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ENTRY = re.compile(
    rb'\{ ?"seq_id" ?: ?\d+ ?, ?"qsl_idx" ?: ?(\d+) ?, ?"data" ?: ?"[0-9A-Fa-f]*" ?'
    rb'(, ?"token_count" ?: ?\d+ ?)?\},?'
)


@dataclass(slots=True)
class AccuracyFound:
    """What an accuracy folder says, for rules that look at several."""

    value: str = ""
    digest: str = ""
    crc_head: str = ""  # digest of the cut log itself


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyCase:
    """An accuracy folder and what is asked of it."""

    tree: Tree
    path: str
    book: RuleBook
    benchmark: Benchmark
    findings: Findings
    closed: bool
    scenario: Scenario | None = None  # of the log; None: as in all
    audit: bool = False  # TEST01's: it has no metric line
    samples: float | None = None  # in the evaluation set, as the run's own log says
    full_logs: str = ""  # a folder with the whole logs, laid out as the tree
    digests: dict[str, str] = field(default_factory=dict)  # of whole logs, as a manifest says

    @property
    def targets(self) -> dict[str, Target]:
        """All metrics that the round asks for, and where they have to lie."""
        if self.scenario is None:
            return self.benchmark.targets
        return self.benchmark.targets_in(self.scenario)

    def add(
        self,
        name: str,
        rule: str,
        expected: object,
        found: object,
        clause: str,
        severity: Severity = Severity.ERROR,
        line: int = 0,
    ) -> None:
        """A finding on a file of the folder."""
        self.findings.add(f"{self.path}/{name}", rule, expected, found, clause, severity, line)


def check_accuracy(case: AccuracyCase) -> AccuracyFound:
    """All rules on an accuracy folder."""
    part = case.book.submission
    assert part is not None
    assert part.accuracy_log is not None
    found = AccuracyFound()
    if case.tree.has(f"{case.path}/accuracy.txt"):
        _check_text(case, found)
    if case.tree.has(f"{case.path}/mlperf_log_accuracy.json"):
        _check_log(case, part.accuracy_log, found)
    return found


def _check_text(case: AccuracyCase, found: AccuracyFound) -> None:
    part, name = case.book.submission, "accuracy.txt"
    assert part is not None
    assert part.accuracy_log is not None
    log_book = part.accuracy_log
    try:
        text = read_text(case.tree, f"{case.path}/{name}")
    except Unreadable as error:
        case.add(name, "accuracy.text", "a text in UTF-8", error, log_book.clause)
        return
    _check_hash(case, log_book, parse_hashes(text, log_book.hash_pattern), found)
    if case.audit:
        return
    for number, (metric, target) in enumerate(case.targets.items()):
        how = part.accuracy_text.get(metric)
        if how is None:
            case.add(name, "accuracy.metric", f"a line of {metric}", "no pattern for it", part.clause)
            continue
        value = _check_metric(case, metric, target, how, text)
        if number == 0:
            found.value = value


def _check_metric(case: AccuracyCase, metric: str, target: Target, how: AccuracyText, text: str) -> str:
    """One metric against its bounds; returns its value as written, or nothing."""
    part, name = case.book.submission, "accuracy.txt"
    assert part is not None
    assert part.accuracy_log is not None
    clause, said = part.accuracy_log.clause, parse_accuracy(text, how)
    if not said.values:
        case.add(name, "accuracy.metric", how.example, "no such line", clause)
        return ""
    line, value = said.values[0]
    if len({each for _, each in said.values}) > 1:
        others = ", ".join(each for _, each in said.values)
        case.add(name, "accuracy.metric", "one value", others, clause, line=said.values[1][0])
    _check_value(case, metric, target, value, line)
    if said.counts is not None and metric == "acc":  # other scripts count other things
        _check_counts(case, said.counts, value, line)
    return value


def _check_value(case: AccuracyCase, metric: str, target: Target, text: str, line: int) -> None:
    """A metric lies between its bounds; some have only one of them."""
    value = as_number(text)
    clause = f"{case.book.sources.get('checker', 'checker')}: accuracy-target"
    if value is None:
        case.add("accuracy.txt", "accuracy.metric", "a number", text, clause, line=line)
        return
    severity = Severity.ERROR if case.closed else Severity.NOTE
    name = target.unit if len(case.targets) == 1 else metric
    if target.target is not None and value < target.target:
        expected = f">= {target.target} {name}".rstrip()
        case.add("accuracy.txt", "accuracy.target", expected, text, clause, severity, line)
    if target.upper is not None and value > target.upper:
        expected = f"<= {target.upper} {name}".rstrip()
        case.add("accuracy.txt", "accuracy.target", expected, text, clause, severity, line)


def _check_counts(case: AccuracyCase, counts: tuple[int, int], text: str, line: int) -> None:
    """`good` over `total` is the value as it is rounded, and the total is the data set."""
    good, total = counts
    value, clause = as_number(text), case.book.tolerances.clause
    decimals = len(text.partition(".")[2])
    if value is not None and total and abs(100 * good / total - value) > 0.51 * 10**-decimals:
        found = f"{text} % with {good} of {total}"
        case.add(
            "accuracy.txt",
            "accuracy.counts",
            f"{100 * good / total:.{decimals}f} %",
            found,
            clause,
            line=line,
        )
    if case.samples and total != case.samples:
        expected = f"total={case.samples:.0f}, the samples of the run's own log"
        case.add("accuracy.txt", "accuracy.counts", expected, total, clause, line=line)


def _check_hash(
    case: AccuracyCase, book: AccuracyLogBook, hashes: list[tuple[int, str]], found: AccuracyFound
) -> None:
    name = "accuracy.txt"
    if not hashes:
        case.add(name, "accuracy.hash", "hash=<sha256 of the whole log>", "no such line", book.clause)
        return
    line, found.digest = hashes[0]
    if len({digest for _, digest in hashes}) > 1:
        case.add(name, "accuracy.hash", "one hash", "several", book.clause, Severity.WARNING, hashes[1][0])
    if not _DIGEST.fullmatch(found.digest):
        case.add(name, "accuracy.hash", "64 hexadecimal digits", found.digest, book.clause, line=line)
    elif found.digest == EMPTY_SHA256:
        case.add(name, "accuracy.hash", "sha256 of a log", "sha256 of nothing", book.clause, line=line)
    log = f"{case.path}/mlperf_log_accuracy.json"
    expected = case.digests.get(log)
    if case.full_logs:
        expected = _digest_of(Path(case.full_logs) / log) or expected
    if expected and expected != found.digest:
        case.add(name, "accuracy.hash", f"{expected}, of the whole log", found.digest, book.clause, line=line)


def _digest_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _check_log(case: AccuracyCase, book: AccuracyLogBook, found: AccuracyFound) -> None:
    name = "mlperf_log_accuracy.json"
    size = case.tree.size(f"{case.path}/{name}") or 0
    if size > book.max_bytes:
        case.add(name, "accuracy.truncated", f"<= {book.max_bytes} bytes", f"{size} bytes", book.clause)
        return
    try:
        data = read_bytes(case.tree, f"{case.path}/{name}", book.max_bytes)
    except Unreadable as error:
        case.add(name, "accuracy.log", "a readable file", error, book.clause)
        return
    digest = hashlib.sha256(data).hexdigest()
    found.crc_head = digest
    # Who cut it on Windows wrote CRLF; the hashes are of the bytes as they are.
    head, cut, tail = data.replace(b"\r\n", b"\n").partition(book.between.encode())
    if not cut:
        if found.digest and digest != found.digest:
            case.add(
                "accuracy.txt",
                "accuracy.hash",
                f"{digest}, of the log, which is whole",
                found.digest,
                book.clause,
            )
    elif digest == found.digest:
        case.add(
            "accuracy.txt", "accuracy.hash", "the hash of the whole log", "that of the cut one", book.clause
        )
    _check_entries(case, book, name, head, tail if cut else None)


def _rewritten(lines: list[bytes]) -> bool:
    """Whether a log was only laid out anew, one key a line: its entries are still there."""
    keys = (b"{", b"}", b"},", b'"seq_id"', b'"qsl_idx"', b'"data"', b'"token_count"')
    return all(line.strip().startswith(keys) for line in lines[:-1])


def _check_entries(
    case: AccuracyCase, book: AccuracyLogBook, name: str, head: bytes, tail: bytes | None
) -> None:
    lines = head.split(b"\n")
    whole = lines[1:-1] if tail is not None else [b for b in lines[1:] if b.strip() not in (b"]", b"")]
    closed = (head if tail is None else tail).rstrip().endswith(b"]")
    if lines[0].strip() != b"[" or not closed:
        case.add(name, "accuracy.log", "a list: [ … ]", "another text", book.clause)
        return
    if tail is not None:
        whole += [b for b in tail.split(b"\n")[1:] if b.strip() not in (b"]", b"")]
    for at, line in enumerate(whole, 2):
        match = _ENTRY.fullmatch(line.strip())
        if match is None:
            text = line[:80].decode("ascii", "replace")
            severity = Severity.WARNING if _rewritten(whole) else Severity.ERROR
            case.add(
                name, "accuracy.log", "entries of LoadGen", text, book.clause, severity, 0 if tail else at
            )
            return
        if case.samples and int(match[1]) >= case.samples:
            expected = f"qsl_idx < {case.samples:.0f}"
            case.add(name, "accuracy.log", expected, match[1].decode(), book.clause)
            return
