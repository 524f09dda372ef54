"""Metrics of every head on its own fold, and of all heads on every site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .answered import Answered, Answers
from .answers import prefix_of
from .judged import judge
from .plan import Plan


def fold_table(plan: Plan, answered: Sequence[Answered]) -> list[dict[str, Any]]:
    """One row per head: what it held out, how many slides did what, and its metrics there.

    Args:
        plan: what each head did.
        answered: every target, of the slides that were held out, in their order.
    """
    patients = np.array(plan.labels.patients)
    judged = np.flatnonzero(plan.held_out.any(0))
    rows = []
    for number, split in enumerate(plan.splits):
        held_out = plan.labels.targets[split.held_out]
        counts = np.bincount(held_out, minlength=len(plan.labels.classes))
        own = np.flatnonzero(split.held_out[judged])
        rows.append(
            {
                "held_out": split.name,
                "repeat": split.repeat,
                "train": int(split.train.sum()),
                "validation": int(split.validation.sum()),
                "slides": len(held_out),
                "patients": len(np.unique(patients[split.held_out])),
                "classes": dict(zip(plan.labels.classes, counts.tolist(), strict=True)),
                "metrics": point_values(answered, [one.each[number] for one in answered], own),
            }
        )
    return rows


def site_table(sites: Sequence[str], answered: Sequence[Answered]) -> list[dict[str, Any]]:
    """One row per site: its slides, and the metrics of all heads that held them out.

    Args:
        sites: (S,) of the slides that were held out; may be empty.
        answered: every target, of these slides.
    """
    names, means = np.array(sites), [one.answers for one in answered]
    patients = answered[0].said.patients
    rows = []
    for site in sorted(set(sites)):
        own = np.flatnonzero(names == site)
        rows.append(
            {
                "site": site,
                "slides": len(own),
                "patients": len({patients[i] for i in own.tolist()}),
                "metrics": point_values(answered, means, own),
            }
        )
    return rows


def point_values(
    answered: Sequence[Answered], answers: Sequence[Answers], rows: NDArray[np.int64]
) -> dict[str, float | None]:
    """Every metric of some slides without an interval; None where they lack what it needs, as a class.

    Args:
        answered: every target.
        answers: (S, A) to each, of which these rows are judged.
        rows: of the slides.
    """
    found: dict[str, float | None] = {}
    targets = [one.said.known.outcome.target for one in answered]
    for one, target, table in zip(answered, targets, answers, strict=True):
        patients = [one.said.patients[row] for row in rows.tolist()]
        judged = judge(one.said.known.only(rows), patients, table[rows], target.ordered)
        values = judged.metrics() if judged.patients else {}
        for name, value in values.items():
            found[prefix_of(target, targets) + name] = None if np.isnan(value) else value
    return found
