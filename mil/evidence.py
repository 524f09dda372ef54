"""How strongly logits speak for a class, or for more: the one number that explanations take apart."""

from __future__ import annotations

import torch

from .joint import Joint
from .outcome_tasks import Choice, Hazard, Part, YesNo
from .tasks import ClassTask, Task


def evidence(task: Task, logits: torch.Tensor, label: int) -> torch.Tensor:
    """(B,) float64 log-odds of a class against all others together, log p / (1 - p), of logits (B, C).

    Between two unordered classes it is the difference of their logits. Unlike a probability it does not
    level off where a head is sure. Of several targets it is that of the first; of one without classes the
    log-odds of a label or of an event, the log hazard ratio, or the standardised number.
    """
    wide = logits.double()
    if isinstance(task, Joint):
        return _of_part(task.first, wide[:, task.columns(0)], label)
    assert isinstance(task, ClassTask)
    return _of_class(task, wide, label)


def _of_part(part: Part, logits: torch.Tensor, label: int) -> torch.Tensor:
    if isinstance(part, Choice):
        return _of_class(part.task, logits, label)
    if isinstance(part, Hazard):
        return part.log_odds(logits)
    return logits[:, label if isinstance(part, YesNo) else 0]


def _of_class(task: ClassTask, logits: torch.Tensor, label: int) -> torch.Tensor:
    logs = task.log_probabilities(logits)
    others = torch.cat([logs[:, :label], logs[:, label + 1 :]], dim=1)
    return logs[:, label] - others.logsumexp(1)
