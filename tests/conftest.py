"""What tests share: a cache of their own, a small model, and the way to real published data."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Examples are bounded, their time is not: a busy machine is no failure.
settings.register_profile("coldmark", deadline=None, print_blob=True)
settings.load_profile("coldmark")

SMALL = (
    "--length",
    "smoke",
    "--set",
    "test.min_duration_ms=1",
    "--set",
    "test.min_query_count=700",
    "--set",
    "harness.bare_s=0.1",
    "--set",
    "telemetry.baseline_s=0",
    "--set",
    "telemetry.cooldown_s=0",
)
"""Flags that make a real LoadGen run last about a second, with enough queries for early stopping.

Its end hangs on a count, not on a time: with a minimum duration the verdict would hang on how well the bare
rate was measured on a busy machine.
"""


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Made files go to a folder of this session, not to the user's cache."""
    os.environ["COLDMARK_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("COLDMARK_RUNS_DIR", None)


@pytest.fixture
def coldmark(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command as a user would, in an empty folder."""

    def call(*args: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "coldmark", *args],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import the `net` module of a training folder: each folder has one of that name."""

    def load(name: str) -> Any:
        folder = Path(__file__).parents[1] / "training" / name
        monkeypatch.syspath_prepend(str(folder))
        for file in folder.glob("*.py"):
            monkeypatch.delitem(sys.modules, file.stem, raising=False)
        return importlib.import_module("net")

    return load


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with published data, where there is one; a user's clone has none."""
    given = os.environ.get("COLDMARK_SHARED")
    path = Path(given) if given else Path(__file__).parents[2] / "shared"
    if not (path / "published").is_dir():
        pytest.skip("no published data beside this checkout (set COLDMARK_SHARED)")
    return path


@pytest.fixture(scope="session")
def mlperf_inference(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path | None]:
    """A file of tag v2.1 by its path, taken from a clone of mlcommons/inference; None where it has none."""
    given = os.environ.get("COLDMARK_MLPERF_INFERENCE")
    if not given:
        pytest.skip("no clone of mlcommons/inference (set COLDMARK_MLPERF_INFERENCE to it)")
    out = tmp_path_factory.mktemp("mlperf")

    def take(path: str) -> Path | None:
        command = ["git", "-C", given, "show", f"v2.1:{path}"]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            return None
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(done.stdout)
        return out / path

    return take
