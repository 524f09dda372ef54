"""Patient-grouped cross-validation: every slide is predicted by a head that never saw its patient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError
from .bags import Bags
from .baseline import linear_probe
from .cache import LoadBag
from .calibration import Calibration, OutOfFold, calibrate
from .familiarity import TrainingBags
from .fit import FoldJob, fit_head
from .heads import Head
from .labels import Labels
from .metrics import Estimate, Predicted, evaluate
from .spec import TrainSpec
from .splits import assign_folds, validation_part
from .standardise import Moments

FitFold = Callable[[FoldJob], Head]


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """One head per fold, and what it says of the slides it never saw.

    Attributes:
        labels: S slides, in the order of the rows below.
        fold: (S,) the fold that held each slide out.
        heads: one per fold.
        calibration: temperatures, and what they were learned from.
        probabilities: (S, C) out-of-fold, of the heads, calibrated by the other folds.
        probe: (S, C) out-of-fold, of the linear probe.
        known: what the training slides look like.
        metrics: "head", "head_uncalibrated" and "linear_probe", each with every metric.
    """

    labels: Labels
    fold: NDArray[np.int64]
    heads: tuple[Head, ...]
    calibration: Calibration
    probabilities: NDArray[np.float64]
    probe: NDArray[np.float64]
    known: TrainingBags
    metrics: dict[str, dict[str, Estimate]]


def cross_validate(
    labels: Labels, load: LoadBag, spec: TrainSpec, fit: FitFold | None = None
) -> CrossValidation:
    """Train and judge one head per fold, and a linear probe on the same folds.

    Args:
        labels: the slides to use.
        load: gives the single bag of a slide; called many times for each.
        spec: how to train.
        fit: trains the head of a fold; by default `fit_head` does.

    Raises:
        UsageError: the labels cannot be split as the spec asks, or have no order and its task needs one.
    """
    if spec.ordered and not labels.ordered:
        raise UsageError(
            f"Task {spec.task} needs grades, and the order of {', '.join(labels.classes)} is not known.",
            "Write grades as numbers, or use the task classes.",
        )
    fold = assign_folds(labels, spec.folds, spec.seed)
    validation = [_validation_of(labels, fold, number, spec) for number in range(spec.folds)]
    moments = [Moments.of_bag(load(slide)) for slide in labels.slides]
    jobs = _jobs(labels, fold, validation, moments, spec)
    heads = tuple(map(fit or (lambda job: fit_head(job, load, spec)), jobs))
    raw = np.stack(
        [probabilities_of(heads[k], load(slide)) for slide, k in zip(labels.slides, fold, strict=True)]
    )
    calibration = calibrate(OutOfFold(labels.patients, fold, labels.targets, raw))
    probabilities = np.array(calibration.probabilities)
    probe = linear_probe(torch.stack([m.mean for m in moments]).numpy(), labels.targets, fold)
    metrics = {
        name: evaluate(Predicted(labels.patients, labels.targets, p, spec.ordered), spec.bootstrap, spec.seed)
        for name, p in (("head", probabilities), ("head_uncalibrated", raw), ("linear_probe", probe))
    }
    known = TrainingBags.of(moments, fold)
    return CrossValidation(labels, fold, heads, calibration, probabilities, probe, known, metrics)


@torch.inference_mode()
def probabilities_of(head: Head, bag: Bags) -> NDArray[np.float64]:
    """(C,) class probabilities of a single bag, not calibrated."""
    return head.task.probabilities(head(bag).logits)[0].numpy()


def _validation_of(
    labels: Labels, fold: NDArray[np.int64], number: int, spec: TrainSpec
) -> NDArray[np.bool_]:
    """(S,) True for the slides that fold `number` stops training by."""
    others = np.flatnonzero(fold != number)
    inside = Labels(tuple(labels.entries[i] for i in others), labels.classes)
    chosen = np.zeros(len(fold), dtype=np.bool_)
    chosen[others] = validation_part(inside, spec.seed)
    return chosen


def _jobs(
    labels: Labels,
    fold: NDArray[np.int64],
    validation: list[NDArray[np.bool_]],
    moments: list[Moments],
    spec: TrainSpec,
) -> Iterator[FoldJob]:
    pairs = list(zip(labels.slides, labels.targets.tolist(), strict=True))
    for number in range(spec.folds):
        train = np.flatnonzero((fold != number) & ~validation[number])
        yield FoldJob(
            fold=number,
            classes=len(labels.classes),
            train=[pairs[i] for i in train],
            validation=[pairs[i] for i in np.flatnonzero(validation[number])],
            moments=Moments.together([moments[i] for i in train]),
            seed=int(np.random.SeedSequence([spec.seed, number]).generate_state(1)[0]),
        )
