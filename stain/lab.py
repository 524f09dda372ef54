"""CIELAB (D65, 2 degree observer) from linear sRGB and back, plane by plane; the constants of scikit-image.

L, a and b are a linear map of three roots of the tristimulus values: L = 116 y - 16, a = 500 (x - y),
b = 200 (y - z). So what moves and scales each of them moves and scales the roots, and L, a, b need not be
written down. Both curves, of the roots and of sRGB, are a line that touches a power; a choice between the
two by the larger or smaller one is several times as fast as by a condition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Planes = tuple[Plane, Plane, Plane]

XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
D65 = np.array([0.95047, 1.0, 1.08883])
TO_WHITE = (XYZ / D65[:, None]).tolist()
FROM_WHITE = (np.linalg.inv(XYZ) * D65).tolist()
VALUE, ROOT = 0.008856, 0.008856 ** (1 / 3)
SLOPE, OFFSET = 7.787, 16 / 116
LIGHT = 0.0031308


def linear(srgb: NDArray[np.float64]) -> Plane:
    """Light of sRGB values 0 to 1, of any shape."""
    return np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92).astype(np.float32)


def from_linear(light: Plane) -> Plane:
    """The sRGB value of light, of any shape; light out of range is clipped to 0 to 1."""
    light = np.clip(light, 0, 1)
    curve: Plane = light ** np.float32(1 / 2.4) * 1.055 - 0.055
    return np.maximum(np.minimum(light, LIGHT) * 12.92, curve)


def roots(light: Planes) -> Planes:
    """x, y, z of linear R, G, B."""
    x, y, z = (_root(_sum(row, light)) for row in TO_WHITE)
    return x, y, z


def from_roots(xyz: Planes) -> Planes:
    """Linear R, G, B of x, y, z; outside 0 to 1 where no such colour can be shown."""
    x, y, z = xyz
    values = _unroot(x), _unroot(y), _unroot(np.maximum(z, 0))
    red, green, blue = (_sum(row, values) for row in FROM_WHITE)
    return red, green, blue


def _root(value: Plane) -> Plane:
    return np.maximum(np.minimum(value, VALUE) * SLOPE + OFFSET, np.cbrt(value))


def _unroot(root: Plane) -> Plane:
    upper = np.maximum(root, ROOT)
    cube: Plane = upper * upper * upper + np.minimum(root - ROOT, 0) * (1 / SLOPE)
    return cube


def _sum(row: list[float], planes: Planes) -> Plane:
    total: Plane = row[0] * planes[0] + row[1] * planes[1] + row[2] * planes[2]
    return total
