"""Probabilities that mean what they say: temperature scaling on out-of-fold predictions.

Guo et al., 2017, https://arxiv.org/abs/1706.04599. The logarithm of each probability is divided by one
number, so the order of the classes of a slide stays; for softmax that is to divide the logits. Only
predictions by heads that never saw the patient are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from ..spec import Spec

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0


@dataclass(frozen=True)
class Calibration(Spec):
    """What a head folder keeps to calibrate predictions, and to draw prediction sets.

    Attributes:
        temperature: for new slides, learned from all out-of-fold predictions.
        fold_temperatures: for the slides of each fold, learned from the other folds.
        folds, targets: (S,) of the training slides.
        probabilities: (S, C) calibrated, out of fold.
    """

    temperature: float
    fold_temperatures: tuple[float, ...]
    folds: tuple[int, ...]
    targets: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Predictions of S slides by heads that never saw their patients.

    Attributes:
        patients: (S,) patient of each slide.
        folds: (S,) the fold that held each slide out.
        targets: (S,) class index.
        probabilities: (S, C) as the heads gave them.

    Raises:
        ValueError: a patient is in two folds, so that a temperature would be judged on who taught it.
    """

    patients: Sequence[str]
    folds: NDArray[np.int64]
    targets: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __post_init__(self) -> None:
        pairs = set(zip(self.patients, self.folds.tolist(), strict=True))
        if len(pairs) != len(set(self.patients)):
            raise ValueError("a patient is in two folds: the predictions are not out of fold")


def calibrate(raw: OutOfFold) -> Calibration:
    """Temperatures, and the predictions of each fold as the other folds would calibrate them."""
    cooled = np.empty_like(raw.probabilities)
    temperatures = []
    for fold in range(int(raw.folds.max()) + 1):
        own = raw.folds == fold
        temperatures.append(fit_temperature(raw.probabilities[~own], raw.targets[~own]))
        cooled[own] = temper(raw.probabilities[own], temperatures[-1])
    return Calibration(
        temperature=fit_temperature(raw.probabilities, raw.targets),
        fold_temperatures=tuple(temperatures),
        folds=tuple(raw.folds.tolist()),
        targets=tuple(raw.targets.tolist()),
        probabilities=tuple(map(tuple, cooled.tolist())),
    )


def temper(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """(..., C) with logarithms divided by the temperature: above 1 it makes them less sure."""
    if temperature == 1:
        return probabilities
    tempered: NDArray[np.float64] = np.exp(log_softmax(_logarithm(probabilities) / temperature, axis=-1))
    return tempered


def fit_temperature(probabilities: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """The temperature with the greatest likelihood of targets (S,), between 1/20 and 20.

    The loss is convex in 1 / temperature, so the least found is the least there is.
    """
    logs, rows = _logarithm(probabilities), np.arange(len(targets))

    def loss(sharpness: float) -> float:
        return float(-log_softmax(logs * sharpness, axis=1)[rows, targets].mean())

    found = minimize_scalar(
        loss, bounds=(1 / HOTTEST, 1 / COLDEST), method="bounded", options={"xatol": 1e-6}
    )
    return float(1 / found.x)


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram of bins of equal width; empty bins are left out.

    Attributes:
        count: slides in each bin of the greatest probability.
        confidence: its mean there.
        accuracy: share of those slides whose most probable class is right.
    """

    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def reliability(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Reliability:
    """How often predictions (S, C) of each confidence are right for targets (S,)."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == targets
    # A confidence on an edge belongs to the bin below, as in the paper.
    number = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    count = np.bincount(number, minlength=BINS)
    full = count > 0
    sums = [np.bincount(number, weights=values, minlength=BINS)[full] for values in (confidence, right)]
    return Reliability(count[full], sums[0] / count[full], sums[1] / count[full])


def calibration_error(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Expected calibration error: mean over slides of |accuracy - confidence| of their bin."""
    found = reliability(targets, probabilities)
    gaps = np.abs(found.accuracy - found.confidence)
    return float((found.count * gaps).sum() / found.count.sum())


def _logarithm(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.clip(probabilities, np.finfo(np.float64).tiny, None))
