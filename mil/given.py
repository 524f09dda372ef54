"""Splits that somebody has made before: a table of folds, or of train, val and test."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..table import read_table
from .labels import Labels, order_classes
from .plan import Chosen, Plan, Split
from .spec import TrainSpec
from .splits import Aside, learning_parts

PARTS = ("train", "val", "test")
NUMBERED = re.compile(r"splits_(\d+)\.csv")


@dataclass(frozen=True)
class GivenSplit:
    """One division.

    Attributes:
        name: of the fold or file.
        part: "train", "val" or "test" of each slide, or of each patient.
    """

    name: str
    part: Mapping[str, str]

    def by_patient(self, labels: Labels) -> GivenSplit:
        """The same division with patients as its names.

        Raises:
            UsageError: slides of a patient are in two parts.
        """
        part = self.of_each(labels)
        _require_whole_patients(labels, part, self.name)
        pairs = zip(labels.patients, part, strict=True)
        return GivenSplit(self.name, {patient: found for patient, found in pairs if found})

    def of_each(self, labels: Labels) -> list[str]:
        """(S,) the part of each slide, empty where it has none."""
        by_slide = not self.part.keys().isdisjoint(labels.slides)
        return [self.part.get(key, "") for key in (labels.slides if by_slide else labels.patients)]


def read_given(path: Path) -> tuple[GivenSplit, ...]:
    """Read splits.

    Args:
        path: a CSV with the columns fold and slide or patient: each fold is held out once, and the
            validation part is drawn from the others. Or a CSV with the columns train, val and test, each a
            list of slides or of patients; or a folder with several of these, splits_0.csv and so on.

    Raises:
        UsageError: a file cannot be read or has other columns, or a name stands in two parts.
    """
    if path.is_dir():
        numbers = {int(m[1]): p for p in path.iterdir() if (m := NUMBERED.fullmatch(p.name))}
        if not numbers:
            raise UsageError(f"{path} holds no file such as splits_0.csv.", "Name a CSV, or such a folder.")
        return tuple(_three_parts(numbers[number]) for number in sorted(numbers))
    columns = _read(path)
    return (_three_parts(path),) if "train" in columns else _folds(path, columns)


def plan_given(labels: Labels, given: Sequence[GivenSplit], spec: TrainSpec) -> Plan:
    """The heads of given splits; a slide that a split does not name is not shown to its head.

    Args:
        labels: the slides to use, see `named`.
        given: from `read_given`.
        spec: what part is set aside to stop by where none is given; one that is given is learned from too
            where it says none.

    Raises:
        UsageError: a patient is in two parts of a split, a part is empty, or a class is missing.
    """
    splits = [_split(labels, one, spec) for one in given]
    often = np.sum([split.held_out for split in splits], axis=0)
    # Splits that hold a slide out twice, or a single one, are no division: each stands for itself.
    together = len(splits) > 1 and int(often.max()) == 1 and not _patient_twice(labels, splits)
    return Plan(
        labels,
        tuple(
            Split(s.name, 0 if together else number, s.train, s.validation, s.held_out)
            for number, s in enumerate(splits)
        ),
    )


def named(labels: Labels, given: Sequence[GivenSplit]) -> Labels:
    """The labels of slides that any split names, by themselves or by their patient."""
    known = {name for one in given for name in one.part}
    return labels.only([e.slide for e in labels.entries if e.slide in known or e.patient in known])


def _split(labels: Labels, one: GivenSplit, spec: TrainSpec) -> Split:
    part = one.of_each(labels)
    _require_whole_patients(labels, part, one.name)
    train, validation, held_out = (np.array(part) == name for name in PARTS)
    for name, chosen in (("train", train), ("test", held_out)):
        if not chosen.any():
            raise UsageError(
                f"Split {one.name} has no {name} slide of the run.", "Use slide_ids, as in the labels."
            )
    if not validation.any() or not spec.validation:
        aside = Aside(f"split {one.name}", spec.seed, spec.validation)
        train, validation = learning_parts(labels, train | validation, aside)
    _require_classes(labels, train, one.name)
    return Split(one.name, 0, train, validation, held_out)


def _require_whole_patients(labels: Labels, part: Sequence[str], name: str) -> None:
    seen: dict[str, str] = {}
    for patient, found in zip(labels.patients, part, strict=True):
        if found and seen.setdefault(patient, found) != found:
            raise UsageError(
                f"Patient {patient} is in {seen[patient]} and in {found} of split {name}.",
                "A head would be judged on a patient it knows: give all slides of a patient one part.",
            )


def _require_classes(labels: Labels, train: Chosen, name: str) -> None:
    missing = set(range(len(labels.classes))) - set(labels.targets[train].tolist())
    if missing:
        raise UsageError(
            f"Split {name} has no slide of class {labels.classes[min(missing)]} to learn from.",
            "Every class must occur in train, besides those in val.",
        )


def _patient_twice(labels: Labels, splits: Sequence[Split]) -> bool:
    patients = np.array(labels.patients)
    held_out = [p for split in splits for p in set(patients[split.held_out].tolist())]
    return len(held_out) > len(set(held_out))


def _folds(path: Path, columns: Mapping[str, Sequence[str]]) -> tuple[GivenSplit, ...]:
    key = next((name for name in ("slide", "patient") if name in columns), None)
    if key is None or "fold" not in columns:
        raise UsageError(
            f"{path} has the columns {', '.join(columns) or '(none)'}.",
            "Give fold and slide or patient; or train, val and test.",
        )
    fold_of: dict[str, str] = {}
    for name, fold in zip(columns[key], columns["fold"], strict=True):
        if not name or not fold:
            raise UsageError(f"{path} has a line without {key} or fold.", "Fill it in or remove the line.")
        if fold_of.setdefault(name, fold) != fold:
            raise UsageError(f"{path} has {key} {name} in two folds.", "Keep one line for it.")
    folds = order_classes(set(fold_of.values()))
    if len(folds) < 2:
        raise UsageError(f"{path} has only one fold.", "Give two or more, or train, val and test.")
    return tuple(
        GivenSplit(fold, {name: "test" if own == fold else "train" for name, own in fold_of.items()})
        for fold in folds
    )


def _three_parts(path: Path) -> GivenSplit:
    columns, part = _read(path), dict[str, str]()
    for needed in ("train", "test"):
        if needed not in columns:
            raise UsageError(f"{path} has no column {needed}.", "Give train, val and test.")
    for name in PARTS:
        for key in filter(None, columns.get(name, ())):
            if part.setdefault(key, name) != name:
                raise UsageError(
                    f"{path} has {key} in {part[key]} and in {name}.", "Each belongs in one column."
                )
    return GivenSplit(path.stem, part)


def _read(path: Path) -> dict[str, list[str]]:
    """The cells of each column."""
    table = read_table(path)
    return {name: [cells[name] for _, cells in table.lines] for name in table.columns}
