"""Metrics of every head on its own fold, and of all heads on every site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calibration import OutOfFold
from .metrics import metrics_of
from .plan import Plan

OF_ALL_CLASSES = ("auroc", "auprc")
"""Metrics that are not defined where a class does not occur."""


def fold_table(plan: Plan, found: OutOfFold, ordered: bool) -> list[dict[str, Any]]:
    """One row per head: what it held out, how many slides did what, and its metrics there.

    Args:
        plan: what each head did.
        found: calibrated predictions of the slides that were held out, in their order.
        ordered: whether classes are grades in order.
    """
    patients = np.array(plan.labels.patients)
    rows = []
    for split, own, p in zip(plan.splits, found.held_out, found.probabilities, strict=True):
        held_out = plan.labels.targets[split.held_out]
        counts = np.bincount(held_out, minlength=len(plan.labels.classes))
        rows.append(
            {
                "held_out": split.name,
                "repeat": split.repeat,
                "train": int(split.train.sum()),
                "validation": int(split.validation.sum()),
                "slides": len(held_out),
                "patients": len(np.unique(patients[split.held_out])),
                "classes": dict(zip(plan.labels.classes, counts.tolist(), strict=True)),
                "metrics": point_values(found.targets[own], p[own], ordered),
            }
        )
    return rows


def site_table(sites: Sequence[str], found: OutOfFold, ordered: bool) -> list[dict[str, Any]]:
    """One row per site: its slides, and the metrics of all heads that held them out.

    Args:
        sites: (S,) of the slides that were held out; may be empty.
        found: their calibrated predictions.
        ordered: whether classes are grades in order.
    """
    names, means = np.array(sites), found.mean()
    rows = []
    for site in sorted(set(sites)):
        own = np.flatnonzero(names == site).tolist()
        rows.append(
            {
                "site": site,
                "slides": len(own),
                "patients": len({found.patients[i] for i in own}),
                "metrics": point_values(found.targets[own], means[own], ordered),
            }
        )
    return rows


def point_values(
    targets: NDArray[np.int64], probabilities: NDArray[np.float64], ordered: bool
) -> dict[str, float | None]:
    """Every metric without an interval; None where the slides lack a class that it needs."""
    whole = len(np.unique(targets)) == probabilities.shape[1]
    return {
        name: metric(targets, probabilities) if whole or name not in OF_ALL_CLASSES else None
        for name, metric in metrics_of(ordered).items()
    }
