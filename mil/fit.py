"""Train one head on one fold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from .bags import Bags
from .cache import LoadBag
from .heads import Criterion, Head
from .registry import build_head
from .spec import TrainSpec
from .standardise import Moments


@dataclass(frozen=True)
class EpochReport:
    """Progress of one fold: mean losses after an epoch, both counted from 0."""

    fold: int
    epoch: int
    train_loss: float
    validation_loss: float


Progress = Callable[[EpochReport], None]


@dataclass(frozen=True, eq=False)
class FoldJob:
    """What one fold learns from.

    Attributes:
        fold: its number.
        classes: how many there are.
        train, validation: (slide, class index) pairs.
        moments: of the embeddings of the training slides.
        seed: of everything random in this fold.
    """

    fold: int
    classes: int
    train: Sequence[tuple[str, int]]
    validation: Sequence[tuple[str, int]]
    moments: Moments
    seed: int


def fit_head(job: FoldJob, load: LoadBag, spec: TrainSpec, progress: Progress | None = None) -> Head:
    """The head of the epoch with the least validation loss, on the CPU, in evaluation mode.

    Leaves the global random state as it was; equal arguments give equal weights on one device.
    """
    with _reproducible(job.seed, spec):
        head = build_head(spec, len(job.moments.mean), job.classes)
        head.standardise.fit(job.moments)
        _descend(head.to(spec.device), job, load, spec, progress)
    return head.cpu().eval()


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
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=spec.epochs)
    criterion = head.task.criterion(class_weights(job).to(spec.device))
    best, best_epoch, best_state = float("inf"), 0, copy.deepcopy(head.state_dict())
    for epoch in range(spec.epochs):
        train_loss = _train_epoch(
            head, _steps(job.train, load, spec), criterion, optimiser, spec.max_grad_norm
        )
        schedule.step()
        loss = validation_loss(head, job.validation, load, criterion)
        if progress:
            progress(EpochReport(job.fold, epoch, train_loss, loss))
        if loss < best:
            best, best_epoch, best_state = loss, epoch, copy.deepcopy(head.state_dict())
        elif epoch - best_epoch >= spec.patience:
            break
    head.load_state_dict(best_state)


def _train_epoch(
    head: Head,
    steps: Iterator[tuple[Bags, torch.Tensor]],
    criterion: Criterion,
    optimiser: torch.optim.Optimizer,
    max_grad_norm: float,
) -> float:
    head.train()
    losses: list[float] = []
    for bags, targets in steps:
        loss = head.loss(head(bags), targets, criterion)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(head.parameters(), max_grad_norm)
        optimiser.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def _steps(
    slides: Sequence[tuple[str, int]], load: LoadBag, spec: TrainSpec
) -> Iterator[tuple[Bags, torch.Tensor]]:
    """The slides in random order, a few ragged bags at a time, on the device."""
    for numbers in torch.split(torch.randperm(len(slides)), spec.bags_per_step):
        chosen = [slides[number] for number in numbers.tolist()]
        bags = Bags.of([load(slide).sample(spec.bag_size) for slide, _ in chosen])
        yield bags.to(spec.device), torch.tensor([target for _, target in chosen], device=spec.device)


@torch.inference_mode()
def validation_loss(
    head: Head, slides: Sequence[tuple[str, int]], load: LoadBag, criterion: Criterion
) -> float:
    """Mean over slides, each bag whole and alone, weighted as the criterion weighs classes."""
    head.eval()
    device = head.standardise.mean.device
    logits = torch.cat([head(load(slide).to(device)).logits for slide, _ in slides])
    targets = torch.tensor([target for _, target in slides], device=device)
    return criterion(logits, targets).item()


def class_weights(job: FoldJob) -> torch.Tensor:
    """(C,) float32, inverse to a class's share of the training slides: all classes weigh the same."""
    counts = torch.bincount(torch.tensor([target for _, target in job.train]), minlength=job.classes)
    return (job.classes * counts / len(job.train)).reciprocal()
