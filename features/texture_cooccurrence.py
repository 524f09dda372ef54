"""Grey-level co-occurrence: how alike neighbours at a distance are.

Haralick, Shanmugam and Dinstein, IEEE Transactions on Systems, Man, and Cybernetics 3 (1973) 610-621. Each
plane is cut into levels around its own mean and spread, so the statistics describe pattern, not stain
strength.
"""

from __future__ import annotations

import torch

from .texture_histogram import binned, histogram
from .texture_planes import Planes

BINS = 16
REACH = 2.5
"""Levels span this many standard deviations on both sides of the mean."""
FLAT = 0.02
DISTANCES = (1, 3)
"""In px of half resolution."""
STATISTICS = ("contrast", "correlation", "homogeneity", "uniformity", "entropy")

NAMES: tuple[str, ...] = tuple(
    f"cooccurrence.{plane}.{2 * distance}px.{statistic}"
    for distance in DISTANCES
    for statistic in STATISTICS
    for plane in ("hematoxylin", "luminance")
)


def cooccurrence(planes: Planes) -> torch.Tensor:
    """(B, len(NAMES)), pooled over the four directions."""
    levels = _levels(planes.pyramid[1])
    return torch.cat([joint_statistics(joint_fractions(levels, distance)) for distance in DISTANCES], 1)


def joint_fractions(levels: torch.Tensor, distance: int) -> torch.Tensor:
    """Symmetric joint fractions (B, C, BINS, BINS) of levels (B, C, H, W) at a distance, all directions."""
    d = distance
    pairs = [
        (levels[..., :, d:], levels[..., :, :-d]),
        (levels[..., d:, :], levels[..., :-d, :]),
        (levels[..., d:, d:], levels[..., :-d, :-d]),
        (levels[..., d:, :-d], levels[..., :-d, d:]),
    ]
    codes = torch.cat([(a * BINS + b).flatten(2) for a, b in pairs], 2)
    joint = histogram(codes, BINS * BINS).view(*codes.shape[:2], BINS, BINS)
    return (joint + joint.mT) / 2


def joint_statistics(joint: torch.Tensor) -> torch.Tensor:
    """(B, C, BINS, BINS) -> (B, 5 C) in the order of STATISTICS."""
    at = torch.arange(BINS, device=joint.device, dtype=torch.float32)
    apart = (at[:, None] - at).abs()
    marginal = joint.sum(3)
    centred = at - (marginal * at).sum(2, keepdim=True)
    variance = (marginal * centred.square()).sum(2)
    covariance = (joint * centred[..., :, None] * centred[..., None, :]).sum((2, 3))
    columns = [
        torch.log1p((joint * apart.square()).sum((2, 3))),
        covariance / variance.clamp(min=1e-3),
        (joint / (1 + apart.square())).sum((2, 3)),
        joint.square().sum((2, 3)).sqrt(),
        -(joint * joint.clamp(min=1e-12).log()).sum((2, 3)) / 5,
    ]
    return torch.cat(columns, 1)


def _levels(images: torch.Tensor) -> torch.Tensor:
    mean = images.mean((2, 3), keepdim=True)
    std = images.std((2, 3), correction=0, keepdim=True).clamp(min=FLAT)
    return binned((images - mean) / std, -REACH, REACH, BINS)
