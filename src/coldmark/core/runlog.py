"""What one LoadGen test wrote about itself, as values: the rules read this, never the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A message that LoadGen flagged as an error or a warning."""

    line: int
    key: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLog:
    """The detail log of one test. `values` holds the last value logged under each key."""

    path: str
    values: dict[str, Any]
    errors: tuple[LogLine, ...] = ()
    warnings: tuple[LogLine, ...] = ()
    summary: dict[str, str] = field(default_factory=dict)  # the summary log's own key : value lines

    def get(self, key: str) -> Any:
        """The value logged under `key`, or None."""
        return self.values.get(key)

    def number(self, key: str) -> float | None:
        """The value as a number, or None where it is absent or none."""
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value)

    @property
    def valid(self) -> bool:
        """LoadGen's own verdict."""
        return self.values.get("result_validity") == "VALID"

    @property
    def finished(self) -> bool:
        """The test ended by itself: LoadGen wrote a verdict, or, in accuracy mode, its closing mark."""
        closing = (
            "power_end" if self.values.get("effective_test_mode") == "AccuracyOnly" else "result_validity"
        )
        return closing in self.values
