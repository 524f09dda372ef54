"""How much of each stain, and how it is spread: moments and quantiles of stains, luminance and saturation."""

from __future__ import annotations

import torch

from .texture_histogram import binned, histogram, quantiles
from .texture_planes import Planes

RANGES = {
    "hematoxylin": (-0.5, 2.0),
    "eosin": (-0.5, 1.5),
    "residual": (-0.5, 1.0),
    "luminance": (0.0, 1.0),
    "saturation": (0.0, 1.0),
}
"""Values outside count as the nearest end in quantiles; moments see them as they are."""
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 128
MOMENTS = ("mean", "std", "skew", "kurtosis")
FLAT = 0.01
"""Standard deviations below this are sensor noise or a blank patch: shape and correlation fade to 0."""
PAIRS = ((0, 1), (0, 3), (1, 3))

NAMES: tuple[str, ...] = (
    *(f"colour.{plane}.{moment}" for plane in RANGES for moment in MOMENTS),
    *(f"colour.{plane}.q{round(100 * level):02d}" for plane in RANGES for level in LEVELS),
    *(f"colour.correlation.{tuple(RANGES)[a]}.{tuple(RANGES)[b]}" for a, b in PAIRS),
    "colour.background",
)


def colour(planes: Planes) -> torch.Tensor:
    """(B, len(NAMES)): moments, quantiles, correlations and the fraction of unstained background."""
    values = torch.cat([planes.hed, planes.luminance, planes.saturation], 1).flatten(2)
    background = (planes.hed.sum(1) < 0.1).float().mean((1, 2))
    centred = values - values.mean(-1, keepdim=True)
    return torch.cat(
        [_moments(values, centred), _quantiles(values), _correlations(centred), background[:, None]], 1
    )


def _moments(values: torch.Tensor, centred: torch.Tensor) -> torch.Tensor:
    """Mean, standard deviation, skewness and excess kurtosis, (B, C, N) -> (B, 4 C).

    The last two are compressed as sign(x) log(1 + |x|): a single dark pixel must not outweigh the patch.
    """
    squared = centred * centred
    std = squared.mean(-1).sqrt()
    scale = std.clamp(min=FLAT)
    skew = (squared * centred).mean(-1) / scale**3
    kurtosis = (squared * squared).mean(-1) / scale**4 - 3.0 * (std / scale) ** 4
    return torch.stack([values.mean(-1), std, _compressed(skew), _compressed(kurtosis)], -1).flatten(1)


def _compressed(x: torch.Tensor) -> torch.Tensor:
    return x.sign() * x.abs().log1p()


def _quantiles(values: torch.Tensor) -> torch.Tensor:
    """(B, C, N) -> (B, C * len(LEVELS)), in the units of the values."""
    low = torch.tensor([r[0] for r in RANGES.values()], device=values.device)[:, None]
    width = torch.tensor([(r[1] - r[0]) / BINS for r in RANGES.values()], device=values.device)[:, None]
    bins = binned((values - low) / width, 0.0, BINS, BINS)
    return (low + width * quantiles(histogram(bins, BINS), LEVELS)).flatten(1)


def _correlations(centred: torch.Tensor) -> torch.Tensor:
    """Pearson correlations (B, len(PAIRS)) of planes (B, C, N) without their means."""
    scale = centred.square().mean(-1).sqrt().clamp(min=FLAT)
    columns = [(centred[:, a] * centred[:, b]).mean(-1) / (scale[:, a] * scale[:, b]) for a, b in PAIRS]
    return torch.stack(columns, 1)
