"""How well groups of slides, such as scanners or sites, can be told from their embeddings."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..mil.baseline import linear_probe
from ..mil.labels import Entry, Labels
from ..mil.metrics import auroc
from ..mil.splits import assign_folds, patients_per_class
from ..table import original

FOLDS = 5
REPEATS = 5


def told_apart(labels: Labels, means: NDArray[np.float64]) -> float | None:
    """AUROC of the group, out of fold, by logistic regression on each slide's mean embedding.

    The mean over five divisions into folds, each of which keeps a patient whole: 0.5 is chance, 1 a clear
    sign of the group. None where there are fewer than two groups, or one of a single patient.

    Args:
        labels: of S slides, their group as the label.
        means: (S, D), in the same order.
    """
    if len(labels.classes) < 2:
        return None
    folds = min(FOLDS, int(patients_per_class(labels).min()))
    if folds < 2:
        return None
    divisions = [assign_folds(labels, folds, seed) for seed in range(REPEATS)]
    probes = [linear_probe(means, labels.targets, fold) for fold in divisions]
    return float(np.mean([auroc(labels.targets, probabilities) for probabilities in probes]))


def read_groups(path: Path, column: str) -> Labels:
    """Slides with their value in a column of a CSV as the label; without a column patient, each is its own.

    Raises:
        UsageError: the file cannot be read, or has no column `slide` or none of that name.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}.", "Give a UTF-8 CSV file.") from error
    if not rows or not {"slide", column} <= rows[0].keys():
        raise UsageError(f"{path} has no slides with the columns slide and {column}.", "Name another --column.")
    named = [{key: original((value or "").strip()) for key, value in row.items() if key} for row in rows]
    return Labels.of(Entry(row["slide"], row.get("patient") or row["slide"], row[column]) for row in named)
