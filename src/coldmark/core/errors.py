"""Errors that say where, what, and what to do next; each kind has its exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class ColdmarkError(Exception):
    """Anything the user can do something about.

    `where` names the flag, file, line or key; `hint` says what to do next.
    Exit code 1 is left to Python's own traceback, so that a bug never looks like a verdict.
    """

    exit_code: ClassVar[int] = 5

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head}\n  {self.hint}" if self.hint else head


class ConfigError(ColdmarkError):
    """A name, key or value that cannot be meant."""

    exit_code = 2


class SetupError(ColdmarkError):
    """Something is not installed; the hint is the command that installs it."""

    exit_code = 4


class BackendError(ColdmarkError):
    """A backend cannot compile or run a model."""

    exit_code = 5


class RunError(ColdmarkError):
    """A run ended without a result: its record says how."""

    exit_code = 5


class Doomed(RunError):
    """A run was stopped because it could no longer become VALID."""

    exit_code = 3


class TelemetryError(ColdmarkError):
    """A sensor cannot be read."""

    exit_code = 5


class DataError(ColdmarkError):
    """A model, data set or record is missing, truncated or of the wrong form."""

    exit_code = 6


class Interrupted(ColdmarkError):
    """The user stopped the run; what was written is kept."""

    exit_code = 130


EXIT_INVALID = 3
"""Exit code of a verdict (INVALID, or a check that found errors), which is not an exception."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The hint for a misspelt name: the nearest known ones, or all of them.

    >>> did_you_mean("openvno", ["null", "openvino"])
    "did you mean 'openvino'?"
    """
    names = sorted(known)
    folded = {n.lower(): n for n in names}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{folded[near[0]]}'?"
    return "known: " + (", ".join(names) if names else "none")
