"""A searched Server rate's nouns: the trials, the rate, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA = 1
"""Version of the JSON form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTrial:
    """One short LoadGen run at one rate, and its latency tail."""

    rate_qps: float  # that was offered
    seconds: float  # that LoadGen had the clock
    queries: int
    over: int  # queries beyond the latency bound
    percentile_ms: float  # latency at the round's percentile
    effective_queries: float  # what the queries count for, as lateness comes in bursts and machines change
    bare_before: float | None = None  # samples/s
    bare_after: float | None = None
    weight: float = 1.0  # below 1 where the machine was another than in the other trials
    confirms: bool = False  # the run at the found rate, at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRate:
    """The rate to ask for, and the limit it keeps away from; both [queries/s].

    Where no rate holds the bound `rate_qps` is 0, and the best latency and an open-division bound are said.
    """

    schema: int = SCHEMA
    rate_qps: float
    confidence: float  # that a run of official length at that rate would be VALID
    short_qps: float | None = None  # the like for a run of short length, whose fewer queries forgive less
    limit_qps: float  # at which such a run would be VALID half of the time
    limit_low_qps: float  # 90 % interval of that limit
    limit_high_qps: float
    official_queries: int  # of such a run
    bound_ms: float
    percentile: float  # share in (0, 1)
    trials: tuple[ServerTrial, ...] = ()
    searched_s: float = 0.0
    bare_rate: float | None = None  # samples/s, median over the trials: what the machine was like
    best_latency_ms: float | None = None  # lowest seen at the percentile; only where no rate holds the bound
    open_bound_ms: float | None = None  # a scaled bound for the open division; likewise
    notes: tuple[str, ...] = ()  # what was noticed: a machine that changed, a budget that ended

    @property
    def reachable(self) -> bool:
        """Whether any rate holds the bound."""
        return self.rate_qps > 0

    @property
    def margin(self) -> float:
        """Share that the rate lies below the limit."""
        return 1 - self.rate_qps / self.limit_qps if self.limit_qps else 0.0
