"""Who teaches, who stops and who judges each head of a cross-validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .labels import Labels

Chosen = NDArray[np.bool_]
"""(S,) True for some of the slides."""

PARTS = {"train": "t", "validation": "v", "held_out": "h"}


@dataclass(frozen=True, eq=False)
class Split:
    """The slides of one head; those in no part are not shown to it.

    Attributes:
        name: of what is held out: the number of a fold, counted from 1, or a site.
        repeat: splits with one number hold every slide out at most once.
        train: it learns from these.
        validation: it stops by these; none where it runs for all epochs.
        held_out: it is judged on these.
    """

    name: str
    repeat: int
    train: Chosen
    validation: Chosen
    held_out: Chosen


@dataclass(frozen=True, eq=False)
class Plan:
    """All heads of a cross-validation.

    Attributes:
        labels: S slides.
        splits: one per head, in their order.
        sites: (S,) what is kept whole besides patients; empty where nothing is.
    """

    labels: Labels
    splits: tuple[Split, ...]
    sites: tuple[str, ...] = ()

    @property
    def held_out(self) -> Chosen:
        """(H, S) which head holds which slide out."""
        return np.stack([split.held_out for split in self.splits])

    @property
    def repeats(self) -> NDArray[np.int64]:
        """(H,) the repeat of each head."""
        return np.array([split.repeat for split in self.splits], dtype=np.int64)

    @property
    def first_heads(self) -> NDArray[np.int64]:
        """(S,) the first head that holds each slide out, -1 where none does."""
        return np.where(self.held_out.any(0), self.held_out.argmax(0), -1)

    def heads_of(self, slide: int) -> tuple[int, ...]:
        """The heads that hold a slide out."""
        return tuple(np.flatnonzero(self.held_out[:, slide]).tolist())

    def facts(self) -> list[list[str]]:
        """JSON that changes whenever a slide changes sides: a letter per slide."""
        return [[split.name, str(split.repeat), _letters(split)] for split in self.splits]


def _letters(split: Split) -> str:
    letters = np.full(len(split.train), "-")
    for part, letter in PARTS.items():
        letters[getattr(split, part)] = letter
    return "".join(letters)
