"""CIELAB (D65, 2 degree observer) from linear sRGB and back, plane by plane; the constants of scikit-image.

L, a and b are a linear map of three roots of the tristimulus values: L = 116 y - 16, a = 500 (x - y),
b = 200 (y - z). So what moves and scales each of them moves and scales the roots, and L, a, b need not be
written down.
"""

from __future__ import annotations

import numpy as np
import torch

Planes = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
D65 = np.array([0.95047, 1.0, 1.08883])
TO_WHITE = (XYZ / D65[:, None]).tolist()
FROM_WHITE = (np.linalg.inv(XYZ) * D65).tolist()
EDGE = 0.008856
SLOPE, OFFSET = 7.787, 16 / 116


def linear(srgb: torch.Tensor) -> torch.Tensor:
    """Light of sRGB values 0 to 1, of any shape."""
    return torch.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)


def from_linear(light: torch.Tensor) -> torch.Tensor:
    """The sRGB value of light, of any shape; light out of range is clipped to 0 to 1."""
    light = light.clamp(0, 1)
    return torch.where(light > 0.0031308, (light ** (1 / 2.4)).mul_(1.055).sub_(0.055), 12.92 * light)


def roots(light: Planes) -> Planes:
    """x, y, z of linear R, G, B."""
    x, y, z = (_root(_sum(row, light)) for row in TO_WHITE)
    return x, y, z


def from_roots(xyz: Planes) -> Planes:
    """Linear R, G, B of x, y, z; outside 0 to 1 where no such colour can be shown."""
    x, y, z = xyz
    values = _unroot(x), _unroot(y), _unroot(z.clamp(min=0))
    red, green, blue = (_sum(row, values) for row in FROM_WHITE)
    return red, green, blue


def _root(value: torch.Tensor) -> torch.Tensor:
    return torch.where(value > EDGE, value ** (1 / 3), (SLOPE * value).add_(OFFSET))


def _unroot(root: torch.Tensor) -> torch.Tensor:
    return torch.where(root > EDGE ** (1 / 3), root * root * root, (root - OFFSET).div_(SLOPE))


def _sum(row: list[float], planes: Planes) -> torch.Tensor:
    first, second, third = planes
    return torch.add(row[0] * first, second, alpha=row[1]).add(third, alpha=row[2])
