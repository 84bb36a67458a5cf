"""From methods, arithmetic and excluded layers to the fastest model that holds its gate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from coldmark.core.calibration import Candidate
from coldmark.core.errors import ColdmarkError, ConfigError, DataError, Interrupted
from coldmark.core.nouns import Precision
from coldmark.core.sut import Model, Pipeline
from coldmark.runs.calibrated import judgeable, replaced
from coldmark.runs.calibration.capture import Captured
from coldmark.runs.calibration.layers import ranked
from coldmark.runs.calibration.measure import FP32Failed, Pass, accuracy, opened, speeds
from coldmark.runs.calibration.methods import FIRST, FURTHER, METHODS, Ask, Quantise
from coldmark.runs.resolve import Plan
from coldmark.workloads.task import Recipe, Task

TRIES = 10
"""Sets of excluded layers that are tried at most."""

WORTH = 1.03
"""How much faster a model that fails must be than the best that holds the gate, for its layers to be gone
through: less than that is gained by nothing."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was tried, and the files of what was chosen."""

    front: tuple[Candidate, ...]
    chosen: Candidate | None  # the fastest that holds the gate; None: FP32 is
    quantised: Candidate | None  # the fastest of those in INT8
    files: dict[str, Path]  # of `quantised`


@dataclass(slots=True, kw_only=True)
class Search:
    """One calibration under way. `paths` are the networks to quantise, `place` holds what is made."""

    plan: Plan
    task: Task
    recipe: Recipe
    captured: Captured
    paths: Mapping[str, Path]
    methods: tuple[str, ...]  # as asked for; empty: by recipe and backend
    place: Path
    say: Say
    front: list[Candidate] = field(default_factory=list)
    _files: dict[str, dict[str, Path]] = field(default_factory=dict)  # by the candidate's name
    _base: Pass | None = None
    _floor: float | None = None  # what a part of the set must reach, see `accuracy`
    _folders: int = 0

    @property
    def model(self) -> Model | Pipeline:
        assert self.task.model is not None
        return self.task.model

    def run(self) -> Found:
        """Try, judge, choose."""
        with ExitStack() as stack:
            fp32 = opened(self.plan, self.task, self.model, Precision.FP32, Precision.FP32)
            self._base = stack.enter_context(fp32)
            self._add(self._judged(self._base, Candidate(precision=Precision.FP32, speed=1.0)))
            self._floats()
            self._methods()
        quantised = choice([c for c in self.front if c.precision is Precision.INT8])
        files = self._files[quantised.name] if quantised else {}
        chosen = choice(self.front, least=1.0)
        return Found(front=tuple(self.front), chosen=chosen, quantised=quantised, files=files)

    def _floats(self) -> None:
        if self._has(Precision.BF16):
            self._add(self._measured(Candidate(precision=Precision.BF16), self.model))

    def _has(self, precision: Precision) -> bool:
        try:
            self.plan.backend.require(precision)
        except ConfigError:
            return False
        return True

    def _methods(self) -> None:
        usual = (*FIRST, *FURTHER.get(self.plan.backend.name, ()))
        first = tuple(dict.fromkeys(self.methods or self.recipe.methods or FIRST))
        further = () if self.methods else tuple(name for name in usual if name not in first)
        if not judgeable(self.task):
            self._unjudged((*first, *further))
            return
        for method in first:
            self._try(method, {})
        if self.front[0].passed is False:
            return  # FP32 itself: no method and no layer left out can be expected to be better
        for method in further:
            if not self._held():
                self._try(method, {})
        self._without_layers()

    def _unjudged(self, methods: Sequence[str]) -> None:
        """The first method that can: nothing could say which of several is better."""
        for method in methods:
            if any(made.speed is not None for made in self._try(method, {})):
                return

    def _held(self) -> list[Candidate]:
        return [c for c in self.front if c.precision is Precision.INT8 and c.passed]

    def _try(self, method: str, excluded: dict[str, tuple[str, ...]]) -> list[Candidate]:
        """Quantise in one way; a candidate for each arithmetic of what is left."""
        made = Candidate(precision=Precision.INT8, method=method, excluded=excluded)
        try:
            files = self._quantised(made)
        except ColdmarkError as error:
            return [self._add(replace(made, note=_short(error)))]
        found = []
        for floating in self._floating():
            one = replace(made, floating=floating)
            self._files[one.name] = files
            found.append(self._add(self._measured(one, replaced(self.model, files))))
        return found

    def _floating(self) -> Iterator[Precision]:
        yield Precision.FP32
        if self.plan.backend.name == "openvino" and self._has(Precision.BF16):
            yield Precision.BF16

    def _quantised(self, made: Candidate) -> dict[str, Path]:
        quantise: Quantise = METHODS.load(made.method, where="--method")
        folder = self.place / f"{made.method}-{self._folders}"
        self._folders += 1  # of tries that failed too
        folder.mkdir(parents=True)
        files: dict[str, Path] = {}
        for network, path in self.paths.items():
            self.say(f"{made.name}: quantising {network}")
            files[network] = folder / f"{network}.onnx"
            quantise(
                Ask(
                    source=path,
                    target=files[network],
                    feeds=self.captured[network],
                    exclude=made.excluded.get(network, ()),
                    keep=self.recipe.keep,
                    transformer=self.recipe.transformer,
                )
            )
        return files

    # -- measuring -----------------------------------------------------------------------------------

    def _measured(self, made: Candidate, model: Model | Pipeline) -> Candidate:
        assert self._base is not None
        try:
            with opened(self.plan, self.task, model, made.precision, made.floating) as bare:
                judged = self._judged(bare, made)
                self.say(f"{made.name}: rate against FP32")
                ratios = speeds(self._base, bare, self.plan.harness.bare_s / 3)
        except (FP32Failed, Interrupted):
            raise
        except Exception as error:  # noqa: BLE001 - the runtime's edge: one candidate less
            return replace(made, note=_short(error))
        low, middle, high = np.quantile(ratios, (0.0, 0.5, 1.0)).tolist()
        return replace(judged, speed=middle, speed_low=low, speed_high=high)

    def _judged(self, bare: Pass, made: Candidate) -> Candidate:
        """The candidate with its accuracy, where this model has one."""
        gate = self.task.gate
        if gate is None or self.task.scorer is None or self.task.refusal:
            return made
        every, floor = self.task.samples, self._floor if made.precision is Precision.INT8 else None
        found = accuracy(
            bare, self.task, floor, lambda done: self.say(f"{made.name}: accuracy, {done} of {every}")
        )
        if not np.isfinite(found.value):
            raise DataError(f"its accuracy is no number: {found.value}", where=self.task.library.name)
        if made.precision is Precision.FP32 and found.part is not None:
            self._floor = floor_of(found.part, found.value, gate.target)
        if not found.whole:
            note = f"given up after {found.samples} samples: {found.value:.4f} where {floor:.4f} are needed"
            return replace(made, passed=False, note=note)
        return replace(made, accuracy=found.value, passed=found.value >= gate.target)

    def _add(self, made: Candidate) -> Candidate:
        self.front.append(made)
        return made

    # -- layers --------------------------------------------------------------------------------------

    def _without_layers(self) -> None:
        """Leave the worst layers of a promising method in floating point, as few as hold the gate."""
        best = max(self._held(), key=lambda c: c.speed or 0.0, default=None)
        failed = [
            c
            for c in self.front
            if c.precision is Precision.INT8
            and c.passed is False
            and c.name in self._files
            and (c.speed is None or best is None or _faster(c, best))
        ]
        if not failed or (best and all(c.speed is None for c in failed)):
            return
        start = max(failed, key=lambda c: (c.speed is not None, c.accuracy or 0.0, c.speed or 0.0))
        self.say(f"{start.name}: ranking layers")
        try:
            order = self._worst_first(start)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001 - the runtime's edge: what was found so far stands
            self.say(f"{start.name}: layers cannot be ranked: {_short(error)}")
            return
        wrong, right, count, tries = 0, None, 1, 0
        while tries < TRIES and 0 < count < len(order):
            found = self._try(start.method, grouped(order[:count]))
            held = any(c.passed for c in found)
            tries += 1
            if best and not held and all(_slower(c, best) for c in found):
                return  # what holds leaves more out, and is slower still
            wrong, right = (wrong, count) if held else (count, right)
            if right is not None and right - wrong <= 1:
                return
            count = min(2 * wrong, len(order) - 1) if right is None else (wrong + right) // 2
            if count == wrong:
                return

    def _worst_first(self, made: Candidate) -> list[tuple[str, str]]:
        """(network, node) of every quantised layer, by the noise it adds."""
        files = self._files[made.name]
        found = [
            (noise, network, node)
            for network, path in self.paths.items()
            for noise, node in ranked(path, files[network], self.captured[network])
        ]
        return [(network, node) for _, network, node in sorted(found, reverse=True)]


def grouped(layers: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """(network, node) pairs by network."""
    found: dict[str, tuple[str, ...]] = {}
    for network, node in layers:
        found[network] = (*found.get(network, ()), node)
    return found


def floor_of(part: float, whole: float, target: float) -> float:
    """What a candidate must reach on a part of the set where FP32 reached `part` there and `whole` on all.

    As far below `part` as the target is below `whole`, which need not be the reference; never above `part`.
    """
    return part * min(1.0, target / whole) if whole > 0 else part


def choice(front: Sequence[Candidate], least: float = 0.0) -> Candidate | None:
    """The fastest that holds the gate, or that cannot be judged; of equally fast ones the most accurate.

    Two are equally fast where the medians differ by less than the pairs of either scatter. None where that is
    FP32 itself: nothing else has at least `least` times its rate.
    """
    fits = [
        c
        for c in front
        if c.precision is not Precision.FP32
        and c.speed is not None
        and c.speed >= least
        and c.passed is not False
    ]
    if not fits:
        return None
    best = max(fits, key=lambda c: c.speed or 0.0)
    alike = [c for c in fits if c.precision is best.precision and _same_speed(c, best)]
    return max(alike, key=lambda c: (c.accuracy or 0.0, c.speed or 0.0, -c.left_out))


def _same_speed(one: Candidate, best: Candidate) -> bool:
    return (one.speed_high or 0.0) >= (best.speed or 0.0) and (one.speed or 0.0) >= (best.speed_low or 0.0)


def _faster(one: Candidate, best: Candidate) -> bool:
    return (one.speed or 0.0) > WORTH * (best.speed or 0.0) and not _same_speed(best, one)


def _slower(one: Candidate, best: Candidate) -> bool:
    return one.speed is not None and one.speed < (best.speed or 0.0) and not _same_speed(one, best)


def _short(error: Exception) -> str:
    text = error.message if isinstance(error, ColdmarkError) else f"{type(error).__name__}: {error}"
    return next(iter(text.splitlines()), type(error).__name__)[:160]
