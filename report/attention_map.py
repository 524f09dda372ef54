"""From attention per patch to values per pixel of a small picture. Pure geometry and ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


@dataclass(frozen=True, eq=False)
class PatchPlan:
    """Where N patches lie, in level-0 px.

    Attributes:
        coords: (N, 2 or 3) top-left corners, (x, y[, z]).
        extent: width and height (and depth) of one patch.
        size: width and height (and depth) of the whole slide or volume.
    """

    coords: NDArray[np.int32]
    extent: tuple[float, ...]
    size: tuple[float, ...]


def percentile_ranks(attention: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) rank within the slide, 0 for the least and 100 for the greatest attention.

    Ties share their mean rank, equal attention everywhere is 50 everywhere, NaN stays NaN.
    """
    ranks = np.full(len(attention), np.nan)
    good = np.isfinite(attention)
    count = int(good.sum())
    if count:
        ranks[good] = 100 * (rankdata(attention[good]) - 1) / (count - 1) if count > 1 else 50.0
    return ranks


def concentration(attention: NDArray[np.float32], share: float = 0.1) -> float:
    """Part of all attention, 0 to 1, held by the `share` of patches that have most of it; NaN if none."""
    weights = np.sort(attention[np.isfinite(attention)].astype(np.float64))[::-1]
    most = int(np.ceil(share * len(weights)))
    return float(weights[:most].sum() / weights.sum()) if len(weights) and weights.sum() > 0 else float("nan")


def paint(plan: PatchPlan, values: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """A picture (h, w) of the whole extent, each patch filled with its value, NaN where there is none.

    Patches with a NaN value are left out; where patches overlap their mean is shown. In a volume the
    greatest value over z is shown at each (x, y).
    """
    good = np.isfinite(values)
    corners, values = _over_z(plan.coords[good], values[good])
    boxes = _pixel_boxes(corners, plan, shape)
    total, count = _summed(boxes, values, shape), _summed(boxes, np.ones(len(values)), shape)
    covered = count > 0.5
    return np.where(covered, total / np.where(covered, count, 1.0), np.nan)


def _over_z(
    coords: NDArray[np.int32], values: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    if coords.shape[1] == 2:
        return coords, values
    corners, row = np.unique(coords[:, :2], axis=0, return_inverse=True)
    greatest = np.full(len(corners), -np.inf)
    np.maximum.at(greatest, row.ravel(), values)
    return corners, greatest


def _pixel_boxes(corners: NDArray[np.int32], plan: PatchPlan, shape: tuple[int, int]) -> NDArray[np.int64]:
    """(N, 4) x0, y0, x1, y1 in px of the picture, ends exclusive, at least one pixel each.

    Both corners are rounded, not the width: neighbours share an edge without a gap or an overlap.
    """
    height, width = shape
    scale = np.array([width / plan.size[0], height / plan.size[1]])
    limit = np.array([width, height])
    start = np.floor(corners * scale + 0.5).astype(np.int64)
    end = np.floor((corners + np.array(plan.extent[:2])) * scale + 0.5).astype(np.int64)
    start = np.clip(start, 0, limit - 1)
    return np.hstack([start, np.clip(end, start + 1, limit)])


def _summed(
    boxes: NDArray[np.int64], values: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """(h, w) sum of the values of all boxes over each pixel, by marking corners and summing up once."""
    corners = np.zeros((shape[0] + 1, shape[1] + 1))
    x0, y0, x1, y1 = boxes.T
    for y, x, sign in ((y0, x0, 1), (y0, x1, -1), (y1, x0, -1), (y1, x1, 1)):
        np.add.at(corners, (y, x), sign * values)
    summed: NDArray[np.float64] = corners.cumsum(0).cumsum(1)[:-1, :-1]
    return summed
