"""Counts of whole numbers per patch, and what can be read from them without sorting pixels."""

from __future__ import annotations

import torch


def histogram(codes: torch.Tensor, bins: int) -> torch.Tensor:
    """Fractions (..., bins), summing to 1, of whole numbers 0..bins-1 in `codes` (..., N)."""
    counts = torch.zeros(*codes.shape[:-1], bins, device=codes.device)
    # Sums of ones stay exact in float32 below 2**24, hence do not depend on the order of addition.
    counts.scatter_add_(-1, codes.long(), torch.ones((), device=codes.device).expand(codes.shape))
    return counts / codes.shape[-1]


def binned(values: torch.Tensor, low: float, high: float, bins: int) -> torch.Tensor:
    """The bin, 0..bins-1, of each value in low..high cut into equal parts; values outside go to the ends."""
    return ((values - low) * (bins / (high - low))).clamp(0, bins - 1).to(torch.int64)


def quantiles(fractions: torch.Tensor, levels: tuple[float, ...]) -> torch.Tensor:
    """Quantiles (..., len(levels)) in units of bins, from histograms (..., bins); linear inside a bin."""
    total = fractions.cumsum(-1)
    wanted = torch.tensor(levels, device=fractions.device).expand(*fractions.shape[:-1], -1).contiguous()
    index = torch.searchsorted(total, wanted).clamp(max=fractions.shape[-1] - 1)
    share = fractions.gather(-1, index)
    below = total.gather(-1, index) - share
    return index + ((wanted - below) / share.clamp(min=1e-9)).clamp(0, 1)


def otsu(fractions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Threshold (...,) in units of bins and separability (...,) in 0..1 of histograms (..., bins).

    The threshold maximises the variance between the two classes; separability is that variance over the total
    one. Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9 (1979) 62-66.
    """
    centres = torch.arange(fractions.shape[-1], device=fractions.device) + 0.5
    weight, moment = fractions.cumsum(-1), (fractions * centres).cumsum(-1)
    mean = moment[..., -1:]
    spread = weight * (1 - weight)
    between = (mean * weight - moment) ** 2 / spread.clamp(min=1e-6)
    between = torch.where(spread > 1e-6, between, 0.0)
    total = (fractions * (centres - mean) ** 2).sum(-1)
    best, index = between.max(-1)
    return index + 1.0, best / total.clamp(min=1e-6)
