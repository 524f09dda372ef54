"""DSMIL, attention by likeness to the critical patch: Li, Li and Eliceiri, 2021,
https://arxiv.org/abs/2011.08939."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from .bags import Bags
from .heads import Criterion, Head, HeadOutput, lift
from .plain_pools import top_rows
from .pooling import bag_index, bag_softmax, pool_each
from .projection import Projection
from .spec import TrainSpec


@dataclass(frozen=True, eq=False)
class DualOutput(HeadOutput):
    """Also the logits (B, C) of each stream: of the pooled bag, and of the critical patches."""

    pooled: torch.Tensor
    critical: torch.Tensor


class Dsmil(Head):
    """Two streams: the patch with the greatest logit of a class, and a pooling that attends to patches whose
    query is like that patch's. The logits are their mean."""

    def __init__(self, spec: TrainSpec, dim: int, outputs: int) -> None:
        super().__init__(dim)
        self.project = Projection(dim, spec.hidden, spec.dropout)
        self.instance = nn.Linear(spec.hidden, outputs)
        self.query = nn.Sequential(
            nn.Linear(spec.hidden, spec.attention),
            nn.ReLU(),
            nn.Linear(spec.attention, spec.attention),
            nn.Tanh(),
        )
        # The paper's convolution over the pooled embeddings of all classes: each class may use every one.
        self.classify = nn.Linear(outputs * spec.hidden, outputs)

    def look(self, bags: Bags) -> DualOutput:
        hidden = self.hidden(bags)
        patches = self.instance(hidden)
        rows = top_rows(patches, bags)
        queries = self.query(hidden)
        likeness = torch.stack(
            [(queries * queries[critical][bag_index(bags.offsets)]).sum(1) for critical in rows.unbind(1)], 1
        )
        attention = bag_softmax(likeness / math.sqrt(queries.shape[1]), bags.offsets)
        pooled = self.classify(pool_each(hidden, attention, bags.offsets).flatten(1))
        critical = patches.gather(0, rows)
        return DualOutput((pooled + critical) / 2, attention, pooled, critical)

    def lifted(self, output: HeadOutput, term: torch.Tensor) -> DualOutput:
        # The loss reads the streams, so the term must be in both.
        assert isinstance(output, DualOutput)
        streams = lift(output.pooled, term), lift(output.critical, term)
        return DualOutput(lift(output.logits, term), output.attention, *streams)

    def loss(self, output: HeadOutput, targets: torch.Tensor, criterion: Criterion) -> torch.Tensor:
        assert isinstance(output, DualOutput)
        return (criterion(output.pooled, targets) + criterion(output.critical, targets)) / 2
