"""Contact sheets: every slide once, in order, where it is expected; pages are written as they fill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from slidestream.report.contact import CELL, COLUMNS, GAP, ROWS, TEXT, ContactSheets


def plain(number: int) -> np.ndarray:
    return np.full((60, 40, 3), (number * 5, 255 - number * 5, 40), np.uint8)


def test_every_slide_has_its_cell(tmp_path: Path) -> None:
    count = COLUMNS * ROWS + 2
    with ContactSheets(tmp_path) as sheets:
        for number in range(count):
            sheets.add(plain(number), "x" * 500, "facts")
            assert len(sheets.pages) == (number + 1) // (COLUMNS * ROWS)
    assert [page.name for page in sheets.pages] == ["contact-sheet-001.png", "contact-sheet-002.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [page.name for page in sheets.pages]
    pages = [np.asarray(Image.open(page)) for page in sheets.pages]
    assert pages[1].shape[0] < pages[0].shape[0] / 2, "a page is as long as its rows"
    for number in range(count):
        page, cell = divmod(number, COLUMNS * ROWS)
        row, column = divmod(cell, COLUMNS)
        y, x = GAP + row * (CELL + TEXT + GAP) + TEXT, GAP + column * (CELL + GAP)
        assert (pages[page][y : y + 60, x : x + 40] == plain(number)).all(), number
        assert (pages[page][y : y + CELL, x + CELL : x + CELL + GAP] == 255).all(), "titles are cut"


def test_large_pictures_are_reduced_and_nothing_makes_no_page(tmp_path: Path) -> None:
    with ContactSheets(tmp_path) as sheets:
        sheets.add(np.zeros((3000, 1000, 3), np.uint8), "a", "")
    dark = (np.asarray(Image.open(sheets.pages[0]))[GAP + TEXT :] < 10).all(axis=2)
    assert np.argwhere(dark).max(axis=0).tolist() == [CELL - 1, GAP + round(CELL / 3) - 1]
    with ContactSheets(tmp_path / "none") as empty:
        pass
    assert empty.pages == []
