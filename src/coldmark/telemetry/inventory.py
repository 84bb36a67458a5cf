"""The machine as MLPerf's `systems/*.json` describes it, as far as the machine can tell.

What cannot be read stays empty: an empty field is honest, a guessed one is not.
"""

from __future__ import annotations

import csv
import os
import platform
import re
import shutil
import socket
import subprocess
from pathlib import Path

import psutil

from coldmark.core.system import System

_GIB = 1024**3
_PROC_CPUINFO = Path("/proc/cpuinfo")
_SYS_CACHE = Path("/sys/devices/system/cpu/cpu0/cache")
_SYS_BLOCK = Path("/sys/block")


def detect(*, software: dict[str, str] | None = None) -> System:
    """This machine. `software` (name -> version) becomes the framework fields."""
    found: dict[str, str] = {}
    sources: dict[str, str] = {}
    for read in (_processor, _memory, _storage, _network, _operating_system, _accelerators):
        values, source = read()
        found |= values
        sources |= dict.fromkeys(values, source)
    stack = [f"{name} {version}" for name, version in (software or {}).items()]
    return System(
        **found,
        system_name=socket.gethostname(),
        framework=stack[0] if stack else "",
        other_software_stack=", ".join([*stack[1:], f"Python {platform.python_version()}"]),
        sources=sources,
    )


def _cpuinfo() -> list[dict[str, str]]:
    """One dictionary a logical processor, from /proc/cpuinfo; empty elsewhere than on Linux."""
    try:
        text = _PROC_CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    blocks = [dict(_pairs(block)) for block in text.split("\n\n") if block.strip()]
    return [block for block in blocks if "processor" in block]


def _pairs(block: str) -> list[tuple[str, str]]:
    return [(k.strip(), v.strip()) for k, _, v in (line.partition(":") for line in block.splitlines()) if k]


def _processor() -> tuple[dict[str, str], str]:
    cpus = _cpuinfo()
    first = cpus[0] if cpus else {}
    sockets = len({c.get("physical id", "0") for c in cpus}) or 1
    cores = psutil.cpu_count(logical=False) or 0
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    values = {
        "host_processor_model_name": first.get("model name") or platform.processor() or platform.machine(),
        "host_processors_per_node": str(sockets),
        "host_processor_core_count": str(cores // sockets) if cores else "",
        "host_processor_vcpu_count": str(psutil.cpu_count(logical=True) or ""),
        "host_processor_caches": _caches(),
        "host_processor_frequency": f"{(frequency.max or frequency.current):.0f} MHz" if frequency else "",
    }
    return values, "/proc/cpuinfo, sysfs, psutil"


def _caches() -> str:
    parts = []
    for index in sorted(_SYS_CACHE.glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        if level and size:
            parts.append(f"L{level}{ {'Data': 'd', 'Instruction': 'i'}.get(kind, '') } {size}")
    return ", ".join(parts)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _memory() -> tuple[dict[str, str], str]:
    return {"host_memory_capacity": f"{psutil.virtual_memory().total / _GIB:.1f} GiB"}, "psutil"


def _storage() -> tuple[dict[str, str], str]:
    kinds = {_disk(device) for device in (_SYS_BLOCK.glob("*") if _SYS_BLOCK.is_dir() else ())} - {""}
    total = shutil.disk_usage(Path.cwd()).total
    return {
        "host_storage_type": ", ".join(sorted(kinds)),
        "host_storage_capacity": f"{total / _GIB:.0f} GiB",
    }, "sysfs"


def _disk(device: Path) -> str:
    """What kind of disk a block device is; empty for what is none."""
    if re.match(r"(loop|ram|zram|sr|dm-|md|fd)", device.name):
        return ""
    if device.name.startswith(("vd", "xvd")):  # these report a rotating disk whatever lies behind them
        return "virtual disk"
    if device.name.startswith("nvme"):
        return "NVMe SSD"
    return "hard disk" if _read(device / "queue/rotational") == "1" else "SSD"


def _network() -> tuple[dict[str, str], str]:
    up = {name: s for name, s in psutil.net_if_stats().items() if s.isup and name != "lo"}
    fastest = max((s.speed for s in up.values()), default=0)
    speed = f"{fastest / 1000:g} Gb/s" if fastest > 0 else ""
    return {"host_networking": speed, "host_network_card_count": str(len(up))}, "psutil"


def _operating_system() -> tuple[dict[str, str], str]:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = f"{platform.system()} {platform.release()}"
    return {"operating_system": f"{name}, kernel {platform.release()}"}, "os-release, uname"


_NVIDIA_QUERY = ("name", "memory.total", "clocks.max.sm")


def _accelerators() -> tuple[dict[str, str], str]:
    """NVIDIA GPUs by the driver's own tool, where it is installed."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {"accelerators_per_node": "0"}, "no nvidia-smi found"
    try:
        out = subprocess.run(
            [tool, f"--query-gpu={','.join(_NVIDIA_QUERY)}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            env={**os.environ, "LC_ALL": "C"},
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return {"accelerators_per_node": "0"}, f"nvidia-smi failed: {type(error).__name__}"
    return parse_nvidia(out), "nvidia-smi"


def parse_nvidia(text: str) -> dict[str, str]:
    """Accelerator fields from `nvidia-smi --format=csv,noheader` lines; other lines are passed over."""
    rows = [
        row for row in csv.reader(text.splitlines(), skipinitialspace=True) if len(row) == len(_NVIDIA_QUERY)
    ]
    if not rows:
        return {"accelerators_per_node": "0"}
    name, memory, clock = rows[0]
    return {
        "accelerators_per_node": str(len(rows)),
        "accelerator_model_name": name,
        "accelerator_memory_capacity": memory,
        "accelerator_frequency": clock,
    }
