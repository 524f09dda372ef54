"""Local binary patterns: which of eight neighbours on a circle are at least as bright as the centre.

Rotation-invariant uniform patterns of Ojala, Pietikäinen and Mäenpää, IEEE Transactions on Pattern Analysis
and Machine Intelligence 24 (2002) 971-987. Bin k < 9: at most two changes around the circle and k bright
neighbours; bin 9: every other pattern.
"""

from __future__ import annotations

import math
from functools import cache

import torch

from .texture_histogram import histogram
from .texture_planes import Planes

RADII = (1, 2)
POINTS = 8
BINS = POINTS + 2

NAMES: tuple[str, ...] = tuple(f"lbp.luminance.r{radius}.{bin_}" for radius in RADII for bin_ in range(BINS))


def lbp(planes: Planes) -> torch.Tensor:
    """(B, len(NAMES)): square roots of the pattern fractions at each radius.

    The root (Hellinger) makes rare patterns count and puts all columns on one scale.
    """
    return torch.cat([pattern_fractions(planes.luminance[:, 0], radius).sqrt() for radius in RADII], 1)


def pattern_fractions(image: torch.Tensor, radius: int) -> torch.Tensor:
    """Fractions (B, 10) of the uniform patterns in images (B, H, W), without a border of `radius` px."""
    codes = _codes(image, radius).flatten(1)
    return histogram(codes, 2**POINTS) @ _bins_of_codes().to(image.device)


def _codes(image: torch.Tensor, radius: int) -> torch.Tensor:
    """One bit per neighbour, counter-clockwise from the right, as uint8 (B, H - 2 radius, W - 2 radius)."""
    centre = _shifted(image, 0, 0, radius)
    code = torch.zeros_like(centre, dtype=torch.uint8)
    for bit, neighbour in enumerate(_circle(image, radius)):
        code |= (neighbour >= centre).to(torch.uint8) << bit
    return code


def _circle(image: torch.Tensor, radius: int) -> list[torch.Tensor]:
    """The eight neighbours; those on the diagonals are interpolated bilinearly."""
    directions = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
    return [
        _diagonal(image, dy, dx, radius) if dy and dx else _shifted(image, dy * radius, dx * radius, radius)
        for dy, dx in directions
    ]


def _diagonal(image: torch.Tensor, dy: int, dx: int, radius: int) -> torch.Tensor:
    offset = radius * math.sqrt(0.5)
    near, weight = int(offset), offset % 1.0
    rows = [
        torch.lerp(
            _shifted(image, dy * far, dx * near, radius),
            _shifted(image, dy * far, dx * (near + 1), radius),
            weight,
        )
        for far in (near, near + 1)
    ]
    return torch.lerp(rows[0], rows[1], weight)


def _shifted(image: torch.Tensor, dy: int, dx: int, margin: int) -> torch.Tensor:
    """The view of (B, H, W) that lies (dy, dx) from the centre pixels, `margin` px off the border."""
    height, width = image.shape[-2] - 2 * margin, image.shape[-1] - 2 * margin
    return image[..., margin + dy : margin + dy + height, margin + dx : margin + dx + width]


@cache
def _bins_of_codes() -> torch.Tensor:
    """(256, 10): one-hot, the bin of each code."""
    table = torch.zeros(2**POINTS, BINS)
    for code in range(2**POINTS):
        bits = [code >> i & 1 for i in range(POINTS)]
        changes = sum(bits[i] != bits[i - 1] for i in range(POINTS))
        table[code, sum(bits) if changes <= 2 else BINS - 1] = 1.0
    return table
