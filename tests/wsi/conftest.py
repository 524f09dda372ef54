"""Independent references for the wsi tests: nothing here imports the code under test."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray

from slidestream.geometry import Region

Floats = NDArray[np.float64]


class Reference:
    """What a patch should be and where it lies, in float64 and without any of the library's steps."""

    def area_average(self, path: Path, region: Region, out: tuple[int, int]) -> Floats:
        """Level-0 px of a region by OpenSlide, averaged by exact overlap: (H, W, 3)."""
        low = [math.floor(o) for o in region.origin]
        high = [math.ceil(e) for e in region.end]
        with openslide.OpenSlide(path) as slide:
            rgba = slide.read_region(tuple(low), 0, (high[0] - low[0], high[1] - low[1]))
        pixels = np.asarray(rgba)[..., :3].astype(np.float64)
        (ox, oy), (ew, eh) = region.origin, region.extent
        across = _overlaps((ox - low[0], ew / out[0]), out[0], pixels.shape[1])
        down = _overlaps((oy - low[1], eh / out[1]), out[1], pixels.shape[0])
        return np.einsum("ij,jkc,lk->ilc", down, pixels, across, optimize=True)

    def shift(self, a: NDArray, b: NDArray) -> Floats:
        """(dx, dy) in px by which b's content lies right of and below a's, by least squares."""
        first, second = (np.asarray(v, np.float64).mean(axis=-1) for v in (a, b))
        dy, dx = np.gradient((first + second) / 2)
        inner = (slice(4, -4), slice(4, -4))
        slopes = np.stack([dx[inner].ravel(), dy[inner].ravel()], axis=1)
        found, *_ = np.linalg.lstsq(slopes, (first - second)[inner].ravel(), rcond=None)
        return found


def _overlaps(steps: tuple[float, float], count: int, length: int) -> Floats:
    """(count, length): the share of source pixel j in output pixel i; steps are start and size."""
    start, step = steps
    edges = start + step * np.arange(count + 1)
    px = np.arange(length)
    low = np.maximum(edges[:-1, None], px[None])
    high = np.minimum(edges[1:, None], px[None] + 1)
    return np.clip(high - low, 0, None) / step


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference()
