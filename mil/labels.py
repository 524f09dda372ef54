"""Which slide belongs to which patient and class, as a CSV says."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..table import read_table
from .target import Target


@dataclass(frozen=True)
class Entry:
    """One labelled slide.

    Attributes:
        slide, patient: their names.
        label: its class; where targets are asked for, what folds are balanced by, perhaps nothing yet.
        values: the cells of the targets' columns, empty where one is not known; none where the label is
            all that is asked.
    """

    slide: str
    patient: str
    label: str
    values: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[str, ...]:
        """Of the targets' columns."""
        return self.values or (self.label,)


@dataclass(frozen=True)
class Labels:
    """Labelled slides in a fixed order.

    Attributes:
        entries: one per slide.
        classes: ascending by value where every label is a number, else in alphabetical order. With
            two classes the second is the positive one.
    """

    entries: tuple[Entry, ...]
    classes: tuple[str, ...]

    @staticmethod
    def of(entries: Iterable[Entry]) -> Labels:
        """Labels with the classes that occur, sorted by slide: a shuffled CSV trains the same heads."""
        ordered = tuple(sorted(entries, key=lambda entry: entry.slide))
        return Labels(ordered, order_classes({entry.label for entry in ordered}))

    def only(self, slides: Collection[str]) -> Labels:
        """The labels of these slides, and the classes that still occur."""
        return Labels.of(entry for entry in self.entries if entry.slide in slides)

    @property
    def slides(self) -> tuple[str, ...]:
        return tuple(entry.slide for entry in self.entries)

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(entry.patient for entry in self.entries)

    @property
    def targets(self) -> NDArray[np.int64]:
        """(slides,) index of each slide's class."""
        number = {name: i for i, name in enumerate(self.classes)}
        return np.array([number[entry.label] for entry in self.entries], dtype=np.int64)


def read_labels(path: Path, label: str = "label") -> Labels:
    """Read a CSV with the columns slide, patient and label; others are ignored.

    `slide` is the slide_id of a run, `label` a class name or a grade.

    Args:
        label: another column to take for the label.

    Raises:
        UsageError: as `read_table`; a missing column, an empty value, or a slide named twice; the line is
            named.
    """
    columns = ("slide", "patient", label)
    lines = _lines(path, columns, columns)
    return Labels.of(Entry(slide, patient, text) for slide, patient, text in lines)


def read_targets(path: Path, targets: Sequence[Target]) -> Labels:
    """Read a CSV with the columns slide, patient and those of the targets; others are ignored.

    Cells of several targets, or of one that has no classes, may be empty: not known. One target with
    classes is read as `read_labels` reads it.

    Raises:
        UsageError: as `read_labels`.
    """
    if len(targets) == 1 and targets[0].has_classes:
        return read_labels(path, targets[0].name)
    wanted = [column for target in targets for column in target.columns]
    required = ("slide", "patient")
    lines = _lines(path, (*required, *wanted), required)
    return Labels.of(Entry(slide, patient, "", tuple(cells)) for slide, patient, *cells in lines)


def order_classes(labels: Collection[str]) -> tuple[str, ...]:
    """Distinct labels, by value where all are finite numbers, else in alphabetical order.

    Raises:
        UsageError: two spellings of one number, as in 1 and 1.0.
    """
    values = {label: _number(label) for label in labels}
    if any(value is None for value in values.values()):
        return tuple(sorted(values))
    if len(set(values.values())) < len(values):
        raise UsageError(
            f"The labels {', '.join(sorted(values))} spell a number in two ways.", "Spell each label one way."
        )
    return tuple(sorted(values, key=lambda label: values[label] or 0.0))


def _lines(path: Path, columns: Sequence[str], required: Collection[str]) -> list[list[str]]:
    """The cells of the columns, of which slide is the first; only the required ones must not be empty."""
    table = read_table(path)
    table.require(columns)
    seen: dict[str, int] = {}
    for number, row in table.lines:
        for column in required:
            if not row[column]:
                raise UsageError(f"{path}, line {number}: no {column}.", "Fill it in or remove the line.")
        slide = row["slide"]
        if slide in seen:
            raise UsageError(
                f"{path}, line {number}: slide {slide} is already on line {seen[slide]}.",
                "Keep one line per slide.",
            )
        seen[slide] = number
    return [[row[column] for column in columns] for _, row in table.lines]


def _number(label: str) -> float | None:
    try:
        value = float(label)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
