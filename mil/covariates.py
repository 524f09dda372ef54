"""What is known of a patient besides the slide, such as age and sex, as numbers that a head can take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from ..errors import InputError, UsageError
from ..spec import Spec
from .bags import Bags

MOST_WORDS = 30
"""Different words of a column; with more of them it names slides rather than describes them."""

Rows = Mapping[str, Mapping[str, str]]
"""By slide, every column of a table; an empty cell is a missing value."""


@dataclass(frozen=True)
class Column(Spec):
    """A covariate.

    Attributes:
        name: of the column.
        words: what it may hold, in alphabetical order; empty where it holds numbers.
    """

    name: str
    words: tuple[str, ...] = ()

    @staticmethod
    def of(name: str, cells: Iterable[str]) -> Column:
        """The column of these cells: of numbers where all that are filled in are numbers.

        Raises:
            UsageError: it says nothing, since all cells are alike, or holds too many different words.
        """
        found = sorted({cell for cell in cells if cell})
        if len(found) < 2:
            raise UsageError(
                f"The covariate {name} is the same of all slides or not known.",
                "Leave it out, or fill it in.",
            )
        if all(_number(cell) is not None for cell in found):
            return Column(name)
        if len(found) > MOST_WORDS:
            raise UsageError(
                f"The covariate {name} holds {len(found)} different words.",
                f"Use numbers, or at most {MOST_WORDS} words.",
            )
        return Column(name, tuple(found))

    def encode(self, cell: str, slide: str) -> list[float]:
        """A number and whether it is missing, NaN then; or 1 for its word or for none, else 0.

        Raises:
            InputError: the cell holds what this column cannot.
        """
        if self.words:
            if cell and cell not in self.words:
                raise InputError(
                    f"The covariate {self.name} of {slide} is {cell!r}, none of {', '.join(self.words)}.",
                    "Spell it as in training, or leave it empty where it is not known.",
                )
            return [*(float(cell == word) for word in self.words), float(not cell)]
        number = _number(cell) if cell else math.nan
        if number is None:
            raise InputError(
                f"The covariate {self.name} of {slide} is {cell!r}, which is no number.",
                "Write a number, or leave it empty where it is not known.",
            )
        return [number, float(not cell)]


@dataclass(frozen=True)
class Covariates(Spec):
    """The covariates that a head takes; moments of their numbers are kept with its weights."""

    columns: tuple[Column, ...]

    @staticmethod
    def of(rows: Rows, names: Sequence[str]) -> Covariates:
        """The named columns of all training slides.

        Raises:
            UsageError: there is no such column, or it says nothing.
        """
        known = next(iter(rows.values()))
        for name in names:
            if name not in known:
                raise UsageError(f"The labels have no column {name}.", f"Columns: {', '.join(known)}.")
        return Covariates(tuple(Column.of(name, (row[name] for row in rows.values())) for name in names))

    @property
    def names(self) -> str:
        return ", ".join(column.name for column in self.columns)

    def encode(self, rows: Rows, slides: Sequence[str]) -> tuple[float, ...]:
        """(K,) of the slides of one bag, which must agree.

        Raises:
            InputError: a slide has no line or lacks a column, a cell cannot be, or two slides differ.
        """
        each = [self._of_slide(rows, slide) for slide in slides]
        if any(_keyed(one) != _keyed(each[0]) for one in each):
            raise InputError(
                f"The slides {', '.join(slides)} of one patient have different covariates ({self.names}).",
                "Give them one value each.",
            )
        return each[0]

    def of_bags(self, rows: Rows, members: Mapping[str, Sequence[str]]) -> dict[str, tuple[float, ...]]:
        """(K,) of every bag; nothing where there are no covariates."""
        return {bag: self.encode(rows, slides) for bag, slides in members.items()} if self.columns else {}

    def _of_slide(self, rows: Rows, slide: str) -> tuple[float, ...]:
        row = rows.get(slide)
        missing = [column.name for column in self.columns if row is None or column.name not in row]
        if row is None or missing:
            raise InputError(
                f"The table of covariates has no {', '.join(missing)} for slide {slide}.",
                f"It must hold the columns slide, {self.names}; a cell may be empty.",
            )
        return tuple(v for column in self.columns for v in column.encode(row[column.name], slide))


def with_covariates(bag: Bags, values: Sequence[float]) -> Bags:
    """A single bag that knows its covariates (K,)."""
    return replace(bag, covariates=torch.tensor([list(values)], dtype=torch.float32))


def _keyed(values: Sequence[float]) -> tuple[float | None, ...]:
    """NaN is never equal to itself."""
    return tuple(None if math.isnan(value) else value for value in values)


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
