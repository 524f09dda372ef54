"""What the heads of several folds say together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .decision import decide
from .joint import Joint
from .outcomes import Outcome
from .tasks import Task, attention_column


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to one target.

    Attributes:
        outcome: the target.
        each: (K, A) of each head that was asked, calibrated where it has classes: probabilities of classes or
            labels, the number, or survival at the outcome's times.
    """

    outcome: Outcome
    each: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """(A,) over the heads."""
        return np.asarray(self.each.mean(0))

    @property
    def spread(self) -> NDArray[np.float64]:
        """(A,) standard deviation over the heads; 0 where only one was used."""
        return np.asarray(self.each.std(0))

    @property
    def shown(self) -> int:
        """Which number explanations are about: the class that was decided on, the likeliest label, or the
        middle of the times."""
        if self.outcome.target.has_classes:
            return int(decide(self.mean[None], self.outcome.target.ordered)[0])
        return len(self.outcome.times) // 2 if self.outcome.target.survives else int(self.mean.argmax())

    def strength(self, answer: NDArray[np.float64]) -> float:
        """That number of another answer (A,); of survival the probability of the event."""
        value = float(answer[self.shown])
        return 1 - value if self.outcome.target.survives else value

    def attention(self, task: Task, columns: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) of attention (N, columns) what belongs to that number, where heads attend to each apart."""
        own = columns[:, task.columns(0)] if isinstance(task, Joint) and columns.shape[1] > 1 else columns
        if self.outcome.target.survives:
            return np.asarray(own.mean(1))
        return np.asarray(own[:, attention_column(self.shown, self.outcome.size, own.shape[1])])


@dataclass(frozen=True, eq=False, kw_only=True)
class Ensemble(ABC):
    """What the heads say of one subject; the first of the answers is explained.

    Attributes:
        answers: to every target.
        folds: (K,) the numbers of the heads that were used.
        familiarity: p-value of the slide being like the training slides; None where the head folder is
            older than that.
        seen: whether a head that was asked had trained on this subject or was stopped by it.
        held_out: whether the heads that were asked are those that held it out in training.
    """

    answers: tuple[Answer, ...]
    folds: tuple[int, ...]
    familiarity: float | None = None
    seen: bool = False
    held_out: bool = False

    @property
    @abstractmethod
    def subject(self) -> dict[str, str]:
        """What was graded, as columns of a table."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the first target, in the order of the probabilities; or of its labels."""
        return self.answers[0].outcome.names

    @property
    def fold_probabilities(self) -> NDArray[np.float64]:
        """(K, C) of each head that was used, calibrated."""
        return self.answers[0].each

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(C,) mean over the heads."""
        return self.answers[0].mean

    @property
    def spread(self) -> NDArray[np.float64]:
        """(C,) standard deviation over the heads; 0 where only one was used."""
        return self.answers[0].spread

    @property
    def predicted(self) -> str:
        """The class of greatest probability, or the median grade."""
        return self.classes[self.answers[0].shown]
