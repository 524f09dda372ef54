"""Train one head on one fold."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .cache import LoadBag
from .heads import Criterion, Head, HeadOutput
from .imbalance import balanced_criterion
from .imbalance import class_shares as shares_of
from .joint import Joint
from .outcomes import Outcome
from .precision import stepping
from .registry import build_head, head_for
from .schedule import schedule_of
from .spec import TrainSpec
from .standardise import Moments
from .steps import Case, Step, known_of_each, training_steps, whole_bags
from .tasks import ClassTask


@dataclass(frozen=True)
class EpochReport:
    """Progress of one fold after an epoch.

    Attributes:
        fold, epoch: counted from 0.
        train_loss, validation_loss: means; NaN where no slides are set aside to stop by.
        lr: learning rate of the epoch.
        seconds: that the passes over the training and the validation slides took.
        waited: of these, those in which the next bags were not there yet.
        folds: how many are trained in all.
    """

    fold: int
    epoch: int
    train_loss: float
    validation_loss: float
    lr: float
    seconds: float
    waited: float
    folds: int


Progress = Callable[[EpochReport], None]


@dataclass(frozen=True, eq=False)
class FoldJob:
    """What one fold learns from.

    Attributes:
        fold: its number.
        classes: how many there are.
        train: slides with what is known of each: a class index, or a number per column of the
            targets' `truth`, NaN where it is not known.
        validation: such slides to stop by; none to learn for all epochs.
        moments: of the embeddings of the training slides.
        seed: of everything random in this fold.
        outcomes: the targets; none for the one with classes that the spec names.
        folds: how many are trained in all.
        covariates: (T, K) float32 of the training slides; None where heads take none.
    """

    fold: int
    classes: int
    train: Sequence[Case]
    validation: Sequence[Case]
    moments: Moments
    seed: int
    outcomes: tuple[Outcome, ...] = ()
    folds: int = 1
    covariates: NDArray[np.float32] | None = None


def fit_head(job: FoldJob, load: LoadBag, spec: TrainSpec, progress: Progress | None = None) -> Head:
    """The head of the epoch with the least validation loss, or of the last one where nothing is set aside to
    stop by; on the CPU, in evaluation mode.

    Leaves the global random state as it was; equal arguments give equal weights on one device.
    """
    with _reproducible(job.seed, spec):
        head = _fresh_head(job, spec)
        _descend(head.to(spec.device), job, load, spec, progress)
        if isinstance(head.task, Joint):
            head.task.settle(*_said(head, whole_bags(job.train, load)))
    return head.cpu().eval()


def restore_head(job: FoldJob, weights: dict[str, torch.Tensor], spec: TrainSpec) -> Head:
    """The head of a fold with weights that `fit_head` gave it before."""
    with _reproducible(job.seed, spec):
        head = _fresh_head(job, spec)
    head.load_state_dict(weights)
    return head.eval()


def _fresh_head(job: FoldJob, spec: TrainSpec) -> Head:
    dim = len(job.moments.mean)
    head = head_for(spec, dim, job.outcomes) if job.outcomes else build_head(spec, dim, job.classes)
    head.standardise.fit(job.moments)
    if isinstance(head.task, Joint):
        head.task.prepare(known_of_each(job.train))
    if job.covariates is not None:
        layer = head.take_covariates(job.covariates.shape[1], spec.fusion)
        layer.fit(torch.from_numpy(job.covariates))
    return head


def _criterion(head: Head, job: FoldJob, spec: TrainSpec) -> Criterion:
    if isinstance(head.task, Joint):
        return head.task.learn(known_of_each(job.train).to(spec.device), spec.imbalance)
    assert isinstance(head.task, ClassTask)
    return balanced_criterion(spec.imbalance, head.task, class_shares(job).to(spec.device))


@contextmanager
def _reproducible(seed: int, spec: TrainSpec) -> Iterator[None]:
    device, threads = torch.device(spec.device), torch.get_num_threads()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        torch.set_num_threads(spec.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _descend(head: Head, job: FoldJob, load: LoadBag, spec: TrainSpec, progress: Progress | None) -> None:
    optimiser = torch.optim.AdamW(head.parameters(), lr=spec.lr, weight_decay=spec.weight_decay)
    schedule = schedule_of(optimiser, spec)
    criterion = _criterion(head, job, spec)
    draw = torch.Generator().manual_seed(job.seed)
    best, best_epoch, best_state = float("inf"), 0, copy.deepcopy(head.state_dict())
    for epoch in range(spec.epochs):
        start, steps = time.perf_counter(), training_steps(job.train, load, spec, draw)
        lr = float(schedule.get_last_lr()[0])
        train_loss = train_epoch(head, steps, Descent(criterion, optimiser, spec))
        schedule.step()
        whole = whole_bags(job.validation, load)
        loss = _loss(head, whole, criterion) if job.validation else math.nan
        if progress:
            seconds, waited = time.perf_counter() - start, steps.waited + whole.waited
            progress(EpochReport(job.fold, epoch, train_loss, loss, lr, seconds, waited, job.folds))
        if loss < best:
            best, best_epoch, best_state = loss, epoch, copy.deepcopy(head.state_dict())
        elif job.validation and epoch - best_epoch >= spec.patience:
            break
    if job.validation:
        head.load_state_dict(best_state)


@dataclass(frozen=True, eq=False)
class Descent:
    """How the weights of a head follow a loss."""

    criterion: Criterion
    optimiser: torch.optim.Optimizer
    spec: TrainSpec


def train_epoch(head: Head, steps: Iterable[Step], descent: Descent) -> float:
    """One pass over the steps, each an optimiser step; the mean of their losses."""
    head.train()
    losses: list[float] = []
    for step in steps:
        with stepping(descent.spec, head):
            loss = _step_loss(head, head(step.bags.to(descent.spec.device)), step, descent.criterion)
        descent.optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(head.parameters(), descent.spec.max_grad_norm)
        descent.optimiser.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def _step_loss(head: Head, output: HeadOutput, step: Step, criterion: Criterion) -> torch.Tensor:
    """The loss of the targets, or of both targets of mixed bags."""
    loss = head.loss(output, step.targets, criterion)
    if step.others is None:
        return loss
    return step.share * loss + (1 - step.share) * head.loss(output, step.others, criterion)


def validation_loss(head: Head, slides: Sequence[Case], load: LoadBag, criterion: Criterion) -> float:
    """Of all slides together, each bag whole and alone, weighted as the criterion weighs classes."""
    return _loss(head, whole_bags(slides, load), criterion)


@torch.inference_mode()
def _loss(head: Head, steps: Iterable[Step], criterion: Criterion) -> float:
    return criterion(*_said(head, steps)).item()


@torch.inference_mode()
def _said(head: Head, steps: Iterable[Step]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (S, C) of all slides, and what is known of them."""
    head.eval()
    device = head.standardise.mean.device
    answers = [(head(step.bags.to(device)).logits, step.targets.to(device)) for step in steps]
    logits, known = (torch.cat(parts) for parts in zip(*answers, strict=True))
    return logits, known


def class_shares(job: FoldJob) -> torch.Tensor:
    """(C,) float32, the share of the training slides that is of each class."""
    return shares_of(known_of_each(job.train), job.classes)
