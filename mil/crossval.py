"""Cross-validation by a plan: every slide is predicted by heads that never saw its patient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError
from .bags import Bags
from .baseline import probe
from .by_fold import fold_table, site_table
from .cache import LoadBag
from .calibration import Calibration, OutOfFold, calibrate
from .familiarity import TrainingBags
from .fit import FoldJob, fit_head
from .heads import Head
from .labels import Labels
from .metrics import Estimate, Predicted, evaluate
from .plan import Chosen, Plan
from .spec import TrainSpec
from .standardise import Moments

FitFolds = Callable[[Iterable[FoldJob]], Iterable[Head]]
"""Trains the head of each job, in their order."""


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """The heads of a plan, and what they say of slides they never saw.

    Attributes:
        plan: all slides, and what each head did with them.
        labels: the S slides that a head held out, in the order of the rows below.
        heads: one per split of the plan.
        calibration: temperatures, and what they were learned from.
        probabilities: (S, C) out-of-fold, calibrated by other folds, the mean over the heads that held a
            slide out.
        probe: (S, C) out-of-fold, of the linear probe.
        known: what the training slides look like.
        metrics: "head", "head_uncalibrated" and "linear_probe", each with every metric.
        folds: a row per head, with its own metrics, as `fold_table` has them.
        sites: a row per site, as `site_table` has them.
    """

    plan: Plan
    labels: Labels
    heads: tuple[Head, ...]
    calibration: Calibration
    probabilities: NDArray[np.float64]
    probe: NDArray[np.float64]
    known: TrainingBags
    metrics: dict[str, dict[str, Estimate]]
    folds: list[dict[str, Any]]
    sites: list[dict[str, Any]]


def cross_validate(
    plan: Plan, load: LoadBag, spec: TrainSpec, fit: FitFolds | None = None
) -> CrossValidation:
    """Train and judge the heads of a plan, and a linear probe on the same folds.

    Args:
        plan: from `plan_folds` or `plan_given`.
        load: gives the single bag of a slide; called many times for each.
        spec: how to train.
        fit: trains the heads; by default `fit_head` does, one after the other.

    Raises:
        UsageError: no slide of a class is held out, or the labels have no order and the task needs one.
    """
    _require_order(plan.labels, spec)
    judged = _judged(plan)
    bags = [_known_of(load(slide)) for slide in plan.labels.slides]
    moments = [of_bag for of_bag, _ in bags]
    covariates = np.stack([known for _, known in bags])
    jobs = _jobs(plan, moments, covariates, spec)
    heads = tuple(fit(jobs) if fit else (fit_head(job, load, spec) for job in jobs))
    raw = _out_of_fold(plan, heads, load)
    calibration = calibrate(raw)
    means = np.hstack([torch.stack([m.mean for m in moments]).numpy(), covariates])
    found = {
        "head": np.array(calibration.probabilities),
        "head_uncalibrated": raw.mean(),
        "linear_probe": _probed(plan, means)[judged],
    }
    metrics = {
        name: evaluate(Predicted(raw.patients, raw.targets, p, spec.ordered), spec.bootstrap, spec.seed)
        for name, p in found.items()
    }
    each = raw.calibrated(calibration.fold_temperatures)
    return CrossValidation(
        plan,
        _rows(plan.labels, judged),
        heads,
        calibration,
        found["head"],
        found["linear_probe"],
        TrainingBags.of(moments, plan.first_heads),
        metrics,
        fold_table(plan, each, spec.ordered),
        site_table([plan.sites[i] for i in judged] if plan.sites else [], each, spec.ordered),
    )


@torch.inference_mode()
def probabilities_of(head: Head, bag: Bags) -> NDArray[np.float64]:
    """(C,) class probabilities of a single bag, not calibrated."""
    return head.task.probabilities(head(bag).logits)[0].numpy()


def _require_order(labels: Labels, spec: TrainSpec) -> None:
    if spec.ordered and not labels.ordered:
        raise UsageError(
            f"Task {spec.task} needs grades, and the order of {', '.join(labels.classes)} is not known.",
            "Write grades as numbers, or use the task classes.",
        )


def _judged(plan: Plan) -> NDArray[np.int64]:
    """The slides that any head holds out."""
    judged = np.flatnonzero(plan.held_out.any(0))
    missing = set(range(len(plan.labels.classes))) - set(plan.labels.targets[judged].tolist())
    if missing:
        raise UsageError(
            f"No slide of class {plan.labels.classes[min(missing)]} is held out by any split.",
            "Hold out slides of every class: a head cannot be judged without them.",
        )
    return judged


def _rows(labels: Labels, rows: NDArray[np.int64]) -> Labels:
    return Labels(tuple(labels.entries[i] for i in rows), labels.classes)


def _out_of_fold(plan: Plan, heads: tuple[Head, ...], load: LoadBag) -> OutOfFold:
    """What each head says of the slides that it held out; each bag is loaded once."""
    judged = _judged(plan)
    raw = np.full((len(heads), len(judged), len(plan.labels.classes)), np.nan)
    for row, slide in enumerate(judged.tolist()):
        bag = load(plan.labels.slides[slide])
        for head in plan.heads_of(slide):
            raw[head, row] = probabilities_of(heads[head], bag)
    alone = np.flatnonzero(np.bincount(plan.repeats)[plan.repeats] == 1)
    return OutOfFold(
        [plan.labels.patients[i] for i in judged],
        plan.labels.targets[judged],
        raw,
        plan.repeats,
        {int(k): _asked(plan, heads[k], plan.splits[k].validation, load) for k in alone},
    )


def _asked(
    plan: Plan, head: Head, chosen: Chosen, load: LoadBag
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What a head says of some slides, and their targets."""
    rows = np.flatnonzero(chosen)
    found = [probabilities_of(head, load(plan.labels.slides[i])) for i in rows]
    return np.stack(found), plan.labels.targets[rows]


def _probed(plan: Plan, means: NDArray[np.float64]) -> NDArray[np.float64]:
    """(all slides, C) of the linear probe, which sees covariates too: the mean over splits that hold a
    slide out, NaN without one."""
    targets = plan.labels.targets
    sums = np.zeros((len(targets), len(plan.labels.classes)))
    for split in plan.splits:
        inside = split.train | split.validation
        filled = np.where(np.isnan(means), np.nan_to_num(np.nanmean(means[inside], axis=0)), means)
        sums[split.held_out] += probe(filled[inside], targets[inside], filled[split.held_out])
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / plan.held_out.sum(0)[:, None])


def _known_of(bag: Bags) -> tuple[Moments, NDArray[np.float32]]:
    """The moments of a single bag, and its covariates (K,), where it has any."""
    known = np.empty(0, np.float32) if bag.covariates is None else bag.covariates[0].numpy()
    return Moments.of_bag(bag), known


def _jobs(
    plan: Plan, moments: list[Moments], covariates: NDArray[np.float32], spec: TrainSpec
) -> Iterator[FoldJob]:
    pairs = list(zip(plan.labels.slides, plan.labels.targets.tolist(), strict=True))
    for number, split in enumerate(plan.splits):
        train = np.flatnonzero(split.train)
        yield FoldJob(
            fold=number,
            classes=len(plan.labels.classes),
            train=[pairs[i] for i in train],
            validation=[pairs[i] for i in np.flatnonzero(split.validation)],
            moments=Moments.together([moments[i] for i in train]),
            seed=int(np.random.SeedSequence([spec.seed, number]).generate_state(1)[0]),
            folds=len(plan.splits),
            covariates=covariates[train] if covariates.size else None,
        )
