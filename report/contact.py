"""Contact sheets: many slides on a page, each with its outline, name and a line of facts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..text import visible
from .outline import save_picture
from .page import GREY, INK, PAPER, SMALL, font

COLUMNS, ROWS = 6, 4
CELL, GAP = 256, 16
TEXT = 36


class ContactSheets:
    """Takes pictures one by one and writes a page whenever one is full. Use as a context manager.

    Attributes:
        pages: the files written so far.

    Args:
        folder: where `contact-sheet-001.png` and so on are written.
    """

    def __init__(self, folder: Path) -> None:
        self.pages: list[Path] = []
        self._folder = folder
        self._cells = 0
        self._sheet = _empty()

    def __enter__(self) -> ContactSheets:
        return self

    def __exit__(self, *_: object) -> None:
        if self._cells:
            self._write()

    def add(self, picture: NDArray[np.uint8], title: str, facts: str) -> None:
        """The next picture (h, w, 3), reduced to the cell; texts are cut to its width."""
        image = Image.fromarray(picture)
        image.thumbnail((CELL, CELL), Image.Resampling.BOX)
        row, column = divmod(self._cells, COLUMNS)
        x, y = GAP + column * (CELL + GAP), GAP + row * (CELL + TEXT + GAP)
        self._sheet.paste(image, (x, y + TEXT))
        draw = ImageDraw.Draw(self._sheet)
        draw.text((x, y), _cut(title), INK, font(SMALL))
        draw.text((x, y + TEXT // 2), _cut(facts), GREY, font(SMALL))
        self._cells += 1
        if self._cells == COLUMNS * ROWS:
            self._write()

    def _write(self) -> None:
        rows = -(-self._cells // COLUMNS)
        page = self._folder / f"contact-sheet-{len(self.pages) + 1:03d}.png"
        save_picture(np.asarray(self._sheet)[: GAP + rows * (CELL + TEXT + GAP)], page)
        self.pages.append(page)
        self._cells, self._sheet = 0, _empty()


def _empty() -> Image.Image:
    size = (GAP + COLUMNS * (CELL + GAP), GAP + ROWS * (CELL + TEXT + GAP))
    return Image.new("RGB", size, PAPER)


def _cut(text: str) -> str:
    text = visible(text)
    while font(SMALL).getlength(text) > CELL and len(text) > 4:
        text = text[:-2].rstrip("…") + "…"
    return text
