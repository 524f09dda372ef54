"""How strongly logits speak for a class: the one number that explanations take apart."""

from __future__ import annotations

import torch

from .tasks import Task


def evidence(task: Task, logits: torch.Tensor, label: int) -> torch.Tensor:
    """(B,) float64 log-odds of a class against all others together, log p / (1 - p), of logits (B, C).

    Between two unordered classes it is the difference of their logits. Unlike a probability it does not
    level off where a head is sure.
    """
    logs = task.log_probabilities(logits.double())
    others = torch.cat([logs[:, :label], logs[:, label + 1 :]], dim=1)
    return logs[:, label] - others.logsumexp(1)
