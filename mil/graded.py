"""Predictions as a table, joined with the truth: what an evaluation starts from."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..table import original
from .decision import decide
from .metrics import Predicted

ROUNDING = 1e-3
"""By how much the probabilities of a row may miss 1: tables are rounded."""

Row = dict[str, str]


@dataclass(frozen=True, eq=False)
class Graded:
    """Predictions of S slides whose truth is known.

    Attributes:
        slides: (S,) in alphabetical order.
        classes: names, in the order of the probabilities.
        predicted: patients, targets and probabilities of the slides.
        facts: per slide what else the labels say of it (site, scanner, age ...), by column.
        without_truth: slides that were predicted and have no label.
        without_prediction: slides that have a label and were not predicted.
    """

    slides: tuple[str, ...]
    classes: tuple[str, ...]
    predicted: Predicted
    facts: tuple[Row, ...]
    without_truth: tuple[str, ...] = ()
    without_prediction: tuple[str, ...] = ()

    def only(self, rows: NDArray[np.integer]) -> Graded:
        """These rows, in this order."""
        p = self.predicted
        patients = [p.patients[row] for row in rows]
        taken = Predicted(patients, p.targets[rows], p.probabilities[rows], p.ordered)
        chosen = rows.tolist()
        return Graded(
            tuple(self.slides[row] for row in chosen),
            self.classes,
            taken,
            tuple(self.facts[row] for row in chosen),
        )


def read_graded(predictions: Path, labels: Path | None = None) -> Graded:
    """Read a table of predictions, and the truth.

    Args:
        predictions: a head folder, for its out-of-fold predictions, or a CSV with the columns slide,
            predicted and p_CLASS for every class, as `predict` writes it.
        labels: a CSV with the columns slide, patient, label and any others; may be left out where the
            predictions hold patient and label, as those of a head folder do.

    Raises:
        UsageError: a file cannot be read, columns are missing, a label is no class of the head, or
            `predicted` does not follow from the probabilities.
    """
    path = predictions / "predictions.csv" if predictions.is_dir() else predictions
    found = read_rows(path)
    truth = read_rows(labels) if labels else found
    source = labels or path
    for column in ("slide", "patient", "label"):
        if column not in next(iter(truth.values()), {}):
            raise UsageError(
                f"{source} has no column {column}.", "Give the truth with --labels: slide, patient, label."
            )
    both = sorted(found.keys() & truth.keys())
    if not both:
        raise UsageError(f"No slide of {path} is in {source}.", "Slides are matched by the column slide.")
    return _joined(found, truth, both)


def read_rows(path: Path) -> dict[str, Row]:
    """The rows of a CSV by their column slide.

    Raises:
        UsageError: it cannot be read, has no such column, or names a slide twice.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}.", "Give a UTF-8 CSV file.") from error
    rows: dict[str, Row] = {}
    for line in lines:
        row = {key: original((value or "").strip()) for key, value in line.items() if key}
        slide = row.get("slide", "")
        if not slide or slide in rows:
            what = f"slide {slide} twice" if slide else "a line without a slide"
            raise UsageError(f"{path} holds {what}.", "One line per slide, with the column slide.")
        rows[slide] = row
    if not rows:
        raise UsageError(f"{path} is empty.", "Give a CSV with the column slide.")
    return rows


def _joined(found: dict[str, Row], truth: dict[str, Row], both: list[str]) -> Graded:
    classes = tuple(key[2:] for key in found[both[0]] if key.startswith("p_"))
    if len(classes) < 2:
        raise UsageError("The predictions have no columns p_CLASS.", "Give what `predict -o` has written.")
    probabilities = _probabilities(found, both, classes)
    number = {name: index for index, name in enumerate(classes)}
    for slide in both:
        if truth[slide]["label"] not in number:
            raise UsageError(
                f"The label {truth[slide]['label']!r} of slide {slide} is none of {', '.join(classes)}.",
                "Labels must be spelt as those the head was trained with.",
            )
    targets = np.array([number[truth[slide]["label"]] for slide in both], dtype=np.int64)
    ordered = _was_ordered(probabilities, [found[slide].get("predicted", "") for slide in both], classes)
    patients = [truth[slide]["patient"] or slide for slide in both]
    return Graded(
        tuple(both),
        classes,
        Predicted(patients, targets, probabilities, ordered),
        tuple(truth[slide] for slide in both),
        tuple(sorted(found.keys() - truth.keys())),
        tuple(sorted(truth.keys() - found.keys())),
    )


def _probabilities(found: dict[str, Row], slides: list[str], classes: tuple[str, ...]) -> NDArray[np.float64]:
    """(S, C), each row summing to 1."""
    try:
        table = np.array([[float(found[slide][f"p_{name}"]) for name in classes] for slide in slides])
    except ValueError as error:
        raise UsageError("A probability is no number.", "Give what `predict -o` has written.") from error
    if not np.isfinite(table).all() or (table < 0).any() or (abs(table.sum(1) - 1) > ROUNDING).any():
        raise UsageError(
            "The probabilities of a slide do not sum to 1.", "Give what `predict -o` has written."
        )
    return np.asarray(table / table.sum(1, keepdims=True))


def _was_ordered(probabilities: NDArray[np.float64], predicted: list[str], classes: tuple[str, ...]) -> bool:
    """By which rule the table decided: the likeliest class, or the median grade."""
    for ordered in (False, True):
        decided = decide(probabilities, ordered)
        if all(name in ("", classes[index]) for name, index in zip(predicted, decided, strict=True)):
            return ordered
    raise UsageError(
        "The column predicted is neither the likeliest class nor the median grade of every slide.",
        "Give a table as `predict -o` has written it.",
    )
