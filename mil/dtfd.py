"""DTFD-MIL, two tiers of attention over pseudo-bags: Zhang et al., 2022, https://arxiv.org/abs/2203.12081.

The variant "AFS": what a pseudo-bag hands to the second tier is its attention-pooled embedding. A patch's
attention is the product of both tiers, which is its exact weight in the bag's embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .abmil import GatedAttention
from .bags import Bags
from .heads import Criterion, Head, HeadOutput
from .pooling import bag_index, bag_softmax, weighted_sum
from .projection import Projection
from .spec import TrainSpec

PSEUDO_BAGS = 4
"""Per bag, or one per patch where there are fewer patches."""


@dataclass(frozen=True, eq=False)
class TieredOutput(HeadOutput):
    """Also the logits (P, C) of the pseudo-bags, and the bag (P,) that each is of."""

    pseudo: torch.Tensor
    owner: torch.Tensor


class Dtfd(Head):
    """Split each bag into pseudo-bags, attend within each, then attend over them."""

    order_matters = True
    takes_bfloat16 = True

    def __init__(self, spec: TrainSpec, dim: int, outputs: int) -> None:
        super().__init__(dim)
        self.project = Projection(dim, spec.hidden, spec.dropout)
        self.attend_patches = GatedAttention(spec.hidden, spec.attention)
        self.classify_pseudo = nn.Linear(spec.hidden, outputs)
        self.attend_pseudo = GatedAttention(spec.hidden, spec.attention)
        self.classify = nn.Linear(spec.hidden, outputs)

    def look(self, bags: Bags) -> TieredOutput:
        order, parts, of_bags = self._pseudo_bags(bags)
        hidden = self.hidden(bags)[order]
        within = bag_softmax(self.attend_patches(hidden), parts)
        pseudo = weighted_sum(hidden, within, parts)
        among = bag_softmax(self.attend_pseudo(pseudo), of_bags)
        attention = torch.empty_like(within)
        attention[order] = within * among[bag_index(parts)]
        logits = self.classify(weighted_sum(pseudo, among, of_bags))
        return TieredOutput(logits, attention, self.classify_pseudo(pseudo), bag_index(of_bags))

    def loss(self, output: HeadOutput, targets: torch.Tensor, criterion: Criterion) -> torch.Tensor:
        assert isinstance(output, TieredOutput)
        return criterion(output.logits, targets) + criterion(output.pseudo, targets[output.owner])

    def _pseudo_bags(self, bags: Bags) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The rows ordered by pseudo-bag (N,), where each begins (P + 1,), and the same of bags (B + 1,).

        At random in training, as published; in evaluation every fourth patch, so that the same bag gives
        the same logits.
        """
        counts = bags.counts.tolist()
        order, sizes = [], []
        for start, count in zip(bags.offsets.tolist(), counts, strict=False):
            rows = torch.randperm(count) if self.training else torch.arange(count)
            split = [rows[k::PSEUDO_BAGS] for k in range(min(PSEUDO_BAGS, count))]
            order += [part + start for part in split]
            sizes += [len(part) for part in split]
        device = bags.features.device
        pseudo = torch.tensor([min(PSEUDO_BAGS, count) for count in counts])
        return torch.cat(order).to(device), _ends(torch.tensor(sizes)).to(device), _ends(pseudo).to(device)


def _ends(sizes: torch.Tensor) -> torch.Tensor:
    return nn.functional.pad(sizes.cumsum(0), (1, 0))
