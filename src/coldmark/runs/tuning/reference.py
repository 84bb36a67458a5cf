"""Whether the machine still is the one it was: a fixed configuration is read again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from coldmark.core.errors import RunError
from coldmark.core.nouns import Finding, Severity
from coldmark.stats.repeats import spread

FIRST = 5
"""Readings from which the level and its scatter are taken."""

SCATTERS = 4.0
"""A reading so many times the scatter away from the level is no accident."""

AGREE = 4
"""So many readings in a row that agree make a new level."""

PATIENCE = 20
"""Readings for which a restless machine is waited for."""

PAUSE_S = 1.0


@dataclass
class Reference:
    """Readings of one configuration [1/s, higher is faster], and what they say of the machine."""

    read: Callable[[], float]
    pause: Callable[[float], None]
    load: Callable[[], tuple[float, ...]]
    threshold: float  # relative change that is taken for a changed machine, at the least
    readings: list[float] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    first: float = 0.0  # the level at first: what values are relative to, whatever happens later
    level: float = 0.0  # the level now: what a change is told by
    scatter: float = 0.0

    def begin(self) -> None:
        """Take the level and the scatter."""
        first = [self._read() for _ in range(FIRST)]
        self.first = self.level = float(np.median(first))
        self.scatter = spread(first)

    @property
    def tolerance(self) -> float:
        """Relative distance from the level that is still the same machine."""
        return max(self.threshold, SCATTERS * self.scatter)

    def relative(self) -> float:
        """The machine now over the machine at first.

        One reading off the level may be an accident: two more are taken, and the middle one counts.
        """
        now = self._read() / self.first
        if self.moved(now):
            now = float(np.median([now, self._read() / self.first, self._read() / self.first]))
        return now

    def moved(self, relative: float) -> bool:
        """Whether the machine is no longer the one it was."""
        return abs(float(np.log(relative * self.first / self.level))) > float(np.log1p(self.tolerance))

    def settle(self, when: str) -> None:
        """Wait until readings agree again; their level is the new one. Raises RunError if they never do."""
        before = self.level
        recent: list[float] = []
        for _ in range(PATIENCE):
            recent = [*recent[1 - AGREE :], self._read()]
            if len(recent) == AGREE and max(recent) / min(recent) <= 1 + self.tolerance:
                self.level = float(np.median(recent))
                self.findings.append(self._finding(before, when))
                return
            self.pause(PAUSE_S)
        raise self.restless()

    def restless(self) -> RunError:
        """The error of a machine that does not stay the same for one trial."""
        recent = self.readings[-PATIENCE:]
        return RunError(
            f"the machine changes under the search: the reference configuration ran at "
            f"{self.first:.4g}/s first, then between {min(recent):.4g} and {max(recent):.4g}/s; "
            f"load average {self.load()[0]:.1f}",
            where="coldmark tune",
            hint="stop what else runs here and tune again, or allow more with --drift",
        )

    def _finding(self, before: float, when: str) -> Finding:
        return Finding(
            rule="tune.machine",
            severity=Severity.WARNING,
            subject=when,
            expected=f"the reference configuration within {self.tolerance:.0%} of {before:.4g}/s",
            found=f"{self.level:.4g}/s ({self.level / before - 1:+.0%}); load average {self.load()[0]:.1f}; "
            "the trial was repeated",
        )

    def _read(self) -> float:
        self.readings.append(self.read())
        return self.readings[-1]
