"""What is known of each slide: the targets' cells as numbers, with gaps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..spec import Spec
from .labels import Entry, Labels, order_classes
from .target import Target

YES = {"1", "yes", "true", "positive"}
NO = {"0", "no", "false", "negative"}
EIGHTHS = np.arange(1, 8) / 8
LARGEST = 1e30
"""Of numbers and times: the squares of greater ones overflow."""

SHARPNESS = 1e-3
"""By how much of their range times may be rounded."""

BINS = 4
"""Most parts that numbers are cut into to balance folds."""

Truth = NDArray[np.float64]
"""(S, W) of one target: class index; number; 1 or 0 per label; or time and event. NaN where not known."""


@dataclass(frozen=True)
class Outcome(Spec):
    """A target with what the labels say of its values on the whole. A head folder keeps it.

    Attributes:
        target: what is asked.
        names: of the classes, in order, or of the labels.
        times: at which survival is predicted, ascending: eighths of the times of events.
    """

    target: Target
    names: tuple[str, ...] = ()
    times: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """W, how many numbers are known of a slide."""
        return len(self.target.columns)

    @property
    def size(self) -> int:
        """How many numbers an answer has: probabilities, survival at the times, or one."""
        return len(self.names) or len(self.times) or 1

    def read(self, cells: Sequence[Sequence[str]], slides: Sequence[str]) -> Truth:
        """(S, W) of the cells of its columns, one row per slide.

        Raises:
            UsageError: a cell says nothing that this target could be; its slide and column are named.
        """
        readers = _readers(self)
        truth = np.full((len(slides), self.width), np.nan)
        for row, (texts, slide) in enumerate(zip(cells, slides, strict=True)):
            for column, text in enumerate(texts):
                if text:
                    truth[row, column] = _read(readers[column], text, (slide, self.target.columns[column]))
        if self.target.task != "labels":
            # A time without its event, or the other way round, says nothing.
            truth[np.isnan(truth).any(1)] = np.nan
        return truth


@dataclass(frozen=True, eq=False)
class Known:
    """An outcome, and what is known of it.

    Attributes:
        outcome: of one target.
        truth: (S, W).
    """

    outcome: Outcome
    truth: Truth

    @property
    def rows(self) -> NDArray[np.bool_]:
        """(S,) where anything is known."""
        return np.asarray(~np.isnan(self.truth).all(1))

    @property
    def missing(self) -> str:
        """What a head could not learn without, or nothing: a class, a label's yes or no, an event, or two
        different numbers."""
        truth, names = self.truth[self.rows], self.outcome.names
        if self.outcome.target.survives:
            return "" if (truth[:, 1] == 1).any() else "no event is known"
        if self.outcome.target.has_classes:
            absent = [name for c, name in enumerate(names) if not (truth == c).any()]
            return f"no slide of class {absent[0]} is known" if absent else ""
        if self.outcome.target.task == "labels":
            absent = [n for n, t in zip(names, truth.T, strict=True) if not {0.0, 1.0} <= set(t.tolist())]
            return f"{absent[0]} is not known to be both there and not" if absent else ""
        return "" if len(np.unique(truth)) > 1 else "no two different numbers are known"

    def only(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Known:
        return Known(self.outcome, self.truth[rows])


def known_of(labels: Labels, targets: Sequence[Target]) -> tuple[Known, ...]:
    """Every target with what the labels know of it.

    Raises:
        UsageError: a cell cannot be read, or a target has no two values to tell apart.
    """
    found, place = [], 0
    for target in targets:
        end = place + len(target.columns)
        cells = [entry.cells[place:end] for entry in labels.entries]
        outcome = _outcome(target, cells, labels.slides)
        found.append(Known(outcome, outcome.read(cells, labels.slides)))
        _require_contrast(found[-1])
        place = end
    return tuple(found)


def strata(labels: Labels, known: Sequence[Known], folds: int) -> Labels:
    """The same slides, labelled by what folds are balanced by: the first target with classes, else the
    first target: whether its event was seen, a part of its range where hardly any was not, or its rarest
    label.

    A slide of which that is not known goes with the commonest.
    """
    first = next((one for one in known if one.outcome.target.has_classes), known[0])
    parts = len(set(labels.patients)) // (2 * folds)
    lost = {p for p, event in zip(labels.patients, first.truth[:, -1].tolist(), strict=True) if event == 0}
    names = _stratum_names(first, min(BINS, max(2, parts)), len(lost) >= 2 * folds)
    counts = {name: names.count(name) for name in names if name}
    commonest = max(sorted(counts), key=lambda name: counts[name])
    pairs = zip(labels.entries, names, strict=True)
    return Labels.of(Entry(e.slide, e.patient, name or commonest, e.values) for e, name in pairs)


def require_taught(known: Known, train: NDArray[np.bool_], name: str) -> None:
    """Refuse a training part from which a target cannot be learned.

    Args:
        known: the target, of S slides.
        train: (S,) the training slides.
        name: of what is held out.

    Raises:
        UsageError: it lacks a class, a label's yes or no, an event, or two different numbers.
    """
    missing = known.only(train).missing
    if missing:
        raise UsageError(
            f"Of target {known.outcome.target.name}, {missing} among the slides that the head of {name} "
            "learns from.",
            "Use fewer folds, add slides, or leave the target out.",
        )


def _outcome(target: Target, cells: Sequence[Sequence[str]], slides: Sequence[str]) -> Outcome:
    if target.task == "labels":
        return Outcome(target, target.more)
    if target.has_classes:
        names = order_classes({texts[0] for texts in cells if texts[0]})
        _require_order(target, names)
        return Outcome(target, names)
    if not target.survives:
        return Outcome(target)
    truth = Outcome(target, (), (0.0,)).read(cells, slides)
    seen = truth[truth[:, 1] == 1, 0]
    if not len(seen):
        raise UsageError(f"Target {target.name} has no event.", "Survival cannot be learned without one.")
    return Outcome(target, (), _rounded(np.quantile(seen, EIGHTHS), float(np.ptp(seen))))


def _rounded(times: NDArray[np.float64], spread: float) -> tuple[float, ...]:
    """Distinct times that can be read: four digits, more where that would blur them."""
    for digits in range(4, 17):
        found = np.array([float(f"{time:.{digits}g}") for time in times.tolist()])
        if (abs(found - times) <= SHARPNESS * spread).all():
            break
    return tuple(sorted(set(found.tolist())))


def time_name(time: float) -> str:
    """As in the name of a column: all of its digits."""
    return f"{time:.15g}"


def _require_order(target: Target, names: tuple[str, ...]) -> None:
    if target.ordered and len(names) > 2 and not all(map(_is_number, names)):
        raise UsageError(
            f"Task {target.task} needs grades, and the order of {', '.join(names)} is not known.",
            "Write grades as numbers, or use the task classes.",
        )


def _require_contrast(known: Known) -> None:
    target, missing = known.outcome.target, known.missing
    if target.has_classes and len(known.outcome.names) < 2:
        found = ", ".join(known.outcome.names) or "none"
        raise UsageError(
            f"A head needs at least two classes; {target.name} has: {found}.", "Add other labels."
        )
    if missing:
        raise UsageError(f"Of target {target.name}, {missing} among the labels.", "Add other slides.")


def _stratum_names(first: Known, parts: int, by_event: bool) -> list[str]:
    """(S,) the stratum of each slide, empty where it is not known.

    Args:
        parts: that a range is cut into.
        by_event: whether enough patients are censored to tell them from the others.
    """
    truth, outcome = first.truth, first.outcome
    if outcome.target.has_classes:
        return ["" if math.isnan(t) else outcome.names[int(t)] for t in truth[:, 0].tolist()]
    if outcome.target.survives and by_event:
        event = outcome.target.more[0]
        return [{1.0: f"{event} seen", 0.0: f"{event} not seen"}.get(t, "") for t in truth[:, 1].tolist()]
    if outcome.target.task == "labels":
        counts = [min((column == 1).sum(), (column == 0).sum()) for column in truth.T]
        name, rarest = outcome.names[int(np.argmin(counts))], truth[:, int(np.argmin(counts))]
        return [{1.0: f"{name} yes", 0.0: f"{name} no"}.get(t, "") for t in rarest.tolist()]
    known = np.flatnonzero(first.rows)
    names, of_what = [""] * len(truth), outcome.target.name
    # By rank: as many slides in each part, also where numbers repeat.
    for number, part in enumerate(np.array_split(known[np.argsort(truth[known, 0], kind="stable")], parts)):
        for row in part.tolist():
            names[row] = f"{of_what} part {number + 1}"
    return names


Reader = tuple[Callable[[str], float | None], str]
"""What turns a cell into a number, or None where it cannot, and what such a cell is."""


def _readers(outcome: Outcome) -> list[Reader]:
    """One for each column."""
    yes_or_no = (_yes_or_no, "neither 1 nor 0")
    if outcome.target.has_classes:
        number = {name: float(index) for index, name in enumerate(outcome.names)}
        return [(number.get, f"none of {', '.join(outcome.names)}")]
    if outcome.target.task == "labels":
        return [yes_or_no] * outcome.width
    if outcome.target.survives:
        return [(_time, f"no time from 0 to {LARGEST:g}"), yes_or_no]
    return [(_measured, f"no number within {LARGEST:g}")]


def _read(reader: Reader, text: str, where: tuple[str, str]) -> float:
    value = reader[0](text)
    if value is None:
        slide, column = where
        raise UsageError(
            f"The {column} {text!r} of slide {slide} is {reader[1]}.",
            "Correct it, or leave the cell empty where it is not known.",
        )
    return value


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _measured(text: str) -> float | None:
    value = _finite(text)
    return value if value is not None and abs(value) <= LARGEST else None


def _time(text: str) -> float | None:
    value = _measured(text)
    return value if value is not None and value >= 0 else None


def _yes_or_no(text: str) -> float | None:
    word = text.lower().removesuffix(".0")
    return 1.0 if word in YES else 0.0 if word in NO else None


def _is_number(text: str) -> bool:
    return _finite(text) is not None
