"""Parameters and multiply-accumulates of a RetinaNet, from its plan alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coldmark.workloads.retinanet.anchors import PER_CELL
from coldmark.workloads.retinanet.architecture import EXPANSION, LEVELS, Plan, block_names


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution: its shape, whether a normalisation follows it, and the sides of all its outputs."""

    out: int
    inn: int  # channels in a group
    kernel: int
    normed: bool
    sides: tuple[int, ...]  # px; heads share theirs over the levels

    @property
    def macs(self) -> int:
        return self.out * self.inn * self.kernel**2 * sum(side * side for side in self.sides)

    def parameters(self, *, folded: bool) -> int:
        """Weights and what shifts them: scale and shift of a normalisation, or a bias."""
        return self.out * self.inn * self.kernel**2 + self.out * (2 if self.normed and not folded else 1)


def convolutions(plan: Plan) -> Iterator[Convolution]:
    """All convolutions of the network."""
    yield Convolution(plan.stem, 3, 7, True, (plan.side // 2,))
    side = plan.side // 4
    for _, inn, width, stride in block_names(plan):
        out = width * EXPANSION
        yield Convolution(width, inn, 1, True, (side,))
        if stride != 1 or inn != out:
            yield Convolution(out, inn, 1, True, (side // stride,))
        side //= stride
        yield Convolution(width, width // plan.groups, 3, True, (side,))
        yield Convolution(out, width, 1, True, (side,))
    p = plan.pyramid
    for cells, (_, width) in zip(plan.cells, plan.stages[-3:], strict=False):
        yield Convolution(p, width * EXPANSION, 1, False, (cells,))
        yield Convolution(p, p, 3, False, (cells,))
    for cells in plan.cells[-2:]:
        yield Convolution(p, p, 3, False, (cells,))
    assert len(plan.cells) == len(LEVELS)
    for values in (plan.classes, 4):
        for _ in range(plan.towers):
            yield Convolution(p, p, 3, False, plan.cells)
        yield Convolution(PER_CELL * values, p, 3, False, plan.cells)


def parameters(plan: Plan) -> int:
    """Trainable parameters."""
    return sum(c.parameters(folded=plan.folded) for c in convolutions(plan))


def macs(plan: Plan) -> int:
    """Multiply-accumulates of the convolutions for one image."""
    return sum(c.macs for c in convolutions(plan))
