"""Files whose names mean harm, or are the same: distinct stores, and every name round-trips."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from slidestream.features.layout import slide_id_of
from slidestream.features.store import open_store

from .conftest import SMALL, Cli, Draw, outcomes

QUICK = [*SMALL, "--readers", "0"]

HOSTILE = [
    "a b",
    "new\nline",
    "-rf",
    "<img onerror=alert(1)>",
    "=cmd()",
    unicodedata.normalize("NFC", "café"),
    unicodedata.normalize("NFD", "café"),
    "x" * 60,
    "percent%20",
    "quote'\"",
    "dots..",
    "[bold]rich",
]


@pytest.fixture
def hostile(tmp_path: Path, write_slide: Draw, tissue_pixels: Draw) -> Path:
    """A folder with one slide of each name."""
    slides, pixels = tmp_path / "slides", tissue_pixels(400)
    slides.mkdir()
    for name in HOSTILE:
        write_slide(slides / f"{name}.tiff", pixels, 0.5)
    return slides


def test_hostile_names_round_trip(cli: Cli, tmp_path: Path, hostile: Path) -> None:
    run = tmp_path / "run"
    ended = cli("run", hostile, "-o", run, *QUICK, "--json")
    assert ended.code == 0, ended.err
    assert set(outcomes(ended)) == set(HOSTILE)
    folders = list((run / "embeddings").iterdir())
    assert {open_store(path).slide_id for path in folders} == set(HOSTILE)
    assert {slide_id_of(path) for path in folders} == set(HOSTILE)
    assert {row["slide_id"] for row in json.loads(cli("status", run, "--json").out)["inputs"]} == set(HOSTILE)
    assert "0 damaged" in cli("verify", run).out
    again = json.loads(cli("run", hostile, "-o", run, *QUICK, "--json").out)
    assert {step["slide_id"] for step in again["up_to_date"]} == set(HOSTILE)
    pictures = cli("tissue", run, "-o", tmp_path / "pictures")
    assert pictures.code == 0, pictures.err
    assert len(list((tmp_path / "pictures").glob("*.geojson"))) == len(HOSTILE)
    assert len(list((tmp_path / "pictures").glob("*.png"))) == len(HOSTILE) + 1  # and the contact sheet


def test_no_table_holds_a_formula_and_no_name_reaches_outside(
    cli: Cli, tmp_path: Path, hostile: Path
) -> None:
    for path in hostile.iterdir():
        path.write_bytes(b"no slide any more")
    with open(tmp_path / "manifest.csv", "w", newline="") as file:
        rows = [[f"slides/{name}.tiff", name] for name in HOSTILE]
        rows += [["slides/../slides/a b.tiff", "../../escaped"], ["../../../nowhere.svs", "/absolute"]]
        csv.writer(file).writerows([["path", "slide_id"], *rows])
    before = set(tmp_path.rglob("*"))
    assert cli("run", tmp_path / "manifest.csv", "-o", tmp_path / "run", *QUICK).code == 3
    assert {path.relative_to(tmp_path).parts[0] for path in set(tmp_path.rglob("*")) - before} == {"run"}
    with open(tmp_path / "run/failures.csv", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'=cmd()" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_one_name_in_two_folders_and_in_two_formats(
    cli: Cli, tmp_path: Path, write_slide: Draw, tissue_pixels: Draw
) -> None:
    slides = tmp_path / "slides"
    names = ["a.svs", "a.ndpi", "one/b.tiff", "two/b.tiff", "c.tiff"]
    for seed, name in enumerate(names):
        (slides / name).parent.mkdir(parents=True, exist_ok=True)
        write_slide(slides / name, tissue_pixels(400, seed), 0.5)
    ended = cli("run", slides, "-o", tmp_path / "run", *QUICK, "--json")
    expected = {"a.svs", "a.ndpi", "one/b.tiff", "two/b.tiff", "c"}
    assert (ended.code, set(outcomes(ended))) == (0, expected)
    stores = {store.slide_id: store for store in map(open_store, (tmp_path / "run/embeddings").iterdir())}
    assert set(stores) == expected
    assert len({store.features().tobytes() for store in stores.values()}) == len(expected), "each its own"


def test_a_loop_of_links_ends_and_no_file_is_taken_twice(
    cli: Cli, tmp_path: Path, draw_slides: Callable[..., Path]
) -> None:
    slides = draw_slides("a", "b")
    (slides / "sub").mkdir()
    (slides / "sub/up").symlink_to(slides)
    (slides / "sub/self").symlink_to("self")
    (slides / "sub/again.tiff").symlink_to(slides / "a.tiff")
    (slides / "sub/dangling.tiff").symlink_to("nowhere.tiff")
    ended = cli("run", slides, "-o", tmp_path / "run", *QUICK, "--json")
    told = {slide: outcome["code"] for slide, outcome in outcomes(ended).items()}
    assert told.pop("dangling", "INPUT_NOT_FOUND") == "INPUT_NOT_FOUND"
    assert told == {"a": "", "b": ""}
