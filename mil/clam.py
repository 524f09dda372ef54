"""CLAM, attention with an instance clustering loss: Lu et al., 2021, https://arxiv.org/abs/2004.09666."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from .abmil import GatedAttention
from .bags import Bags
from .heads import Criterion, Head, HeadOutput
from .multibranch import BranchClassifier
from .pooling import bag_softmax, pool_each
from .projection import Projection
from .spec import TrainSpec

PATCHES = 8
"""Patches of most, and as many of least, attention that the clustering learns from: B of the paper."""

BAG_WEIGHT = 0.7
"""Share of the bag's loss in the whole, c1 of the paper."""


@dataclass(frozen=True, eq=False)
class ClamOutput(HeadOutput):
    """Also what the instance loss needs: hidden (N, H), scores before the softmax (N, 1 or C), offsets."""

    hidden: torch.Tensor
    scores: torch.Tensor
    offsets: torch.Tensor


class Clam(Head):
    """Gated attention whose most and least attended patches must be told apart by a classifier per class.

    Args:
        branches: attention columns: 1 for CLAM-SB, one per class for CLAM-MB.
    """

    takes_classes_only = True
    takes_bfloat16 = True

    def __init__(self, spec: TrainSpec, dim: int, outputs: int, branches: int) -> None:
        super().__init__(dim)
        self.branches = branches
        self.project = Projection(dim, spec.hidden, spec.dropout)
        self.attend = GatedAttention(spec.hidden, spec.attention, branches)
        self.classify = (
            BranchClassifier(spec.hidden, outputs) if branches > 1 else nn.Linear(spec.hidden, outputs)
        )
        self.clusters = nn.ModuleList(nn.Linear(spec.hidden, 2) for _ in range(outputs))

    def look(self, bags: Bags) -> ClamOutput:
        hidden = self.hidden(bags)
        scores = self.attend(hidden)
        attention = bag_softmax(scores, bags.offsets)
        pooled = pool_each(hidden, attention, bags.offsets)
        logits = self.classify(pooled if self.branches > 1 else pooled[:, 0])
        return ClamOutput(logits, attention, hidden, scores, bags.offsets)

    def loss(self, output: HeadOutput, targets: torch.Tensor, criterion: Criterion) -> torch.Tensor:
        assert isinstance(output, ClamOutput)
        bag = criterion(output.logits, targets)
        return BAG_WEIGHT * bag + (1 - BAG_WEIGHT) * self.instance_loss(output, targets)

    def instance_loss(self, output: ClamOutput, targets: torch.Tensor) -> torch.Tensor:
        """Mean over bags: for the bag's own class, the most attended patches belong to it and the least do
        not; for every other class, the most attended by it do not."""
        sizes = output.offsets.diff().tolist()
        parts = torch.split(output.hidden, sizes), torch.split(output.scores, sizes)
        bags = zip(*parts, targets.tolist(), strict=True)
        losses = [self._of_bag(hidden, scores, target) for hidden, scores, target in bags]
        return torch.stack(losses).mean()

    def _of_bag(self, hidden: torch.Tensor, scores: torch.Tensor, target: int) -> torch.Tensor:
        total = hidden.new_zeros(())
        for number, cluster in enumerate(self.clusters):
            column = scores[:, number if self.branches > 1 else 0]
            count = min(PATCHES, len(column))
            most = hidden[column.topk(count).indices]
            if number == target:
                least = hidden[(-column).topk(count).indices]
                inside = torch.arange(2 * count, device=hidden.device) < count
                total = total + smooth_svm(cluster(torch.cat([most, least])), inside.long())
            else:
                total = total + smooth_svm(cluster(most), most.new_zeros(count, dtype=torch.long))
        return total


def smooth_svm(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Smooth top-1 support vector loss of logits (M, 2) with unit margin and temperature.

    Berrada, Zisserman and Kumar, 2018, https://arxiv.org/abs/1802.07595, equation 9 with k = 1: it is the
    cross-entropy of logits of which all but the target's have the margin added.
    """
    return cross_entropy(logits.float() + 1 - one_hot(targets, logits.shape[1]), targets)
