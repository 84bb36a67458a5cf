"""Published scores that the benchmark shares are fitted on or checked against, and bytes a sample carries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from coldmark.core.codec import read_toml
from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.core.nouns import Scenario

SAME_RUN = {"dlrm-99.9": "dlrm-99", "3d-unet-99.9": "3d-unet-99"}
"""Benchmarks whose two accuracy tiers share one performance log in every published closed result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    value: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One published score. Only role "fit" is ever fitted; "held-out" and "check" are predicted."""

    role: str
    server: str
    limit_w: float
    benchmark: str
    scenario: Scenario
    score: float
    accelerators: int
    published: str
    cooling: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wall:
    """Median and mean power at the wall during a published power run."""

    server: str
    limit_w: float
    benchmark: str
    scenario: Scenario
    median_w: float
    mean_w: float
    published: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    bytes_per_sample: dict[str, Bytes]
    points: tuple[Point, ...]
    wall: tuple[Wall, ...]

    def find(
        self, server: str, benchmark: str, scenario: Scenario, limit_w: float | None = None
    ) -> Point | None:
        """The point of a server's own published system, None where there is none."""
        for p in self.points:
            same = p.server == server and p.benchmark == benchmark and p.scenario is scenario
            if same and p.cooling is None and (limit_w is None or p.limit_w == limit_w):
                return p
        return None


@cache
def published() -> Published:
    """The table that ships."""
    return read_toml(Path(str(resources.files("coldmark.thermal") / "workloads.toml")), Published)


def fitted_name(benchmark: str) -> str:
    """The benchmark whose shares stand for `benchmark`. Raises ConfigError where nothing is known."""
    name = SAME_RUN.get(benchmark, benchmark)
    known = published().bytes_per_sample
    if name not in known:
        raise ConfigError(
            f"the twin knows no benchmark {benchmark!r}",
            where="--workload",
            hint=did_you_mean(benchmark, [*known, *SAME_RUN]),
        )
    return name
