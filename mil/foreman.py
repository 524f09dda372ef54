"""Who trains the folds: one after the other or at once, none twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .cache import LoadBag
from .cases import Cases
from .crew import Task, Weights, train_at_once
from .fit import FoldJob, Progress, fit_head, restore_head
from .heads import Head
from .history import History
from .spec import TrainSpec
from .unfinished import Unfinished


class Foreman:
    """Trains folds and keeps each, or takes what an earlier run kept of it.

    Args:
        unfinished: where finished folds are kept.
        cases: where bags come from, for folds that are trained at once.
        spec: how to train.
        progress: told of every epoch.

    Attributes:
        history: of all folds, also of those that an earlier run trained.
    """

    def __init__(
        self, unfinished: Unfinished, cases: Cases, spec: TrainSpec, progress: Progress | None
    ) -> None:
        self._unfinished, self._cases, self._spec = unfinished, cases, spec
        self.history = History(progress)

    def heads(self, jobs: Iterable[FoldJob], load: LoadBag) -> list[Head]:
        """The head of each job, in their order; `load` gives bags to folds that are trained here."""
        every = list(jobs)
        weights = {job.fold: known for job in every if (known := self._known(job.fold)) is not None}
        todo = [job for job in every if job.fold not in weights]
        for fold, trained in self._trained(todo, load):
            self._unfinished.keep(fold, trained, self.history.epochs[fold])
            weights[fold] = trained
        return [restore_head(job, weights[job.fold], self._spec) for job in every]

    def _known(self, fold: int) -> Weights | None:
        kept = self._unfinished.kept(fold)
        if kept is None:
            return None
        self.history.epochs[fold] = kept.epochs
        return kept.weights

    def _trained(self, jobs: Sequence[FoldJob], load: LoadBag) -> Iterator[tuple[int, Weights]]:
        if self._spec.jobs > 1 and len(jobs) > 1:
            yield from train_at_once(jobs, Task(self._cases, self._spec), self.history)
            return
        for job in jobs:
            yield job.fold, fit_head(job, load, self._spec, self.history).state_dict()
