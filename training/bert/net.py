"""The network of BERT's `mini` in PyTorch: BERT's own structure, small, and the way its training begins."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coldmark.workloads.bert.architecture import Config

WAVES = 32
PLACES = slice(6, 6 + WAVES)
"""Where sines of periods of about ten to eighty pieces stand: alike where two pieces are close."""


class Layer(nn.Module):
    """Self-attention and feed-forward, each added to its input and normalised after (post-LN)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.hidden
        self.heads = config.heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.up, self.down = nn.Linear(width, config.intermediate), nn.Linear(config.intermediate, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            part(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, mask)
        x = self.attention_norm(x + self.out(mixed.transpose(1, 2).reshape(batch, length, width)))
        y: Tensor = self.norm(x + self.down(nn.functional.gelu(self.up(x))))
        return y


class Bert(nn.Module):
    """int64 [batch, length] ids, mask and segments to start and end logits [batch, length].

    The states after each layer are returned too, for `Hints`.
    """

    def __init__(self, config: Config, seed: int) -> None:
        super().__init__()
        width = config.hidden
        self.config = config
        self.word = nn.Embedding(config.vocabulary, width)
        self.position = nn.Embedding(config.positions, width)
        self.segment = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.answer = nn.Linear(width, 2)
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        """Weights as BERT draws them, but with positions as sines, and some maps near the identity.

        Query and key are alike: half the heads look at equal pieces from the first step, the others at what
        stands near, and value and output pass on what is seen. So a name that the question holds too is
        told by the question's segment mixed into it, and its neighbours by it (the idea of mimetic
        initialisation, Trockman and Kolter, 2023).
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5 * 0.5, generator=generator)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.1, generator=generator)
        with torch.no_grad():
            self.position.weight.copy_(0.1 * sines(self.config.positions, self.config.hidden))
            self.segment.weight[:, PLACES] = 0.0
            apart = nn.functional.normalize(self.segment.weight[1] - self.segment.weight[0], dim=0)
            for layer in self.layers:
                assert isinstance(layer, Layer)
                self._look(layer, apart, generator)
            self.word.weight[:, PLACES] = 0.0  # where only positions stand, nearness is seen clearly

    def _look(self, layer: Layer, apart: Tensor, generator: torch.Generator) -> None:
        """Half the heads of a layer look at equal pieces, blind to segments; the others look nearby."""
        width = self.config.hidden
        size = width // self.config.heads
        equal = torch.empty(width // 2, width)
        nn.init.normal_(equal, std=1.3 * width**-0.5, generator=generator)
        equal -= torch.outer(equal @ apart, apart)
        equal[:, PLACES] = 0.0
        near = torch.zeros(width - len(equal), width)
        for head, gain in enumerate(torch.linspace(2.2, 1.6, len(near) // size)):
            near[head * size : (head + 1) * size, PLACES] = gain * torch.eye(size)[:, :WAVES]
        for map_ in (layer.query, layer.key):
            map_.weight.add_(torch.cat((equal, near)))
        for map_ in (layer.value, layer.out):
            map_.weight.add_(0.7 * torch.eye(width))

    def forward(self, ids: Tensor, mask: Tensor, segments: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        x = self.word(ids) + self.segment(segments) + self.position.weight[: ids.shape[1]]
        x = self.norm(x)
        blocked = (1.0 - mask[:, None, None, :].float()) * -10000.0
        states = []
        for layer in self.layers:
            x = layer(x, blocked)
            states.append(x)
        start, end = self.answer(x).unbind(-1)
        return start, end, states


class Hints(nn.Module):
    """What each of the first layers should know of every piece, learned beside the answer, not exported.

    After the first: is it a value that the question names? After the second: has its sentence as many
    of them as any? After the third: is the answer in its sentence? From the answer alone, matching of
    question and passage takes most of a short training to appear.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.read = nn.ModuleList(nn.Linear(width, 1) for _ in range(count))
        for module in self.read:
            assert isinstance(module, nn.Linear)
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(self, states: list[Tensor], wanted: list[Tensor], passage: Tensor) -> Tensor:
        """Sum over the layers of the mean cross-entropy over the pieces of the passages."""
        losses = [
            nn.functional.binary_cross_entropy_with_logits(read(x).squeeze(-1)[passage], hint[passage])
            for read, x, hint in zip(self.read, states, wanted, strict=False)
        ]
        return torch.stack(losses).sum()


NAMES = {nn.LayerNorm: ("scale", "shift"), nn.Embedding: ("table", ""), nn.Linear: ("weight", "bias")}
"""What the ONNX builder calls `weight` and `bias` of each kind of module."""


def weights(model: Bert) -> dict[str, NDArray[np.float32]]:
    """The weights by the names that the ONNX builder gives them; dense ones turned to [in, out]."""
    found = {}
    for path, module in model.named_modules():
        if type(module) not in NAMES:
            continue
        first, second = NAMES[type(module)]
        weight = module.get_parameter("weight").detach().numpy()
        found[f"{_onnx_name(path)}.{first}"] = weight.T.copy() if isinstance(module, nn.Linear) else weight
        if second:
            found[f"{_onnx_name(path)}.{second}"] = module.get_parameter("bias").detach().numpy()
    return found


def _onnx_name(path: str) -> str:
    """Names as the ONNX builder has them: "layers.0.query" is "layer0.attention.query"."""
    head, *rest = path.split(".")
    if head != "layers":
        return "embed.norm" if path == "norm" else path
    number, part = rest
    inside = f"attention.{part}" if part in ("query", "key", "value", "out") else part.replace("_", ".")
    return f"layer{number}.{inside}"


def sines(positions: int, width: int) -> Tensor:
    """Sines and cosines of geometrically falling frequency, [positions, width]."""
    at = torch.arange(positions)[:, None]
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    return torch.stack([torch.sin(at * rate), torch.cos(at * rate)], -1).reshape(positions, width)
