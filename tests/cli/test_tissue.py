"""`tissue`: on slides and on run folders, with a person's regions, and with slides that fail."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slidestream.report.outline import PATCH, TISSUE
from slidestream.tiling.annotations import Annotation, Canvas, read_annotations, write_annotations

Cli = Callable[..., Any]
Draw = Callable[..., Any]

SIDE = 1600
DISC_MM2 = np.pi * (0.4 * SIDE * 0.5 / 1000) ** 2


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, write_slide: Draw, tissue_pixels: Draw) -> Path:
    """Two slides of 0.8 mm with a disc of tissue each, and one without mpp."""
    folder = tmp_path_factory.mktemp("drawn")
    write_slide(folder / "a.tiff", tissue_pixels(SIDE, 1), 0.5)
    write_slide(folder / "b.tiff", tissue_pixels(SIDE, 2), 0.5)
    write_slide(folder / "no-mpp.tiff", tissue_pixels(SIDE, 3), None)
    return folder


@pytest.fixture
def slides(drawn: Path, tmp_path: Path) -> Path:
    """A copy of them."""
    return Path(shutil.copytree(drawn, tmp_path / "slides"))


def square(name: str, x: int, y: int, side: int) -> Annotation:
    corners = np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], float)
    return Annotation(name, [[corners]])


def green(path: Path) -> np.ndarray:
    return np.argwhere((np.asarray(Image.open(path)) == TISSUE).all(axis=2))


def test_slides_are_looked_at_before_any_run(cli: Cli, slides: Path, tmp_path: Path) -> None:
    ended = cli("tissue", slides, "-o", tmp_path / "out", "--json")
    assert ended.code == 3
    told = json.loads(ended.out)
    assert [row["slide_id"] for row in told["slides"]] == ["a", "b"]
    assert [(one["slide_id"], one["code"]) for one in told["failures"]] == [("no-mpp", "MPP_MISSING")]
    for row in told["slides"]:
        assert row["tissue_mm2"] == pytest.approx(DISC_MM2, rel=0.1)
        assert row["pieces"] == 1
        assert row["pen_red_mm2"] == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {
        "a.png",
        "a.geojson",
        "b.png",
        "b.geojson",
        "contact-sheet-001.png",
        "index.html",
        "tissue.csv",
    }
    table = list(csv.DictReader((tmp_path / "out/tissue.csv").read_text().splitlines()))
    assert [row["slide_id"] for row in table] == ["a", "b"]
    assert float(table[0]["tissue_mm2"]) == told["slides"][0]["tissue_mm2"]
    found = Canvas((SIDE, SIDE), (SIDE, SIDE)).fill(read_annotations(tmp_path / "out/a.geojson"), {"Tissue"})
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    disc = x**2 + y**2 < (0.4 * SIDE) ** 2
    assert (found & disc).sum() / (found | disc).sum() > 0.9
    assert len(green(tmp_path / "out/a.png")) > 50


@pytest.mark.usefixtures("in_this_process")
def test_a_correction_comes_back_and_wins(cli: Cli, slides: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    write_annotations(drawn / "a.geojson", [square("Tissue", 0, 0, 800), square("Tumor", 0, 0, 400)])
    (slides / "no-mpp.tiff").unlink()
    told = json.loads(cli("tissue", slides, "-o", tmp_path / "1", "--roi", drawn, "--json").out)
    areas = {row["slide_id"]: row["tissue_mm2"] for row in told["slides"]}
    assert areas["a"] == pytest.approx(0.2**2, rel=0.05)
    assert areas["b"] == pytest.approx(DISC_MM2, rel=0.1)
    options = ["--roi", drawn / "a.geojson", "--roi-class", "Other", "--json"]
    told = json.loads(cli("tissue", slides / "a.tiff", "-o", tmp_path / "2", *options).out)
    assert told["slides"][0]["tissue_mm2"] == pytest.approx(0.4**2, rel=0.05)


@pytest.mark.usefixtures("in_this_process")
def test_regions_that_fit_no_slide_are_refused(cli: Cli, slides: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    write_annotations(drawn / "c.geojson", [square("Tissue", 0, 0, 300)])
    refusals = {
        drawn: "named after a slide",
        drawn / "c.geojson": "is one file",
        tmp_path / "no": "There is no",
    }
    for roi, told in refusals.items():
        ended = cli("tissue", slides, "-o", tmp_path / "out", "--roi", roi)
        assert ended.code == 2
        assert told in " ".join(ended.err.split())
    (drawn / "a.geojson").write_text("{}")
    ended = cli("tissue", slides / "a.tiff", "-o", tmp_path / "out", "--roi", drawn)
    assert ended.code == 3
    assert "BAD_ANNOTATION" in ended.out


@pytest.mark.usefixtures("in_this_process")
def test_a_segmenter_is_chosen_by_name(cli: Cli, slides: Path, tmp_path: Path) -> None:
    assert cli("tissue", slides / "a.tiff", "-o", tmp_path / "out", "--segmenter", "hsv").code == 0
    ended = cli("tissue", slides / "a.tiff", "-o", tmp_path / "out", "--segmenter", "dark")
    assert (ended.code, "NOT_FLUORESCENCE" in ended.out) == (3, True)
    ended = cli("tissue", slides / "a.tiff", "-o", tmp_path / "out", "--segmenter", "best")
    assert (ended.code, "auto, otsu" in ended.err) == (2, True)


@pytest.mark.usefixtures("mean_encoder", "in_this_process")
def test_a_run_folder_shows_its_patches(cli: Cli, slides: Path, tmp_path: Path) -> None:
    (slides / "no-mpp.tiff").unlink()
    assert cli("run", slides, "-o", tmp_path / "run", "--encoder", "mean").code == 0
    told = json.loads(cli("tissue", tmp_path / "run", "-o", tmp_path / "out", "--json").out)
    assert [row["slide_id"] for row in told["slides"]] == ["a", "b"]
    assert all(row["ok"] > 5 for row in told["slides"])
    assert {"a.png", "a.geojson", "contact-sheet-001.png"} <= {p.name for p in (tmp_path / "out").iterdir()}
    picture = np.asarray(Image.open(tmp_path / "out/a.png"))
    assert (picture == PATCH).all(axis=2).any()
    ended = cli("tissue", tmp_path / "run", "-o", tmp_path / "out", "--segmenter", "hsv")
    assert (ended.code, "found already" in ended.err) == (2, True)
