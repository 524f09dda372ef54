"""TransMIL, a transformer over all patches of a bag: Shao et al., 2021, https://arxiv.org/abs/2106.00908."""

from __future__ import annotations

import math

import torch
from torch import nn

from .bags import Bags
from .heads import Head, HeadOutput
from .nystrom import NystromAttention
from .projection import Projection
from .spec import TrainSpec

HEADS = 8


class PyramidPositions(nn.Module):
    """Tokens on a square get what their neighbours hold, by depth-wise convolutions of three sizes (PPEG)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(hidden, hidden, size, padding=size // 2, groups=hidden) for size in (7, 5, 3)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(1, 1 + side * side, H) -> the same; the first token is no place and stays as it is."""
        first, places = tokens[:, :1], tokens[:, 1:]
        side = math.isqrt(places.shape[1])
        square = places.transpose(1, 2).reshape(1, -1, side, side)
        mixed = square + sum(convolution(square) for convolution in self.convolutions)
        return torch.cat([first, mixed.flatten(2).transpose(1, 2)], dim=1)


class AttentionLayer(nn.Module):
    """Tokens plus what they attend to, normalised before."""

    def __init__(self, spec: TrainSpec) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(spec.hidden)
        self.attend = NystromAttention(spec.hidden, HEADS, max(1, spec.hidden // 2))
        self.drop = nn.Dropout(spec.dropout)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        attended, first = self.attend(self.norm(tokens))
        return tokens + self.drop(attended), first


class TransMil(Head):
    """Class token and patches, laid out as a square in their order: attend, mix neighbours, attend, classify.

    Attention is what the class token attends to in the last layer. The approximation can make that
    slightly negative; it is cut off at 0 and scaled to sum to 1.
    """

    order_matters = True

    def __init__(self, spec: TrainSpec, dim: int, outputs: int) -> None:
        super().__init__(dim)
        self.project = Projection(dim, spec.hidden)
        self.token = nn.Parameter(torch.randn(1, 1, spec.hidden))
        self.first, self.last = AttentionLayer(spec), AttentionLayer(spec)
        self.positions = PyramidPositions(spec.hidden)
        self.norm = nn.LayerNorm(spec.hidden)
        self.classify = nn.Linear(spec.hidden, outputs)

    def look(self, bags: Bags) -> HeadOutput:
        hidden = self.hidden(bags)
        each = [self._one(part) for part in torch.split(hidden, bags.counts.tolist())]
        return HeadOutput(torch.cat([e[0] for e in each]), torch.cat([e[1] for e in each]))

    def _one(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (1, C) and attention (N, 1) of one bag."""
        count = len(hidden)
        side = math.ceil(math.sqrt(count))
        square = torch.cat([hidden, hidden[: side * side - count]])[None]
        tokens, _ = self.first(torch.cat([self.token, square], dim=1))
        tokens, attended = self.last(self.positions(tokens))
        return self.classify(self.norm(tokens[:, 0])), _on_patches(attended[1:], count)


def _on_patches(attended: torch.Tensor, count: int) -> torch.Tensor:
    """Of the places of the square (side * side,) to the patches (N, 1): some fill two places."""
    weights = attended.clamp(min=0)
    extra = len(weights) - count
    weights = torch.cat([weights[:extra] + weights[count:], weights[extra:count]])
    total = weights.sum()
    even = torch.full_like(weights, 1 / count)
    return torch.where(total > 0, weights / total.clamp(min=torch.finfo(weights.dtype).tiny), even)[:, None]
