"""Colour deconvolution: RGB to optical density to stain concentrations, and back (Ruifrok and Johnston 2001).

Light that passes a stained section is absorbed as Beer and Lambert say: optical density adds up over
stains, so concentrations are a linear map of optical density. Conventions: optical density is decadic with
white = 255, and concentrations are signed, so that `combine` undoes `separate`. scikit-image's `rgb2hed`
divides by 6 (it takes logarithms to the base of its floor, 1e-6) and clips at zero: `rgb2hed(x) ==
max(separate(rgb_to_od(x)), 0) / 6` wherever no channel is 0.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from .ruifrok import RUIFROK_HED

WHITE = 255.0
DARKEST = 1.0
"""Zero has no logarithm: a channel of 0 counts as 1, an optical density of 2.41."""


def rgb_to_od(rgb: torch.Tensor) -> torch.Tensor:
    """Decadic optical density, float32, of 8-bit RGB of any shape; 0 is white, 2.41 black."""
    # A table, not a logarithm: vector and scalar log differ in the last bit, hence with the place in a batch.
    return _od_table().to(rgb.device).index_select(0, rgb.flatten().int()).view(rgb.shape)


def separate(od: torch.Tensor) -> torch.Tensor:
    """Stain concentrations (B, 3, H, W), in the order H, E, DAB, of optical densities (B, 3, H, W)."""
    return _mix(od, np.linalg.inv(np.array(RUIFROK_HED)))


def combine(concentrations: torch.Tensor) -> torch.Tensor:
    """The uint8 RGB (B, 3, H, W) that shows stain concentrations (B, 3, H, W)."""
    od = _mix(concentrations, np.array(RUIFROK_HED))
    return (WHITE * torch.pow(10.0, -od)).round().clamp(0, 255).to(torch.uint8)


@cache
def _od_table() -> torch.Tensor:
    levels = np.maximum(np.arange(256, dtype=np.float64), DARKEST)
    return torch.from_numpy(-np.log10(levels / WHITE)).float().abs()


def _mix(planes: torch.Tensor, matrix: np.ndarray) -> torch.Tensor:
    """Out plane j = sum over i of in plane i times matrix[i, j]."""
    # Products and sums one by one round alike on every device and batch size; a matrix product does not.
    first, second, third = planes.unbind(1)
    mixed = [first * float(a) + second * float(b) + third * float(c) for a, b, c in matrix.T]
    return torch.stack(mixed, 1)
