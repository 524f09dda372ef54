"""Predictions of numbers, of several yes-or-no labels and of survival, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .metrics import NAN, Judged, Predicted, auprc, auroc
from .outcomes import Known, time_name
from .survival_metrics import (
    brier_over_time,
    concordance,
    concordance_uno,
    integrated_brier,
    mortality,
)


@dataclass(frozen=True, eq=False)
class Measured(Judged):
    """Predictions of a number.

    Attributes:
        patients: (S,) patient of each slide.
        truth, answers: (S,) the number, and what was predicted.
    """

    patients: Sequence[str]
    truth: NDArray[np.float64]
    answers: NDArray[np.float64]

    @property
    def kinds(self) -> int:
        return 1 + int(np.ptp(self.truth) > 0)

    def only(self, rows: NDArray[np.integer]) -> Measured:
        return Measured([self.patients[row] for row in rows.tolist()], self.truth[rows], self.answers[rows])

    def metrics(self) -> dict[str, float]:
        """Share of the variance explained, mean absolute error and Pearson's correlation; a prediction that
        is the same for all has a correlation of 0."""
        missed = self.answers - self.truth
        found = {"r2": NAN, "mae": float(np.abs(missed).mean()), "pearson": NAN}
        if self.kinds > 1:
            spread = self.truth - self.truth.mean()
            constant = np.ptp(self.answers) == 0
            found["r2"] = float(1 - (missed**2).sum() / (spread**2).sum())
            found["pearson"] = 0.0 if constant else float(np.corrcoef(self.truth, self.answers)[0, 1])
        return found

    @property
    def known(self) -> NDArray[np.float64]:
        return self.truth


@dataclass(frozen=True, eq=False)
class Labelled(Judged):
    """Predictions of L labels, each of which a slide has or has not.

    Attributes:
        patients: (S,) patient of each slide.
        names: (L,) of the labels.
        truth: (S, L) 1 or 0, NaN where it is not known.
        probabilities: (S, L).
    """

    patients: Sequence[str]
    names: tuple[str, ...]
    truth: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    @property
    def kinds(self) -> int:
        return 1 + int(any((column == 1).any() and (column == 0).any() for column in self.truth.T))

    def only(self, rows: NDArray[np.integer]) -> Labelled:
        patients = [self.patients[row] for row in rows.tolist()]
        return Labelled(patients, self.names, self.truth[rows], self.probabilities[rows])

    def metrics(self) -> dict[str, float]:
        """Of every label, over the slides where it is known; the mean over the labels is macro."""
        each = [_binary(*columns) for columns in zip(self.truth.T, self.probabilities.T, strict=True)]
        macro = {f"macro_{name}": _mean([one[name] for one in each]) for name in each[0]}
        named = zip(self.names, each, strict=True)
        return macro | {f"{name}_{label}": value for label, one in named for name, value in one.items()}

    @property
    def known(self) -> NDArray[np.float64]:
        return self.truth


@dataclass(frozen=True, eq=False)
class Survived(Judged):
    """Predictions of survival.

    Attributes:
        patients: (S,) patient of each slide.
        times: (S,) of the event, or until when none was seen.
        events: (S,) whether it was seen.
        survival: (S, T) probability to have no event until each of T times.
        at: (T,) these times, ascending.
    """

    patients: Sequence[str]
    times: NDArray[np.float64]
    events: NDArray[np.bool_]
    survival: NDArray[np.float64]
    at: NDArray[np.float64]

    @property
    def risk(self) -> NDArray[np.float64]:
        """(S,) who is likelier to have the event early."""
        return mortality(self.survival)

    @property
    def kinds(self) -> int:
        return 1 + int(self.events.any() and self.times[self.events].min() < self.times.max())

    def only(self, rows: NDArray[np.integer]) -> Survived:
        patients = [self.patients[row] for row in rows.tolist()]
        return Survived(patients, self.times[rows], self.events[rows], self.survival[rows], self.at)

    def metrics(self) -> dict[str, float]:
        """Concordance of Harrell and of Uno, and Brier scores over time and at its quarters."""
        known, risk = (self.times, self.events), self.risk
        scores = brier_over_time(*known, self.survival, self.at)
        quarters = sorted({round(share * (len(self.at) - 1)) for share in (1 / 6, 1 / 2, 5 / 6)})
        return {
            "c_index": concordance(*known, risk),
            "c_index_uno": concordance_uno(*known, risk, float(self.at[-1])),
            "integrated_brier": integrated_brier(scores, self.at),
        } | {f"brier_at_{time_name(self.at[q])}": float(scores[q]) for q in quarters}

    @property
    def known(self) -> NDArray[np.float64]:
        return np.stack([self.times, self.events], axis=1)


def judge(known: Known, patients: Sequence[str], answers: NDArray[np.float64], ordered: bool) -> Judged:
    """Answers (S, A) to one target beside what is known of it, of the slides of which it is.

    Args:
        ordered: whether classes are grades in order.
    """
    rows = known.rows
    own = [patient for patient, wanted in zip(patients, rows.tolist(), strict=True) if wanted]
    truth, said, outcome = known.truth[rows], answers[rows], known.outcome
    if outcome.target.has_classes:
        return Predicted(own, truth[:, 0].astype(np.int64), said, ordered)
    if outcome.target.task == "labels":
        return Labelled(own, outcome.names, truth, said)
    if outcome.target.survives:
        return Survived(own, truth[:, 0], truth[:, 1] == 1, said, np.array(outcome.times))
    return Measured(own, truth[:, 0], said[:, 0])


def _binary(truth: NDArray[np.float64], probability: NDArray[np.float64]) -> dict[str, float]:
    known = ~np.isnan(truth)
    targets, p = truth[known].astype(np.int64), probability[known]
    if len(np.unique(targets)) < 2:
        return {"auroc": NAN, "auprc": NAN, "brier": NAN}
    both = np.stack([1 - p, p], axis=1)
    squares = float(((p - targets) ** 2).mean())
    return {"auroc": auroc(targets, both), "auprc": auprc(targets, both), "brier": squares}


def _mean(values: Sequence[float]) -> float:
    """Of those that are defined."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else NAN
