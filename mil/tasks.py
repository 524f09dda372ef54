"""What a head's logits mean: classes without an order, or grades that have one.

Tasks of classes say the log-probability of each; their loss is always the weighted negative logarithm of the
probability of the right one. For unordered classes that is the cross-entropy. Others are in `outcome_tasks`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import log_softmax, logsigmoid, nll_loss, pad, softplus

from ..errors import UsageError

SMALLEST_GAP = 1e-6


class Task(nn.Module, ABC):
    """What the logits of a head say. Part of the head, so that what it learns is kept with it.

    Attributes:
        outputs: logits that it reads, the last ones of a head.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    @abstractmethod
    def answers(self, logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """For each target (B, A) float64, of logits (B, >= outputs): probabilities, or whatever it asks."""


class ClassTask(Task):
    """From logits to the probabilities of C classes.

    Attributes:
        classes: how many there are, C.
    """

    def __init__(self, classes: int, outputs: int) -> None:
        super().__init__(outputs)
        self.classes = classes

    def answers(self, logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.probabilities(logits),)

    def log_probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, C) natural logarithms of probabilities that sum to 1, of logits (B, >= outputs)."""
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return self._read(wide[:, -self.outputs :])

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, C) float64."""
        return self.log_probabilities(logits.double()).exp()

    def criterion(self, weights: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """Mean loss of logits for class indices (B,), each slide weighted by its class: weights (C,)."""
        return lambda logits, targets: nll_loss(self.log_probabilities(logits), targets, weights)

    @abstractmethod
    def _read(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, C) log-probabilities of exactly the logits (B, outputs)."""


class Classes(ClassTask):
    """Classes without an order: softmax."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, classes)

    def _read(self, logits: torch.Tensor) -> torch.Tensor:
        return log_softmax(logits, dim=1)


class Corn(ClassTask):
    """Grades climbed one by one: logit k is of a grade above k, given that k is reached.

    Shi, Cao and Raschka, 2021, https://arxiv.org/abs/2111.08851. Their loss, a sum of binary
    cross-entropies over the slides that reach each grade, is the one here but for a constant: theirs is
    divided by the number of terms, ours by the number of slides. Logits are counted from even grades, as
    those of the other tasks are: were each climb as likely as not at first, a head would first have to learn
    how many grades lie above.
    """

    even: torch.Tensor

    def __init__(self, classes: int) -> None:
        super().__init__(classes, classes - 1)
        self.register_buffer("even", torch.arange(classes - 1.0, 0, -1).log(), persistent=False)

    def _read(self, logits: torch.Tensor) -> torch.Tensor:
        logits = logits + self.even
        reached = pad(logsigmoid(logits).cumsum(1), (1, 0))
        stayed = pad(logsigmoid(-logits), (0, 1))
        return reached + stayed


class CumulativeLink(ClassTask):
    """One severity per slide, cut into grades by learned thresholds: proportional odds.

    McCullagh, 1980, "Regression models for ordinal data": P(grade <= k) = sigmoid(threshold k - severity).
    """

    def __init__(self, classes: int) -> None:
        super().__init__(classes, 1)
        even = torch.logit(torch.arange(1, classes, dtype=torch.float64) / classes).float()
        self.first = nn.Parameter(even[:1].clone())
        # The inverse of softplus: thresholds stay in order whatever is learned.
        self.steps = nn.Parameter(even.diff().expm1().log())

    def gaps(self) -> torch.Tensor:
        """(C - 2,) distances between neighbouring thresholds, positive."""
        return softplus(self.steps).clamp(min=SMALLEST_GAP)

    def thresholds(self) -> torch.Tensor:
        """(C - 1,) ascending."""
        return torch.cat([self.first, self.first + self.gaps().cumsum(0)])

    def _read(self, logits: torch.Tensor) -> torch.Tensor:
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): no difference of near numbers.
        above = self.thresholds() - logits
        between = pad((-torch.expm1(-self.gaps())).log(), (1, 1))
        return pad(logsigmoid(above), (0, 1)) + pad(logsigmoid(-above), (1, 0)) + between


TASKS: dict[str, Callable[[int], ClassTask]] = {"classes": Classes, "corn": Corn, "link": CumulativeLink}


def build_task(name: str, classes: int) -> ClassTask:
    """A task with fresh parameters.

    Raises:
        UsageError: no such task; the known ones are named.
    """
    if name not in TASKS:
        raise UsageError(f"There is no task {name!r}.", f"Known tasks: {', '.join(TASKS)}.")
    return TASKS[name](classes)


def attention_column(predicted: int, classes: int, columns: int) -> int:
    """The column of attention (N, columns) that belongs to a class.

    Where the lowest grade has no logit of its own, a grade is seen by what raised the slide to it.
    """
    return max(0, predicted - (classes - columns))
