"""Tissue: how much of each patch, and where on real and empty slides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import ellipse

from slidestream.geometry import Region
from slidestream.tiling.grid import PatchGrid
from slidestream.tiling.overview import overview
from slidestream.tiling.segment import segment
from slidestream.tiling.spec import PatchSpec
from slidestream.tiling.tissue import tissue_fraction
from slidestream.wsi.slide import open_slide

GLASS = np.array([243, 242, 244])
PINK, PALE, PURPLE = (np.array(c) for c in ([222, 150, 190], [236, 218, 232], [120, 80, 150]))


def test_fractions_equal_counting_pixels() -> None:
    """Patches that cut mask pixels, against a mask blown up until they no longer do."""
    rng = np.random.default_rng(0)
    mask = rng.random((13, 17)) > 0.5
    size = (17 * 12, 13 * 12)
    grid = PatchGrid(rng.integers(0, 100, (50, 2)).astype(np.int32), (31.0, 31.0))
    fine = np.kron(mask, np.ones((12, 12)))
    expected = [fine[y : y + 31, x : x + 31].sum() / 31**2 for x, y in grid.origins]
    np.testing.assert_allclose(tissue_fraction(mask, size, grid), expected, atol=1e-9)


def test_what_overhangs_counts_as_background() -> None:
    grid = PatchGrid(np.array([[50, 50]], np.int32), (100.0, 100.0))
    assert tissue_fraction(np.ones((10, 10), bool), (100, 100), grid) == pytest.approx([0.25])


def test_a_volume_takes_the_slices_of_the_slab() -> None:
    mask = np.zeros((6, 4, 4), bool)
    mask[4] = True
    grid = PatchGrid(np.array([[0, 0, 0], [0, 0, 3]], np.int32), (4.0, 4.0, 3.0))
    np.testing.assert_allclose(tissue_fraction(mask, (4, 4, 6), grid), [0, 1 / 3])


def drawn(colour: np.ndarray, noise: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """A slide overview at 8 µm with one ellipse of tissue, and the truth."""
    truth = np.zeros((300, 400), bool)
    truth[ellipse(150, 200, 90, 120)] = True
    rng = np.random.default_rng(0)
    picture = np.where(truth[..., None], colour, GLASS) + rng.normal(0, noise, (300, 400, 3))
    return picture.clip(0, 255).astype(np.uint8), truth


@pytest.mark.parametrize("colour", [PINK, PALE, PURPLE])
def test_stained_tissue_is_found_also_when_pale(colour: np.ndarray) -> None:
    picture, truth = drawn(colour)
    found = segment(picture, np.ones(truth.shape, bool), 8.0)
    assert found.field == "bright"
    assert (found.mask & truth).sum() / (found.mask | truth).sum() > 0.95


def test_dark_tissue_does_not_hide_pale_tissue() -> None:
    picture, truth = drawn(PALE)
    picture[120:160, 180:220] = (60, 20, 80)
    found = segment(picture, np.ones(truth.shape, bool), 8.0).mask
    assert (found & truth).sum() / truth.sum() > 0.95


@pytest.mark.parametrize("level", [255, 244, 200])
@pytest.mark.parametrize("noise", [0.0, 2.0, 5.0])
def test_empty_glass_has_no_tissue(level: int, noise: float) -> None:
    rng = np.random.default_rng(1)
    picture = (level + rng.normal(0, noise, (300, 300, 3))).clip(0, 255).astype(np.uint8)
    assert not segment(picture, np.ones((300, 300), bool), 8.0).mask.any()


def test_grey_dirt_and_specks_are_not_tissue_and_small_holes_are_filled() -> None:
    picture, truth = drawn(PINK)
    picture[20:23, 20:23] = PURPLE  # 24 µm
    picture[150:156, 200:206] = GLASS  # 48 µm inside the tissue
    found = segment(picture, np.ones(truth.shape, bool), 8.0).mask
    assert not found[10:40, 10:40].any()
    assert found[150:156, 200:206].all()


def test_unscanned_area_is_never_tissue() -> None:
    picture, truth = drawn(PINK)
    scanned = np.ones(truth.shape, bool)
    scanned[:, :200] = False
    scanned[150:156, 300:306] = False  # a missing tile amid tissue is no hole to be filled
    assert not segment(picture, scanned, 8.0).mask[~scanned].any()
    assert not segment(picture, np.zeros(truth.shape, bool), 8.0).mask.any()


def test_both_sections_of_a_real_slide_and_little_background(real: Callable[[str], Path]) -> None:
    """The truth by another route: saturation of the pixels at 32 times less resolution, opened and filled."""
    with open_slide(real("wsi/P-2_carotid_zoomify.tiff")) as slide:
        look = overview(slide)
        grid = PatchGrid.cover(slide.bounds, slide.spacing, PatchSpec())
        tissue = tissue_fraction(look.mask, look.covers, grid)
        picture = slide.read(Region((0.0, 0.0), tuple(map(float, slide.size))), (390, 799))
    labels, count = ndimage.label(look.mask)
    areas = np.sort(ndimage.sum_labels(look.mask, labels, range(1, count + 1)))[::-1]
    assert areas[:2].sum() / areas.sum() > 0.9
    largest = np.argsort(-ndimage.sum_labels(look.mask, labels, range(1, count + 1)))[:2] + 1
    rows = np.sort([p[0] for p in ndimage.center_of_mass(look.mask, labels, largest)])
    assert rows[0] < look.mask.shape[0] * 0.45 < look.mask.shape[0] * 0.6 < rows[1]

    colour = picture.astype(int)
    stained = ndimage.uniform_filter((colour.max(2) - colour.min(2)).astype(float), 5) > 9
    kept = grid.origins[tissue >= 0.25] / np.array(slide.size) * np.array(stained.shape[::-1])
    step = np.ceil(np.array(grid.extent) / np.array(slide.size) * np.array(stained.shape[::-1])).astype(int)
    pure = [not stained[int(y) : int(y) + step[1], int(x) : int(x) + step[0]].any() for x, y in kept]
    assert len(kept) > 1500
    assert np.mean(pure) < 0.05


def test_fluorescence_is_not_all_tissue(real: Callable[[str], Path]) -> None:
    with open_slide(real("wsi/test3-DAPI-2-(387).ndpi")) as slide:
        look = overview(slide)
    assert look.background == "dark"
    assert 0.05 < look.mask.mean() < 0.6


def test_the_thumbnail_and_the_mask_share_their_pixels(real: Callable[[str], Path]) -> None:
    with open_slide(real("wsi/P-2_carotid_zoomify.tiff")) as slide:
        look = overview(slide)
    assert look.thumbnail.shape[:2] == look.footprint.shape
    assert max(look.footprint.shape) == 1024
    dark = look.thumbnail.min(axis=2) < 200
    assert look.footprint[dark].mean() > 0.9
    assert abs(look.footprint.mean() - look.mask.mean()) < 0.02
