"""Probabilities that mean what they say: temperature scaling on out-of-fold predictions.

Guo et al., 2017, https://arxiv.org/abs/1706.04599. The logarithm of each probability is divided by one
number, so the order of the classes of a slide stays; for softmax that is to divide the logits. Only
predictions by heads that never saw the patient are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

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
        temperature: of every head for new slides, learned from all out-of-fold predictions.
        fold_temperatures: of each head for the slides that it held out, learned from other patients.
        folds: (S,) of each slide that was held out, the heads that did so.
        targets: (S,) its class index.
        probabilities: (S, C) calibrated, out of fold, the mean over those heads.
    """

    temperature: float
    fold_temperatures: tuple[float, ...]
    folds: tuple[tuple[int, ...], ...]
    targets: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Predictions of S slides by those of H heads that never saw their patients; each slide has one or more.

    Attributes:
        patients: (S,) patient of each slide.
        targets: (S,) class index.
        probabilities: (H, S, C) as the heads gave them, NaN where a head did not hold a slide out.
        repeats: (H,) heads with one number hold each slide out at most once.
        validation: by the number of a head that is alone in its repeat, (V, C) what it says of the slides
            that it stopped by, and (V,) their class indices; without those that stopped by none.

    Raises:
        ValueError: a patient is in two folds of a repeat, so that a temperature would be judged on who
            taught it.
    """

    patients: Sequence[str]
    targets: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    repeats: NDArray[np.int64]
    validation: Mapping[int, tuple[NDArray[np.float64], NDArray[np.int64]]] = field(default_factory=dict)

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """(H, S) which head held which slide out."""
        return ~np.isnan(self.probabilities[..., 0])

    def __post_init__(self) -> None:
        patients = np.asarray(self.patients)
        for repeat in np.unique(self.repeats):
            held_out = self.held_out[self.repeats == repeat]
            often = [len(np.unique(patients[own])) for own in held_out]
            if sum(often) > len(np.unique(patients[held_out.any(0)])):
                raise ValueError("a patient is in two folds: the predictions are not out of fold")

    def mean(self) -> NDArray[np.float64]:
        """(S, C) over the heads that held each slide out."""
        return np.asarray(np.nanmean(self.probabilities, axis=0))

    def calibrated(self, temperatures: Sequence[float]) -> OutOfFold:
        """With the temperature of each head."""
        each = [temper(p, t) for p, t in zip(self.probabilities, temperatures, strict=True)]
        return replace(self, probabilities=np.stack(each))


def calibrate(raw: OutOfFold) -> Calibration:
    """Temperatures, and the predictions as heads of other folds would calibrate them."""
    temperatures = [_from_others(raw, head) for head in range(len(raw.repeats))]
    held_out = raw.held_out
    _, slide = np.nonzero(held_out)
    return Calibration(
        temperature=fit_temperature(raw.probabilities[held_out], raw.targets[slide]),
        fold_temperatures=tuple(temperatures),
        folds=tuple(tuple(np.flatnonzero(column).tolist()) for column in held_out.T),
        targets=tuple(raw.targets.tolist()),
        probabilities=tuple(map(tuple, raw.calibrated(temperatures).mean().tolist())),
    )


def _from_others(raw: OutOfFold, head: int) -> float:
    """The temperature of a head, from the other folds of its repeat, else from what it stopped by, else 1."""
    others = (raw.repeats == raw.repeats[head])[:, None] & raw.held_out
    others[head] = False
    if others.any():
        return fit_temperature(raw.probabilities[others], raw.targets[np.nonzero(others)[1]])
    return fit_temperature(*raw.validation[head]) if head in raw.validation else 1.0


def temper(
    probabilities: NDArray[np.float64], temperature: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """(..., C) with logarithms divided by the temperature (..., 1): above 1 it makes them less sure."""
    if np.all(temperature == 1):
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
