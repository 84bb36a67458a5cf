"""`coldmark tune --suite`: everything a suite demands."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def tune_suite(
    root: Path, flags: dict[str, Any], only: tuple[str, ...], *, again: bool, as_json: bool, dry_run: bool
) -> None:
    """Tune what is left of a suite."""
    raise NotImplementedError
