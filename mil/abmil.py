"""Gated attention pooling: Ilse, Tomczak and Welling, 2018, https://arxiv.org/abs/1802.04712."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import linear

from .bags import Bags
from .heads import Head, HeadOutput
from .pooling import bag_softmax, weighted_sum
from .projection import Projection
from .spec import TrainSpec


class GatedAttention(nn.Module):
    """Scores (N, K) of embeddings (N, D): w^T (tanh(V h) * sigmoid(U h)), K times equation 9."""

    def __init__(self, dim: int, width: int, branches: int = 1) -> None:
        super().__init__()
        self.content = nn.Linear(dim, width)
        self.gate = nn.Linear(dim, width)
        # A bias here would cancel in the softmax.
        self.score = nn.Linear(width, branches, bias=False)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        # Both layers in one product: on wide matrices it runs faster than on two narrow ones.
        weight = torch.cat([self.content.weight, self.gate.weight])
        bias = torch.cat([self.content.bias, self.gate.bias])
        content, gate = linear(embeddings, weight, bias).chunk(2, dim=1)
        scores: torch.Tensor = self.score(content.tanh() * gate.sigmoid())
        return scores


class Abmil(Head):
    """Standardise, project, attend, sum, classify; one attention column for all classes."""

    takes_bfloat16 = True

    def __init__(self, spec: TrainSpec, dim: int, outputs: int) -> None:
        super().__init__(dim)
        self.project = Projection(dim, spec.hidden, spec.dropout)
        self.attend = GatedAttention(spec.hidden, spec.attention)
        self.classify = nn.Sequential(nn.Dropout(spec.dropout), nn.Linear(spec.hidden, outputs))

    def look(self, bags: Bags) -> HeadOutput:
        hidden = self.hidden(bags)
        attention = bag_softmax(self.attend(hidden), bags.offsets)
        pooled = weighted_sum(hidden, attention, bags.offsets)
        return HeadOutput(self.classify(pooled), attention)
