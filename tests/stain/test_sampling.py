"""The sample: bounded, from all over the slide, the same however it is read, without what cannot be read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slidestream.geometry import Region
from slidestream.stain.sampling import MAX_PATCHES, PIXELS_PER_PATCH, sample_pixels
from slidestream.tiling.grid import PatchGrid
from slidestream.tiling.spec import PatchSpec
from slidestream.tiling.stream import Reading


class Fake:
    """Every patch has its own red, its x in hundreds, and green, its y; those of red 3 cannot be read."""

    size, spacing, bounds = (2000, 2000), (1.0, 1.0), Region((0.0, 0.0), (2000.0, 2000.0))

    def __init__(self) -> None:
        self.read: list[tuple[float, ...]] = []

    def read_patches(self, regions: Sequence[Region], out: np.ndarray) -> np.ndarray:
        status = np.zeros(len(regions), np.uint8)
        for row, region in enumerate(regions):
            self.read.append(region.origin)
            x, y = region.origin
            out[row] = (x // 100, y // 100, 0)
            if x // 100 == 3:
                status[row], out[row] = 1, 0
        return status


GRID = PatchGrid.cover(Fake.bounds, Fake.spacing, PatchSpec(100, 1.0))


def test_few_patches_are_read_from_all_over() -> None:
    source = Fake()
    pixels = sample_pixels(source, GRID, Reading(100))  # type: ignore[arg-type]
    assert len(set(source.read)) == len(source.read) == MAX_PATCHES
    good = [origin for origin in source.read if origin[0] // 100 != 3]
    assert len(pixels) == len(good) * PIXELS_PER_PATCH < MAX_PATCHES * PIXELS_PER_PATCH
    assert 3 not in pixels[:, 0], "what cannot be read is not tissue"
    assert len(np.unique(pixels[:500, :2], axis=0)) == len(good), "in random order"


def test_the_sample_does_not_depend_on_batches_and_threads() -> None:
    one = sample_pixels(Fake(), GRID, Reading(100, batch_size=1, workers=1))  # type: ignore[arg-type]
    other = sample_pixels(Fake(), GRID, Reading(100, batch_size=64, workers=4, first=7))  # type: ignore[arg-type]
    np.testing.assert_array_equal(one, other)


def test_large_patches_are_read_in_smaller_number() -> None:
    source = Fake()
    grid = PatchGrid.cover(Fake.bounds, Fake.spacing, PatchSpec(1000, 0.1))
    sample_pixels(source, grid, Reading(1000, batch_size=2))  # type: ignore[arg-type]
    assert len(source.read) == 8
