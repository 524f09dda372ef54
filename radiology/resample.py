"""A box of a slice, at the size the encoder wants, without aliasing."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .stack import Plane

Box = tuple[float, float, float, float]


def resample(plane: Plane, box: Box, out_size: tuple[int, int]) -> Plane:
    """The part of a slice under `box`, resampled with a triangle filter as wide as an output pixel.

    Args:
        plane: (y, x).
        box: (left, top, right, bottom) in voxels, fractions and overhang allowed.
        out_size: (width, height) of the result in px.

    Returns:
        float32 (height, width). Beyond the slice its edge voxels are repeated: nothing wraps
        around; `inside` tells which pixels those are.
    """
    columns, left, right = _axis(box[0], box[2], out_size[0], plane.shape[1])
    rows, top, bottom = _axis(box[1], box[3], out_size[1], plane.shape[0])
    image = Image.fromarray(plane[np.ix_(rows, columns)])
    resized = image.resize(out_size, Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    return np.asarray(resized, dtype=np.float32)


def inside(shape: tuple[int, int], box: Box, out_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which output pixels (height, width) have their centre within a slice of `shape` (y, x)."""
    x = _centres(box[0], box[2], out_size[0])
    y = _centres(box[1], box[3], out_size[1])
    return np.outer((y >= 0) & (y < shape[0]), (x >= 0) & (x < shape[1]))


def _axis(start: float, stop: float, pixels: int, count: int) -> tuple[NDArray[np.intp], float, float]:
    """Voxels to fetch along one axis, filter margin included, and the box within them."""
    margin = math.ceil(max((stop - start) / pixels, 1.0)) + 1
    first, last = math.floor(start) - margin, math.ceil(stop) + margin
    return np.clip(np.arange(first, last), 0, count - 1), start - first, stop - first


def _centres(start: float, stop: float, pixels: int) -> NDArray[np.float64]:
    return start + (np.arange(pixels) + 0.5) * (stop - start) / pixels
