"""The network of `mini` in PyTorch, with the parameter names of MLPerf's own checkpoint, and its loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from coldmark.workloads.rnnt.architecture import Shape

NEVER = -1e30
"""A log probability that adds nothing; -inf would make gradients of NaN."""


class Lstm(nn.Module):
    """Layers of LSTM with dropout between and after them; the forget gate starts open."""

    def __init__(self, inputs: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, layers, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        for name, bias in self.lstm.named_parameters():
            if "bias" in name:
                with torch.no_grad():
                    bias[hidden : 2 * hidden] = 1.0 if "bias_ih" in name else 0.0

    def forward(self, x: Tensor) -> Tensor:
        """[steps, batch, inputs] to [steps, batch, hidden]."""
        return self.dropout(self.lstm(x)[0])


class Encoder(nn.Module):
    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.pre_rnn = Lstm(shape.features, shape.encoder, shape.pre_layers, dropout)
        self.post_rnn = Lstm(2 * shape.encoder, shape.encoder, shape.post_layers, dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """[frames, batch, features], frames even, to [batch, frames / 2, hidden]."""
        return self.after(self.pre_rnn(x), lengths)

    def after(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The layers after the first ones: [frames, batch, hidden] to [batch, frames / 2, hidden]."""
        frames, batch, hidden = x.shape
        x = x * (torch.arange(frames)[:, None] < lengths)[:, :, None]
        x = x.view(frames // 2, 2, batch, hidden).transpose(1, 2).reshape(frames // 2, batch, 2 * hidden)
        return self.post_rnn(x).transpose(0, 1)


class Prediction(nn.Module):
    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(shape.symbols - 1, shape.prediction)
        self.dec_rnn = Lstm(shape.prediction, shape.prediction, shape.prediction_layers, dropout)

    def forward(self, labels: Tensor) -> Tensor:
        """[batch, labels] to [batch, labels + 1, hidden]: after nothing, after the first label, and so on."""
        x = nn.functional.pad(self.embed(labels), (0, 0, 1, 0))
        return self.dec_rnn(x.transpose(0, 1)).transpose(0, 1)


class Joint(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.split = shape.encoder
        self.net = nn.ModuleDict(
            {
                "0": nn.Linear(shape.encoder + shape.prediction, shape.joint),
                "3": nn.Linear(shape.joint, shape.symbols),
            }
        )

    def forward(self, frames: Tensor, labels: Tensor) -> Tensor:
        """[batch, t, encoder] and [batch, u, prediction] to logits [batch, t, u, symbols]."""
        first, last = self.net["0"], self.net["3"]
        heard = nn.functional.linear(frames, first.weight[:, : self.split], first.bias)
        said = nn.functional.linear(labels, first.weight[:, self.split :])
        return last((heard[:, :, None] + said[:, None]).relu_())


class Rnnt(nn.Module):
    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.encoder = Encoder(shape, dropout)
        self.prediction = Prediction(shape, dropout)
        self.joint = Joint(shape)

    def forward(self, x: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        """Logits [batch, t, labels + 1, symbols]."""
        return self.joint(self.encoder(x, lengths), self.prediction(labels))


def _skewed(x: Tensor, fill: float) -> Tensor:
    """[batch, t, u] to [t + u - 1, batch, u]: row d holds x[:, d - j, j], `fill` where that is outside."""
    batch, frames, places = x.shape
    padded = torch.nn.functional.pad(x.transpose(1, 2), (0, places), value=fill)  # [batch, u, t + u]
    # A row of t + u cut to t + u - 1 by the flat view moves every next row one place to the right.
    flat = padded.reshape(batch, -1)[:, : places * (frames + places - 1)]
    return flat.view(batch, places, frames + places - 1).permute(2, 0, 1)


def transducer_loss(logits: Tensor, labels: Tensor, frames: Tensor, places: Tensor) -> Tensor:
    """Negative log probability of each utterance's labels, summed over all alignments; shape [batch].

    logits [batch, t, u + 1, symbols] with the blank last, labels [batch, u], frames and places [batch] the
    true lengths, frames >= 1. Equations 14 to 18 of Graves, "Sequence Transduction with Recurrent Neural
    Networks" (2012), one anti-diagonal of the lattice a step.
    """
    total = torch.logsumexp(logits, dim=-1)
    batch, width = labels.shape[0], labels.shape[1] + 1
    chosen = labels[:, None, :, None].expand(-1, logits.shape[1], -1, -1)
    blank = _skewed(logits[..., -1] - total, NEVER)
    said = logits[:, :, :-1].gather(3, chosen).squeeze(3) - total[:, :, :-1]
    label = _skewed(nn.functional.pad(said, (0, 1), value=NEVER), NEVER)
    alpha = torch.full((batch, width), NEVER)
    alpha[:, 0] = 0.0
    rows = [alpha]
    for step in range(len(blank) - 1):
        moved = nn.functional.pad((alpha + label[step])[:, :-1], (1, 0), value=NEVER)
        alpha = torch.logaddexp(alpha + blank[step], moved)
        rows.append(alpha)
    ends, each = frames - 1 + places, torch.arange(batch)
    return -(torch.stack(rows)[ends, each, places] + blank[ends, each, places])
