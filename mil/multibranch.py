"""One attention per class: each class looks for its own evidence. The multi-branch design of CLAM-MB
without its instance loss: Lu et al., 2021, https://arxiv.org/abs/2004.09666."""

from __future__ import annotations

import torch
from torch import nn

from .abmil import GatedAttention
from .bags import Bags
from .heads import Head, HeadOutput
from .pooling import bag_softmax, pool_each
from .projection import Projection
from .spec import TrainSpec


class BranchClassifier(nn.Module):
    """Logits (B, C) of one pooled embedding per class (B, C, H): class c reads only its own."""

    def __init__(self, hidden: int, outputs: int) -> None:
        super().__init__()
        plain = nn.Linear(hidden, outputs)
        self.weight, self.bias = plain.weight, plain.bias

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return (pooled * self.weight).sum(2) + self.bias


class MultiBranchAbmil(Head):
    """Standardise, project, attend once per class, classify each class from what it attended to."""

    takes_bfloat16 = True

    def __init__(self, spec: TrainSpec, dim: int, outputs: int) -> None:
        super().__init__(dim)
        self.project = Projection(dim, spec.hidden, spec.dropout)
        self.attend = GatedAttention(spec.hidden, spec.attention, outputs)
        self.drop = nn.Dropout(spec.dropout)
        self.classify = BranchClassifier(spec.hidden, outputs)

    def look(self, bags: Bags) -> HeadOutput:
        hidden = self.hidden(bags)
        attention = bag_softmax(self.attend(hidden), bags.offsets)
        pooled = pool_each(hidden, attention, bags.offsets)
        return HeadOutput(self.classify(self.drop(pooled)), attention)
