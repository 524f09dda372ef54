"""Proxies for nuclei: how much of the patch they cover, how dark they are, and how much they differ.

The mask is hematoxylin above the patch's own threshold, so a weaker stain does not mean fewer nuclei; what
the grade of a tumour is read from (Elston and Ellis, Histopathology 19 (1991) 403-410: nuclear size,
staining and their spread) is then measured inside and outside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from .texture_histogram import binned, histogram, otsu
from .texture_planes import Planes

LOW, HIGH, BINS = -0.25, 2.25, 256
FAINTEST = 0.15
"""Hematoxylin below this is never a nucleus: without nuclei the threshold would split noise."""
DISTINCT = 0.05
"""Contrasts in optical density below this count as this much."""
OPENINGS = 5

NAMES: tuple[str, ...] = (
    "nuclei.area",
    "nuclei.threshold",
    "nuclei.separability",
    "nuclei.contrast",
    *(
        f"nuclei.{where}.{what}"
        for where in ("inside", "outside")
        for what in ("hematoxylin", "eosin", "luminance")
    ),
    *(f"nuclei.{where}.hematoxylin.std" for where in ("inside", "outside")),
    "nuclei.inside.chromatin",
    *(f"nuclei.opening.{2 * step}px" for step in range(1, OPENINGS + 1)),
    "nuclei.radius.mean",
    "nuclei.radius.std",
    *(f"nuclei.area.std.{cells}x{cells}" for cells in (4, 8)),
)


@dataclass(frozen=True)
class NuclearMask:
    """Which pixels are nuclear, and what told them apart.

    Attributes:
        pixels: bool (B, 1, H, W).
        threshold: hematoxylin (B, 1, 1, 1), decadic optical density.
        separability: Otsu's, (B,).
        contrast: mean hematoxylin inside minus outside (B,), at least DISTINCT.
    """

    pixels: torch.Tensor
    threshold: torch.Tensor
    separability: torch.Tensor
    contrast: torch.Tensor


def nuclear_mask(hematoxylin: torch.Tensor) -> NuclearMask:
    """The mask of hematoxylin (B, 1, H, W) by Otsu's threshold, at least FAINTEST."""
    index, separability = otsu(histogram(binned(hematoxylin.flatten(1), LOW, HIGH, BINS), BINS))
    threshold = (LOW + index * ((HIGH - LOW) / BINS)).clamp(min=FAINTEST).view(-1, 1, 1, 1)
    pixels = hematoxylin > threshold
    difference = _mean_where(hematoxylin, pixels) - _mean_where(hematoxylin, ~pixels)
    return NuclearMask(pixels, threshold, separability, difference[:, 0].clamp(min=DISTINCT))


def nuclei(planes: Planes, mask: NuclearMask) -> torch.Tensor:
    """(B, len(NAMES)): area, stain inside and outside, sizes; 0 where a patch has no such pixels."""
    area = mask.pixels.float().mean((1, 2, 3))
    faint = mask.contrast - DISTINCT
    head = torch.stack([area, mask.threshold.flatten(), mask.separability, faint], 1)
    coarse = F.avg_pool2d(planes.hematoxylin, 2) > mask.threshold
    return torch.cat([head, _staining(planes, mask.pixels), _sizes(coarse), _unevenness(mask.pixels)], 1)


def _mean_where(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Mean (B, C) of values (B, C, H, W) over the pixels of a mask (B, 1, H, W); 0 where there are none."""
    return (values * where).sum((2, 3)) / where.sum((2, 3)).clamp(min=1)


def _staining(planes: Planes, inside: torch.Tensor) -> torch.Tensor:
    values = torch.cat([planes.hed[:, :2], planes.luminance], 1)
    outside = ~inside
    means = [_mean_where(values, inside), _mean_where(values, outside)]
    spreads = [
        _mean_where((planes.hematoxylin - mean[:, :1, None, None]).square(), where).sqrt()
        for mean, where in zip(means, (inside, outside), strict=True)
    ]
    return torch.cat([*means, *spreads, _chromatin(planes.hematoxylin, inside)], 1)


def _chromatin(hematoxylin: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Mean step (B, 1) of hematoxylin between nuclear neighbours: clumped chromatin is rough."""
    steps = [hematoxylin.diff(dim=axis).abs() for axis in (2, 3)]
    pairs = [inside[:, :, 1:] & inside[:, :, :-1], inside[:, :, :, 1:] & inside[:, :, :, :-1]]
    total = (steps[0] * pairs[0]).sum((2, 3)) + (steps[1] * pairs[1]).sum((2, 3))
    return total / (pairs[0].sum((2, 3)) + pairs[1].sum((2, 3))).clamp(min=1)


def _sizes(mask: torch.Tensor) -> torch.Tensor:
    """What is left of a half-resolution mask (B, 1, h, w) after openings by growing octagons.

    Granulometry: Matheron, Random Sets and Integral Geometry, 1975; Maragos, IEEE Transactions on Pattern
    Analysis and Machine Intelligence 11 (1989) 701-716. Returns the fraction left per opening, then mean and
    standard deviation of the radius (in px of the patch, over 10) at which area is lost.
    """
    area = mask.sum((1, 2, 3)).clamp(min=1)
    left = torch.stack([opened.sum((1, 2, 3)) / area for opened in _openings(mask)], 1)
    present = mask.any(3).any(2).float()
    lost = torch.cat([present, left], 1) - torch.cat([left, torch.zeros_like(present)], 1)
    radius = torch.arange(1, OPENINGS + 2, device=mask.device) * 0.2
    mean = (lost * radius).sum(1, keepdim=True)
    std = (lost * (radius - mean).square()).sum(1, keepdim=True).sqrt()
    return torch.cat([left, mean, std], 1)


def _openings(mask: torch.Tensor) -> list[torch.Tensor]:
    """Openings of a mask by discs of radius 1, 2, ... OPENINGS px; the eroded mask is shared."""
    openings, eroded = [], mask
    for step in range(1, OPENINGS + 1):
        eroded = ~_dilated(~eroded, step)
        opened = eroded
        for back in range(step, 0, -1):
            opened = _dilated(opened, back)
        openings.append(opened)
    return openings


def _dilated(mask: torch.Tensor, step: int) -> torch.Tensor:
    """Grown by 1 px, by a cross at odd steps and a square at even ones: together nearly a disc."""
    across = mask.clone()
    across[..., 1:] |= mask[..., :-1]
    across[..., :-1] |= mask[..., 1:]
    source = mask if step % 2 else across
    grown = across.clone()
    grown[..., 1:, :] |= source[..., :-1, :]
    grown[..., :-1, :] |= source[..., 1:, :]
    return grown


def _unevenness(mask: torch.Tensor) -> torch.Tensor:
    """Standard deviation of the nuclear area over the cells of coarse lattices, (B, 2)."""
    cells = [F.adaptive_avg_pool2d(mask.float(), side).flatten(1) for side in (4, 8)]
    return torch.stack([c.std(1, correction=0) for c in cells], 1)
