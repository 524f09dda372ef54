"""Pooling without attention: what a head that attends must beat. Mean and max pooling as in Wang et al.,
2018, "Revisiting multiple instance neural networks", https://arxiv.org/abs/1610.02501."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from .bags import Bags
from .heads import Head, HeadOutput
from .pooling import bag_index, weighted_sum
from .projection import Projection
from .spec import TrainSpec


class MeanPool(Head):
    """Project, average, classify; every patch weighs the same."""

    takes_bfloat16 = True

    def __init__(self, spec: TrainSpec, dim: int, outputs: int) -> None:
        super().__init__(dim)
        self.project = Projection(dim, spec.hidden, spec.dropout)
        self.classify = nn.Sequential(nn.Dropout(spec.dropout), nn.Linear(spec.hidden, outputs))

    def look(self, bags: Bags) -> HeadOutput:
        hidden = self.hidden(bags)
        weights = (1 / bags.counts)[bag_index(bags.offsets), None]
        return HeadOutput(self.classify(weighted_sum(hidden, weights, bags.offsets)), weights)


class MaxPool(Head):
    """Project, classify every patch; the bag has each class's greatest, whose patch has all attention."""

    def __init__(self, spec: TrainSpec, dim: int, outputs: int) -> None:
        super().__init__(dim)
        self.project = Projection(dim, spec.hidden, spec.dropout)
        self.classify = nn.Linear(spec.hidden, outputs)

    def look(self, bags: Bags) -> HeadOutput:
        logits = self.classify(self.hidden(bags))
        chosen = top_rows(logits, bags)
        attention = torch.zeros_like(logits).scatter_(0, chosen, 1.0)
        return HeadOutput(logits.gather(0, chosen), attention)


def top_rows(scores: torch.Tensor, bags: Bags) -> torch.Tensor:
    """(B, C) int64, the first row of each bag with the greatest of the scores (N, C)."""
    ends = itertools.pairwise(bags.offsets.tolist())
    return torch.stack([scores[start:end].argmax(0) + start for start, end in ends])
