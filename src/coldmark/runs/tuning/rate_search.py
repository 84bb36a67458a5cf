"""The highest Poisson rate whose run of official length would be VALID, from the tails of short ones.

Each trial is a few seconds of the very configuration. The late shares of all trials so far are fitted
(`stats/tail_fit.py`), and the fit chooses the next rate: near the limit, where a trial says most. The search
ends when the rate that is sure enough lies close below the limit, or the budget does; then that rate is run
once more, longer, and counts like any other trial. How trials are made is given: by LoadGen
(`runs/tuning/server_rate.py`) or in virtual time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import ConfigError
from coldmark.core.server_rate import ServerRate, ServerTrial
from coldmark.stats.control import Control, Pair, control
from coldmark.stats.queueing import Service, highest_rate, late_shares, observed_service, pooled
from coldmark.stats.tail_fit import Posterior, Shape, Tail, design_effect, shape_of, straight

CLOSE = 0.985
"""Share of the limit that the sure rate reaches when the search may end."""
LEAST_TRIALS = 3
LEAN = 0.35
"""Quantile of the limit that is tried next: a little below the middle, so that most trials hold the bound."""
UNSEEN_LEAN = 0.5
"""The same while no query was late in any trial."""
STEP = 1.35
"""The factor by which the next rate may differ from what was tried."""
QUIET_STEP = 3.0
QUIET_SHARE = 0.1
"""That factor while not even so much of the allowed share was late: the first rate may be far too low."""
QUIET_LATE = 5
"""Late queries that a shortest trial would have at the limit, so that one without any says enough."""
SPANS = (1.0, 0.3, 0.1)
"""How widely rates are played around a limit, as shares of the usual width: long bounds make steep queues."""
NEAR_SHARE = 0.1
"""Late share beyond which a trial is too far above the limit to say how late queries scatter there."""
TRIAL_S, LONG_TRIAL_S = 5.0, 20.0
BUDGET_TRIALS = 9
"""Trials that the budget should have time for."""
TRIAL_QUERIES = 8000
"""Queries a trial should have; slow models get longer trials instead."""
CONFIRM = 2.0
"""How much longer than a trial the confirmation is."""
BURST_WEIGHT = 60.0
"""Late queries that the played queue's design effect and control count for, against those seen."""
MOVED = 0.1
"""Change of the bare rate beyond which a trial was made on another machine."""
MOVED_WEIGHT = 0.25
TRY_LOW = (0.25, 0.05)
"""Shares of capacity at which a bound that seems out of reach is tried all the same."""
OPEN_SLACK = 1.25
BARE_DOUBT, SEEN_DOUBT = 0.35, 0.025
"""How far off the limit of a played queue is: of the bare model's times, and of those of the trials."""
FAR_DOUBT = 0.5
"""What is added for each unit that the logarithm of that limit lies from the nearest trial's rate."""
REPLAY = (1, 3, 8)
"""Numbers of trials after which the queue is played again with the batch times that they had."""
GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, without their whole part, lie evenly apart."""
ALONE = Control(weight=0.0, effect=1.0)
"""Of a queue that says nothing of the trials."""
BLOCKS = 60
FALLBACK_SLOPE = 12.0
"""d logit / d ln rate where the played queue says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What the rate is to hold."""

    bound_s: float
    percentile: float  # share in (0, 1)
    least_queries: int  # of an official run
    duration_s: float  # of an official run
    short: tuple[int, float] | None = None  # the same of a run of short length
    confidence: float = 0.99

    @property
    def allowed(self) -> float:
        return 1 - self.percentile

    def queries(self, rate: float) -> int:
        """Queries of an official run at a rate [1/s]."""
        return max(self.least_queries, int(rate * self.duration_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A trial as it was made."""

    rate: float  # [queries/s]
    seconds: float
    times_s: NDArray[np.float64]  # when each query came and was answered, by arrival, shape [n, 2]
    late: NDArray[np.bool_]  # whether each was, likewise
    percentile_s: float
    spent_s: float  # on the wall, start and loading included
    bare_before: float | None = None
    bare_after: float | None = None


class Measure(Protocol):
    """Makes a trial at a rate [queries/s]. No two numbers have the same arrivals."""

    def __call__(self, rate: float, seconds: float, number: int) -> Observed: ...


OnTrial = Callable[[ServerTrial], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What a queue says in which batches take as long as they were measured to."""

    service: Service
    shape: Shape
    burst: float  # design effect of late queries at its limit
    control: Control  # of this queue by itself, played at another place of its scatter
    reachable: bool
    known: bool  # whether the shape was played, not assumed
    doubt: float  # standard deviation of the logarithm of its limit

    @property
    def capacity(self) -> float:
        return self.service.capacity

    def pair(self, seen: Observed, number: int, goal: Goal) -> Pair:
        """A trial's late queries beside those of this queue on the same arrivals.

        The queue begins at another place of its scatter for each `number`: what it was made of must not be
        played to the very arrivals that it came from.
        """
        came = seen.times_s[:, 0] - seen.times_s[0, 0]
        apart = self.service.rolled((number + 1) * GOLDEN % 1)
        played = apart.latencies(came) > goal.bound_s
        # Beyond the rates that were played the shape is a guess: there the trial's own share, and so no luck.
        inside = bool(math.log(seen.rate) <= self.shape.x[-1])
        share = self.shape.share(seen.rate) if inside else float(played.mean())
        return Pair(late=seen.late, played=played, share=share)


def play(service: Service, goal: Goal, *, doubt: float = BARE_DOUBT) -> Played:
    """Play the service times through at rates around the limit they have."""
    rng = np.random.default_rng(7)
    limit = highest_rate(service, limit_s=goal.bound_s, percentile=goal.percentile, rng=rng, rel_tol=0.01)
    fallback = straight(0.6 * service.capacity, FALLBACK_SLOPE, goal.allowed)
    if limit <= 0:
        return Played(
            service=service,
            shape=fallback,
            burst=1.0,
            control=ALONE,
            reachable=False,
            known=False,
            doubt=BARE_DOUBT,
        )
    shape = None
    for span in SPANS:
        rates = limit * np.exp(span * np.linspace(-0.35, 0.14, 8))
        shape = shape_of(rates, late_shares(service, rates, limit_s=goal.bound_s, rng=rng), goal.allowed)
        if shape:
            break
    arrivals = np.cumsum(rng.exponential(1 / limit, 100_000))
    late = service.latencies(arrivals) > goal.bound_s
    again = service.rolled(GOLDEN).latencies(arrivals) > goal.bound_s
    by_itself = control([Pair(late=late, played=again, share=goal.allowed)], blocks=BLOCKS)
    return Played(
        service=service,
        shape=shape or straight(limit, FALLBACK_SLOPE, goal.allowed),
        burst=design_effect(late, blocks=BLOCKS),
        control=by_itself or ALONE,
        reachable=True,
        known=shape is not None,
        doubt=doubt,
    )


def search(
    measure: Measure,
    played: Played,
    goal: Goal,
    *,
    first: float,
    budget_s: float,
    begun_s: float = 0.0,
    on_trial: OnTrial | None = None,
) -> ServerRate:
    """Search from the rate `first` [queries/s] until it is sure enough or `budget_s` is spent.

    `begun_s` was spent before, and is said where the budget is too small.

    Raises ConfigError where the budget is too small for a trial and its confirmation.
    """
    hunt = _Hunt(measure, played, goal, budget_s, begun_s, on_trial)
    if not played.reachable and not hunt.any_rate_holds():
        return hunt.unreachable()
    hunt.refine(first)
    if hunt.hopeless():
        return hunt.unreachable()
    return hunt.confirmed()


class _Hunt:
    """The trials so far and what follows from them."""

    def __init__(
        self,
        measure: Measure,
        played: Played,
        goal: Goal,
        budget_s: float,
        begun_s: float,
        on_trial: OnTrial | None,
    ) -> None:
        self._measure, self._played, self._goal = measure, played, goal
        self._bare = played.service
        self._budget_s, self._begun_s, self._on_trial = budget_s, begun_s, on_trial
        self._seen: list[Observed] = []
        self._pairs: list[Pair] = []  # of the trials with what is played now
        self._confirms: list[bool] = []
        self._spent_s = 0.0
        self._overhead_s = 0.0  # of a trial, beyond LoadGen's own time
        self._notes: list[str] = []

    # -- trials ------------------------------------------------------------------------------------

    def _trial_s(self, rate: float) -> float:
        if self._quiet() and rate * TRIAL_S * self._goal.allowed >= QUIET_LATE:
            return TRIAL_S
        longest = min(LONG_TRIAL_S, self._budget_s / BUDGET_TRIALS)
        return max(TRIAL_S, min(longest, TRIAL_QUERIES / rate))

    def _quiet(self) -> bool:
        """Whether there were trials, and at the highest rate of them next to nothing was late."""
        if not self._seen:
            return False
        top = max(self._seen, key=lambda o: o.rate)
        return bool(top.late.mean() < QUIET_SHARE * self._goal.allowed)

    def _edge(self) -> bool:
        """Whether a query was late in any trial; without, the limit is the played queue's word alone."""
        return any(o.late.any() for o in self._seen)

    def _affords(self, seconds: float) -> bool:
        return self._spent_s + seconds + self._overhead_s <= self._budget_s

    def _try(self, rate: float, seconds: float, *, confirms: bool = False) -> ServerTrial:
        if not self._seen and not self._affords(seconds):
            begun_s, given_s = self._begun_s, self._budget_s + self._begun_s
            raise ConfigError(
                f"{given_s:.0f} s for the rate are too few: {begun_s:.0f} s to begin with, and one trial of "
                f"{seconds:.0f} s at {rate:.4g} queries/s",
                where="--budget",
                hint=f"{math.ceil(begun_s + 5 * seconds)} s for the rate; three minutes are usually enough",
            )
        seen = self._measure(rate, seconds, len(self._seen))
        self._seen.append(seen)
        self._pairs.append(self._played.pair(seen, len(self._pairs), self._goal))
        self._confirms.append(confirms)
        self._spent_s += seen.spent_s
        self._overhead_s = max(self._overhead_s, seen.spent_s - seen.seconds)
        trial = self._trials()[-1]
        if self._on_trial:
            self._on_trial(trial)
        return trial

    def _weights(self) -> list[float]:
        """1, or less where the bare rate around a trial is not that of the others."""
        rates = [[r for r in (o.bare_before, o.bare_after) if r] for o in self._seen]
        known = [r for pair in rates for r in pair]
        usual = float(np.median(known)) if known else 1.0
        return [MOVED_WEIGHT if any(abs(r / usual - 1) > MOVED for r in pair) else 1.0 for pair in rates]

    def _burst(self) -> float:
        """The design effect of late queries: the played queue's, and the trials' where many were late."""
        near = [o.late for o in self._seen if o.late.mean() <= NEAR_SHARE]
        seen = [(float(late.sum()), design_effect(late)) for late in near if late.sum() >= 5]
        total = BURST_WEIGHT + sum(n for n, _ in seen)
        return (BURST_WEIGHT * self._played.burst + sum(n * effect for n, effect in seen)) / total

    def _control(self) -> Control:
        """How far the trials follow the played queue: as it follows itself, and as they do."""
        if not self._played.known:
            return Control(weight=0.0, effect=self._burst())
        near = [p for p in self._pairs if max(p.late.mean(), p.played.mean()) <= NEAR_SHARE]
        found, known = control(near), self._played.control
        if found is None:
            return known
        seen = float(sum(p.late.sum() for p in near))
        share = seen / (BURST_WEIGHT + seen)
        return Control(
            weight=share * found.weight + (1 - share) * known.weight,
            effect=share * found.effect + (1 - share) * known.effect,
        )

    def _trials(self) -> list[ServerTrial]:
        effect = self._control().effect
        return [
            ServerTrial(
                rate_qps=o.rate,
                seconds=o.seconds,
                queries=len(o.late),
                over=int(o.late.sum()),
                percentile_ms=o.percentile_s * 1e3,
                effective_queries=len(o.late) * weight / effect,
                bare_before=o.bare_before,
                bare_after=o.bare_after,
                weight=weight,
                confirms=confirms,
            )
            for o, weight, confirms in zip(self._seen, self._weights(), self._confirms, strict=True)
        ]

    # -- what follows from them --------------------------------------------------------------------

    def _posterior(self) -> Posterior:
        followed = self._control()
        tails = [
            Tail(rate=t.rate_qps, effective=t.effective_queries, late=t.effective_queries * followed.share(p))
            for t, p in zip(self._trials(), self._pairs, strict=True)
        ]
        played = self._played
        far = min(abs(math.log(o.rate) - played.shape.x0) for o in self._seen)
        doubt = min(BARE_DOUBT, played.doubt + FAR_DOUBT * far)
        return Posterior(played.shape, tails, self._goal.allowed, self._burst(), doubt=doubt)

    def _sure(self, posterior: Posterior, chance: float) -> float:
        return posterior.rate_at(chance, self._goal.least_queries, self._goal.duration_s)

    def refine(self, rate: float) -> None:
        """Trials, each where the ones before it say the limit is, until the sure rate is close to it."""
        rate = min(rate, self._played.capacity)
        while True:
            seconds = self._trial_s(rate)
            if self._seen and not self._affords(seconds * (1 + CONFIRM) + self._overhead_s):
                self._notes.append(f"the budget ended the search after {len(self._seen)} trials")
                return
            self._try(rate, seconds)
            if len(self._seen) in REPLAY:
                self._replay()
            posterior = self._posterior()
            sure, limit = self._sure(posterior, self._goal.confidence), self._sure(posterior, 0.5)
            edge = self._edge()
            if len(self._seen) >= LEAST_TRIALS and sure >= CLOSE * limit and edge:
                return
            tried = [o.rate for o in self._seen]
            top = max(tried) * (QUIET_STEP if self._quiet() else STEP)
            rate = float(np.clip(posterior.limit(LEAN if edge else UNSEEN_LEAN), min(tried) / STEP, top))
            if self.hopeless():
                return

    def _replay(self) -> None:
        """Play the queue again with the batch times of the trials so far."""
        found = [observed_service(o.times_s, self._bare) for o in self._seen]
        used = [s for s in found if s is not None]
        if not used:
            return
        again = play(pooled(used), self._goal, doubt=SEEN_DOUBT)
        if again.reachable:
            self._played = again
            self._pairs = [again.pair(o, number, self._goal) for number, o in enumerate(self._seen)]

    def confirmed(self) -> ServerRate:
        """The rate, after a longer run at it; lower, if that run made it less sure."""
        rate = self._sure(self._posterior(), self._goal.confidence)
        left_s = self._budget_s - self._spent_s - self._overhead_s
        seconds = min(left_s, CONFIRM * self._trial_s(rate))
        if seconds >= TRIAL_S:
            self._try(rate, seconds, confirms=True)
            lower = self._sure(self._posterior(), self._goal.confidence)
            if lower < rate:
                self._notes.append(f"the confirmation at {rate:.5g} queries/s lowered the rate")
                rate = lower
        else:
            self._notes.append("the budget left no time for a confirmation run")
        return self._result(rate)

    def _result(self, rate: float) -> ServerRate:
        posterior, rate = self._posterior(), _five_digits_down(rate)
        queries = self._goal.queries(rate)
        trials = tuple(self._trials())
        if moved := sum(t.weight < 1 for t in trials):
            self._notes.append(
                f"the machine changed in {moved} of {len(trials)} trials (bare rate off by over "
                f"{MOVED:.0%}): they count a quarter; run again with nothing else on it"
            )
        if not self._edge():
            self._notes.append("no query of any trial was late: the limit lies higher than was tried")
        half = self._sure(posterior, 0.5)
        bare = [r for t in trials for r in (t.bare_before, t.bare_after) if r]
        short = posterior.rate_at(self._goal.confidence, *self._goal.short) if self._goal.short else None
        ratio = half / posterior.limit(0.5)  # early stopping asks for a little more than the percentile
        return ServerRate(
            rate_qps=rate,
            confidence=posterior.chance_valid(rate, queries),
            short_qps=min(rate, _five_digits_down(short)) if short else None,
            bare_rate=float(np.median(bare)) if bare else None,
            limit_qps=half,
            limit_low_qps=posterior.limit(0.05) * ratio,
            limit_high_qps=posterior.limit(0.95) * ratio,
            official_queries=queries,
            bound_ms=self._goal.bound_s * 1e3,
            percentile=self._goal.percentile,
            trials=trials,
            searched_s=self._spent_s,
            notes=tuple(self._notes),
        )

    # -- a bound that no rate holds ------------------------------------------------------------------

    def any_rate_holds(self) -> bool:
        """Whether a trial at a small share of capacity holds the bound, whatever the played queue says."""
        for share in TRY_LOW:
            trial = self._try(share * self._played.capacity, self._trial_s(share * self._played.capacity))
            if trial.percentile_ms <= self._goal.bound_s * 1e3:
                return True
        return False

    def hopeless(self) -> bool:
        """Whether even the smallest share of capacity was too much."""
        low = [o for o in self._seen if o.rate <= 1.05 * TRY_LOW[-1] * self._played.capacity]
        return any(o.percentile_s > self._goal.bound_s for o in low)

    def unreachable(self) -> ServerRate:
        """What was seen instead, and a bound for the open division that a useful rate would hold."""
        best = min(o.percentile_s for o in self._seen)
        useful = [o for o in self._seen if o.rate >= 0.9 * TRY_LOW[0] * self._played.capacity]
        scaled = OPEN_SLACK * min((o.percentile_s for o in useful), default=best)
        self._notes.append(
            f"no rate holds {self._goal.bound_s * 1e3:g} ms here: the best seen is {best * 1e3:.4g} ms"
        )
        nothing = ServerRate(
            rate_qps=0.0,
            confidence=0.0,
            limit_qps=0.0,
            limit_low_qps=0.0,
            limit_high_qps=0.0,
            official_queries=self._goal.least_queries,
            bound_ms=self._goal.bound_s * 1e3,
            percentile=self._goal.percentile,
        )
        return replace(
            nothing,
            trials=tuple(self._trials()),
            searched_s=self._spent_s,
            best_latency_ms=best * 1e3,
            open_bound_ms=_two_digits_up(scaled * 1e3),
            notes=tuple(self._notes),
        )


def _five_digits_down(value: float) -> float:
    """Cut to five significant digits: a rate that is easily typed, and no less sure."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 4)
    return float(f"{math.floor(value / unit) * unit:.5g}")


def _two_digits_up(value: float) -> float:
    """Rounded up to two significant digits: a bound that is easily said."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit) * unit
