"""Colours by the slide's profile, against the formulas of the standards; never unless asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from slidestream import open_slide
from slidestream.errors import UnsupportedFormat
from slidestream.features.store import open_store
from slidestream.geometry import Region
from slidestream.wsi.openslide_reader import OpenSlideReader
from slidestream.wsi.slide import Slide

from . import icc_profile as icc

PATCHES = [Region((0, 0), (128, 128)), Region((200, 300), (128, 128))]
PROFILE = icc.wide_profile()


def write(path: Path, pixels: np.ndarray, profile: bytes) -> Path:
    """A tiled TIFF at 0.5 µm that carries a profile, or a picture."""
    if path.suffix == ".png":
        Image.fromarray(pixels).save(path, icc_profile=profile)
        return path
    tag = (34675, 7, len(profile), profile, True)
    how: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "metadata": None}
    size = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, extratags=[tag], **how, **size)
    return path


def opened_by_openslide(path: Path) -> Slide:
    return Slide(path, OpenSlideReader(path), (0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "opener"),
    [
        ("a.tiff", open_slide),
        ("a.tiff", opened_by_openslide),
        ("a.png", lambda path: open_slide(path, mpp=0.5)),
    ],
    ids=["tile by tile", "by OpenSlide", "picture"],
)
def test_every_way_of_reading_gives_the_colours_of_the_formulas(
    tmp_path: Path, tissue_pixels: Callable[..., Any], name: str, opener: Callable[[Path], Slide]
) -> None:
    pixels = tissue_pixels(600)
    truth = icc.in_srgb(pixels)
    out = np.zeros((2, 128, 128, 3), np.uint8)
    with opener(write(tmp_path / name, pixels, PROFILE)) as slide:
        plain = slide.read(Region((0, 0), (600, 600)), (600, 600))
        np.testing.assert_array_equal(plain, pixels)
        assert slide.describe()["colours"] == "as stored"
        managed = slide.in_srgb()
        assert np.abs(managed.read(Region((0, 0), (600, 600)), (600, 600)) - truth).max() < 1.5
        assert managed.read_patches(PATCHES, out).tolist() == [0, 0]
        for patch, region in zip(out, PATCHES, strict=True):
            x, y = map(int, region.origin)
            assert np.abs(patch - truth[y : y + 128, x : x + 128]).max() < 1.5
        assert np.abs(managed.thumbnail(600) - truth).max() < 1.5
        assert np.abs(managed.overview(0.5, 600)[0] - truth).max() < 1.5
        assert managed.describe()["colours"] == "sRGB by ICC profile"
    assert np.abs(pixels - truth).max() > 15, "the profile changes something"


def test_white_stays_white_and_nothing_is_read_where_nothing_was(tmp_path: Path) -> None:
    with open_slide(write(tmp_path / "a.tiff", np.full((300, 300, 3), 255, np.uint8), PROFILE)) as slide:
        out = np.ones((2, 128, 128, 3), np.uint8)
        status = slide.in_srgb().read_patches([PATCHES[0], Region((900, 900), (128, 128))], out)
    assert (out[0] == 255).all()
    assert status.tolist() == [0, 2]
    assert not out[1].any()


def test_without_a_profile_nothing_changes(
    tmp_path: Path, write_slide: Callable[..., Path], tissue_pixels: Callable[..., Any]
) -> None:
    pixels = tissue_pixels(300)
    with open_slide(write_slide(tmp_path / "a.tiff", pixels, 0.5)) as slide:
        managed = slide.in_srgb()
        np.testing.assert_array_equal(managed.read(Region((0, 0), (300, 300)), (300, 300)), pixels)
        assert managed.describe()["colours"] == "as stored"


def test_a_damaged_profile_is_refused_only_where_it_is_wanted(
    tmp_path: Path, tissue_pixels: Callable[..., Any]
) -> None:
    with open_slide(write(tmp_path / "a.tiff", tissue_pixels(300), PROFILE[:200])) as slide:
        assert slide.read(PATCHES[0], (128, 128)).shape == (128, 128, 3)
        with pytest.raises(UnsupportedFormat, match="colour profile"):
            slide.in_srgb()


@pytest.mark.usefixtures("mean_encoder")
def test_a_run_with_icc_encodes_those_colours(
    cli: Callable[..., Any], tmp_path: Path, tissue_pixels: Callable[..., Any]
) -> None:
    pixels = tissue_pixels(600)
    slide = write(tmp_path / "a.tiff", pixels, PROFILE)
    options = [
        "--encoder",
        "mean",
        "--patch-size",
        "128",
        "--mpp",
        "0.5",
        "--min-tissue",
        "0",
        "--readers",
        "0",
    ]
    assert cli("run", slide, "-o", tmp_path / "run", *options, "--icc").code == 0
    store = open_store(tmp_path / "run/embeddings/a.zarr")
    assert store.attributes["source"]["colours"] == "sRGB by ICC profile"
    truth = icc.in_srgb(pixels)
    for (x, y), found in zip(store.coords().tolist(), store.features(), strict=True):
        np.testing.assert_allclose(found, truth[y : y + 128, x : x + 128].mean((0, 1)), atol=0.6)
    again = cli("run", slide, "-o", tmp_path / "run", *options)
    assert again.code == 2
    assert "icc" in again.err
