"""What a slide file can have wrong with it, one fault per test, seen as the user sees it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from slidestream.features.store import open_store

from .conftest import SMALL, Cli, Draw, Real, codes, outcomes

pytestmark = pytest.mark.usefixtures("in_this_process")

ALL_PATCHES = [*SMALL, "--min-tissue", "0"]
HALO = 8
"""So many px beside a patch may take part in resampling it."""


def _tile_that_differs(bad: Path, good: Path) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) in px of the compressed tile in which two files differ."""
    ours, theirs = (np.fromfile(path, np.uint8) for path in (bad, good))
    (changed,) = np.nonzero(ours != theirs)
    with tifffile.TiffFile(good) as tiff:
        page = tiff.pages[0]
        starts = np.array(page.dataoffsets)
        index = int(np.searchsorted(starts, changed[0], side="right")) - 1
        assert changed[-1] < starts[index] + page.databytecounts[index], "one tile and nothing else"
        across = -(-page.imagewidth // page.tilewidth)
        x, y = index % across * page.tilewidth, index // across * page.tilelength
        return x, y, x + page.tilewidth, y + page.tilelength


def test_one_undecodable_tile_costs_the_patches_that_touch_it(cli: Cli, real: Real, tmp_path: Path) -> None:
    bad, good = real("malformed/svs_mutants/tile_jpeg_garbage.svs"), real("wsi/CMU-1-Small-Region.svs")
    ended = cli("run", bad, good, "-o", tmp_path / "run", *ALL_PATCHES, "--max-unreadable", "0.1", "--json")
    assert ended.code == 0
    stores = [open_store(tmp_path / f"run/embeddings/{path.stem}.zarr") for path in (bad, good)]
    lost = stores[0].status() == 1
    left, top, right, bottom = _tile_that_differs(bad, good)
    x, y = stores[0].coords().T
    side = stores[0].attributes["extent"][0]

    def touching(halo: int) -> np.ndarray:
        inside_x = (x < right + halo) & (x + side > left - halo)
        return inside_x & (y < bottom + halo) & (y + side > top - halo)

    assert touching(-1).any()
    assert (lost[touching(-1)]).all()
    assert touching(HALO)[lost].all()
    assert np.isnan(stores[0].features()[lost]).all()
    np.testing.assert_array_equal(stores[0].features()[~lost], stores[1].features()[~lost])
    assert outcomes(ended)[bad.stem]["unreadable"] == lost.sum()
    refused = cli("run", bad, good, "-o", tmp_path / "strict", *ALL_PATCHES, "--json")
    assert (refused.code, codes(refused)) == (3, {bad.stem: "UNREADABLE", good.stem: ""}), "1 % by default"


def test_a_tile_of_zero_length_is_never_tissue(cli: Cli, real: Real, tmp_path: Path) -> None:
    hole, whole = real("malformed/svs_mutants/tile_zero_length.svs"), real("wsi/CMU-1-Small-Region.svs")
    options = ["--encoder", "mean", "--patch-size", "32", "--mpp", "0.499", "--min-tissue", "0"]
    assert cli("run", hole, whole, "-o", tmp_path / "run", *options).code == 0
    store, clean = (open_store(tmp_path / f"run/embeddings/{path.stem}.zarr") for path in (hole, whole))
    changed = (store.features() != clean.features()).any(axis=1)
    outside = store.status() == 2
    assert outside.any()
    assert np.isnan(store.features()[outside]).all()
    assert (store.tissue()[outside] < 0.25).all(), "by default such patches are not even tried"
    white = store.features()[changed & ~outside] > clean.features()[changed & ~outside]
    assert white.all(), "what is missing of a patch is white"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("malformed/svs_mutants/truncated_50pct.svs", "TRUNCATED"),
        ("malformed/svs_mutants/header_only_8b.svs", "TRUNCATED"),
        ("malformed/tifftools/bad_strip_offset.tif", "TRUNCATED"),
        ("malformed/svs_mutants/empty.svs", "UNSUPPORTED_FORMAT"),
        ("malformed/broken.svs", "UNSUPPORTED_FORMAT"),
        ("malformed/unopenable.tiff", "UNSUPPORTED_FORMAT"),
        ("malformed/tifftools/good_single.tif", "UNSUPPORTED_FORMAT"),
    ],
)
def test_a_real_file_that_is_no_slide_is_refused(
    cli: Cli, real: Real, tmp_path: Path, name: str, code: str
) -> None:
    ended = cli("run", real(name), "-o", tmp_path / "run", *SMALL, "--slide-mpp", "0.5", "--json")
    assert (ended.code, list(codes(ended).values())) == (3, [code])
    assert not list((tmp_path / "run").glob("embeddings/*"))


def test_what_is_no_slide_is_named_by_what_it_is(
    cli: Cli, tmp_path: Path, draw_slides: Callable[..., Path]
) -> None:
    slides = draw_slides("good")
    whole = (slides / "good.tiff").read_bytes()
    (slides / "half.tiff").write_bytes(whole[: len(whole) // 2])
    (slides / "empty.svs").write_bytes(b"")
    (slides / "paper.svs").write_bytes(b"%PDF-1.7\n")
    (slides / "packed.ndpi").write_bytes(b"PK\3\4 and so on")
    (slides / "text.svs").write_text("this is no slide")
    tifffile.imwrite(slides / "grey.tiff", np.zeros((600, 600), np.uint16), tile=(256, 256), metadata=None)
    ended = cli("run", slides, "-o", tmp_path / "run", *SMALL, "--readers", 0, "--json")
    assert (ended.code, outcomes(ended)["good"]["status"]) == (3, "done")
    told = {slide: (o["code"], o["cause"]) for slide, o in outcomes(ended).items() if o["code"]}
    found = {slide: code for slide, (code, _) in told.items()}
    assert found.pop("half") == "TRUNCATED"
    assert found == dict.fromkeys(("empty", "paper", "packed", "text", "grey"), "UNSUPPORTED_FORMAT")
    for slide, what in (("empty", "empty"), ("paper", "PDF"), ("packed", "ZIP"), ("grey", "16-bit grey")):
        assert what in told[slide][1]


def _aperio(path: Path, pixels: np.ndarray, mpp: str) -> None:
    facts = f"Aperio Image Library v11.2.1\r\n600x600 (256x256) JPEG/RGB Q=90|AppMag = 20{mpp}"
    tifffile.imwrite(
        path, pixels, tile=(256, 256), photometric="rgb", description=facts, metadata=None, compression="jpeg"
    )


def test_no_mpp_or_an_implausible_one_is_refused_until_it_is_given(
    cli: Cli, tmp_path: Path, write_slide: Draw, tissue_pixels: Draw
) -> None:
    slides, pixels = tmp_path / "slides", tissue_pixels(600)
    slides.mkdir()
    for name, mpp in (("missing", ""), ("zero", "|MPP = 0"), ("negative", "|MPP = -0.5")):
        _aperio(slides / f"{name}.svs", pixels, mpp)
    write_slide(slides / "dpi.tiff", pixels, 264.58)  # 96 dots per inch: a screen's, not a scanner's
    ended = cli("run", slides, "-o", tmp_path / "run", *SMALL, "--readers", 0, "--json")
    expected = {"missing": "MPP_MISSING"} | dict.fromkeys(("zero", "negative", "dpi"), "MPP_IMPLAUSIBLE")
    assert (ended.code, codes(ended)) == (3, expected)
    assert "264.58" in outcomes(ended)["dpi"]["cause"]
    for outcome in outcomes(ended).values():
        assert "--slide-mpp" in outcome["fix"]
        assert "manifest" in outcome["fix"]
    with open(tmp_path / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([["path", "mpp"], *([f"slides/{p.name}", 0.5] for p in slides.iterdir())])
    for way in ([slides, "--slide-mpp", "0.5"], [tmp_path / "manifest.csv"]):
        again = cli("run", *way, "-o", tmp_path / f"run{len(way)}", *SMALL, "--readers", 0)
        assert again.code == 0, "the two ways that the fix names"


def test_the_real_slides_with_a_false_mpp_are_refused(cli: Cli, real: Real, tmp_path: Path) -> None:
    names = ["svs_mutants/mpp_missing.svs", "svs_mutants/mpp_zero.svs"]
    files = [*(real(f"malformed/{name}") for name in names), real("wsi/CropBreastSlide.tiff")]
    ended = cli("run", *files, "-o", tmp_path / "run", *SMALL, "--readers", 0, "--json")
    assert codes(ended) == {
        "mpp_missing": "MPP_MISSING",
        "mpp_zero": "MPP_IMPLAUSIBLE",
        "CropBreastSlide": "MPP_IMPLAUSIBLE",
    }


def test_no_tissue_is_neither_done_nor_failed(cli: Cli, tmp_path: Path, write_slide: Draw) -> None:
    write_slide(tmp_path / "white.tiff", np.full((600, 600, 3), 244, np.uint8), 0.5)
    ended = cli("run", tmp_path / "white.tiff", "-o", tmp_path / "run", *SMALL, "--readers", 0, "--json")
    assert (ended.code, outcomes(ended)["white"]["status"]) == (0, "no_tissue")
    store = open_store(tmp_path / "run/embeddings/white.zarr")
    assert (len(store.coords()), store.thumbnail().min() > 240) == (0, True)
    assert "NO_TISSUE" in ended.err
    assert "1 no tissue" in cli("status", tmp_path / "run").out
