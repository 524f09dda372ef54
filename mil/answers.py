"""How answers stand in a table: the columns of each target.

| task | columns |
| --- | --- |
| classes, corn, link | predicted, and p_CLASS for each |
| regression | predicted |
| labels | p_LABEL for each |
| cox, hazard | risk, and s_TIME, the probability to have no event until then, for each |

Of several targets, each name begins with that of its target and a dot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .decision import decide
from .outcomes import Outcome, time_name
from .survival_metrics import mortality
from .target import Target

ROUNDING = 1e-3
"""By how much the probabilities of a row may miss 1: tables are rounded."""

TAKEN = ("slides", "predicted", "risk")
"""Columns of predictions, whatever is predicted."""

AS_WRITTEN = "Give what `predict -o` has written, and with --target what was asked."


def prefix_of(target: Target, targets: Sequence[Target]) -> str:
    """What the columns of one of these targets begin with."""
    return f"{target.name}." if len(targets) > 1 else ""


def columns_of(outcome: Outcome, prefix: str = "") -> list[str]:
    """The names of the columns."""
    task = outcome.target.task
    values = [f"{prefix}{'s' if outcome.target.survives else 'p'}_{name}" for name in _each(outcome)]
    if task == "labels":
        return values
    return [f"{prefix}{'risk' if outcome.target.survives else 'predicted'}", *values]


def cells_of(outcome: Outcome, answer: NDArray[np.float64]) -> list[str | float]:
    """The cells of one slide's answer (A,)."""
    if outcome.target.has_classes:
        return [outcome.names[int(decide(answer[None], outcome.target.ordered)[0])], *answer.tolist()]
    if outcome.target.survives:
        return [float(mortality(answer[None])[0]), *answer.tolist()]
    return list(answer.tolist())


def outcome_in(target: Target, columns: Iterable[str]) -> tuple[Outcome, str]:
    """The target as a table answers it, and what its columns begin with.

    Raises:
        UsageError: the table does not answer it.
    """
    there = [name for name in columns if name not in target.columns]
    prefix = f"{target.name}." if any(name.startswith(f"{target.name}.") for name in there) else ""
    names = [name.removeprefix(f"{prefix}p_") for name in there if name.startswith(f"{prefix}p_")]
    times = [name.removeprefix(f"{prefix}s_") for name in there if name.startswith(f"{prefix}s_")]
    if target.has_classes and len(names) > 1:
        return Outcome(target, tuple(names)), prefix
    if target.task == "labels" and not set(target.more) - set(names):
        return Outcome(target, target.more), prefix
    if target.survives and times:
        return Outcome(target, (), tuple(map(_number, times))), prefix
    if target.task == "regression" and f"{prefix}predicted" in there:
        return Outcome(target), prefix
    wanted = {"regression": "predicted", "cox": "s_TIME", "hazard": "s_TIME"}.get(target.task, "p_CLASS")
    raise UsageError(f"The predictions of {target.name} have no columns {prefix}{wanted}.", AS_WRITTEN)


def require_apart(outcomes: Sequence[Outcome]) -> None:
    """Refuse targets that share the name of a column with what will be said of them.

    Raises:
        UsageError: the name is given.
    """
    targets = [outcome.target for outcome in outcomes]
    said = [name for one in outcomes for name in columns_of(one, prefix_of(one.target, targets))]
    taken = {column for target in targets for column in target.columns} & {*said, *TAKEN}
    if taken:
        raise UsageError(
            f"The column {min(taken)} would have the name of a column of predictions.",
            "Give it another name.",
        )


def read_answers(rows: Sequence[Mapping[str, str]], outcome: Outcome, prefix: str) -> NDArray[np.float64]:
    """(S, A) of the rows of a table.

    Raises:
        UsageError: a cell is no number, or probabilities are none; the slide is named.
    """
    skipped = 0 if outcome.target.task in ("labels", "regression") else 1
    columns = columns_of(outcome, prefix)[skipped:]
    table = np.array([[_number(row[column]) for column in columns] for row in rows])
    if outcome.target.task == "regression":
        _require(np.isfinite(table[:, 0]), rows, "An answer is not finite")
        return table
    if outcome.target.has_classes:
        _require(np.abs(table.sum(1) - 1) <= ROUNDING, rows, "The probabilities do not sum to 1")
    inside = (table >= 0) & (table <= 1 + ROUNDING)
    _require(np.all(inside, axis=1), rows, "A probability is not between 0 and 1")
    return np.asarray(table / table.sum(1, keepdims=True)) if outcome.target.has_classes else table


def was_ordered(outcome: Outcome, answers: NDArray[np.float64], predicted: Sequence[str]) -> bool:
    """By which rule classes were decided on, the likeliest or the median grade, from what was written.

    Raises:
        UsageError: neither of them.
    """
    for ordered in (False, True):
        decided = decide(answers, ordered)
        if all(name in ("", outcome.names[index]) for name, index in zip(predicted, decided, strict=True)):
            return ordered
    raise UsageError(
        "The column predicted is neither the likeliest class nor the median grade of every slide.",
        "Give a table as `predict -o` has written it.",
    )


def _each(outcome: Outcome) -> list[str]:
    return list(map(time_name, outcome.times)) if outcome.target.survives else list(outcome.names)


def _require(fits: NDArray[np.bool_], rows: Sequence[Mapping[str, str]], otherwise: str) -> None:
    """Refuse a table one of whose rows does not fit; the first is named."""
    if not fits.all():
        row = rows[int(fits.argmin())]
        raise UsageError(f"{otherwise}: {row.get('slide') or row.get('patient')}.", AS_WRITTEN)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"An answer is no number: {text!r}.", AS_WRITTEN) from error
