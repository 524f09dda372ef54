"""Several targets of one head."""

from __future__ import annotations

import torch
from torch import nn

from .heads import Criterion
from .outcome_tasks import Choice, Cox, Hazard, Part, Regression, YesNo
from .outcomes import Outcome
from .tasks import Task, build_task


class Joint(Task):
    """Targets with logits of their own, in their order.

    What is known of a slide is a row of numbers (W,), those of the targets side by side, NaN where one is not
    known. The loss is the mean over targets of each one's mean over the slides of which it is known.
    """

    def __init__(self, outcomes: tuple[Outcome, ...]) -> None:
        parts = [build_part(outcome) for outcome in outcomes]
        super().__init__(sum(part.outputs for part in parts))
        self.parts = nn.ModuleList(parts)
        self._widths = [outcome.width for outcome in outcomes]

    def prepare(self, truth: torch.Tensor) -> None:
        """Take what training needs of what is known of the training slides (S, W)."""
        for part, own in zip(self._each(), torch.split(truth, self._widths, 1), strict=True):
            part.prepare(own[_known(own)])

    def settle(self, logits: torch.Tensor, truth: torch.Tensor) -> None:
        """Take what predictions need of the training slides (S, W), once their logits are learned."""
        for part, said, own in self._apart(logits, truth):
            part.settle(said[_known(own)], own[_known(own)])

    def learn(self, truth: torch.Tensor, imbalance: str) -> Criterion:
        """The loss of logits (B, outputs) for what is known (B, W), from that of the training slides.

        Args:
            truth: (S, W) of the training slides.
            imbalance: what is done about rare classes, as `TrainSpec` names it.
        """
        own = zip(self._each(), torch.split(truth, self._widths, 1), strict=True)
        criteria = [part.learn(of_part[_known(of_part)], imbalance) for part, of_part in own]

        def loss(logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            total = logits.float().sum() * 0
            apart = self._apart(logits.float(), values)
            for criterion, (_, said, of_part) in zip(criteria, apart, strict=True):
                rows = _known(of_part)
                if rows.any():
                    total = total + criterion(said[rows], of_part[rows])
            return total / len(criteria)

        return loss

    def answers(self, logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(part.answer(said) for part, said in zip(self._each(), self._logits(logits), strict=True))

    def columns(self, number: int) -> range:
        """The logits of a target."""
        sizes = [part.outputs for part in self._each()]
        return range(sum(sizes[:number]), sum(sizes[: number + 1]))

    @property
    def first(self) -> Part:
        """The first target."""
        return self._each()[0]

    def _each(self) -> list[Part]:
        return [part for part in self.parts if isinstance(part, Part)]

    def _logits(self, logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.split(logits, [part.outputs for part in self._each()], 1)

    def _apart(
        self, logits: torch.Tensor, truth: torch.Tensor
    ) -> list[tuple[Part, torch.Tensor, torch.Tensor]]:
        return list(zip(self._each(), self._logits(logits), torch.split(truth, self._widths, 1), strict=True))


def build_part(outcome: Outcome) -> Part:
    """The task of one target, with fresh parameters."""
    target = outcome.target
    if target.has_classes:
        return Choice(build_task(target.task, len(outcome.names)))
    if target.task == "labels":
        return YesNo(len(outcome.names))
    if target.survives:
        return (Cox if target.task == "cox" else Hazard)(outcome.times)
    return Regression()


def _known(truth: torch.Tensor) -> torch.Tensor:
    """(S,) where anything is known of one target (S, W)."""
    return ~truth.isnan().all(1)
