"""The published power logs, read as telemetry: the mean over the window is the published definition's."""

from __future__ import annotations

import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coldmark.core.trace import Trace
from coldmark.loadgen.power_log import Window, mean_power
from coldmark.runs.telemetry.energy import energies
from coldmark.telemetry.ptd import STAMP, read_bytes

ARCHIVE = "published/mlperf-inference-v2.1-summaries.tar.xz"
RUNS = ("resnet50/Offline", "bert-99/Server")


def logs(shared: Path) -> dict[str, dict[str, bytes]]:
    """client.json and spl.txt of some runs of both MaxQ submissions, by the run's folder."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(shared / ARCHIVE, "r:xz") as archive:
        for member in archive:
            path = member.name
            if "_TRT_MaxQ/" not in path or not any(f"/{run}/" in path for run in RUNS):
                continue
            name = Path(path).name
            if name in ("client.json", "spl.txt"):
                file = archive.extractfile(member)
                assert file is not None
                folder = path.partition("/performance/")[0]
                found.setdefault(folder, {})[name] = file.read()
    return found


def by_definition(data: bytes, begin: datetime, end: datetime) -> float:
    """Mean of the watts stamped strictly inside the window. Source: v2.1 checker, get_power_metric."""
    watts = []
    for line in data.decode().splitlines():
        cells = line.split(",")
        at = datetime.strptime(cells[1], STAMP).replace(tzinfo=UTC)
        if begin < at < end and float(cells[3]) > 0:
            watts.append(float(cells[3]))
    return sum(watts) / len(watts)


@pytest.mark.timeout(200)
def test_the_mean_over_the_metered_window_is_the_published_definitions(shared: Path) -> None:
    found = logs(shared)
    assert len(found) == 2 * len(RUNS)
    for folder, files in found.items():
        # The detail logs with LoadGen's marks are not published; the client's own phases stand for them.
        client = json.loads(files["client.json"])
        first = datetime.strptime(files["spl.txt"].split(b",", 2)[1].decode(), STAMP).replace(tzinfo=UTC)
        phases = [p[0] for p in client["phases"]["testing"]]
        zone = round((first.timestamp() - phases[0]) / 900) * 900
        begin, end = (datetime.fromtimestamp(p + zone, UTC) for p in phases[1:3])
        begin, end = (t.replace(microsecond=t.microsecond // 1000 * 1000) for t in (begin, end))
        definition = by_definition(files["spl.txt"], begin, end)
        published = mean_power(files["spl.txt"], Window(begin=begin, end=end))
        assert published is not None
        assert published.mean_w == pytest.approx(definition, rel=1e-9), folder
        series = {s.channel.name: s for s in read_bytes(files["spl.txt"], folder)}
        (wall,) = energies(Trace(series=series), begin.timestamp(), end.timestamp(), 1e6)
        assert wall.covers == "wall"
        assert wall.mean_w == pytest.approx(definition, rel=1e-9), folder
        assert wall.j_per_sample == pytest.approx(published.per_query_j(1e6), rel=1e-9)
        assert 900 < definition < 5000
