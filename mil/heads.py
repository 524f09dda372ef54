"""What a head is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn
from torch.nn.functional import pad

from .bags import Bags
from .fusion import CovariateLayer
from .pooling import bag_index
from .projection import Projection
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
        project: the first layer.
        early, late: where covariates join, before the first layer or at the logits; None of them by default.
    """

    order_matters: ClassVar[bool] = False
    takes_classes_only: ClassVar[bool] = False
    takes_bfloat16: ClassVar[bool] = False
    task: Task
    project: Projection
    early: CovariateLayer | None
    late: CovariateLayer | None

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.standardise = Standardiser(dim)
        self.early = self.late = None

    def forward(self, bags: Bags) -> HeadOutput:
        """Logits and attention of the bags; a bag's result does not depend on its neighbours."""
        output = self.look(bags)
        return self.lifted(output, self.late(bags.covariates)) if self.late else output

    @abstractmethod
    def look(self, bags: Bags) -> HeadOutput:
        """What `forward` gives, without a late term."""

    def lifted(self, output: HeadOutput, term: torch.Tensor) -> HeadOutput:
        """The output with a term (B, outputs) added to the last of its logits."""
        return replace(output, logits=lift(output.logits, term))

    def take_covariates(self, columns: int, fusion: str) -> CovariateLayer:
        """Make the head take so many covariates, by "late" or "intermediate" fusion; the layer to fit."""
        if fusion == "intermediate":
            self.early = CovariateLayer(columns, self.project.width)
            return self.early
        self.late = CovariateLayer(columns, self.task.outputs)
        return self.late

    def hidden(self, bags: Bags) -> torch.Tensor:
        """(N, H) what the first layer gives for the bags."""
        if self.early is None:
            return self.project.of_raw(bags.features, self.standardise)
        shift = self.early(bags.covariates), bag_index(bags.offsets)
        return self.project.of_raw(bags.features, self.standardise, shift)

    def loss(self, output: HeadOutput, targets: torch.Tensor, criterion: Criterion) -> torch.Tensor:
        """What training lowers: the criterion of the logits, and whatever the head's paper adds to it."""
        return criterion(output.logits, targets)


def lift(logits: torch.Tensor, term: torch.Tensor) -> torch.Tensor:
    """Logits (B, C) with a term (B, outputs) added to the last ones: those that a task reads."""
    return logits + pad(term, (logits.shape[1] - term.shape[1], 0))
