"""DLRM in PyTorch, its parameters named as MLPerf's checkpoint names them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from coldmark.workloads.dlrm.architecture import Config


def _mlp(widths: tuple[int, ...], last: nn.Module, generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inn, out in pairwise(widths):
        linear = nn.Linear(inn, out)
        nn.init.normal_(linear.weight, 0.0, (2.0 / (inn + out)) ** 0.5, generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1], last)


class Dlrm(nn.Module):
    """Dot interaction without self; `forward` gives log-odds, the exported graph ends in a sigmoid."""

    def __init__(self, config: Config, generator: torch.Generator) -> None:
        super().__init__()
        self.bot_l = _mlp((config.dense, *config.bottom), nn.ReLU(), generator)
        self.top_l = _mlp((config.top_input, *config.top), nn.Identity(), generator)
        self.table = nn.Parameter(torch.empty(sum(config.rows), config.dimension))
        nn.init.normal_(self.table, 0.0, 0.25, generator=generator)
        self.register_buffer("starts", torch.from_numpy(config.starts))
        features = len(config.rows) + 1
        row, column = torch.tril_indices(features, features, -1)
        self.register_buffer("below", row * features + column)

    def forward(self, dense: Tensor, category: Tensor) -> Tensor:
        """Log of counts plus one [n, 13], categories [n, 26] -> log-odds [n]."""
        x = self.bot_l(dense)
        rows = nn.functional.embedding(category + self.starts, self.table)
        features = torch.cat((x.unsqueeze(1), rows), 1)
        dots = torch.bmm(features, features.transpose(1, 2))
        met = dots.flatten(1).index_select(1, self.below)
        return self.top_l(torch.cat((x, met), 1)).squeeze(1)
