"""Gradients: how steep edges are and how much they agree in direction, close by and over the whole patch.

Structure tensor: Bigun and Granlund, First International Conference on Computer Vision (1987) 433-438.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from .texture_planes import Planes

LEVELS = (1, 2)
"""Pyramid levels: half and quarter resolution."""
WINDOW = 8
UNIT = 0.01
"""Gradient, per px of the level, that counts as one."""
STATISTICS = ("gradient", "spread", "coherence", "alignment")

NAMES: tuple[str, ...] = tuple(
    f"structure.{plane}.{2**level}px.{statistic}"
    for level in LEVELS
    for statistic in STATISTICS
    for plane in ("hematoxylin", "luminance")
)


def structure(planes: Planes) -> torch.Tensor:
    """(B, len(NAMES))."""
    return torch.cat([gradient_statistics(planes.pyramid[level]) for level in LEVELS], 1)


def gradient_statistics(images: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) -> (B, 4 C) in the order of STATISTICS.

    Coherence is 0 for edges in all directions and 1 for parallel ones, in windows of 8 px; alignment is the
    same for the whole patch.
    """
    across = (images[..., 1:-1, 2:] - images[..., 1:-1, :-2]) / 2
    down = (images[..., 2:, 1:-1] - images[..., :-2, 1:-1]) / 2
    energy = across.square() + down.square()
    steepness = energy.sqrt()
    mean = steepness.mean((2, 3))
    spread = steepness.std((2, 3), correction=0) / (mean + UNIT)
    tensor = torch.stack([energy, across.square() - down.square(), 2 * across * down])
    pooled = F.avg_pool2d(tensor.flatten(0, 1), WINDOW, stride=2)
    windows = pooled.view(*tensor.shape[:3], *pooled.shape[2:])
    coherence = _agreement(windows).sum((2, 3)) / _scale(windows[0]).sum((2, 3))
    whole = tensor.mean((3, 4))
    return torch.cat([torch.log1p(mean / UNIT), spread, coherence, _agreement(whole) / _scale(whole[0])], 1)


def _agreement(tensor: torch.Tensor) -> torch.Tensor:
    """Difference of the eigenvalues of (energy, xx - yy, 2 xy)."""
    return (tensor[1].square() + tensor[2].square()).sqrt()


def _scale(energy: torch.Tensor) -> torch.Tensor:
    """Energy plus that of noise: a flat patch has no direction."""
    return energy + 0.01 * UNIT
