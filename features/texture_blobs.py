"""Counts of round dark spots in hematoxylin, by size: the density and variety of nuclei without segmentation.

Maxima over space and scale of differences of Gaussians, which stand in for the scale-normalised Laplacian:
Lindeberg, International Journal of Computer Vision 30 (1998) 79-116; Lowe, ibid. 60 (2004) 91-110.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from .texture_nuclei import NuclearMask
from .texture_planes import Planes

RADII = (3.0, 4.2, 6.0, 8.5)
"""In px, steps of about the root of 2: at 1 µm per px lymphocytes to large tumour nuclei."""
STEP = math.sqrt(2.0)
CENTRE = 0.25
"""Response at the centre of a disc of matching radius and unit contrast: exp(-1 / STEP) - exp(-STEP)."""
SHARE = 0.35
"""A maximum counts from this share of the response that a nucleus of the patch's own contrast would give."""

NAMES: tuple[str, ...] = (
    *(f"blobs.density.r{radius:g}px" for radius in RADII),
    "blobs.density",
    "blobs.log_radius.mean",
    "blobs.log_radius.std",
    "blobs.strength.mean",
    "blobs.strength.std",
    "blobs.hematoxylin.mean",
    "blobs.hematoxylin.std",
    "blobs.clustering",
)


def blobs(planes: Planes, mask: NuclearMask) -> torch.Tensor:
    """(B, len(NAMES)): densities, then size, strength and hematoxylin over the blobs, then clustering.

    A density is log(1 + blobs per 1,000 px); statistics over blobs are 0 where a patch has none.
    """
    smooth = scale_space(F.avg_pool2d(planes.hematoxylin, 2))
    contrast = mask.contrast.view(-1, 1, 1, 1)
    response = (smooth[:, :-1] - smooth[:, 1:]) / (CENTRE * contrast)
    peaks = maxima(response) & (response > SHARE)
    density = peaks.sum((2, 3)) * (1000.0 / planes.hematoxylin[0].numel())
    densities = torch.log1p(torch.cat([density, density.sum(1, keepdim=True)], 1))
    log_radius = torch.tensor(RADII, device=peaks.device).log().view(1, -1, 1, 1).expand_as(response)
    spreads = [_mean_and_std(values, peaks) for values in (log_radius, response, smooth[:, :-1])]
    return torch.cat([densities, *spreads, _clustering(peaks)], 1)


def scale_space(half: torch.Tensor) -> torch.Tensor:
    """Half-resolution pictures (B, 1, h, w) blurred by Gaussians (B, len(RADII) + 1, h, w).

    The difference of blurs k and k + 1 answers most to discs of RADII[k].
    """
    # A disc of radius r answers most at sigma = r / sqrt 2; halving has blurred by 0.25 px squared already.
    sigmas = [RADII[0] / STEP * STEP ** (k - 0.5) for k in range(len(RADII) + 1)]
    halves = [math.sqrt(sigma**2 - 0.25) / 2 for sigma in sigmas]
    rows = torch.stack([_blur(half.shape[2], sigma) for sigma in halves]).to(half.device)
    columns = torch.stack([_blur(half.shape[3], sigma) for sigma in halves]).to(half.device)
    return rows @ half @ columns.mT


def maxima(response: torch.Tensor) -> torch.Tensor:
    """Where (B, S, h, w) is at least all of its 26 neighbours in space and scale; bool of the same shape."""
    highest = response
    for axis in (1, 2, 3):
        highest = _highest_of_three(highest, axis)
    return response >= highest


def _blur(size: int, sigma: float) -> torch.Tensor:
    """Gaussian blur along one axis as a matrix (size, size); rows sum to 1, so the border is not darkened.

    A matrix product is several times as fast on a CPU as a long one-dimensional convolution.
    """
    at = torch.arange(size, dtype=torch.float64)
    weights = torch.exp(-((at[:, None] - at) ** 2) / (2 * sigma**2))
    return (weights / weights.sum(1, keepdim=True)).float()


def _highest_of_three(x: torch.Tensor, axis: int) -> torch.Tensor:
    size = x.shape[axis]
    highest = x.clone()
    for ours, theirs in ((0, 1), (1, 0)):
        part = highest.narrow(axis, ours, size - 1)
        torch.maximum(part, x.narrow(axis, theirs, size - 1), out=part)
    return highest


def _mean_and_std(values: torch.Tensor, peaks: torch.Tensor) -> torch.Tensor:
    """(B, 2) over the peaks of each patch; 0 where there are none."""
    count = peaks.sum((1, 2, 3)).clamp(min=1)
    mean = (values * peaks).sum((1, 2, 3)) / count
    squares = ((values - mean.view(-1, 1, 1, 1)).square() * peaks).sum((1, 2, 3)) / count
    return torch.stack([mean, squares.sqrt()], 1)


def _clustering(peaks: torch.Tensor) -> torch.Tensor:
    """Log of variance over mean of blobs per sixteenth of the patch (B, 1); 0 at random."""
    area = peaks.shape[2] * peaks.shape[3] / 16
    counts = F.adaptive_avg_pool2d(peaks.float().sum(1, keepdim=True), 4).flatten(1) * area
    return torch.log((counts.var(1) + 1) / (counts.mean(1) + 1))[:, None]
