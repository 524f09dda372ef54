"""Aperio's JPEG 2000 tiles decoded here are OpenSlide's pixels."""

import logging

import numpy as np
import openslide
import pytest

from slidestream.geometry import Region
from slidestream.wsi import jpeg2000, open_slide
from slidestream.wsi.openslide_reader import OpenSlideReader
from slidestream.wsi.tiled_reader import TiledReader

from . import jpeg2000_slides as j2
from . import jpeg_slides as js

SIZE = (701, 533)
LAYOUTS = [
    j2.Layout(),
    j2.Layout(decibels=None),
    j2.Layout(j2.RGB),
    j2.Layout(j2.RGB, decibels=None, tile=240),
]


def half(pixels):
    h, w = (side // 2 * 2 for side in pixels.shape[:2])
    return pixels[:h, :w].reshape(h // 2, 2, w // 2, 2, 3).mean((1, 3)).astype(np.uint8)


def patches(slide, side, step, size=SIZE):
    corners = [(x, y) for y in range(-30, size[1], step) for x in range(-40, size[0], step)]
    out = np.empty((len(corners), side, side, 3), np.uint8)
    regions = [Region(tuple(map(float, corner)), (float(side),) * 2) for corner in corners]
    return corners, out, slide.read_patches(regions, out)


@pytest.mark.parametrize("how", LAYOUTS, ids=str)
def test_native_pixels_are_openslides(tmp_path, how):
    path = j2.write(tmp_path / "a.svs", [js.tissue(SIZE)], how)
    with open_slide(path) as slide, openslide.OpenSlide(path) as oracle:
        assert isinstance(slide._reader, TiledReader)
        assert slide.mpp == (0.5, 0.5)
        for corner, found, status in zip(*patches(slide, 150, 97), strict=True):
            rgba = np.asarray(oracle.read_region(corner, 0, (150, 150)))
            assert status == 0
            difference = np.abs(found.astype(int) - np.where(rgba[..., 3:], rgba[..., :3], 255))
            # OpenJPEG is built with other instructions there, which may round the lossy wavelet otherwise.
            assert difference.max() <= (0 if how.decibels is None else 1)
            assert difference.mean() < 0.01


def test_the_pixels_are_those_that_went_in(tmp_path):
    pixels = js.tissue(SIZE)
    for how, limit in ((j2.Layout(j2.RGB, decibels=None), 0), (j2.Layout(decibels=None), 3)):
        with open_slide(j2.write(tmp_path / "a.svs", [pixels], how)) as slide:
            found = slide.read(Region((0, 0), SIZE), SIZE)
        assert np.abs(found.astype(int) - pixels).max() <= limit  # Pillow's conversion to YCbCr rounds


def test_every_colour_becomes_openslides(tmp_path):
    """All pairs of chroma, at luma from end to end."""
    cb, cr = np.meshgrid(np.arange(256), np.arange(256))
    tiles = [np.dstack([np.full((256, 256), luma), cb, cr]).astype(np.uint8) for luma in range(0, 256, 15)]
    path = j2.write(tmp_path / "a.svs", [np.hstack(tiles)], j2.Layout(decibels=None, ycbcr_given=True))
    whole = (256 * len(tiles), 256)
    with open_slide(path) as slide, openslide.OpenSlide(path) as oracle:
        found = slide.read(Region((0, 0), whole), whole)
        np.testing.assert_array_equal(found, np.asarray(oracle.read_region((0, 0), 0, whole))[..., :3])


@pytest.mark.parametrize("compression", [j2.YCBCR, j2.RGB])
def test_twice_the_spacing_is_the_average(tmp_path, compression):
    pixels = js.tissue((512, 512))
    path = j2.write(tmp_path / "a.svs", [pixels], j2.Layout(compression, decibels=None))
    with open_slide(path) as slide:
        assert slide._reader.facts.scales == ((1,),)
        whole = slide.read(Region((0, 0), (512, 512)), (512, 512))
        found = slide.read(Region((0, 0), (512, 512)), (256, 256))
    assert np.abs(found.astype(int) - half(whole)).mean() < 2


def test_lower_levels_serve_coarser_spacings(tmp_path):
    pixels = js.tissue((1024, 768))
    levels = [pixels, half(half(pixels))]
    path = j2.write(tmp_path / "a.svs", levels, j2.Layout(j2.RGB, decibels=None))
    with open_slide(path) as slide:
        assert isinstance(slide._reader, TiledReader)
        found = slide.read(Region((80, 40), (800, 600)), (200, 150))
    np.testing.assert_array_equal(found, levels[1][10:160, 20:220])


def test_a_missing_tile_was_not_scanned_and_a_damaged_one_fails(tmp_path):
    how = j2.Layout(missing=frozenset([1]))
    path = j2.write(tmp_path / "a.svs", [js.tissue((768, 512))], how)
    js.overwrite(path, 4, jpeg2000.START + b"garbage" * 40)
    with open_slide(path) as slide:
        corners, _, status = patches(slide, 100, 256, (768, 512))
    for (x, y), code in zip(corners, status, strict=True):
        assert code == (1 if x + 100 > 256 and x < 512 and y + 100 > 256 else 0)
    with open_slide(path) as slide:
        assert slide.read_patch(Region((260, 10), (100, 100)), (100, 100)) is None


@pytest.mark.parametrize("chroma", [(2, 1), (2, 2)])
def test_subsampled_chroma_is_left_to_openslide_and_said(tmp_path, caplog, chroma):
    pixels = js.tissue((256, 256))
    path = j2.write(tmp_path / "a.svs", [pixels], j2.Layout(chroma=chroma))
    with caplog.at_level(logging.DEBUG), open_slide(path) as slide:
        assert isinstance(slide._reader, OpenSlideReader)
        found = slide.read(Region((0, 0), (256, 256)), (256, 256))
    assert "subsampled JPEG 2000" in caplog.text
    assert np.abs(found.astype(int) - pixels)[..., 1].mean() < 12
