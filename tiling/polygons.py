"""Masks as polygons and back: outlines with holes, exact on the mask's own pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

TOLERANCE_PX = 0.35
"""Outlines are simplified by at most this, in px of the mask: less than to the nearest pixel's centre."""

Ring = NDArray[np.float64]
"""Corners (n, 2) of a closed outline, (x, y); the first is not repeated at the end."""

Polygon = Sequence[Ring]
"""An outline, and the rings of its holes."""


def trace(mask: NDArray[np.bool_]) -> list[Polygon]:
    """One polygon per connected piece of a mask (h, w), in px of the mask, with (0, 0) at its corner.

    Pixels belong together along sides. `fill` of the result is the mask again.
    """
    from skimage.measure import approximate_polygon, find_contours  # a second: it loads most of SciPy

    framed = np.pad(mask, 1)
    pieces, count = ndimage.label(framed)
    outlines: list[Ring | None] = [None] * (count + 1)
    holes: list[list[Ring]] = [[] for _ in range(count + 1)]
    for contour in find_contours(framed.astype(np.float32), 0.5):
        piece = _piece(pieces, contour[0])
        ring = approximate_polygon(contour, TOLERANCE_PX)[:-1, ::-1] - 0.5  # from centres in the frame
        if _signed_area(contour[:, ::-1]) > 0:
            outlines[piece] = ring
        else:
            holes[piece].append(ring)
    return [[ring, *holes[i]] for i, ring in enumerate(outlines) if ring is not None]


def fill(polygons: Iterable[Polygon], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of a picture (h, w) whose centres lie in any of the polygons.

    Inside is where a line from the left crosses an odd number of sides, so that rings within rings are
    holes, whichever way they wind.
    """
    mask = np.zeros(shape, bool)
    for polygon in polygons:
        _fill_one(polygon, mask)
    return mask


def _fill_one(polygon: Polygon, mask: NDArray[np.bool_]) -> None:
    height, width = mask.shape
    corners = np.concatenate(polygon)
    left, top = np.floor(corners.min(axis=0)).clip(0, (width, height)).astype(int)
    right, bottom = np.ceil(corners.max(axis=0)).clip(0, (width, height)).astype(int)
    if right <= left or bottom <= top:
        return
    crossings = np.zeros((bottom - top, right - left + 1), np.int32)
    for ring in polygon:
        rows, x = _crossings(ring - (left, top), bottom - top)
        columns = np.ceil(x - 0.5).clip(0, right - left).astype(int)
        np.add.at(crossings, (rows, columns), 1)
    mask[top:bottom, left:right] |= (crossings.cumsum(axis=1) % 2 == 1)[:, :-1]


def _crossings(ring: Ring, height: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where the sides of a ring cross the middles of rows 0 to height: row numbers and x, each (n,)."""
    start, end = ring, np.roll(ring, -1, axis=0)
    upper = np.where((start[:, 1] <= end[:, 1])[:, None], start, end)
    lower = np.where((start[:, 1] <= end[:, 1])[:, None], end, start)
    first = np.ceil(upper[:, 1] - 0.5).clip(0, height).astype(np.int64)
    count = np.ceil(lower[:, 1] - 0.5).clip(0, height).astype(np.int64) - first
    side = np.repeat(np.arange(len(ring)), count)
    rows = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count) + first[side]
    slope = (lower[side, 0] - upper[side, 0]) / (lower[side, 1] - upper[side, 1])
    return rows, upper[side, 0] + (rows + 0.5 - upper[side, 1]) * slope


def _piece(pieces: NDArray[np.int32], point: NDArray[np.float64]) -> int:
    """The label of the piece that an outline at `point`, (row, column) between two pixels, goes round."""
    low, high = np.floor(point).astype(int), np.ceil(point).astype(int)
    return int(max(pieces[tuple(low)], pieces[tuple(high)]))


def _signed_area(ring: Ring) -> float:
    """Twice the area; its sign says which way the ring winds."""
    x, y = ring.T
    return float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))
