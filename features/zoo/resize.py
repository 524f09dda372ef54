"""Resizing uint8 pictures exactly as Pillow does, on any device.

Every published transform of these encoders resizes with Pillow, which works on whole numbers: weights in
units of 2^-22, a row pass, rounding, a column pass, rounding. Resizing in floating point instead moves many
pixels by one grey value, a hundredth of a standard deviation before the network. Here the same whole numbers
are summed, so the result is Pillow's, bit for bit.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch

BITS = 22
"""Fraction bits of a weight: sums of 255 times the weights then fit into 32 bits."""


def _triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _cubic(x: float) -> float:
    """Keys' cubic with a = -0.5."""
    a, x = -0.5, abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


FILTERS: dict[str, tuple[Callable[[float], float], float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
}
"""The kernel and its support."""


def resize(pixels: torch.Tensor, shorter: int, interpolation: str) -> torch.Tensor:
    """uint8 (B, C, H, W) with the shorter side brought to `shorter` px, the other in proportion.

    Pillow's pixels for squares, which patches are. Of other shapes Pillow does the cheaper pass first, and
    pixels may differ by one grey value.
    """
    height, width = pixels.shape[-2:]
    scale = shorter / min(height, width)
    wanted = [shorter if side == min(height, width) else int(side * scale) for side in (height, width)]
    if width != wanted[1]:
        turned = pixels.transpose(-1, -2).contiguous()
        pixels = _rows(turned, wanted[1], interpolation).transpose(-1, -2)
    return _rows(pixels.contiguous(), wanted[0], interpolation) if height != wanted[0] else pixels


def _rows(pixels: torch.Tensor, new: int, interpolation: str) -> torch.Tensor:
    """One pass, of uint8 (B, C, H, W) to `new` rows: gathering whole rows is 2.4 times as fast as columns."""
    total: torch.Tensor | None = None
    for index, weight in _taps(pixels.shape[-2], new, interpolation, pixels.device):
        part = pixels.index_select(-2, index).int()
        part *= weight.view(new, 1)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total.add_(1 << (BITS - 1)).bitwise_right_shift_(BITS).clamp_(0, 255).to(torch.uint8)


@functools.lru_cache(maxsize=32)
def _taps(
    old: int, new: int, interpolation: str, device: torch.device
) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    """For each tap of the kernel, which pixel it reads (new,) and its whole-number weight (new,)."""
    rows = [_weights(place, old, new, interpolation) for place in range(new)]
    length = max(len(weights) for _, weights in rows)
    taps = []
    for tap in range(length):
        index = [min(first + tap, old - 1) for first, _ in rows]
        weight = [weights[tap] if tap < len(weights) else 0 for _, weights in rows]
        whole = torch.tensor(weight, dtype=torch.int32, device=device)
        taps.append((torch.tensor(index, device=device), whole))
    return tuple(taps)


def _weights(place: int, old: int, new: int, interpolation: str) -> tuple[int, list[int]]:
    """The first pixel that an output pixel depends on, and the weights from there on."""
    kernel, support = FILTERS[interpolation]
    scale = old / new
    stretch = max(scale, 1.0)
    centre = (place + 0.5) * scale
    first = max(0, int(centre - support * stretch + 0.5))
    last = min(old, int(centre + support * stretch + 0.5))
    values = [kernel((x - centre + 0.5) / stretch) for x in range(first, last)]
    whole = sum(values)
    return first, [_rounded(value / whole * (1 << BITS)) for value in values]


def _rounded(value: float) -> int:
    """Halves away from zero."""
    return math.floor(value + 0.5) if value >= 0 else math.ceil(value - 0.5)
