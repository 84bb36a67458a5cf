"""The search itself, over anything that can be opened and read: it knows no backend, process or file.

First the default, which is also the reference: it stays open and is read again and again between trials, so
that a value is judged against what the machine was just then. Then trials that Optuna chooses, each read in
slices and given up after the first when it is clearly worse. Then the leaders and the default in turns.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from coldmark.core.errors import ColdmarkError, ConfigError
from coldmark.core.nouns import Finding, Measurement
from coldmark.core.tuned import Configuration, Trial
from coldmark.runs.tuning.reference import Reference
from coldmark.runs.tuning.space import Space
from coldmark.stats.repeats import mean_interval, ratio_interval, spread

SLICES = 3
"""Readings of a trial; after the first, one that is clearly worse is given up."""

PULSE_SHARE = 0.5
"""A reading of the reference, in slices."""

LEADERS = 3
ROUNDS_LEAST, ROUNDS_MOST = 4, 12
FINAL_SHARE = 0.35
"""Share of the budget that the final may take at most."""

SAME = 1.01
"""Leaders no further apart, and not to be told apart, are equal: the simpler one is kept."""

REPEATED = 4
"""A trial that the machine changed under so often ends the search."""

REPEATS = 30
"""A sampler that so often suggests what was tried has nothing new to say."""

CONFIDENCE = 0.95


class TooSlow(ColdmarkError):
    """A configuration was not ready in time."""


class TooLarge(ColdmarkError):
    """A configuration took more memory than it may."""


class Infeasible(ColdmarkError):
    """A configuration works, and meets no limit."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value in its unit, and the score it makes: higher is better."""

    value: float
    score: float


class Open(Protocol):
    """An open configuration."""

    peak_rss_bytes: int

    @property
    def units_per_sample(self) -> float:
        """What a batch counts to, for each sample in it."""

    def score(self, seconds: float, limit_s: float) -> Reading: ...
    def pulse(self, seconds: float, limit_s: float) -> float: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a search needs of the outside."""

    open: Callable[[Configuration, float], Open]
    clock: Callable[[], float]
    pause: Callable[[float], None]
    load: Callable[[], tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long and how closely is looked."""

    budget_s: float
    share: float = 1.0  # of what the user gave, that this budget is
    memory_bytes: int | None = None  # what the leaders may take together
    slice_s: float = 0.4
    seed: int = 0
    drift: float = 0.10
    most_trials: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search came to."""

    best: Configuration
    outcome: str
    value: Measurement
    default_value: Measurement | None
    ratio: Measurement | None
    trials: tuple[Trial, ...]
    findings: tuple[Finding, ...]
    took_s: float


OnTrial = Callable[[Trial, float], None]
"""Called after each trial with it and the share of the budget that is gone."""


@dataclass
class Search:
    """One search."""

    space: Space
    world: World
    effort: Effort
    unit: str
    on_trial: OnTrial | None = None
    trials: list[Trial] = field(default_factory=list)
    _best: float = 0.0  # highest relative score so far
    _machine: float = 0.0  # the machine as it was read last, over what it was at first; 0: to be read anew
    _study: Any = None

    def run(self) -> Found:
        """Search, and confirm. Raises ConfigError for a budget that allows no trial, RunError where the
        machine never calms, and whatever keeps the default from being measured."""
        self._started = self.world.clock()
        self._limit_s = max(60.0, self.effort.budget_s)
        try:
            reference_bench = self.world.open(self.space.default, self._limit_s)
            try:
                return self._run(reference_bench)
            finally:
                reference_bench.close()
        except TooLarge as error:  # of the default: where another is too large, its trial has failed
            raise ConfigError(
                f"the default configuration itself {error.message}", where="--memory", hint="allow more"
            ) from None
        except TooSlow as error:
            raise ConfigError(
                f"the default configuration itself was {error.message}",
                where="--budget",
                hint=f"at least {int(np.ceil(2 * self._limit_s / self.effort.share))}, "
                "or a smaller batch by --set backend.batch=N",
            ) from None

    def _run(self, bench: Open) -> Found:
        opened_s = self._elapsed()
        self._reference = Reference(
            read=lambda: bench.pulse(self.effort.slice_s * PULSE_SHARE, self._limit_s),
            pause=self.world.pause,
            load=self.world.load,
            threshold=self.effort.drift,
        )
        self._reference.begin()
        default_s = self._default_trial(bench)
        trial_s = opened_s + default_s
        least = self._elapsed() + trial_s + opened_s + 2 * ROUNDS_LEAST * default_s / SLICES
        if self.effort.budget_s < least:
            share = self.effort.share
            part = f" (of which {share:.0%} are for the configuration)" if share < 1 else ""
            raise ConfigError(
                f"{self.effort.budget_s / share:g} s{part} are too few for one trial: the default took "
                f"{trial_s:.1f} s",
                where="--budget",
                hint=f"at least {int(np.ceil(1.2 * least / share))}",
            )
        self.space = self.space.bounded(self._reference.first * bench.units_per_sample)
        # A trial that takes much longer than the default does is not worth the others' time.
        self._limit_s = max(10.0, 6 * trial_s)
        final_s = LEADERS * opened_s + (LEADERS + 1) * ROUNDS_MOST * default_s / SLICES
        self._search(self.effort.budget_s - min(final_s, FINAL_SHARE * self.effort.budget_s))
        return self._final(bench)

    def _default_trial(self, bench: Open) -> float:
        """The default as a trial: it is what relative scores are relative to. Raises what it ends with."""
        begun = self._elapsed()
        trial, scores = self._read(bench, self.space.default, begun, 0.0)
        self._scale = float(np.mean(scores)) if scores else 0.0
        self._noise = max(0.02, self._reference.scatter, spread(scores) if scores else 0.0)
        self._keep(trial, scores)
        return self._elapsed() - begun

    def _search(self, until: float) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=self.effort.seed, multivariate=True, group=True)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        starts = self.space.starts()
        for start in starts:
            self._study.enqueue_trial(start)
        tried = {self.space.effective(self.space.default): self.trials[0]}
        stale = 0
        while self._elapsed() < until and len(self.trials) < self.effort.most_trials and stale < REPEATS:
            asked = self._study.ask()
            wanted = self.space.suggest(asked)
            key = self.space.effective(wanted)
            stale = stale + 1 if key in tried else 0
            if key not in tried:
                tried[key] = self._trial(wanted)
            self._tell(asked, tried[key])

    def _tell(self, asked: Any, trial: Trial) -> None:
        from optuna.trial import TrialState

        if trial.relative is None:
            self._study.tell(asked, state=TrialState.FAIL)
        elif trial.state == "rejected":
            asked.report(trial.relative, step=trial.slices)
            self._study.tell(asked, state=TrialState.PRUNED)
        else:
            self._study.tell(asked, trial.relative)

    def _trial(self, wanted: Configuration) -> Trial:
        """One configuration; measured again where the machine changed meanwhile."""
        for _ in range(REPEATED):
            begun = self._elapsed()
            before = self._machine or self._reference.relative()
            if self._reference.moved(before):
                self._settle()
                continue
            try:
                bench = self.world.open(wanted, self._limit_s)
            except ColdmarkError as error:
                return self._keep(self._failed(wanted, error, begun), [])
            try:
                trial, scores = self._read(bench, wanted, begun, before)
            finally:
                bench.close()
            after = self._reference.relative()
            self._machine = after
            if not self._reference.moved(after):
                return self._keep(trial, [s / (before * after) ** 0.5 for s in scores])
            self._settle()
        raise self._reference.restless()

    def _settle(self) -> None:
        self._machine = 0.0
        self._reference.settle(f"trial {len(self.trials)}, after {self._elapsed():.0f} s")

    def _read(
        self, bench: Open, wanted: Configuration, begun: float, machine: float
    ) -> tuple[Trial, list[float]]:
        """Slices of an open configuration, the rest spared where the first says enough."""
        values, scores, state, reason = list[float](), list[float](), "complete", ""
        try:
            for _ in range(SLICES):
                found = bench.score(self.effort.slice_s, self._limit_s)
                values.append(found.value)
                scores.append(found.score)
                if machine and self._hopeless(scores[0] / machine):
                    state, reason = "rejected", "clearly worse after the first slice"
                    break
        except ColdmarkError as error:
            if not machine and not isinstance(error, Infeasible):
                raise  # the default is the reference too: nothing is read without it
            return self._failed(wanted, error, begun), []
        return Trial(
            configuration=wanted,
            state=state,
            value=float(np.mean(values)),
            slices=len(values),
            started_s=begun,
            ended_s=self._elapsed(),
            peak_rss_bytes=bench.peak_rss_bytes,
            reason=reason,
        ), scores

    def _hopeless(self, score: float) -> bool:
        """Whether a score is below the best by more than both may scatter."""
        return score / self._scale < self._best * (1 - 3 * 2**0.5 * self._noise) if self._scale else False

    def _failed(self, wanted: Configuration, error: ColdmarkError, begun: float) -> Trial:
        state = "infeasible" if isinstance(error, Infeasible) else "failed"
        return Trial(
            configuration=wanted, state=state, started_s=begun, ended_s=self._elapsed(), reason=error.message
        )

    def _keep(self, trial: Trial, scores: Sequence[float]) -> Trial:
        if scores:
            if not self._scale:  # the default meets no limit: the first that does is the scale
                self._scale = float(np.mean(scores))
            trial = replace(trial, relative=float(np.mean(scores)) / self._scale)
            self._best = max(self._best, trial.relative or 0.0)
        self.trials.append(trial)
        if self.on_trial:
            self.on_trial(trial, self._elapsed() / self.effort.budget_s)
        return trial

    def _final(self, bench: Open) -> Found:
        """The leaders and the default, read in turns until the time is over."""
        default = self.trials[0]
        own = self.space.effective(self.space.default)
        ranked = sorted(
            (t for t in self.trials if t.slices and self.space.effective(t.configuration) != own),
            key=lambda t: -(t.relative or 0),
        )
        # Where all were given up, the best of them shows how far the default leads.
        leaders = [t for t in ranked if t.state == "complete"][:LEADERS] or ranked[:1]
        opened: list[tuple[Trial, Open]] = [(default, bench)] if default.value is not None else []
        taken, left_s = bench.peak_rss_bytes, self.effort.budget_s - self._elapsed()
        try:
            for leader in leaders:
                # All are open together. One at least is, as one was during the search. To open it and to read
                # it in turns takes at least what its trial did.
                more, cost_s = taken + leader.peak_rss_bytes, leader.ended_s - leader.started_s
                room = more <= (self.effort.memory_bytes or more) and cost_s <= left_s
                if leader is not leaders[0] and not room:
                    continue
                taken, left_s = more, left_s - cost_s
                try:
                    opened.append((leader, self.world.open(leader.configuration, self._limit_s)))
                except ColdmarkError as error:
                    self.trials.append(self._failed(leader.configuration, error, self._elapsed()))
            readings, lost = self._turns(opened)
        finally:
            for _, open_ in opened:
                if open_ is not bench:
                    open_.close()
        if default in lost:
            default = replace(default, value=None)
        left = [(t, r) for (t, _), r in zip(opened, readings, strict=True) if t not in lost]
        return self._judge([t for t, _ in left], [r for _, r in left], default)

    def _turns(self, opened: Sequence[tuple[Trial, Open]]) -> tuple[list[list[Reading]], list[Trial]]:
        """Rounds in which each is read once, each round beginning with another; and which fell out."""
        readings: list[list[Reading]] = [[] for _ in opened]
        lost: list[Trial] = []
        for turn in range(ROUNDS_MOST):
            for at in range(len(opened)):
                which = (at + turn) % len(opened)
                trial, open_ = opened[which]
                if trial in lost:
                    continue
                try:
                    readings[which].append(open_.score(self.effort.slice_s, self._limit_s))
                except ColdmarkError as error:
                    lost.append(trial)
                    self.trials.append(self._failed(trial.configuration, error, self._elapsed()))
            if turn + 1 >= ROUNDS_LEAST and self._elapsed() >= self.effort.budget_s:
                break
        return readings, lost

    def _judge(self, trials: Sequence[Trial], readings: Sequence[list[Reading]], default: Trial) -> Found:
        if not trials:
            reasons = sorted({t.reason for t in self.trials if t.reason})
            raise NothingHolds("; ".join(reasons[:3]), self.trials)
        scores = [[r.score for r in each] for each in readings]
        values = [[r.value for r in each] for each in readings]
        has_default = default.value is not None
        # The best of several is picked: each interval is widened so that all hold together.
        confidence = 1 - (1 - CONFIDENCE) / max(1, len(trials) - has_default)
        ratios = [ratio_interval(s, scores[0], confidence) for s in scores]
        rivals = list(range(1 if has_default and len(trials) > 1 else 0, len(trials)))
        winners = [i for i in rivals if has_default and (ratios[i].low or 0) > 1]
        rival = at = self._simplest([t.configuration for t in trials], scores, winners or rivals)
        if not has_default:
            outcome = "only"
        elif winners:
            outcome = "win"
        else:
            rival, at = self._fastest(scores, rivals), 0
            beaten = ratios[rival].high is not None and (ratios[rival].high or 0) < 1
            outcome = "default" if beaten else "tie"
        return Found(
            best=trials[at].configuration,
            outcome=outcome,
            value=mean_interval(values[at], self.unit),
            default_value=mean_interval(values[0], self.unit) if has_default else None,
            ratio=ratios[rival] if has_default else None,
            trials=tuple(self.trials),
            findings=tuple(self._reference.findings),
            took_s=self._elapsed(),
        )

    def _simplest(
        self, found: Sequence[Configuration], scores: Sequence[Sequence[float]], among: Sequence[int]
    ) -> int:
        """The best; of those that cannot be told from it, the one with the fewest unusual settings."""
        best = self._fastest(scores, among)

        def equal(i: int) -> bool:
            ratio = ratio_interval(scores[best], scores[i])
            return i == best or ((ratio.low or 0) <= 1 and ratio.value <= SAME)

        return min((i for i in among if equal(i)), key=lambda i: self.space.unusual(found[i]))

    @staticmethod
    def _fastest(scores: Sequence[Sequence[float]], among: Sequence[int]) -> int:
        return max(among, key=lambda i: float(np.mean(np.log(scores[i]))))

    def _elapsed(self) -> float:
        return self.world.clock() - self._started


class NothingHolds(Exception):
    """Every configuration failed or met no limit."""

    def __init__(self, reasons: str, trials: Sequence[Trial]) -> None:
        super().__init__(reasons)
        self.reasons, self.trials = reasons, tuple(trials)
