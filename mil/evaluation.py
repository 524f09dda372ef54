"""How good predictions are: on all slides, within groups of them, and against other predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..spec import Spec
from .graded import Graded
from .metrics import Estimate, Judged, Predicted, evaluate, patient_resamples

OVER_CLASSES = ("balanced_accuracy", "f1", "macro_auroc", "macro_auprc", "macro_brier")
"""Metrics that are means over the classes or labels that occur."""

BANDS = 4
MOST_VALUES = 8
"""A column of numbers with more distinct values than this, as age, is cut into bands."""


@dataclass(frozen=True)
class EvaluationSpec(Spec):
    """How an evaluation is made.

    Attributes:
        resamples: of the bootstrap over patients.
        seed: of those resamples.
        min_group: fewest patients a group must have for its metrics to be given.
    """

    resamples: int = 1000
    seed: int = 0
    min_group: int = 10

    def __post_init__(self) -> None:
        if self.resamples < 1 or self.min_group < 1:
            raise UsageError("resamples and the least group must be at least 1.")


@dataclass(frozen=True)
class Group:
    """The slides that share a value of a column.

    Attributes:
        estimates: empty where the group has too few patients; without those that it cannot have, as AUROC
            where it lacks a class.
    """

    value: str
    slides: int
    patients: int
    estimates: dict[str, Estimate]


@dataclass(frozen=True)
class Difference(Spec):
    """A metric of one set of predictions less that of another, on the same slides.

    Attributes:
        value: on all slides that both have.
        low, high: 2.5th and 97.5th percentile over the same resamples of patients; None without any.
        p: two-sided, of the bootstrap: twice the smaller share of resamples on either side of 0.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None


def evaluate_graded(graded: Graded, spec: EvaluationSpec) -> dict[str, Estimate]:
    """Every metric that is defined, with its 95 % interval over patients.

    Raises:
        UsageError: none is.
    """
    found = evaluate(graded.predicted, spec.resamples, spec.seed)
    if not found:
        raise UsageError(
            f"{lacking(graded)} No metric can be known.", "Evaluate slides of which more is known."
        )
    return found


def lacking(graded: Graded) -> str:
    """Why some metrics are not defined; empty where all are."""
    if graded.classes:
        there = {graded.classes[t] for t in graded.predicted.known.tolist()}
        names = ", ".join(name for name in graded.classes if name not in there)
        return f"No slide has the label {names}: there is no AUROC, among others." if names else ""
    if graded.predicted.kinds > 1:
        return ""
    target = graded.outcome.target
    if target.survives:
        return f"No {target.more[0]} was seen before the last slide was: there is no concordance."
    return f"Every known value of {target.name} is the same: it cannot be told from others."


def groups_of(graded: Graded, column: str, spec: EvaluationSpec) -> list[Group]:
    """The metrics within each value of a column, in the order of the values.

    Raises:
        UsageError: the labels have no such column.
    """
    values = _banded(graded, column)
    names = np.array(values)
    groups = []
    for value in sorted(set(values), key=lambda name: (values_key(name), name)):
        part = graded.only(np.flatnonzero(names == value))
        patients = len(set(part.predicted.patients))
        enough = patients >= spec.min_group
        known = evaluate(part.predicted, spec.resamples, spec.seed) if enough else {}
        groups.append(Group(value or "(none)", len(part.slides), patients, known))
    return groups


def gaps(groups: Sequence[Group]) -> dict[str, float]:
    """The largest difference between two groups that have a metric, by metric; of fewer than two none.

    Where groups hold different classes, means over classes are of those that hold the most.
    """
    names = dict.fromkeys(name for group in groups for name in group.estimates)
    most = max((len(group.estimates) for group in groups), default=0)
    values = {
        name: [
            group.estimates[name].value
            for group in groups
            if name in group.estimates and (name not in OVER_CLASSES or len(group.estimates) == most)
        ]
        for name in names
    }
    return {name: max(found) - min(found) for name, found in values.items() if len(found) > 1}


def compare(graded: Graded, other: Graded, spec: EvaluationSpec) -> dict[str, Difference]:
    """Metrics of the first less those of the other on the slides that both have: a paired bootstrap.

    Raises:
        UsageError: they grade other classes, share no slide, or differ in a truth.
    """
    first, second = (one.predicted for one in _paired(graded, other))
    draws = patient_resamples(first, spec.resamples, spec.seed)
    steps = [_less(first.only(rows), second.only(rows)) for rows in draws]
    return {
        name: _difference(value, np.array([step[name] for step in steps]))
        for name, value in _less(first, second).items()
        if not np.isnan(value)
    }


def _less(ours: Judged, theirs: Judged) -> dict[str, float]:
    """Every metric of the first less that of the other."""
    against = theirs.metrics()
    return {name: value - against[name] for name, value in ours.metrics().items()}


def _difference(value: float, drawn: NDArray[np.float64]) -> Difference:
    steps = drawn[~np.isnan(drawn)]
    if not len(steps):
        return Difference(value, None, None, None)
    low, high = np.percentile(steps, [2.5, 97.5])
    # One is added on each side: no number of resamples proves a p of 0 (Davison and Hinkley 1997, 4.2).
    tail = min((steps <= 0).sum(), (steps >= 0).sum()) + 1
    return Difference(value, float(low), float(high), float(min(1.0, 2 * tail / (len(steps) + 1))))


def _paired(graded: Graded, other: Graded) -> tuple[Graded, Graded]:
    if graded.classes != other.classes:
        raise UsageError(
            f"One grades {', '.join(graded.classes)}, the other {', '.join(other.classes)}.",
            "Compare heads that were trained for the same classes.",
        )
    if graded.outcome.times != other.outcome.times:
        raise UsageError(
            "The two predict survival at different times.", "Compare heads that were trained on one cohort."
        )
    shared = sorted(set(graded.slides) & set(other.slides))
    pair = [_these(one, shared) for one in (graded, other)]
    if not shared:
        raise UsageError(
            "The two share no slide.",
            "Grade the same slides; grades of patients can be compared with grades of patients only.",
        )
    if not np.array_equal(pair[0].predicted.known, pair[1].predicted.known, equal_nan=True):
        raise UsageError("The two have other labels for a slide.", "Give the same --labels for both.")
    return pair[0], pair[1]


def _these(graded: Graded, slides: Sequence[str]) -> Graded:
    number = {slide: row for row, slide in enumerate(graded.slides)}
    return graded.only(np.array([number[slide] for slide in slides], int))


def _banded(graded: Graded, column: str) -> list[str]:
    """The value of every slide, numbers of many values cut into bands of about as many slides each."""
    if column not in graded.facts[0]:
        known = ", ".join(key for key in graded.facts[0] if not key.startswith("p_"))
        raise UsageError(
            f"The labels have no column {column}; they have {known}.", "Give --labels CSV with that column."
        )
    values = [row[column] for row in graded.facts]
    numbers = [_number(value) for value in values]
    given = [number for number in numbers if number is not None]
    if len(given) < sum(map(bool, values)) or len(set(given)) <= MOST_VALUES:
        return values
    edges = np.quantile(given, np.linspace(0, 1, BANDS + 1))
    return ["" if n is None else _band(n, edges) for n in numbers]


def _band(number: float, edges: NDArray[np.float64]) -> str:
    place = min(int(np.searchsorted(edges, number, side="right")), len(edges) - 1)
    closed = "]" if place == len(edges) - 1 else ")"
    return f"[{edges[place - 1]:g}, {edges[place]:g}{closed}"


def values_key(name: str) -> tuple[int, float]:
    """Numbers and bands of them by their size, before words."""
    number = _number(name.lstrip("[").split(",")[0])
    return (0, number) if number is not None else (1, 0.0)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def decision_curve(graded: Graded, thresholds: NDArray[np.float64]) -> Iterator[tuple[float, float, float]]:
    """Threshold, net benefit of acting on the second of two classes, and of acting on everyone.

    Vickers and Elkin, 2006: true positives less false positives weighed by the odds of the threshold,
    per slide. Acting on no one has a net benefit of 0.
    """
    judged = graded.predicted
    assert isinstance(judged, Predicted)
    positive, score = judged.targets == 1, judged.probabilities[:, 1]
    share = positive.mean()
    for threshold in thresholds.tolist():
        acted, odds = score >= threshold, threshold / (1 - threshold)
        benefit = ((acted & positive).sum() - odds * (acted & ~positive).sum()) / len(score)
        yield threshold, float(benefit), float(share - odds * (1 - share))
