"""Sets of classes that hold the right one as often as asked: split-conformal prediction.

Scores of out-of-fold predictions say how large a set must be. Three scores:
- "lac": one minus the probability of a class. Sadinle, Lei and Wasserman, 2019,
  https://arxiv.org/abs/1609.00451. The smallest sets.
- "aps": the probability of all classes at least as probable. Romano, Sesia and Candes, 2020,
  https://arxiv.org/abs/2006.02544, without the random part. Larger sets where a slide is hard.
- "ordinal": the probability of the run of grades that grows from the most probable one to the likelier
  neighbour until it holds the grade. Lu, Angelopoulos and Pomerantz, 2022,
  https://arxiv.org/abs/2207.02238. Sets without gaps.

The promise is exact for one head and slides that are exchangeable with the calibration slides. Here a
calibration slide was predicted by the head of its fold, and a new one by the mean of all heads
(cross-conformal: Vovk, 2015). Nothing exact is proven for that; a method much like it is proven to cover
1 - 2 * error rate (Barber et al., 2021). Several slides of a patient, or another site, weaken it further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .calibration import Calibration

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class SetSpec:
    """How prediction sets are drawn.

    Attributes:
        error_rate: share of slides whose set may miss the right class, between 0 and 1.
        score: "lac", "aps" or "ordinal".
        per_class: keep the error rate within every class, not only on the whole.
        largest: a set of more classes than this makes the head abstain.
    """

    error_rate: float
    score: str = "lac"
    per_class: bool = False
    largest: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.error_rate < 1:
            raise UsageError(f"An error rate of {self.error_rate} is impossible.", "Use 0.1 for 10 %.")
        if self.score not in SCORES:
            raise UsageError(f"There is no score {self.score!r}.", f"Known scores: {', '.join(SCORES)}.")
        if self.largest < 1:
            raise UsageError(f"A largest set of {self.largest} is impossible.", "Use 1 or more.")


def limits(probabilities: Probabilities, targets: NDArray[np.int64], spec: SetSpec) -> NDArray[np.float64]:
    """(C,) the greatest score at which each class is in a set; infinite where there are too few slides.

    Args:
        probabilities: (S, C) of slides that the heads did not learn from.
        targets: (S,) class index.
        spec: error rate, score, and whether each class has a limit of its own.
    """
    scores = SCORES[spec.score](probabilities)
    right = scores[np.arange(len(targets)), targets]
    if not spec.per_class:
        return np.full(scores.shape[1], conformal_quantile(right, spec.error_rate))
    return np.array(
        [conformal_quantile(right[targets == c], spec.error_rate) for c in range(scores.shape[1])]
    )


def prediction_sets(
    probabilities: Probabilities, limit: NDArray[np.float64], score: str
) -> NDArray[np.bool_]:
    """(S, C) which classes are in the set of each slide; the most probable one always is.

    With the score "ordinal" a class between two others of the set is in it too: limits per class could
    leave it out.
    """
    inside = SCORES[score](probabilities) <= limit
    inside[np.arange(len(inside)), probabilities.argmax(1)] = True
    if score == "ordinal":
        up, down = inside, inside[:, ::-1]
        inside = np.maximum.accumulate(up, axis=1) & np.maximum.accumulate(down, axis=1)[:, ::-1]
    return inside


def set_of(probabilities: Probabilities, folds: Sequence[int], kept: Calibration, spec: SetSpec) -> list[int]:
    """Class indices in the set of one slide.

    Args:
        probabilities: (C,) calibrated.
        folds: the heads that held this very slide out, empty for a new one: calibration slides that the
            same heads held out are passed over, since one of them is this slide.
        kept: the calibration of the head folder.
        spec: how sets are drawn.
    """
    others = np.array([own != tuple(folds) for own in kept.folds])
    limit = limits(np.array(kept.probabilities)[others], np.array(kept.targets)[others], spec)
    inside = prediction_sets(probabilities[None], limit, spec.score)[0]
    return [int(c) for c in np.flatnonzero(inside)]


def conformal_quantile(scores: NDArray[np.float64], error_rate: float) -> float:
    """The ceil((n + 1)(1 - error rate))-th smallest score: the next one is above it that seldom."""
    rank = math.ceil((len(scores) + 1) * (1 - error_rate) - 1e-9)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def least_error_rate(slides: int) -> float:
    """The least that so many calibration slides can promise: below it every set or interval holds all."""
    return 1 / (slides + 1)


def _lac(probabilities: Probabilities) -> Probabilities:
    return 1 - probabilities


def _aps(probabilities: Probabilities) -> Probabilities:
    order = np.argsort(-probabilities, axis=1, kind="stable")
    mass = np.take_along_axis(probabilities, order, axis=1).cumsum(1)
    scores = np.empty_like(mass)
    np.put_along_axis(scores, order, mass, axis=1)
    return scores


def _ordinal(probabilities: Probabilities) -> Probabilities:
    return np.array([_grown(row) for row in probabilities])


def _grown(row: Probabilities) -> Probabilities:
    """(C,) the mass of the run of grades when it first holds each."""
    low = high = int(row.argmax())
    scores = np.empty(len(row))
    scores[low] = mass = row[low]
    while high - low < len(row) - 1:
        below = row[low - 1] if low > 0 else -1.0
        above = row[high + 1] if high + 1 < len(row) else -1.0
        taken = low - 1 if below >= above else high + 1
        low, high = min(low, taken), max(high, taken)
        mass += row[taken]
        scores[taken] = mass
    return scores


SCORES: dict[str, Callable[[Probabilities], Probabilities]] = {"lac": _lac, "aps": _aps, "ordinal": _ordinal}
