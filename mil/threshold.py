"""From which probability on a slide is called positive, so that a wanted share of positives is found.

The least usual threshold, 0.5, finds what it finds. Here it is a quantile of the out-of-fold probabilities of
the positive training slides, rounded towards finding more, so that a new positive slide is found at least as
often as wanted where it is exchangeable with those (split-conformal, class-conditional).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .calibration import Calibration


@dataclass(frozen=True)
class Threshold:
    """A threshold on the probability of the second of two classes, and what it did out of fold.

    Attributes:
        value: slides with at least this probability are called positive.
        sensitivity, specificity: of thresholds chosen in the same way on the other folds: the
            share of positives called positive, and of negatives called negative.
    """

    value: float
    sensitivity: float
    specificity: float


def threshold_for(kept: Calibration, sensitivity: float) -> Threshold:
    """The threshold that finds this share of the positives.

    Args:
        kept: the calibration of a head of two classes.
        sensitivity: wanted, between 0 and 1.

    Raises:
        UsageError: an impossible share, more than two classes, or too few positives to say so much.
    """
    if not 0 < sensitivity < 1:
        raise UsageError(f"A sensitivity of {sensitivity} cannot be asked for.", "Use 0.95 for 95 %.")
    probabilities, targets = np.array(kept.probabilities), np.array(kept.targets)
    numbers = {own: number for number, own in enumerate(dict.fromkeys(kept.folds))}
    folds = np.array([numbers[own] for own in kept.folds])
    if probabilities.shape[1] != 2:
        raise UsageError(
            f"A threshold needs two classes, this head has {probabilities.shape[1]}.",
            "Use --error-rate for sets of classes.",
        )
    scores, positive = probabilities[:, 1], targets == 1
    value = _threshold(scores[positive], sensitivity)
    called = np.zeros(len(scores), np.bool_)
    for fold in np.unique(folds):
        own = folds == fold
        # A fold fewer leaves fewer positives: where they are too few, all its slides are called positive.
        called[own] = scores[own] >= _quantile(scores[positive & ~own], sensitivity)
    return Threshold(value, float(called[positive].mean()), float((~called[~positive]).mean()))


def _threshold(positives: NDArray[np.float64], sensitivity: float) -> float:
    value = _quantile(positives, sensitivity)
    if math.isinf(value):
        needed = math.ceil(sensitivity / (1 - sensitivity) - 1e-9)
        raise UsageError(
            f"{len(positives)} positive slides are too few to promise a sensitivity of {sensitivity:g}.",
            f"It takes {needed} of them; ask for at most {len(positives) / (len(positives) + 1):.3g}.",
        )
    return value


def _quantile(positives: NDArray[np.float64], sensitivity: float) -> float:
    """The floor((n + 1)(1 - sensitivity))-th smallest; -inf where that is none."""
    rank = math.floor((len(positives) + 1) * (1 - sensitivity) + 1e-9)
    return float(np.sort(positives)[rank - 1]) if rank else -math.inf
