"""How much of each patch is tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .grid import PatchGrid


def tissue_fraction(mask: NDArray[np.bool_], covers: tuple[int, ...], grid: PatchGrid) -> NDArray[np.float64]:
    """Fraction (N,) of each patch that is tissue, exact for patches that cut mask pixels.

    Args:
        mask: bool (h, w), or (slices, h, w) for a volume.
        covers: in-plane level-0 px (x, y) that the mask spans.
        grid: N patches. What overhangs the mask counts as background.
    """
    if mask.ndim == 2:
        return _box_means(mask, covers, grid.origins, grid.extent)
    slab = round(grid.extent[2])
    fractions = np.empty(len(grid))
    for z in np.unique(grid.origins[:, 2]):
        chosen = grid.origins[:, 2] == z
        plane = mask[int(z) : int(z) + slab].mean(axis=0)
        fractions[chosen] = _box_means(plane, covers, grid.origins[chosen], grid.extent)
    return fractions


def _box_means(
    plane: NDArray[np.generic], covers: tuple[int, ...], origins: NDArray[np.int32], extent: tuple[float, ...]
) -> NDArray[np.float64]:
    """Means of a plane over boxes, from its summed-area table interpolated at the box corners."""
    height, width = plane.shape
    table = np.zeros((height + 1, width + 1))
    table[1:, 1:] = plane.astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    scale = np.array([width / covers[0], height / covers[1]])
    start = origins[:, :2] * scale
    end = start + np.array(extent[:2]) * scale
    total = (
        _at(table, end[:, 0], end[:, 1])
        - _at(table, start[:, 0], end[:, 1])
        - _at(table, end[:, 0], start[:, 1])
        + _at(table, start[:, 0], start[:, 1])
    )
    means: NDArray[np.float64] = total / np.prod(end - start, axis=1)
    return means.clip(0, 1)


def _at(table: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The summed-area table at fractional positions, bilinear and clamped to the plane."""
    x, y = x.clip(0, table.shape[1] - 1), y.clip(0, table.shape[0] - 1)
    x0, y0 = np.minimum(x.astype(int), table.shape[1] - 2), np.minimum(y.astype(int), table.shape[0] - 2)
    fx, fy = x - x0, y - y0
    top = table[y0, x0] * (1 - fx) + table[y0, x0 + 1] * fx
    bottom = table[y0 + 1, x0] * (1 - fx) + table[y0 + 1, x0 + 1] * fx
    blended: NDArray[np.float64] = top * (1 - fy) + bottom * fy
    return blended
