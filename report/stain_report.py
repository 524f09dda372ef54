"""What normalisation does to a cohort: contact sheets, a table and a page, filled a slide at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import SlidestreamError
from ..stain.spec import StainFit
from ..table import write_table
from .contact import ContactSheets
from .stain_effect import FAILED, NORMALISED, StainEffect, pairs
from .stain_page import Contents, GroupStain, compose_page, picture_row

TABLE, PAGE = "stain.csv", "stain.html"
PICTURED = 100
"""So many slides have their patches on the page; all are on the contact sheets."""

STAINS = tuple(f"{stain}_{channel}" for stain in ("haematoxylin", "eosin") for channel in "rgb")
STRENGTHS = ("haematoxylin_strength", "eosin_strength")
LAB = tuple(f"lab_{kind}_{channel}" for kind in ("mean", "std") for channel in "lab")
COLUMNS = ("slide", "group", "outcome", "cause", *STAINS, *STRENGTHS, *LAB)


class StainReport:
    """Takes slides one by one and keeps numbers and a few small pictures. Use as a context manager.

    Attributes:
        target: what slides are made to look like.
        rows: of the table, a dictionary for each slide so far.

    Args:
        folder: where `contact-sheet-001.png` and so on, `stain.csv` and `stain.html` are written.
        target: what slides are made to look like.
        slides: how many will come; the page shows the patches of at most 100 of them, evenly spread.
    """

    def __init__(self, folder: Path, target: StainFit, slides: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.rows: list[dict[str, Any]] = []
        self._folder = folder
        self.target = target
        self._every = max(1, -(-slides // PICTURED))
        self._sheets = ContactSheets(folder)
        self._pictured: list[str] = []
        self._fits: dict[str, list[StainFit]] = defaultdict(list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sheets.__exit__(kind, error, trace)

    def add(self, effect: StainEffect) -> None:
        """The next slide."""
        self._sheets.add(pairs(effect), effect.slide, f"as scanned | {effect.outcome}")
        if len(self.rows) % self._every == 0:
            self._pictured.append(picture_row(effect))
        self._append(effect.slide, effect.group, effect.outcome, effect.refused)
        if effect.fit:
            self._fits[effect.group].append(effect.fit)
            self.rows[-1] |= _numbers(effect.fit)

    def fail(self, slide: str, group: str, error: SlidestreamError) -> None:
        """The next slide, which could not be read."""
        self._append(slide, group, FAILED, f"{error.code}: {error.cause}")

    def _append(self, *values: str) -> None:
        self.rows.append(dict(zip(COLUMNS, values, strict=False)))

    def write(self, told: Sequence[str]) -> None:
        """Write the table and the page, which says the sentences `told` on the cohort as a whole."""
        rows = [[row.get(column, "") for column in COLUMNS] for row in self.rows]
        write_table(self._folder / TABLE, COLUMNS, rows)
        unfit = [(row["slide"], row["cause"]) for row in self.rows if row["outcome"] != NORMALISED]
        page = compose_page(Contents(told, self.target, self._groups(), self._pictured, unfit))
        beside = self._folder / f".{PAGE}.partial"
        beside.write_text(page, encoding="utf-8")
        beside.replace(self._folder / PAGE)

    def _groups(self) -> list[GroupStain]:
        count = Counter(row["group"] for row in self.rows)
        nameless = "no group" if len(count) > 1 else "slides"
        return [GroupStain(name or nameless, count[name], self._fits[name]) for name in sorted(count)]


def _numbers(fit: StainFit) -> dict[str, float]:
    """A fit's parameters by column."""
    named = {STAINS: sum(fit.stains, ()), STRENGTHS: fit.strengths, LAB: fit.lab_mean + fit.lab_std}
    filled = {columns: values for columns, values in named.items() if values}
    return {c: v for columns, values in filled.items() for c, v in zip(columns, values, strict=True)}
