"""How long checking a whole round takes, and how much memory, beside the round's own checker.

    python benchmarks/submission.py ARCHIVE [--official SCRIPT] [--tree FOLDER] [--json out/submission.json]

ARCHIVE is the published closed submission of v2.1 (961 files, 48 MB). Without --tree (a checkout of the
round, 126 296 files, 5.3 GB) it is repeated to that size with hard links: no disk is filled, and the page
cache holds what is read, for both checkers alike. --official names v2.1's submission-checker.py, which has
its log_parser.py beside it; runs are interleaved, the ratio is within one round. Memory is the sum over all
processes of a command.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from coldmark.report.text import table
from coldmark.telemetry.inventory import detect

BYTES = 5_334_000_000
BUDGET_S, BUDGET_MB = 15.0, 300


def repeated(archive: Path, root: Path, size: int) -> tuple[int, int]:
    """Unpack a submission once and link it again under other submitters; returns files and bytes."""
    with tarfile.open(archive) as tar:
        tar.extractall(root, filter="data")
    division = root / "closed"
    first = next(p for p in division.iterdir() if p.is_dir())
    files = [p for p in sorted(first.rglob("*")) if p.is_file()]
    each = sum(p.stat().st_size for p in files)
    copies = max(0, round(size / each) - 1)
    for number in range(copies):
        name = f"{first.name}{number:03d}"
        for path in files:
            target = division / name / path.relative_to(first)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.parent.name == "systems":
                said = json.loads(path.read_text(encoding="utf-8"))
                target.write_text(json.dumps(said | {"submitter": name}), encoding="utf-8")
            else:
                os.link(path, target)
    return len(files) * (copies + 1), each * (copies + 1)


def measured(command: list[str], folder: Path, log: Path) -> tuple[float, float, int]:
    """Wall time [s], peak memory of the command and its children [MB], and its exit status."""
    started, peak = time.perf_counter(), 0
    with log.open("wb") as out:
        child = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.DEVNULL)
        root = psutil.Process(child.pid)
        while child.poll() is None:
            with suppress(psutil.Error):
                all_ = [root, *root.children(recursive=True)]
                peak = max(peak, sum(process.memory_info().rss for process in all_))
            time.sleep(0.05)
    return time.perf_counter() - started, peak / 1e6, child.returncode


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    options = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    options.add_argument("archive", type=Path)
    options.add_argument("--official", type=Path)
    options.add_argument("--tree", type=Path)
    options.add_argument("--size", type=int, default=BYTES, help="bytes to repeat the archive to")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        root = given.tree or work / "tree"
        if given.tree is None:
            repeated(given.archive, root, given.size)
        ours = [sys.executable, "-m", "coldmark", "submission", "check", str(root), "--json"]
        commands = {"coldmark": ours}
        if given.official:
            theirs = ["--input", str(root), "--version", "v2.1", "--csv", str(work / "o.csv")]
            commands["official"] = [sys.executable, str(given.official), *theirs]
        figures: dict[str, list[tuple[float, float, int]]] = {key: [] for key in commands}
        for _ in range(given.repeats):
            for key, command in commands.items():
                figures[key].append(measured(command, work, work / f"{key}.log"))
        said = json.loads((work / "coldmark.log").read_text(encoding="utf-8"))
    rows = []
    for key, found in figures.items():
        seconds = [f[0] for f in found]
        ratios = [a[0] / b[0] for a, b in zip(figures.get("official", []), figures["coldmark"], strict=False)]
        rows.append(
            {
                "checker": key,
                "seconds": statistics.median(seconds),
                "range_s": [min(seconds), max(seconds)],
                "memory_mb": max(f[1] for f in found),
                "status": found[-1][2],
                "faster": statistics.median(ratios) if ratios and key == "coldmark" else None,
            }
        )
    size = said["bytes"] / 1e9
    text = f"{said['files']} files, {size:.2f} GB; {len(said['results'])} results, {said['errors']} errors"
    print(text)
    print(
        table(
            ["checker", "median s", "range s", "peak MB", "exit", "official / ours"],
            [
                [
                    r["checker"], f"{r['seconds']:.1f}", "{:.1f} to {:.1f}".format(*r["range_s"]),
                    f"{r['memory_mb']:.0f}", str(r["status"]), f"{r['faster']:.1f}" if r["faster"] else "",
                ]
                for r in rows
            ],
        )
    )  # fmt: skip
    print(f"budget: {BUDGET_S:.0f} s on two cores, {BUDGET_MB} MB")
    if given.json:
        machine = {"system": detect().host_processor_model_name, "python": platform.python_version()}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps({"rows": rows, **machine}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
