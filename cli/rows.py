"""The columns of a table of predictions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .output import note

if TYPE_CHECKING:
    from ..mil.artifact import TrainedHead
    from ..mil.calibration import Calibration
    from ..mil.ensemble import Answer, Ensemble
    from ..mil.intervals import Residuals
    from ..mil.kept import Kept

MOST_COLUMNS = 9
"""That a terminal has room for."""

SPREAD = re.compile(r"(^|\.)sd(_|$)")
FIRST = re.compile(r"(^|\.)(slide|patient|predicted|risk|set|abstain|called|low|high|seen|familiarity)$")

More = Callable[["Ensemble"], dict[str, Any]]
"""Further columns of a row."""


def row_of(said: Ensemble) -> dict[str, Any]:
    """The columns of a prediction: what was graded, the answers, and how far they can be trusted."""
    row: dict[str, Any] = dict(said.subject)
    for prefix, answer in _prefixed(said):
        row |= _cells(answer, prefix)
    return row | {
        "heads": len(said.folds),
        "seen": "yes" if said.seen else "no",
        "familiarity": said.familiarity,
    }


def brief(columns: list[str]) -> list[str]:
    """The columns that a terminal shows: without spreads and, of many, without probabilities."""
    shown = [name for name in columns if not SPREAD.search(name)]
    return shown if len(shown) <= MOST_COLUMNS else [name for name in shown if FIRST.search(name)]


def _prefixed(said: Ensemble) -> list[tuple[str, Answer]]:
    """Every answer, and what its columns begin with."""
    from ..mil.answers import prefix_of

    targets = [answer.outcome.target for answer in said.answers]
    return [(prefix_of(a.outcome.target, targets), a) for a in said.answers]


def _cells(answer: Answer, prefix: str) -> dict[str, Any]:
    """The columns of one answer, each probability followed by its spread over the heads."""
    from ..mil.answers import cells_of, columns_of

    outcome = answer.outcome
    row = dict(zip(columns_of(outcome, prefix), cells_of(outcome, answer.mean), strict=True))
    if outcome.target.survives:
        return row
    if not outcome.names:
        return row | {f"{prefix}sd": float(answer.spread[0])}
    told: dict[str, Any] = (
        {f"{prefix}predicted": row[f"{prefix}predicted"]} if outcome.target.has_classes else {}
    )
    for name, spread in zip(outcome.names, answer.spread.tolist(), strict=True):
        told |= {f"{prefix}p_{name}": row[f"{prefix}p_{name}"], f"{prefix}sd_{name}": spread}
    return told


def _trained(head: Path) -> TrainedHead:
    from ..mil.artifact import load_head

    trained = load_head(head)
    if all(kept.calibration is None for kept in trained.kept):
        asked = ", ".join(kept.outcome.target.text for kept in trained.kept)
        raise UsageError(
            f"Sets are of classes, and ranges of numbers; {head} was trained for {asked}.",
            "Leave --error-rate out.",
        )
    return trained


def _too_few(
    calibration: Calibration | Residuals, own: tuple[int, ...], asked: tuple[float, bool]
) -> str | None:
    """Why an error rate, perhaps within every class, cannot be promised; None where it can."""
    from ..mil.calibration import Calibration
    from ..mil.conformal import least_error_rate

    error_rate, per_class = asked
    others = [number for number, folds in enumerate(calibration.folds) if folds != own]
    fewest, of_what = len(others), "slides"
    if per_class and isinstance(calibration, Calibration):
        counts = Counter(calibration.targets[number] for number in others)
        classes = range(len(calibration.probabilities[0]))
        fewest, of_what = min(counts[number] for number in classes), "slides of a class"
    least = least_error_rate(fewest)
    if error_rate >= least - 1e-9:
        return None
    return (
        f"{fewest} {of_what} out of fold are too few to promise an error rate of {error_rate:g}: sets hold "
        f"classes that could be left out, and ranges have no end. From {least:.3g} on they can."
    )


def sets_of(head: Path, error_rate: float, score: str, limits: tuple[bool, int]) -> More:
    """Gives the columns set and abstain of classes, and low and high of numbers, empty where there are too
    few calibration slides for any; that is said once."""
    from ..mil.calibration import Calibration
    from ..mil.conformal import SetSpec, set_of
    from ..mil.intervals import Residuals, interval_of

    trained, told = _trained(head), set[str]()

    def of_one(kept: Kept, answer: Answer, own: tuple[int, ...]) -> dict[str, Any]:
        shortage = kept.calibration and _too_few(kept.calibration, own, (error_rate, limits[0]))
        if shortage and shortage not in told:
            told.add(shortage)
            note(shortage)
        if isinstance(kept.calibration, Residuals):
            ends = interval_of(float(answer.mean[0]), own, kept.calibration, error_rate)
            low, high = (end if isfinite(end) else None for end in ends)
            return {"low": low, "high": high}
        if not isinstance(kept.calibration, Calibration):
            return {}
        by_default = "ordinal" if kept.outcome.target.ordered else "lac"
        spec = SetSpec(error_rate, score or by_default, *limits)
        inside = set_of(answer.mean, own, kept.calibration, spec)
        abstain = "yes" if len(inside) > spec.largest else "no"
        return {"set": "|".join(kept.outcome.names[c] for c in inside), "abstain": abstain}

    def columns(said: Ensemble) -> dict[str, Any]:
        own = said.folds if said.held_out else ()
        pairs = zip(trained.kept, _prefixed(said), strict=True)
        each = [(prefix, of_one(kept, answer, own)) for kept, (prefix, answer) in pairs]
        return {f"{prefix}{name}": cell for prefix, found in each for name, cell in found.items()}

    return columns


def called_by(head: Path, sensitivity: float) -> More:
    """Gives the column called: the class by a threshold that finds a share of the positives."""
    from ..mil.artifact import load_head
    from ..mil.threshold import threshold_for

    trained = load_head(head)
    if len(trained.kept) > 1 or trained.calibration is None:
        raise UsageError(
            "A threshold needs a head of one target with two classes.", "Leave --sensitivity out."
        )
    found = threshold_for(trained.calibration, sensitivity)
    negative, positive = trained.classes
    note(
        f"{positive} is called from a probability of {found.value:.3g} on. Out of fold, thresholds chosen so "
        f"found {found.sensitivity:.3f} of {positive} and left {found.specificity:.3f} of {negative} alone."
    )
    return lambda said: {"called": positive if said.probabilities[1] >= found.value else negative}
