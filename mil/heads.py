"""What a head is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from .bags import Bags
from .standardise import Standardiser
from .tasks import Task

Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Loss of logits (B, C) for targets (B, ...)."""


@dataclass(frozen=True, eq=False)
class HeadOutput:
    """What every head says of B bags with N patches in all.

    Attributes:
        logits: (B, C).
        attention: (N, 1) or (N, C), not negative; each bag's column sums to 1.
    """

    logits: torch.Tensor
    attention: torch.Tensor


class Head(nn.Module, ABC):
    """A network from bags to classes that carries the standardisation of its embeddings.

    Args:
        dim: length of an embedding.

    Attributes:
        order_matters: whether logits depend on the order of a bag's patches, as they do where the
            published network lays them out in that order.
        takes_classes_only: whether its loss needs targets that are class indices.
        takes_bfloat16: whether training in bfloat16 was measured to cost no quality.
        task: what the logits mean; set by whoever builds the head for one.
    """

    order_matters: ClassVar[bool] = False
    takes_classes_only: ClassVar[bool] = False
    takes_bfloat16: ClassVar[bool] = False
    task: Task

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.standardise = Standardiser(dim)

    @abstractmethod
    def forward(self, bags: Bags) -> HeadOutput:
        """Logits and attention of the bags; a bag's result does not depend on its neighbours."""

    def loss(self, output: HeadOutput, targets: torch.Tensor, criterion: Criterion) -> torch.Tensor:
        """What training lowers: the criterion of the logits, and whatever the head's paper adds to it."""
        return criterion(output.logits, targets)
