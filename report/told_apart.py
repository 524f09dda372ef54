"""How well groups of slides, such as scanners or sites, can be told from their embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..mil.baseline import linear_probe
from ..mil.labels import Labels
from ..mil.metrics import auroc
from ..mil.splits import assign_folds, patients_per_class
from ..spec import Spec

FOLDS = 5
REPEATS = 5

Floats = NDArray[np.float64]
Means = dict[str, tuple[Floats, Floats]]
"""By slide, its mean embedding (D,) before and after normalisation."""


@dataclass(frozen=True)
class Apart(Spec):
    """How well a group can be told before and after normalisation.

    Attributes:
        column: what the group is called.
        groups: those that were told apart: each has slides of two patients at least.
        slides: how many slides of these groups there are.
        before, after: AUROC, see `told_apart`; None where fewer than two groups are large enough.
    """

    column: str
    groups: tuple[str, ...]
    slides: int
    before: float | None
    after: float | None

    def __str__(self) -> str:
        if self.before is None or self.after is None:
            return f"How well {self.column} can be told needs two groups with slides of two patients each."
        return (
            f"AUROC of telling {self.column} ({', '.join(self.groups)}; {self.slides} slides) from mean "
            f"embeddings, 0.5 is chance: {self.before:.3f} before, {self.after:.3f} after."
        )


def compare(column: str, labels: Labels, means: Means) -> Apart:
    """`told_apart` before and after, on the groups that are large enough.

    Args:
        column: what the group is called.
        labels: its value on every slide, and the patient.
        means: slides without a label are passed over.
    """
    kept = _large_enough(labels.only(means))
    pairs = [means[slide] for slide in kept.slides]
    before, after = (told_apart(kept, np.array([pair[when] for pair in pairs])) for when in range(2))
    return Apart(column, kept.classes, len(pairs), before, after)


def told_apart(labels: Labels, means: Floats) -> float | None:
    """AUROC of the group, out of fold, by logistic regression on each slide's mean embedding.

    The mean over five divisions into at most five folds, each of which keeps a patient whole: 0.5 is chance,
    1 a clear sign of the group; of more than two groups the mean over one against the rest. None where
    there are fewer than two groups, or one of a single patient.

    Args:
        labels: of S slides, their group as the label.
        means: (S, D), in the same order.
    """
    if len(labels.classes) < 2:
        return None
    folds = min(FOLDS, int(patients_per_class(labels).min()))
    if folds < 2:
        return None
    divisions = [assign_folds(labels, folds, seed) for seed in range(REPEATS)]
    whole = [fold for fold in divisions if _leaves_all(labels.targets, fold)]
    scores = [auroc(labels.targets, linear_probe(means, labels.targets, fold)) for fold in whole]
    return float(np.mean(scores)) if scores else None


def _large_enough(labels: Labels) -> Labels:
    """Without groups of a single patient: what is learned of one cannot be tried on another."""
    many = patients_per_class(labels)
    large = {name for name, patients in zip(labels.classes, many, strict=True) if patients > 1}
    return labels.only([entry.slide for entry in labels.entries if entry.label in large])


def _leaves_all(targets: NDArray[np.int64], fold: NDArray[np.int64]) -> bool:
    """Whether every group occurs outside each fold: a patient with many slides can hinder that."""
    groups = len(np.unique(targets))
    return all(len(np.unique(targets[fold != number])) == groups for number in np.unique(fold))
