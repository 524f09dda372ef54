"""Predictions as a table, joined with the truth: what an evaluation starts from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..table import Table, read_table
from .answers import outcome_in, read_answers, was_ordered
from .judged import judge
from .metrics import Judged
from .outcomes import Known, Outcome
from .spec import TrainSpec
from .target import Target

Row = dict[str, str]
HERE = "predictions.csv"
SLIDES = "slides"
"""The column that only predictions of patients have: theirs."""


@dataclass(frozen=True, eq=False)
class Graded:
    """Answers to one target for S slides whose truth is known.

    Attributes:
        slides: (S,) in alphabetical order.
        outcome: the target, with its classes or labels, or the times of its survival.
        predicted: patients, truth and answers of the slides.
        facts: per slide what else the labels say of it (site, scanner, age ...), by column.
        without_truth: slides that were predicted and have no label.
        without_prediction: slides that have a label and were not predicted.
        seen: how many of the slides the heads that were asked had been trained on.
    """

    slides: tuple[str, ...]
    outcome: Outcome
    predicted: Judged
    facts: tuple[Row, ...]
    without_truth: tuple[str, ...] = ()
    without_prediction: tuple[str, ...] = ()
    seen: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities; none of another target."""
        return self.outcome.names if self.outcome.target.has_classes else ()

    def only(self, rows: NDArray[np.integer]) -> Graded:
        """These rows, in this order."""
        chosen = rows.tolist()
        return Graded(
            tuple(self.slides[row] for row in chosen),
            self.outcome,
            self.predicted.only(rows),
            tuple(self.facts[row] for row in chosen),
        )


def targets_of(predictions: Path, wanted: Sequence[Target] = ()) -> tuple[Target, ...]:
    """What was predicted: those that are wanted, else all of a head folder, else the one column label.

    Args:
        predictions: a head folder or a CSV.
        wanted: of a head folder a name is enough.
    """
    try:
        document = json.loads((predictions / "head.json").read_text(encoding="utf-8"))
        asked = TrainSpec.from_dict(document["train"]).asked
    except (OSError, LookupError, TypeError, ValueError):
        return tuple(wanted) or (Target(),)
    by_name = {target.name: target for target in asked}
    return tuple(by_name.get(target.name, target) for target in wanted) or asked


def read_graded(predictions: Path, labels: Path | None = None, target: Target | None = None) -> Graded:
    """Read the answers to one target from a table of predictions, and the truth.

    Args:
        predictions: a head folder, for its out-of-fold predictions, or a CSV with the column slide and those
            that `answers` lists, as `predict` writes it; or one of patients, with the columns patient and
            slides, each of which then stands for a slide here.
        labels: a CSV with the columns slide, patient, those of the target and any others; may be left out
            where the predictions hold them, as those of a head folder do.
        target: by default classes in the column label.

    Raises:
        UsageError: a file cannot be read, columns are missing, a label is no class of the head,
            `predicted` does not follow from the probabilities, or slides of a patient differ in their truth.
    """
    path, target = predictions / HERE if predictions.is_dir() else predictions, target or Target()
    found = _read_predictions(path)
    truth = read_rows(labels) if labels else found
    source = labels or path
    what = "patient" if SLIDES in next(iter(found.values())) else "slide"
    names = tuple(dict.fromkeys(("slide" if labels else what, "patient")))
    for column in (*names, *target.columns):
        if column not in next(iter(truth.values()), {}):
            wanted = ", ".join((*names, *target.columns))
            raise UsageError(f"{source} has no column {column}.", f"Give the truth with --labels: {wanted}.")
    if what == "patient":
        truth = _of_patients(truth, target)
    both = sorted(found.keys() & truth.keys())
    if not both:
        raise UsageError(f"No {what} of {path} is in {source}.", f"Both must name the same in {what}.")
    return _joined(found, truth, both, target)


def read_rows(path: Path) -> dict[str, Row]:
    """The rows of a CSV by their column slide.

    Raises:
        UsageError: it cannot be read, has no such column, or names a slide twice.
    """
    return _by(read_table(path), "slide")


def _read_predictions(path: Path) -> dict[str, Row]:
    """By slide, or by patient where slides of patients were graded together."""
    table = read_table(path)
    return _by(table, "patient" if SLIDES in table.columns else "slide")


def _by(table: Table, column: str) -> dict[str, Row]:
    table.require([column])
    rows: dict[str, Row] = {}
    for number, row in table.lines:
        name = row[column]
        if not name or name in rows:
            what = f"{column} {name} again" if name else f"no {column}"
            raise UsageError(f"{table.path}, line {number} holds {what}.", f"Give one line per {column}.")
        rows[name] = row
    if not rows:
        raise UsageError(f"{table.path} is empty.", f"Give a CSV with the column {column}.")
    return rows


def _of_patients(truth: dict[str, Row], target: Target) -> dict[str, Row]:
    """One row per patient: what all the patient's slides share; empty where they do not."""
    found: dict[str, Row] = {}
    for row in truth.values():
        known = found.setdefault(row["patient"], row)
        if any(known[column] != row[column] for column in target.columns):
            raise UsageError(
                f"Slides of patient {row['patient']} differ in {', '.join(target.columns)}.",
                "Give a patient one label, or evaluate predictions of slides.",
            )
        found[row["patient"]] = {key: value if row[key] == value else "" for key, value in known.items()}
    return found


def _joined(found: dict[str, Row], truth: dict[str, Row], both: list[str], target: Target) -> Graded:
    outcome, prefix = outcome_in(target, found[both[0]])
    cells = [[truth[slide][column] for column in target.columns] for slide in both]
    known = Known(outcome, outcome.read(cells, both))
    rows = np.flatnonzero(known.rows)
    if not len(rows):
        raise UsageError(f"Nothing is known of {target.name}.", "Give the truth with --labels.")
    answers = read_answers([found[slide] for slide in both], outcome, prefix)
    patients = [truth[slide]["patient"] or slide for slide in both]
    predicted = [found[slide].get(f"{prefix}predicted", "") for slide in both]
    ordered = target.has_classes and was_ordered(outcome, answers, predicted)
    slides = [both[row] for row in rows.tolist()]
    labelled = {slide for slide, row in truth.items() if any(row[column] for column in target.columns)}
    return Graded(
        tuple(slides),
        outcome,
        judge(known, patients, answers, ordered),
        tuple(truth[slide] for slide in slides),
        tuple(sorted(found.keys() - set(slides))),
        tuple(sorted(labelled - found.keys())),
        sum(found[slide].get("seen") == "yes" for slide in slides),
    )
