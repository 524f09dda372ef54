"""Cross-validation by a plan: every slide is predicted by heads that never saw its patient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError
from .answered import Answered, Said, answer
from .answers import prefix_of
from .bags import Bags
from .by_fold import fold_table, site_table
from .cache import LoadBag
from .familiarity import TrainingBags
from .fit import FoldJob, fit_head
from .heads import Head
from .labels import Labels
from .metrics import Estimate, evaluate
from .outcomes import Known, Outcome, known_of, require_taught
from .plan import Plan
from .probes import probe_target
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
        answered: for each target, what they say of these slides.
        known: what the training slides look like.
        metrics: "head", "head_uncalibrated" and "linear_probe", each with every metric, of several targets
            each named after its own.
        folds: a row per head, with its own metrics, as `fold_table` has them.
        sites: a row per site, as `site_table` has them.
    """

    plan: Plan
    labels: Labels
    heads: tuple[Head, ...]
    answered: tuple[Answered, ...]
    known: TrainingBags
    metrics: dict[str, dict[str, Estimate]]
    folds: list[dict[str, Any]]
    sites: list[dict[str, Any]]

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The targets."""
        return tuple(one.said.known.outcome for one in self.answered)

    @property
    def held_out_by(self) -> list[tuple[int, ...]]:
        """(S,) the heads that held each slide out."""
        number = {slide: row for row, slide in enumerate(self.plan.labels.slides)}
        return [self.plan.heads_of(number[slide]) for slide in self.labels.slides]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(S, A) answers to the first target: probabilities where it has classes."""
        return self.answered[0].answers

    @property
    def probe(self) -> NDArray[np.float64]:
        """(S, A) those of the linear probe."""
        return self.answered[0].probe


def cross_validate(
    plan: Plan, load: LoadBag, spec: TrainSpec, fit: FitFolds | None = None
) -> CrossValidation:
    """Train and judge the heads of a plan, and a linear probe on the same folds.

    Args:
        plan: from `plan_folds` or `plan_given`.
        load: gives the single bag of a slide; called many times for each.
        spec: how to train, and for what.
        fit: trains the heads; by default `fit_head` does, one after the other.

    Raises:
        UsageError: a target cannot be read from the labels, or a part of them lacks what it needs.
    """
    known = known_of(plan.labels, spec.asked)
    judged = _judged(plan, known)
    bags = [_seen_of(load(slide)) for slide in plan.labels.slides]
    moments = [of_bag for of_bag, _ in bags]
    covariates = np.stack([own for _, own in bags])
    jobs = _jobs(plan, known, (moments, covariates), spec)
    heads = tuple(fit(jobs) if fit else (fit_head(job, load, spec) for job in jobs))
    means = np.hstack([torch.stack([m.mean for m in moments]).numpy(), covariates])
    answered = tuple(
        answer(said, _probed(plan, own, means)[judged])
        for said, own in zip(_said(plan, heads, known, load), known, strict=True)
    )
    return CrossValidation(
        plan,
        Labels(tuple(plan.labels.entries[i] for i in judged), plan.labels.classes),
        heads,
        answered,
        TrainingBags.of(moments, plan.first_heads),
        _metrics(answered, spec),
        fold_table(plan, answered),
        site_table([plan.sites[i] for i in judged] if plan.sites else [], answered),
    )


@torch.inference_mode()
def answers_of(head: Head, bag: Bags) -> list[NDArray[np.float64]]:
    """(A,) to each target of a single bag, not calibrated."""
    return [answer[0].numpy() for answer in head.task.answers(head(bag).logits)]


def _metrics(answered: Sequence[Answered], spec: TrainSpec) -> dict[str, dict[str, Estimate]]:
    found: dict[str, dict[str, Estimate]] = {}
    for one in answered:
        prefix = prefix_of(one.said.known.outcome.target, spec.asked)
        for model, judged in one.models().items():
            estimates = evaluate(judged, spec.bootstrap, spec.seed)
            found.setdefault(model, {}).update({f"{prefix}{name}": e for name, e in estimates.items()})
    return found


def _judged(plan: Plan, known: Sequence[Known]) -> NDArray[np.int64]:
    """The slides that any head holds out; what is known of them must tell the heads apart."""
    judged = np.flatnonzero(plan.held_out.any(0))
    for one in known:
        missing = one.only(judged).missing
        if missing:
            raise UsageError(
                f"Of target {one.outcome.target.name}, {missing} among the slides that are held out.",
                "Hold out slides of every kind: a head cannot be judged without them.",
            )
        for split in plan.splits:
            require_taught(one, split.train, f"split {split.name}")
    return judged


def _said(plan: Plan, heads: tuple[Head, ...], known: Sequence[Known], load: LoadBag) -> list[Said]:
    """What each head says of the slides that it held out, by target; each bag is loaded once."""
    judged = np.flatnonzero(plan.held_out.any(0))
    each = [np.full((len(heads), len(judged), one.outcome.size), np.nan) for one in known]
    for row, slide in enumerate(judged.tolist()):
        bag = load(plan.labels.slides[slide])
        for head in plan.heads_of(slide):
            for table, own in zip(each, answers_of(heads[head], bag), strict=True):
                table[head, row] = own
    patients = [plan.labels.patients[i] for i in judged]
    stopping = _stopping(plan, heads, load)
    return [
        Said(
            patients,
            one.only(judged),
            table,
            plan.repeats,
            {head: (own[number], one.only(rows)) for head, (own, rows) in stopping.items()},
        )
        for number, (one, table) in enumerate(zip(known, each, strict=True))
    ]


def _stopping(
    plan: Plan, heads: tuple[Head, ...], load: LoadBag
) -> dict[int, tuple[list[NDArray[np.float64]], NDArray[np.int64]]]:
    """By the number of each head that is alone in its repeat, its answers to every target (V, A) for the
    slides that it stopped by, and their rows."""
    found = {}
    for head in np.flatnonzero(np.bincount(plan.repeats)[plan.repeats] == 1).tolist():
        rows = np.flatnonzero(plan.splits[head].validation)
        if not len(rows):
            continue
        each = [answers_of(heads[head], load(plan.labels.slides[row])) for row in rows]
        found[head] = [np.stack(answers) for answers in zip(*each, strict=True)], rows
    return found


def _probed(plan: Plan, known: Known, means: NDArray[np.float64]) -> NDArray[np.float64]:
    """(all slides, A) of the linear probe, which sees covariates too: the mean over splits that hold a
    slide out, NaN without one."""
    sums = np.zeros((len(means), known.outcome.size))
    for split in plan.splits:
        inside = np.flatnonzero(split.train | split.validation)
        filled = np.where(np.isnan(means), np.nan_to_num(np.nanmean(means[inside], axis=0)), means)
        sums[split.held_out] += probe_target(known.only(inside), filled[inside], filled[split.held_out])
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / plan.held_out.sum(0)[:, None])


def _seen_of(bag: Bags) -> tuple[Moments, NDArray[np.float32]]:
    """The moments of a single bag, and its covariates (K,), where it has any."""
    own = np.empty(0, np.float32) if bag.covariates is None else bag.covariates[0].numpy()
    return Moments.of_bag(bag), own


def _jobs(
    plan: Plan, known: Sequence[Known], seen: tuple[list[Moments], NDArray[np.float32]], spec: TrainSpec
) -> Iterator[FoldJob]:
    moments, covariates = seen
    outcomes = tuple(one.outcome for one in known)
    cases = list(zip(plan.labels.slides, _truths(known), strict=True))
    for number, split in enumerate(plan.splits):
        train = np.flatnonzero(split.train)
        yield FoldJob(
            fold=number,
            classes=len(outcomes[0].names),
            train=[cases[i] for i in train],
            validation=[cases[i] for i in np.flatnonzero(split.validation)],
            moments=Moments.together([moments[i] for i in train]),
            seed=int(np.random.SeedSequence([spec.seed, number]).generate_state(1)[0]),
            outcomes=outcomes,
            folds=len(plan.splits),
            covariates=covariates[train] if covariates.size else None,
        )


def _truths(known: Sequence[Known]) -> list[int | tuple[float, ...]]:
    """(S,) as a `FoldJob` has them."""
    if len(known) == 1 and known[0].outcome.target.has_classes:
        return list(known[0].truth[:, 0].astype(np.int64).tolist())
    return [tuple(row) for row in np.concatenate([one.truth for one in known], axis=1).tolist()]
