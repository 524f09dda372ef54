"""The report: numbers and pictures where they are expected, a page that needs no other file, bounded."""

from __future__ import annotations

import base64
import csv
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slidestream.errors import MppMissing
from slidestream.report.contact import CELL, GAP, TEXT
from slidestream.report.stain_effect import StainEffect, normalised, pairs, telling
from slidestream.report.stain_page import (
    LISTED,
    SHOWN,
    SIDE,
    Contents,
    GroupStain,
    compose_page,
    median_fit,
    picture_row,
)
from slidestream.report.stain_report import PICTURED, StainReport
from slidestream.stain.reference import reference
from slidestream.stain.spec import METHODS, StainFit
from slidestream.text import visible

FIT = StainFit("macenko", ((0.6, 0.72, 0.35), (0.2, 0.9, 0.39)), (1.5, 0.9))
LAB = StainFit("reinhard", lab_mean=(67.0, 36.0, -38.0), lab_std=(13.0, 8.0, 11.0))
TARGET = reference("macenko")
RED, BLUE = (200, 40, 40), (40, 40, 200)


def plain(*colours: tuple[int, int, int]) -> np.ndarray:
    """A patch of 20 px for each colour."""
    return np.array(colours, np.uint8)[:, None, None].repeat(20, 1).repeat(20, 2)


def effect(name: str, fit: StainFit | None = FIT, group: str = "") -> StainEffect:
    before, after = plain(*[RED] * 5), plain(*[BLUE] * 5)
    return StainEffect(name, group, fit, "" if fit else "It is grey.", before, after if fit else before)


class Reader(HTMLParser):
    """The page as a browser takes it: its texts, tags and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def pictures(self) -> list[np.ndarray]:
        shown = [value or "" for name, value in self.attributes if name == "src"]
        assert all(value.startswith("data:image/jpeg;base64,") for value in shown)
        data = [base64.b64decode(value.partition(",")[2]) for value in shown]
        return [np.asarray(Image.open(io.BytesIO(one))).astype(int) for one in data]


def written(folder: Path, *effects: StainEffect, target: StainFit = TARGET) -> Reader:
    with StainReport(folder, target, len(effects)) as report:
        for one in effects:
            report.add(one)
    report.write(["All told."])
    return Reader((folder / "stain.html").read_text(encoding="utf-8"))


def test_the_page_shows_patches_before_and_after(tmp_path: Path) -> None:
    page = written(tmp_path, effect("a"))
    assert "All told." in page.texts
    before, after = page.pictures
    for picture, colour in ((before, RED), (after, BLUE)):
        assert picture.shape[0] == SIDE
        for place in range(SHOWN):
            patch = picture[2:-2, place * (SIDE + 4) + 2 : place * (SIDE + 4) + SIDE - 2]
            assert np.abs(patch - colour).max() <= 3
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in ("href", "srcset")]
    assert "url(" not in (tmp_path / "stain.html").read_text()


def test_sheets_and_table_hold_every_slide_and_the_page_some(tmp_path: Path) -> None:
    names = [f"s{i:03d}" for i in range(PICTURED * 2 + 50)]
    page = written(tmp_path, *(effect(name, FIT if i % 2 else None) for i, name in enumerate(names)))
    shown = [text for text in page.texts if text in names]
    pictured = shown[-84:]
    assert pictured == names[::3]
    assert len(shown) - len(pictured) == 125, "all that were not normalised are named"
    rows = list(csv.DictReader((tmp_path / "stain.csv").read_text().splitlines()))
    assert [row["slide"] for row in rows] == names
    assert len(list(tmp_path.glob("contact-sheet-*.png"))) == -(-len(names) // 24)


def test_a_long_list_of_refusals_is_cut(tmp_path: Path) -> None:
    page = written(tmp_path, *(effect(f"s{i:03d}", None) for i in range(LISTED + 40)))
    assert "And 40 more, see stain.csv." in page.texts
    assert page.texts.count("It is grey.") == LISTED + -(-(LISTED + 40) // 3)


def test_what_is_refused_is_shown_as_not_normalised(tmp_path: Path) -> None:
    page = written(tmp_path, effect("a", None))
    assert len(page.pictures) == 1, "there is nothing to show after"
    assert {"not normalised", "It is grey."} <= set(page.texts)
    (row,) = csv.DictReader((tmp_path / "stain.csv").read_text().splitlines())
    assert (row["outcome"], row["cause"], row["eosin_r"]) == ("not normalised", "It is grey.", "")
    sheet = np.asarray(Image.open(tmp_path / "contact-sheet-001.png"))
    cell = sheet[GAP + TEXT : GAP + TEXT + CELL, GAP : GAP + CELL]
    assert (cell[10:100, 10:100] == RED).all()
    assert (cell[:, CELL // 2 :] == 255).all()
    assert (pairs(effect("b"))[10:100, CELL // 2 + 10 : CELL - 10] == BLUE).all()


def test_what_could_not_be_read_is_named(tmp_path: Path) -> None:
    with StainReport(tmp_path, TARGET, 1) as report:
        report.fail("a", "X", MppMissing("It has no mpp.", "Say it."))
    report.write([])
    page = Reader((tmp_path / "stain.html").read_text())
    assert "MPP_MISSING: It has no mpp." in page.texts
    (row,) = csv.DictReader((tmp_path / "stain.csv").read_text().splitlines())
    assert (row["slide"], row["group"], row["outcome"]) == ("a", "X", "failed")


def test_the_table_holds_the_parameters(tmp_path: Path) -> None:
    written(tmp_path, effect("a"))
    (row,) = csv.DictReader((tmp_path / "stain.csv").read_text().splitlines())
    names = [f"{stain}_{c}" for stain in ("haematoxylin", "eosin") for c in "rgb"]
    assert [float(row[name]) for name in names] == [0.6, 0.72, 0.35, 0.2, 0.9, 0.39]
    assert [float(row[f"{stain}_strength"]) for stain in ("haematoxylin", "eosin")] == [1.5, 0.9]
    assert row["lab_mean_l"] == ""
    written(tmp_path, effect("a", LAB), target=reference("reinhard"))
    (row,) = csv.DictReader((tmp_path / "stain.csv").read_text().splitlines())
    assert [float(row[f"lab_std_{c}"]) for c in "lab"] == [13, 8, 11]
    assert row["eosin_r"] == ""


def test_groups_are_counted_and_their_medians_shown(tmp_path: Path) -> None:
    strengths = (1.0, 1.2, 3.0)
    fits = [StainFit("macenko", FIT.stains, (strength, 0.9)) for strength in strengths]
    assert median_fit(fits) == StainFit("macenko", FIT.stains, (1.2, 0.9))
    effects = [effect(f"a{i}", fit, "A") for i, fit in enumerate([*fits, None])]
    page = written(tmp_path, *effects, effect("b", None, "B"))
    at = page.texts.index("A")
    assert page.texts[at : at + 4] == [
        "A",
        "4",
        "3",
        "H 0.60 0.72 0.35; E 0.20 0.90 0.39; strengths 1.20 0.90",
    ]
    at = page.texts.index("B")
    assert page.texts[at : at + 3] == ["B", "1", "0"]


def test_swatches_are_the_stains_at_their_strength(tmp_path: Path) -> None:
    written(tmp_path, effect("a"))
    od = np.array(FIT.strengths)[:, None] * np.array(FIT.stains)
    for red, green, blue in (240 * np.exp(-od)).round().astype(int):
        assert f"background:rgb({red},{green},{blue})" in (tmp_path / "stain.html").read_text()


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", 'a" onload="x', "a\x1b[31m\n\u202eb", "b\udcff", "=1+1", "\u00fc\u4e2d"],
)
def test_hostile_names_are_shown_and_do_nothing(name: str) -> None:
    row = picture_row(effect(name, None, group=name))
    text = compose_page(Contents([name], TARGET, [GroupStain(name, 1, [])], [row], [(name, name)]))
    page = Reader(text)
    assert page.texts.count(visible(name)) == 6
    assert set(page.tags) <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table"} | {
        "tr", "th", "td", "br", "small", "img", "i",
    }  # fmt: skip
    assert {key for key, _ in page.attributes} <= {"lang", "charset", "src", "alt", "style"}
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)


@pytest.mark.parametrize("method", METHODS)
def test_normalised_is_what_was_fitted(method: str) -> None:
    fit = LAB if method == "reinhard" else StainFit(method, FIT.stains, FIT.strengths)
    patches = np.random.default_rng(0).integers(0, 200, (3, 16, 16, 3), dtype=np.uint8)
    after = normalised(fit, reference(method), patches)
    assert after.shape == patches.shape
    assert np.abs(after.astype(int) - patches).mean() > 3
    np.testing.assert_array_equal(normalised(None, reference(method), patches), patches)


def test_patches_with_most_tissue_are_shown() -> None:
    levels = [250, 100, 240, 120, 230, 110, 235, 130, 245, 105, 249, 125]
    patches = np.array(levels, np.uint8)[:, None, None, None].repeat(3, 3)
    assert [levels[i] for i in telling(patches, 3)] == [120, 130, 105]
    assert len(set(telling(patches, 12))) == 12
    assert telling(patches[:2], 3) == [0, 1]
    assert telling(patches[:0], 3) == []
