"""Folds that keep a patient whole and the classes balanced."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from ..errors import UsageError
from .labels import Labels

VALIDATION_PARTS = 5


def assign_folds(labels: Labels, folds: int, seed: int) -> NDArray[np.int64]:
    """(slides,) the fold that holds each slide out; all slides of a patient share one.

    Deterministic: the same labels, folds and seed give the same assignment.

    Raises:
        UsageError: fewer than two classes, or fewer patients of a class than folds.
    """
    _require_classes(labels)
    patients = patients_per_class(labels)
    rarest = int(patients.argmin())
    if patients[rarest] < folds:
        raise UsageError(
            f"Class {labels.classes[rarest]} has {patients[rarest]} patients, too few for {folds} folds.",
            f"Use at most {patients[rarest]} folds or add patients."
            if patients[rarest] > 1
            else "Add patients.",
        )
    return _stratified(labels, folds, seed)


def validation_part(labels: Labels, seed: int) -> NDArray[np.bool_]:
    """(slides,) True for about a fifth of the patients of a training fold, to stop training by.

    Raises:
        UsageError: a class has only one patient, who cannot be on both sides.
    """
    _require_classes(labels)
    patients = patients_per_class(labels)
    if patients.min() < 2:
        rarest = labels.classes[int(patients.argmin())]
        raise UsageError(
            f"A training fold has only {patients.min()} patient of class {rarest}.",
            "Use more folds or add patients: training and early stopping need one each.",
        )
    part = _stratified(labels, min(VALIDATION_PARTS, int(patients.min())), seed)
    for number in range(part.max() + 1):
        chosen: NDArray[np.bool_] = part == number
        # Patients with many slides can unbalance a part so far that a class is all inside it.
        if len(np.unique(labels.targets[~chosen])) == len(labels.classes):
            return chosen
    raise UsageError(
        "A training fold cannot be split so that every class stays in training.",
        "Use another number of folds or add patients.",
    )


def patients_per_class(labels: Labels) -> NDArray[np.int64]:
    """(C,) how many patients have a slide of each class."""
    pairs = {(entry.label, entry.patient) for entry in labels.entries}
    return np.array([sum(label == name for label, _ in pairs) for name in labels.classes], dtype=np.int64)


def _stratified(labels: Labels, parts: int, seed: int) -> NDArray[np.int64]:
    splitter = StratifiedGroupKFold(n_splits=parts, shuffle=True, random_state=seed)
    fold = np.full(len(labels.entries), -1, dtype=np.int64)
    for number, (_, held_out) in enumerate(splitter.split(fold, labels.targets, labels.patients)):
        fold[held_out] = number
    return fold


def _require_classes(labels: Labels) -> None:
    if len(labels.classes) < 2:
        found = ", ".join(labels.classes) or "none"
        raise UsageError(f"A head needs at least two classes; the labels have: {found}.", "Add other labels.")
