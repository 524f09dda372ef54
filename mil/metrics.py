"""How good predictions are, and how sure that is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..spec import Spec
from .calibration import calibration_error
from .decision import decide

NAN = float("nan")
SPECIFICITY = 0.9


@dataclass(frozen=True)
class Estimate(Spec):
    """A metric with its 95 % confidence interval.

    Attributes:
        value: on all slides.
        low, high: 2.5th and 97.5th percentile over the resamples; None where none was usable.
        resamples: how many were usable: one that misses a class is not.
    """

    value: float
    low: float | None
    high: float | None
    resamples: int


def auroc(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Area under the ROC curve of targets (S,) and probabilities (S, C).

    Two classes: the second is the positive one. More: the mean over classes of one against the rest.

    Raises:
        ValueError: a class does not occur.
    """
    if len(np.unique(targets)) != probabilities.shape[1]:
        raise ValueError("AUROC needs every class among the targets")
    positive = range(1, 2) if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    return float(np.mean([_rank_auroc(targets == c, probabilities[:, c]) for c in positive]))


def auprc(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Average precision: the area under precision over recall in steps, classes as for `auroc`.

    Chance is the share of the positive class, not 0.5.

    Raises:
        ValueError: a class does not occur.
    """
    if len(np.unique(targets)) != probabilities.shape[1]:
        raise ValueError("AUPRC needs every class among the targets")
    positive = range(1, 2) if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    return float(np.mean([_average_precision(targets == c, probabilities[:, c]) for c in positive]))


def sensitivity_at(
    targets: NDArray[np.int64], probabilities: NDArray[np.float64], specificity: float
) -> float:
    """The greatest share of positives (S,) found by a threshold on the second of two classes (S, 2) that
    calls at least this share of the negatives negative."""
    hits, false = operating_points(targets == 1, probabilities[:, 1])
    return float(hits[false <= 1 - specificity + 1e-12].max())


def operating_points(
    positive: NDArray[np.bool_], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sensitivity and false positive rate (T + 1,): (0, 0), then at each of T thresholds, strictest first."""
    found, false, _ = _counts(positive, score)
    start = np.zeros(1)
    return (
        np.concatenate([start, found / max(int(positive.sum()), 1)]),
        np.concatenate([start, false / max(int((~positive).sum()), 1)]),
    )


def f1(targets: NDArray[np.int64], probabilities: NDArray[np.float64], ordered: bool = False) -> float:
    """Harmonic mean of precision and recall; the mean over classes that occur or are given (macro)."""
    decided, classes = decide(probabilities, ordered), probabilities.shape[1]
    right = np.bincount(targets[decided == targets], minlength=classes)
    both = np.bincount(targets, minlength=classes) + np.bincount(decided, minlength=classes)
    return float((2 * right[both > 0] / both[both > 0]).mean())


def balanced_accuracy(
    targets: NDArray[np.int64], probabilities: NDArray[np.float64], ordered: bool = False
) -> float:
    """Mean over classes of the share of slides (S,) whose class by probabilities (S, C) is right."""
    slides = np.bincount(targets)
    right = np.bincount(targets, weights=decide(probabilities, ordered) == targets)
    return float((right[slides > 0] / slides[slides > 0]).mean())


def quadratic_kappa(
    targets: NDArray[np.int64], probabilities: NDArray[np.float64], ordered: bool = False
) -> float:
    """Agreement beyond chance of targets (S,) with the classes given, distances squared: Cohen, 1968.

    1 is perfect, 0 is chance. It takes classes as equally spaced steps in their order, and means little
    where that order means nothing. 0 where both sides hold one and the same class only.
    """
    classes = probabilities.shape[1]
    pairs = np.bincount(targets * classes + decide(probabilities, ordered), minlength=classes**2)
    found = pairs.reshape(classes, classes)
    distance = np.subtract.outer(np.arange(classes), np.arange(classes)) ** 2
    by_chance = (np.outer(found.sum(1), found.sum(0)) * distance).sum() / len(targets)
    return float(1 - (found * distance).sum() / by_chance) if by_chance else 0.0


def brier(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Mean squared distance of probabilities (S, C) from the truth: Brier, 1950.

    Summed over classes; with two classes half of that, as is usual for a positive class.
    """
    squares = (np.eye(probabilities.shape[1])[targets] - probabilities) ** 2
    return float(squares.sum(1).mean() / (2 if probabilities.shape[1] == 2 else 1))


class Judged(ABC):
    """Predictions beside the truth.

    Attributes:
        patients: (S,) patient of each slide.
    """

    patients: Sequence[str]

    @property
    @abstractmethod
    def kinds(self) -> int:
        """How much there is to tell apart, as of classes: a resample can miss what the metrics need."""

    @abstractmethod
    def only(self, rows: NDArray[np.integer]) -> Self:
        """These slides, in this order, any of them perhaps several times."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """Every metric by name; NaN where one is not defined though the others are."""

    @property
    @abstractmethod
    def known(self) -> NDArray[Any]:
        """(S, ...) the truth: of the same slides, two predictions must have the same."""


@dataclass(frozen=True, eq=False)
class Predicted(Judged):
    """Predictions of the classes of S slides.

    Attributes:
        patients: (S,) patient of each slide.
        targets: (S,) class index.
        probabilities: (S, C).
        ordered: whether classes are grades in order.
    """

    patients: Sequence[str]
    targets: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    ordered: bool = False

    @property
    def kinds(self) -> int:
        return len(np.unique(self.targets))

    def only(self, rows: NDArray[np.integer]) -> Predicted:
        patients = [self.patients[row] for row in rows.tolist()]
        return Predicted(patients, self.targets[rows], self.probabilities[rows], self.ordered)

    def metrics(self) -> dict[str, float]:
        """Of classes that do not occur there is no AUROC, and of a single one no agreement beyond chance."""
        targets, p, ordered = self.targets, self.probabilities, self.ordered
        complete = self.kinds == p.shape[1]
        found = {
            "auroc": auroc(targets, p) if complete else NAN,
            "auprc": auprc(targets, p) if complete else NAN,
            "balanced_accuracy": balanced_accuracy(targets, p, ordered),
            "f1": f1(targets, p, ordered),
            "quadratic_kappa": quadratic_kappa(targets, p, ordered) if self.kinds > 1 else NAN,
            "brier": brier(targets, p),
            "calibration_error": calibration_error(targets, p),
        }
        if p.shape[1] == 2:
            found["sensitivity_at_90_specificity"] = (
                sensitivity_at(targets, p, SPECIFICITY) if complete else NAN
            )
        return found

    @property
    def known(self) -> NDArray[np.int64]:
        return self.targets


def evaluate(judged: Judged, resamples: int, seed: int) -> dict[str, Estimate]:
    """Every metric that is defined, with its confidence interval."""
    draws = [judged.only(rows).metrics() for rows in patient_resamples(judged, resamples, seed)]
    return {
        name: _estimate(value, np.array([drawn[name] for drawn in draws]))
        for name, value in judged.metrics().items()
        if not np.isnan(value)
    }


def patient_resamples(judged: Judged, resamples: int, seed: int) -> list[NDArray[np.int64]]:
    """Bootstrap over patients: rows of as many patients, drawn with replacement, per resample.

    Slides of one patient are not independent; drawing slides would make the interval too narrow.
    Resamples that miss what all slides together have, as a class, are left out.
    """
    random = np.random.default_rng(seed)
    _, patient = np.unique(np.asarray(judged.patients), return_inverse=True)
    rows_of = [np.flatnonzero(patient == p) for p in range(patient.max() + 1)]
    draws = [
        np.concatenate([rows_of[p] for p in random.integers(len(rows_of), size=len(rows_of))])
        for _ in range(resamples)
    ]
    kinds = judged.kinds
    return [rows for rows in draws if judged.only(rows).kinds == kinds]


def _rank_auroc(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """The share of (positive, negative) pairs in the right order, by ranks: Mann and Whitney, 1947.

    A bootstrap calls this thousands of times; scikit-learn's checks would take most of a training run.
    """
    ones = int(positive.sum())
    above = rankdata(score)[positive].sum() - ones * (ones + 1) / 2
    return float(above / (ones * (len(score) - ones)))


def _average_precision(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    found, false, _ = _counts(positive, score)
    gained = np.diff(found, prepend=0.0) / positive.sum()
    return float((gained * found / (found + false)).sum())


def _counts(
    positive: NDArray[np.bool_], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """True and false positives at each distinct score (T,) and those scores, greatest first."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    found = positive[order].cumsum()[last].astype(np.float64)
    return found, last + 1 - found, score[order][last]


def _estimate(value: float, drawn: NDArray[np.float64]) -> Estimate:
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return Estimate(value, None, None, 0)
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(value, float(low), float(high), len(known))
