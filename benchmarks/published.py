"""How long importing a round and asking for its podium take, and how much memory, against the budgets.

    python benchmarks/published.py ARCHIVE [--tree FOLDER] [--json out/published.json]

ARCHIVE is the v2.1 archive of summaries. Each figure is of a process of its own, start-up included. Without
--tree (a checkout of the round, 126 296 files for v2.1) a tree of that many files is made of the archive:
its own files, a detail log beside each summary, and empty ones for the code and documents of a round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

from coldmark.report.text import table
from coldmark.telemetry.inventory import detect

COMMAND = [sys.executable, "-m", "coldmark"]
FILES = 126_296
BUDGETS = {"import of the archive": 4.0, "import of a whole tree": 10.0, "podium": 0.5}
BUDGET_MB = 500


def measured(arguments: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall time [s] and peak memory [MB] of one command."""
    started = time.perf_counter()
    child = subprocess.Popen([*COMMAND, *arguments], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"coldmark {' '.join(arguments)} failed")
    return seconds, usage.ru_maxrss / 1024


def row(name: str, repeats: int, arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """The median of several runs of a command, and the first, which finds nothing in the page cache."""
    figures = [measured(arguments, environment) for _ in range(repeats)]
    seconds = [pair[0] for pair in figures]
    return {
        "what": name,
        "seconds": statistics.median(seconds),
        "first": seconds[0],
        "slowest": max(seconds),
        "memory_mb": max(pair[1] for pair in figures),
        "budget_s": BUDGETS.get(name),
    }


def make_tree(archive: Path, root: Path) -> Path:
    """A tree of FILES files from an archive that is trusted: unpacked, and filled up."""
    with tarfile.open(archive) as tar:
        tar.extractall(root, filter="data")
    line = ':::MLLOG {"key": "tick", "value": "%s", "time_ms": 1.0, "metadata": {}}\n' % ("x" * 200)
    for summary in list(root.rglob("performance/run_1/mlperf_log_summary.txt")):
        summary.with_name("mlperf_log_detail.txt").write_text(line * 400)
    missing = FILES - sum(len(names) for _, _, names in os.walk(root))
    submitters = [path.parent for path in root.glob("*/*/results")]
    for number in range(missing):
        kind = ("code", "measurements", "compliance", "results")[number % 4]
        folder = submitters[number % len(submitters)] / kind / f"d{number // 400}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").touch()
    return root


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("archive", type=Path)
    options.add_argument("--tree", type=Path, help="a checkout of the round")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COLDMARK_PUBLISHED_DIR": str(Path(folder) / "store")}
        tree = given.tree or make_tree(given.archive, Path(folder) / "tree")
        into = ["--round", "v2.1", "--replace"]
        podium = ["podium", "--suite", "datacenter"]
        shipped = {**environment, "COLDMARK_PUBLISHED_DIR": str(Path(folder) / "none")}
        rows = [
            row("podium", given.repeats * 2, podium, shipped),
            row("podium claim", given.repeats, ["podium", "claim", "article-2022-09-09"], shipped),
            *(
                row(name, given.repeats, ["published", "import", str(path), *into], environment)
                for name, path in (("import of the archive", given.archive), ("import of a whole tree", tree))
            ),
        ]
        files = sum(len(names) for _, _, names in os.walk(tree))
    system = detect()
    where = {
        "processor": system.host_processor_model_name,
        "processors": os.cpu_count(),
        "memory": system.host_memory_capacity,
        "load": list(os.getloadavg()),
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
        "tree": "a checkout" if given.tree else "made of the archive",
        "tree_files": files,
        "children_peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
    show(rows, where)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps({"machine": where, "rows": rows}, indent=2) + "\n")


def show(rows: list[dict[str, Any]], where: dict[str, Any]) -> None:
    """The table, with the machine above it."""
    print(f"{where['processor']}, {where['processors']} processors, load {where['load'][0]:.2f}")
    print(f"Python {where['python']}, DuckDB {where['duckdb']}")
    print(f"tree: {where['tree']}, {where['tree_files']} files")
    lines = []
    for one in rows:
        budget = one["budget_s"]
        held = "" if budget is None else "yes" if one["seconds"] < budget else "NO"
        if one["memory_mb"] >= BUDGET_MB:
            held = "NO"
        lines.append(
            [
                one["what"],
                *(f"{one[name]:.2f}" for name in ("seconds", "first", "slowest")),
                f"{one['memory_mb']:.0f}",
                "" if budget is None else f"{budget:g} s, {BUDGET_MB} MB",
                held,
            ]
        )
    print(table(["what", "median s", "first", "slowest", "peak MB", "budget", "held"], lines))


if __name__ == "__main__":
    main()
