"""What the anchors of RetinaNet should answer, and the losses (Lin et al., 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.4
ALPHA, GAMMA = 0.25, 2.0
BOX_WEIGHT = 1.0


def iou(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Boxes [n, g, 4] against anchors [a, 4]: [n, g, a]; empty boxes overlap nothing."""
    low = torch.maximum(boxes[:, :, None, :2], anchors[:, :2])
    high = torch.minimum(boxes[:, :, None, 2:], anchors[:, 2:])
    inside = (high - low).clamp(min=0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    return inside / (area[:, :, None] + (anchors[:, 2:] - anchors[:, :2]).prod(-1) - inside).clamp(min=1e-6)


def match(boxes: Tensor, labels: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(label, box, counts) of every anchor: label -1 is background; counts is false between the two limits.

    Boxes [n, g, 4] are padded with zeros, labels [n, g] with -1. Every box gets at least its best anchors.
    """
    overlap = iou(boxes, anchors)
    best, which = overlap.max(1)
    highest = overlap.max(2, keepdim=True).values
    forced = (overlap == highest) & (highest > 0)
    foreground = (best >= FOREGROUND_IOU) | forced.any(1)
    label = torch.where(foreground, labels.gather(1, which), -1)
    box = boxes.gather(1, which[..., None].expand(-1, -1, 4))
    return label, box, foreground | (best < BACKGROUND_IOU)


def loss_of(logits: Tensor, deltas: Tensor, boxes: Tensor, labels: Tensor, anchors: Tensor) -> Tensor:
    """Focal loss of the classes and absolute error of the boxes, over the number of foreground anchors."""
    label, box, counts = match(boxes, labels, anchors)
    wanted = nn.functional.one_hot((label + 1), logits.shape[-1] + 1)[..., 1:].float()
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    score = torch.sigmoid(logits)
    missed = wanted * (1 - score) + (1 - wanted) * score
    weight = wanted * ALPHA + (1 - wanted) * (1 - ALPHA)
    focal = (weight * missed**GAMMA * entropy * counts[..., None]).sum()
    chosen = label >= 0
    size = (anchors[:, 2:] - anchors[:, :2]).expand(len(boxes), -1, -1)[chosen]
    middle = (anchors[:, :2] + anchors[:, 2:]).expand(len(boxes), -1, -1)[chosen] / 2
    target = box[chosen]
    apart = ((target[:, :2] + target[:, 2:]) / 2 - middle) / size
    scale = torch.log((target[:, 2:] - target[:, :2]) / size)
    off = nn.functional.smooth_l1_loss(
        deltas[chosen], torch.cat((apart, scale), 1), beta=0.1, reduction="sum"
    )
    return (focal + BOX_WEIGHT * off) / max(1, int(chosen.sum()))
