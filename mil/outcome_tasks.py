"""What logits mean that speak of no classes: a number, labels side by side, or survival."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch.nn.functional import logsigmoid, mse_loss

from .heads import Criterion
from .imbalance import balanced_criterion, class_shares
from .survival import baseline_hazard, cox_loss, hazard_loss, hazard_survival, interval_edges, life_table
from .tasks import ClassTask, Corn, Task

INTERVALS = 4
"""Of discrete time, as is usual for slides; each has as many events."""


class Part(Task):
    """One target: its logits (B, outputs) and what is known (B, W), of slides of which something is."""

    def prepare(self, truth: torch.Tensor) -> None:
        """Take what training needs of the training slides (S, W)."""

    def settle(self, logits: torch.Tensor, truth: torch.Tensor) -> None:
        """Take what predictions need of the training slides, once the logits are learned."""

    @abstractmethod
    def learn(self, truth: torch.Tensor, imbalance: str) -> Criterion:
        """The mean loss, from the training slides (S, W) and the name of what is done about imbalance."""

    @abstractmethod
    def answer(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, A) float64."""

    def answers(self, logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.answer(logits),)


class Choice(Part):
    """Classes or grades; what is known is the index."""

    def __init__(self, task: ClassTask) -> None:
        super().__init__(task.outputs)
        self.task = task

    def learn(self, truth: torch.Tensor, imbalance: str) -> Criterion:
        shares = class_shares(truth[:, 0].long(), self.task.classes)
        criterion = balanced_criterion(imbalance, self.task, shares.to(truth.device))
        return lambda logits, values: criterion(logits, values[:, 0].long())

    def answer(self, logits: torch.Tensor) -> torch.Tensor:
        return self.task.probabilities(logits)


class Regression(Part):
    """A number, standardised by the training slides, whose moments are kept."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self) -> None:
        super().__init__(1)
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("spread", torch.ones((), dtype=torch.float64))

    def prepare(self, truth: torch.Tensor) -> None:
        values = truth[:, 0].double()
        self.mean.copy_(values.mean())
        self.spread.copy_(values.std(correction=0))

    def learn(self, _truth: torch.Tensor, _imbalance: str) -> Criterion:
        def loss(logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            wanted = (values[:, 0] - self.mean) / self.spread
            return mse_loss(logits[:, 0], wanted.to(logits.dtype))

        return loss

    def answer(self, logits: torch.Tensor) -> torch.Tensor:
        return self.mean + self.spread * logits.double()


class YesNo(Part):
    """Labels that a slide has or has not, whatever the others are: a logit each."""

    def __init__(self, labels: int) -> None:
        super().__init__(labels)
        # Two classes by one logit: grades of which there are two.
        self.each = Corn(2)

    def learn(self, truth: torch.Tensor, imbalance: str) -> Criterion:
        criteria = [self._of_one(column, imbalance) for column in truth.T]

        def loss(logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            known = ~values.isnan()
            losses = [
                criterion(logits[rows, number, None], values[rows, number].long())
                for number, (criterion, rows) in enumerate(zip(criteria, known.T, strict=True))
                if rows.any()
            ]
            return torch.stack(losses).sum() / len(criteria)

        return loss

    def answer(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.double().sigmoid()

    def _of_one(self, column: torch.Tensor, imbalance: str) -> Criterion:
        shares = class_shares(column[~column.isnan()].long(), 2)
        return balanced_criterion(imbalance, self.each, shares.to(column.device))


class Cox(Part):
    """A log hazard ratio, constant over time; survival by Breslow's baseline of the training slides."""

    times: torch.Tensor
    baseline: torch.Tensor

    def __init__(self, times: tuple[float, ...]) -> None:
        super().__init__(1)
        self.register_buffer("times", torch.tensor(times, dtype=torch.float64))
        self.register_buffer("baseline", torch.zeros(len(times), dtype=torch.float64))

    def learn(self, _truth: torch.Tensor, _imbalance: str) -> Criterion:
        return lambda logits, values: cox_loss(logits[:, 0], values[:, 0], values[:, 1] == 1)

    def settle(self, logits: torch.Tensor, truth: torch.Tensor) -> None:
        risk, times = logits[:, 0].double(), truth[:, 0].double()
        self.baseline.copy_(baseline_hazard(risk, times, truth[:, 1] == 1, self.times))

    def answer(self, logits: torch.Tensor) -> torch.Tensor:
        return (-self.baseline * logits.double().exp()).exp()


class Hazard(Part):
    """The probability of an event in each of some intervals, where it is reached.

    A logit is the distance from the log-odds of all training slides: a head begins with what is true of all.
    """

    times: torch.Tensor
    edges: torch.Tensor
    base: torch.Tensor

    def __init__(self, times: tuple[float, ...]) -> None:
        super().__init__(INTERVALS)
        self.register_buffer("times", torch.tensor(times, dtype=torch.float64))
        self.register_buffer("edges", torch.arange(INTERVALS + 1, dtype=torch.float64))
        self.register_buffer("base", torch.zeros(INTERVALS, dtype=torch.float64))

    def prepare(self, truth: torch.Tensor) -> None:
        times, events = truth[:, 0].double(), truth[:, 1] == 1
        self.edges.copy_(interval_edges(times, events, INTERVALS))
        self.base.copy_(life_table(times, events, self.edges))

    def learn(self, _truth: torch.Tensor, _imbalance: str) -> Criterion:
        return lambda logits, values: hazard_loss(
            logits + self.base, values[:, 0].double(), values[:, 1] == 1, self.edges
        )

    def answer(self, logits: torch.Tensor) -> torch.Tensor:
        return hazard_survival(logits.double() + self.base, self.edges, self.times)

    def log_odds(self, logits: torch.Tensor) -> torch.Tensor:
        """(B,) of an event before the last interval ends."""
        outlives = logsigmoid(-logits.double() - self.base).sum(1)
        return torch.log(-torch.expm1(outlives)) - outlives
