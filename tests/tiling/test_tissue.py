"""Tissue: how much of each patch, and where on real and empty slides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from slidestream.geometry import Region
from slidestream.tiling.grid import PatchGrid
from slidestream.tiling.overview import overview
from slidestream.tiling.spec import PatchSpec
from slidestream.tiling.tissue import tissue_fraction
from slidestream.wsi.slide import open_slide


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


def test_the_thumbnail_and_the_mask_share_their_pixels(real: Callable[[str], Path]) -> None:
    with open_slide(real("wsi/P-2_carotid_zoomify.tiff")) as slide:
        look = overview(slide)
    assert look.thumbnail.shape[:2] == look.footprint.shape
    assert max(look.footprint.shape) == 1024
    dark = look.thumbnail.min(axis=2) < 200
    assert look.footprint[dark].mean() > 0.9
    assert abs(look.footprint.mean() - look.mask.mean()) < 0.02
