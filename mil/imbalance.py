"""What a loss does about classes that are rare among the training slides.

- "weighted": every class counts the same; each slide is weighed by the inverse of its class's share.
- "none": every slide counts the same.
- "sampled": every slide counts the same, and an epoch draws slides with replacement, each class as often.
- "focal": slides that are already right count less. Lin et al., 2017, https://arxiv.org/abs/1708.02002.
- "logit": learned with the class shares added to the logits, predicted without them, which is as good as
  possible for balanced accuracy. Menon et al., 2021, https://arxiv.org/abs/2007.07314.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import nll_loss

from .heads import Criterion
from .tasks import Task

FOCUS = 2.0
"""Gamma of the focal loss: the paper's."""


def _weighted(task: Task, shares: torch.Tensor) -> Criterion:
    return task.criterion((len(shares) * shares).reciprocal())


def _none(task: Task, shares: torch.Tensor) -> Criterion:
    return task.criterion(torch.ones_like(shares))


def _focal(task: Task, _: torch.Tensor) -> Criterion:
    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        right = task.log_probabilities(logits).gather(1, targets[:, None])
        return -((-torch.expm1(right)) ** FOCUS * right).mean()

    return loss


def _logit(task: Task, shares: torch.Tensor) -> Criterion:
    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nll_loss((task.log_probabilities(logits) + shares.log()).log_softmax(1), targets)

    return loss


CRITERIA: dict[str, Callable[[Task, torch.Tensor], Criterion]] = {
    "weighted": _weighted,
    "none": _none,
    "focal": _focal,
    "logit": _logit,
    "sampled": _none,
}


def balanced_criterion(name: str, task: Task, shares: torch.Tensor) -> Criterion:
    """The loss of logits (B, outputs) for class indices (B,), with shares (C,) of the training slides."""
    return CRITERIA[name](task, shares)
