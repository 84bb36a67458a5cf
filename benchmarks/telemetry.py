"""What sampling costs: processor time of the sampler's threads, by part, and what the whole process used.

    python benchmarks/telemetry.py [--seconds 20] [--repeat 3]

64 channels: a made-up hwmon and powercap tree in ordinary files, and /proc/stat of this machine. Real chips
behind hwmon take longer to answer; that time is not the processor's. Each setting runs in a process of its
own, interleaved with the others; medians are shown with the spread. `process` is all processor time of that
process while it sampled: it holds what the threads' own account may miss.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = {  # name -> readings a second, channels, whether the trace is written
    "10 Hz, 64 channels": (10.0, 64, True),
    "10 Hz, 64 channels, not written": (10.0, 64, False),
    "10 Hz, 8 channels": (10.0, 8, True),
    "1 Hz, 64 channels": (1.0, 64, True),
}


def make_tree(root: Path, channels: int) -> None:
    """hwmon inputs for all channels but the two of the CPU and two of RAPL."""
    device = root / "class/hwmon/hwmon0"
    device.mkdir(parents=True)
    (device / "name").write_text("bench\n")
    for i in range(1, channels - 3):
        (device / f"temp{i}_input").write_text(f"{40000 + 137 * i}\n")
    for i in range(2):
        zone = root / f"class/powercap/intel-rapl:{i}"
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"package-{i}\n")
        (zone / "energy_uj").write_text("123456789\n")
        (zone / "max_energy_range_uj").write_text("262143328850\n")


def one(rate_hz: float, channels: int, written: bool, seconds: float) -> dict[str, float]:
    """Sample once, in this process."""
    from coldmark.store.trace import Header, TraceWriter
    from coldmark.telemetry.cpu import Load
    from coldmark.telemetry.cpu import Options as CpuOptions
    from coldmark.telemetry.hwmon import Options as HwmonOptions
    from coldmark.telemetry.hwmon import find as find_hwmon
    from coldmark.telemetry.rapl import Options as RaplOptions
    from coldmark.telemetry.rapl import find as find_rapl
    from coldmark.telemetry.sampler import Sampler

    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "sys"
        make_tree(tree, channels)
        sensors = [
            Load(CpuOptions()),
            *find_hwmon(HwmonOptions(sys=tree)).sensors,
            *find_rapl(RaplOptions(sys=tree)).sensors,
        ]
        sampler = Sampler(sensors, rate_hz=rate_hz)
        header = Header(begin_ns=time.monotonic_ns(), begin_unix_ns=time.time_ns(), channels=sampler.channels)
        writer = TraceWriter(Path(folder) / "telemetry", header)
        if written:
            sampler.sink = lambda batches: writer.write((b.channels, b.t_ns, b.values) for b in batches)
        before = time.process_time()
        sampler.start()
        time.sleep(seconds)
        process = time.process_time() - before
        cost = sampler.stop()
        return {
            "threads": 100 * cost.core_share,
            "process": 100 * process / seconds,
            "flush": 100 * sampler.cpu_s("sample-flush") / seconds,
            "channels": cost.channels,
            "late": cost.late,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*SETTINGS[args.one], args.seconds)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    for _ in range(args.repeat):
        for name in SETTINGS:
            command = [sys.executable, __file__, "--one", name, "--seconds", str(args.seconds)]
            found[name].append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
    print(f"percent of one core, median (least to most) of {args.repeat} x {args.seconds:g} s")
    print(f"{'setting':34} {'threads':>22} {'process':>22} {'of it writing':>22}  late")
    for name, rows in found.items():
        cells = []
        for key in ("threads", "process", "flush"):
            values = [row[key] for row in rows]
            cells.append(f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        late = sum(row["late"] for row in rows)
        print(f"{name:34} {cells[0]:>22} {cells[1]:>22} {cells[2]:>22}  {late:.0f}")


if __name__ == "__main__":
    main()
