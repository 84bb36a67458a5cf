"""Rules on a power run: ranging and testing, the meter's samples, the session of client and server."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from coldmark.core.nouns import Scenario, Severity
from coldmark.loadgen.power_log import Window, marks, mean_power
from coldmark.rules.submission_book import PowerBook
from coldmark.submission.findings import Findings
from coldmark.submission.log_rules import window_s
from coldmark.submission.scan import DetailLog
from coldmark.submission.texts import read_object
from coldmark.submission.tree import Tree, Unreadable, read_bytes

PHASES = ("ranging", "testing")
MAX_SPL_BYTES = 64 << 20
ASIDE_S = 3600.0
"""The power checker of the round lets LoadGen's marks lie an hour off, for daylight saving."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerCase:
    """A power run: the `performance` folder, and the logs of its two phases."""

    tree: Tree
    path: str
    book: PowerBook
    findings: Findings
    testing: DetailLog
    ranging: DetailLog | None
    folder: Scenario  # what the result is called
    logged: Scenario  # what was run

    def add(
        self, name: str, rule: str, expected: object, found: object, severity: Severity = Severity.ERROR
    ) -> None:
        """A finding on a file below `performance`."""
        self.findings.add(f"{self.path}/{name}", rule, expected, found, self.book.clause, severity)


def check_power(case: PowerCase, samples_per_query: int) -> float | None:
    """All rules on a power run; returns its metric [W, or J or mJ a query], None where there is none."""
    client, server = (_session(case, f"power/{name}.json") for name in ("client", "server"))
    if client is not None and server is not None:
        _check_session(case, client, server)
    _check_meter(case)
    _check_durations(case)
    return power_metric(case, samples_per_query)


def power_metric(case: PowerCase, samples_per_query: int) -> float | None:
    """Mean power between LoadGen's marks [W], or energy of a query [J or mJ]."""
    window = marks(case.testing.values.get(case.book.begin_key), case.testing.values.get(case.book.end_key))
    if window is None:
        return None  # the log's own rule says so
    name = "run_1/spl.txt"
    try:
        data = read_bytes(case.tree, f"{case.path}/{name}", MAX_SPL_BYTES)
    except Unreadable as error:
        case.add(name, "power.samples", "the meter's log", error)
        return None
    power = mean_power(data, window)
    if power is None:
        case.add(name, "power.samples", "samples between power_begin and power_end", "none")
        return None
    _check_samples(case, name, data, window, power.samples)
    if case.book.units.get(case.folder) == "W":
        return power.mean_w
    queries = case.testing.number("result_query_count")
    if not queries:
        return None
    times = samples_per_query if (case.folder, case.logged) == _MULTI_FROM_SINGLE else 1
    scale = 1000 if case.book.units.get(case.folder) == "mJ" else 1
    return power.per_query_j(queries) * times * scale


_MULTI_FROM_SINGLE = (Scenario.MULTI_STREAM, Scenario.SINGLE_STREAM)
_LINE = re.compile(rb"Time,[^,]+,Watts,-?\d+(\.\d+)?,")


def _check_samples(case: PowerCase, name: str, data: bytes, window: Window, count: int) -> None:
    lines = data.splitlines()
    for number, line in enumerate(lines, 1):
        if not _LINE.match(line) and not (case.book.skip_other_lines and not line.startswith(b"Time")):
            text = line[:80].decode("ascii", "replace")
            case.findings.add(
                f"{case.path}/{name}", "power.line", "Time,…,Watts,…", text, case.book.clause, line=number
            )
            return
    if count < 0.5 * window.duration_s:  # the meter reports once a second
        case.add(name, "power.samples", f"about {window.duration_s:.0f} samples", count, Severity.WARNING)


def _session(case: PowerCase, name: str) -> dict[str, Any] | None:
    try:
        data = read_object(case.tree, f"{case.path}/{name}").data
    except Unreadable as error:
        case.add(name, "power.session", "a JSON object in UTF-8", error)
        return None
    missing = [field for field in case.book.session.fields if field not in data]
    for field in missing:
        case.add(name, "power.session", f"a field {field!r}", "none")
    return None if missing else data


def _check_session(case: PowerCase, client: dict[str, Any], server: dict[str, Any]) -> None:
    for field in ("session_name", "uuid"):
        if client[field] != server[field]:
            case.add("power/server.json", "power.session", f"{field} of client.json", server[field])
    _check_messages(case, client["messages"], server["messages"])
    _check_phases(case, client["phases"], server["phases"])
    _check_hashes(case, client["results"], server["results"])
    _check_device(case, server)


def _check_messages(case: PowerCase, client: Any, server: Any) -> None:
    try:
        told = [(m["cmd"], None if m["cmd"] == "time" else m["reply"]) for m in client]
        heard = [(m["cmd"], None if m["cmd"] == "time" else m["reply"]) for m in server]
    except (TypeError, KeyError):
        case.add("power/client.json", "power.messages", "commands with replies", "something else")
        return
    if told != heard:
        case.add("power/server.json", "power.messages", "the messages of client.json", "others")


def _check_phases(case: PowerCase, client: Any, server: Any) -> None:
    limit = case.book.clock_difference_ms / 1000
    for phase in PHASES:
        here, there = _times(client, phase), _times(server, phase)
        if here is None or there is None or len(here) != len(there) or len(here) < 4:
            case.add("power/client.json", "power.phases", f"four times of {phase} in both files", "others")
            continue
        worst = max(abs(a - b) for a, b in zip(here, there, strict=True))
        if worst > limit:
            found = f"{worst * 1000:.0f} ms in {phase}"
            case.add("power/server.json", "power.clock", f"clocks within {limit * 1000:.0f} ms", found)
        _check_inside(case, phase, here)


def _times(phases: Any, phase: str) -> list[float] | None:
    try:
        return [float(pair[0]) for pair in phases[phase]]
    except (TypeError, KeyError, IndexError, ValueError):
        return None


def _check_inside(case: PowerCase, phase: str, times: list[float]) -> None:
    log = case.testing if phase == "testing" else case.ranging
    window = log and marks(log.values.get(case.book.begin_key), log.values.get(case.book.end_key))
    if not window:
        return
    for at in (window.begin.timestamp(), window.end.timestamp()):
        if not any(times[1] < at - shift < times[2] for shift in (0.0, ASIDE_S)):
            found = f"LoadGen's marks lie outside of {phase}"
            case.add("power/client.json", "power.phases", "the run within its phase", found)
            return


def _check_hashes(case: PowerCase, client: Any, server: Any) -> None:
    if not isinstance(client, dict) or not isinstance(server, dict):
        case.add("power/client.json", "power.hash", "results: file -> sha1", "something else")
        return
    said = {**client, **server}
    for name in case.book.session.hashed_files:
        if name not in said:
            case.add("power/client.json", "power.hash", f"sha1 of {name}", "none")
            continue
        try:
            data = read_bytes(case.tree, f"{case.path}/{name}", MAX_SPL_BYTES)
        except Unreadable as error:
            case.add(name, "power.hash", "a file", error)
            continue
        digest = _sha1(data)
        if digest == said[name]:
            continue
        # The meter's host writes CRLF; version control may have made LF of it. No value differs then.
        same = _sha1(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")) == said[name]
        severity = Severity.NOTE if same else Severity.ERROR
        found = "the same text with other line ends" if same else digest
        case.add(name, "power.hash", f"sha1 {said[name]}, as the session says", found, severity)


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _check_device(case: PowerCase, server: dict[str, Any]) -> None:
    session, name = case.book.session, "power/server.json"
    config = server.get("ptd_config")
    device = config.get("device_type") if isinstance(config, dict) else None
    if device not in session.meters.values():
        case.add(name, "power.meter", f"a meter of {sorted(set(session.meters.values()))}", device)
    replies = [str(m.get("reply")) for m in server.get("ptd_messages", []) if isinstance(m, dict)]
    versions = [v for reply in replies if (v := re.search(r"version=(\d+\.\d+\.\d+)", reply))]
    if not versions or versions[0][1] not in session.ptd_versions:
        found = versions[0][1] if versions else "none"
        case.add(name, "power.ptd", f"PTDaemon {' | '.join(session.ptd_versions)}", found)


def _check_meter(case: PowerCase) -> None:
    name = "power/ptd_logs.txt"
    try:
        data = read_bytes(case.tree, f"{case.path}/{name}", MAX_SPL_BYTES)
    except Unreadable as error:
        case.add(name, "power.ptd_logs", "PTDaemon's log", error)
        return
    if not re.search(case.book.session.uncertainty_check.encode(), data):
        case.add(name, "power.uncertainty", case.book.session.uncertainty_check, "no such line")


def _check_durations(case: PowerCase) -> None:
    testing = window_s(case.testing)
    ranging = window_s(case.ranging) if case.ranging else None
    if not testing or not ranging:
        if case.ranging is not None:
            case.add("ranging/mlperf_log_detail.txt", "power.durations", "LoadGen's marks", "none")
        return
    off = abs(ranging - testing) / max(ranging, testing)
    if off >= case.book.duration_tolerance:
        expected = f"within {case.book.duration_tolerance:.0%} of the testing run's {testing:.1f} s"
        case.add("ranging/mlperf_log_detail.txt", "power.durations", expected, f"{ranging:.1f} s")
