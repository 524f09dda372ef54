"""A small transformer that knows where patches lie: attention with linear biases (ALiBi) in two dimensions.

Press, Smith and Lewis, 2022, https://arxiv.org/abs/2108.12409, with the distance between patches for the
distance between words. Attention over all pairs does not fit for a large slide: there patches are first
averaged within the cells of a square grid, the finest of doubling size with at most `MOST_TOKENS` in use.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from .abmil import GatedAttention
from .bags import Bags
from .heads import Head, HeadOutput
from .projection import Projection
from .spec import TrainSpec

HEADS = 4
LAYERS = 2
MOST_TOKENS = 1024


class AlibiLayer(nn.Module):
    """Attention whose scores fall with distance, then a perceptron; each added to its input."""

    def __init__(self, spec: TrainSpec) -> None:
        super().__init__()
        self.norm, self.norm_mlp = nn.LayerNorm(spec.hidden), nn.LayerNorm(spec.hidden)
        self.qkv, self.out = nn.Linear(spec.hidden, 3 * spec.hidden), nn.Linear(spec.hidden, spec.hidden)
        self.mlp = nn.Sequential(
            nn.Linear(spec.hidden, 2 * spec.hidden), nn.GELU(), nn.Linear(2 * spec.hidden, spec.hidden)
        )
        self.drop = nn.Dropout(spec.dropout)

    def forward(self, tokens: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
        """Tokens (L, H) at pairwise distances (L, L), in steps of the grid."""
        slopes = 2.0 ** -(8 / HEADS * torch.arange(1, HEADS + 1, device=tokens.device, dtype=tokens.dtype))
        query, key, value = (
            part.reshape(len(tokens), HEADS, -1).transpose(0, 1)
            for part in self.qkv(self.norm(tokens)).chunk(3, 1)
        )
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=-slopes[:, None, None] * distance)
        tokens = tokens + self.drop(self.out(mixed.transpose(0, 1).flatten(1)))
        after: torch.Tensor = tokens + self.drop(self.mlp(self.norm_mlp(tokens)))
        return after


class AlibiTransformer(Head):
    """Project, average in cells where there are too many, attend over places, pool by gated attention."""

    def __init__(self, spec: TrainSpec, dim: int, outputs: int) -> None:
        super().__init__(dim)
        self.project = Projection(dim, spec.hidden, spec.dropout)
        self.layers = nn.ModuleList(AlibiLayer(spec) for _ in range(LAYERS))
        self.attend = GatedAttention(spec.hidden, spec.attention)
        self.classify = nn.Sequential(nn.Dropout(spec.dropout), nn.Linear(spec.hidden, outputs))

    def look(self, bags: Bags) -> HeadOutput:
        hidden = self.hidden(bags)
        counts = bags.counts.tolist()
        parts = zip(torch.split(hidden, counts), torch.split(bags.coords, counts), strict=True)
        each = [self._one(*part) for part in parts]
        return HeadOutput(torch.cat([e[0] for e in each]), torch.cat([e[1] for e in each]))

    def _one(self, hidden: torch.Tensor, coords: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (1, C) and attention (N, 1) of one bag."""
        places, cell = cells_of(coords)
        patches = torch.bincount(cell, minlength=len(places))
        tokens = hidden.new_zeros(len(places), hidden.shape[1]).index_add(0, cell, hidden) / patches[:, None]
        distance = torch.cdist(places.to(tokens.dtype), places.to(tokens.dtype))
        for layer in self.layers:
            tokens = layer(tokens, distance)
        weights = self.attend(tokens).softmax(0)
        return self.classify((weights * tokens).sum(0, keepdim=True)), (weights / patches[:, None])[cell]


def cells_of(coords: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Places (L, 2 or 3) in steps of the patches' grid, and the place (N,) that each patch belongs to.

    A step is the least distance between neighbours along an axis, doubled until the places are few enough.
    """
    from_corner = (coords - coords.min(0).values).long()
    steps = torch.stack([_step(axis) for axis in from_corner.unbind(1)])
    places, cell = torch.unique(from_corner // steps, dim=0, return_inverse=True)
    size = 1
    while len(places) > MOST_TOKENS:
        size *= 2
        places, cell = torch.unique(from_corner // (steps * size), dim=0, return_inverse=True)
    return places * size, cell


def _step(axis: torch.Tensor) -> torch.Tensor:
    gaps = torch.unique(axis).diff()
    return gaps.min() if len(gaps) else torch.ones((), dtype=torch.long, device=axis.device)
