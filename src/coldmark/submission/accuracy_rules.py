"""Rules on an accuracy folder: the metric against its target, the cut log, and the hash of the whole one."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from coldmark.core.nouns import Severity
from coldmark.rules.book import Benchmark, RuleBook
from coldmark.rules.submission_book import AccuracyLogBook
from coldmark.submission.findings import Findings
from coldmark.submission.texts import as_number, parse_accuracy
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
    audit: bool = False  # TEST01's: it has no metric line
    samples: float | None = None  # in the evaluation set, as the run's own log says
    full_logs: str = ""  # a folder with the whole logs, laid out as the tree
    digests: dict[str, str] = field(default_factory=dict)  # of whole logs, as a manifest says

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
    metric = case.benchmark.accuracy.metric
    if case.tree.has(f"{case.path}/accuracy.txt"):
        _check_text(case, metric, found)
    if case.tree.has(f"{case.path}/mlperf_log_accuracy.json"):
        _check_log(case, part.accuracy_log, found)
    return found


def _check_text(case: AccuracyCase, metric: str, found: AccuracyFound) -> None:
    part, name = case.book.submission, "accuracy.txt"
    assert part is not None
    assert part.accuracy_log is not None
    log_book, how = part.accuracy_log, part.accuracy_text.get(metric)
    try:
        text = read_text(case.tree, f"{case.path}/{name}")
    except Unreadable as error:
        case.add(name, "accuracy.text", "a text in UTF-8", error, log_book.clause)
        return
    if how is None:
        case.add(name, "accuracy.metric", f"a line of {metric}", "no pattern for it", part.clause)
        return
    said = parse_accuracy(text, how, log_book.hash_pattern)
    _check_hash(case, log_book, said.hashes, found)
    if case.audit:
        return
    if not said.values:
        case.add(name, "accuracy.metric", how.example, "no such line", log_book.clause)
        return
    line, found.value = said.values[0]
    if len({value for _, value in said.values}) > 1:
        others = ", ".join(value for _, value in said.values)
        case.add(name, "accuracy.metric", "one value", others, log_book.clause, line=said.values[1][0])
    _check_value(case, found.value, line)
    if said.counts is not None and metric == "acc":  # other scripts count other things
        _check_counts(case, said.counts, found.value, line)


def _check_value(case: AccuracyCase, text: str, line: int) -> None:
    target, value = case.benchmark.accuracy, as_number(text)
    clause = f"{case.book.sources.get('checker', 'checker')}: accuracy-target"
    if value is None:
        case.add("accuracy.txt", "accuracy.metric", "a number", text, clause, line=line)
    elif value < target.target:
        severity = Severity.ERROR if case.closed else Severity.NOTE
        expected = f">= {target.target} {target.unit}".rstrip()
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
    head, cut, tail = data.partition(book.between.encode())
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
