"""Which files of a results tree matter, and which run each belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from coldmark.loadgen.published_log import HEAD_BYTES, TAIL_BYTES
from coldmark.store.tree import Ends, Take

ENDS = Ends(HEAD_BYTES, TAIL_BYTES)
DIVISIONS = ("closed", "open", "network")


class Kind(Enum):
    """What a file says of a run."""

    SUMMARY = "performance summaries"
    DETAIL = "performance details"
    SPL = "power logs"
    ACCURACY = "accuracy texts"
    SYSTEM = "system descriptions"
    ASTRAY = "summaries outside results/SYSTEM/BENCHMARK/SCENARIO/performance/run_N"


@dataclass(frozen=True, slots=True)
class Place:
    """A file by its role. `scope` is division/submitter; `entry` adds system/benchmark/scenario."""

    kind: Kind
    scope: tuple[str, str]
    entry: tuple[str, str, str]
    run: int = 0


_NAMES = {
    "mlperf_log_summary.txt": Kind.SUMMARY,
    "mlperf_log_detail.txt": Kind.DETAIL,
    "spl.txt": Kind.SPL,
    "accuracy.txt": Kind.ACCURACY,
}
_RUN = re.compile(r"run_([0-9]{1,4})$")
_TEST = re.compile(r"TEST\d\d(-[A-Z])?$", re.IGNORECASE)


def wanted(path: str) -> Take | None:
    """How much of a file is needed; None for most files of a tree."""
    found = place(path)
    if found is None:
        return None
    return Take.ENDS if found.kind is Kind.DETAIL else Take.WHOLE


def place(path: str) -> Place | None:
    """What a file is, by where it lies; None where it says nothing of a result."""
    parts = path.split("/")
    name = parts[-1]
    if name.endswith(".json") and len(parts) > 1 and parts[-2] == "systems":
        return Place(Kind.SYSTEM, _scope(parts[:-2]), (name[:-5], "", ""))
    kind = _NAMES.get(name)
    if kind is None or len(parts) < 3:
        return None
    if kind is Kind.ACCURACY:
        return _entry(kind, parts[:-2]) if parts[-2] == "accuracy" else None
    if parts[-3] != "performance":
        return None
    if match := _RUN.match(parts[-2]):
        found = _entry(kind, parts[:-3], int(match[1]))
        return found or (_astray(parts) if kind is Kind.SUMMARY else None)
    return None


def _entry(kind: Kind, parts: list[str], run: int = 0) -> Place | None:
    """`…/results/SYSTEM/BENCHMARK/SCENARIO`, and nothing deeper: tests of v6.0 lie below a scenario."""
    if len(parts) < 4 or parts[-4] != "results":
        return None
    return Place(kind, _scope(parts[:-4]), (parts[-3], parts[-2], parts[-1]), run)


def _astray(parts: list[str]) -> Place | None:
    """A performance log under `results` that no rule places; compliance tests and audits are not results."""
    if "results" not in parts or any(_TEST.match(p) or p in ("compliance", "audit") for p in parts):
        return None
    return Place(Kind.ASTRAY, _scope(parts[: parts.index("results")]), ("", "", ""))


def _scope(parts: list[str]) -> tuple[str, str]:
    """Division and submitter from the folders above; "" where the tree starts lower."""
    submitter = parts[-1] if parts and parts[-1] not in DIVISIONS else ""
    division = parts[-2] if len(parts) > 1 and parts[-2] in DIVISIONS else ""
    return division, submitter
