"""Random fields on a square raster: what tissue, its parts and its unevenness are cut from."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]
Points = NDArray[np.float64]
Value = TypeVar("Value", bound=np.generic)


def enlarge(field: Field, size: int) -> Field:
    """A square field resampled to (size, size), bicubic."""
    image = Image.fromarray(np.ascontiguousarray(field, np.float32))
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def smooth_noise(rng: np.random.Generator, size: int, scale: float) -> Field:
    """Gaussian noise (size, size) of mean 0 and deviation 1 whose blobs are about `scale` px wide."""
    knots = max(4, int(np.ceil(2 * size / scale)))
    noise = enlarge(rng.standard_normal((knots, knots), dtype=np.float32), size)
    normal: Field = (noise - noise.mean()) / noise.std()
    return normal


def highest(field: Field, among: Mask, fraction: float) -> Mask:
    """The pixels of `among` where the field is highest, `fraction` of them."""
    return among & (field > np.quantile(field[among], 1 - fraction)) if among.any() else among


def scattered(rng: np.random.Generator, side: float, spacing: float) -> Points:
    """Points (N, 2) all over a square, as (x, y): a hexagonal lattice, each point shifted at random.

    Even spacing with jitter keeps nuclei apart as cells do; independent points would overlap.

    Args:
        side: of the square, in any unit.
        spacing: between neighbours, in the same unit; the density is 1 / (0.866 spacing²).
    """
    rise = spacing * np.sqrt(3) / 2
    rows, columns = int(side / rise) + 1, int(side / spacing) + 1
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    lattice = np.stack([(x + 0.5 * (y % 2)) * spacing, y * rise], axis=-1).reshape(-1, 2)
    points = lattice + rng.uniform(-0.38, 0.38, lattice.shape) * spacing
    inside: Points = points[((points >= 0) & (points < side)).all(axis=1)]
    return inside


def at(field: NDArray[Value], points: Points, spacing: float) -> NDArray[Value]:
    """The field's values (N,) at points (N, 2) in microns, for a raster of `spacing` µm per px."""
    last = len(field) - 1
    column, row = np.minimum((points / spacing).astype(np.intp), last).T
    values: NDArray[Value] = field[row, column]
    return values
